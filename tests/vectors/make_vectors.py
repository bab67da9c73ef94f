"""Makes the vectors of signed documents: ``python tests/vectors/make_vectors.py`` writes them, below ``documents``.

Each file is one envelope as site BR1 gets it at `NOW`, when it has pinned the cards of `KNOWN`. ``good`` ones are
taken; every other folder is named by the code of the refusal, and each file in it has that one fault. A file's name
begins with the kind of document. Keys are made from fixed seeds, so that the same bytes come out every time.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner, SSlibKey

from courier.site.trust import KnownSite
from formats.documents import arrival, card, label, notice, package, packing, recall, receipt, release
from formats.documents.arrival import Arrival
from formats.documents.card import SiteCard, SiteKey
from formats.documents.label import VolumeLabel
from formats.documents.listing import ListingSummary
from formats.documents.notice import PackageRef, ShipNotice
from formats.documents.package import PackageDefinition
from formats.documents.packing import FileRecord, PackingList, TableRef
from formats.documents.recall import Recall
from formats.documents.receipt import Outcome, Receipt, ReceiptPackage, ReceiptVolume
from formats.documents.release import KeyRelease
from formats.envelope import Envelope, PublicKey, Signer, load_public_key, parse_envelope, sign
from formats.records import decode, encode

FOLDER = Path(__file__).resolve().parent / "documents"
HOUR = 3600 * 10**9
DAY = 24 * HOUR
NOW = 1_795_000_000 * 10**9
A, B, C = "a" * 64, "b" * 64, "c" * 64


def _key(number: int) -> tuple[PublicKey, Signer]:
    private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    public = private.public_key()
    key = load_public_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return key, CryptoSigner(private, SSlibKey.from_crypto(public, keyid=key.keyid))


(HQ, HQ_SIGNS), (HQ_OLD, OLD_SIGNS), (BR, BR_SIGNS), (BR2, BR2_SIGNS), (EVE, EVE_SIGNS) = map(_key, range(11, 16))
(LOST, LOST_SIGNS), (GONE, GONE_SIGNS) = map(_key, range(16, 18))
SIGNERS = {HQ: HQ_SIGNS, HQ_OLD: OLD_SIGNS, BR: BR_SIGNS, BR2: BR2_SIGNS, EVE: EVE_SIGNS, LOST: LOST_SIGNS}
SIGNERS[GONE] = GONE_SIGNS


def _valid(key: PublicKey, start: int = NOW - 100 * DAY, end: int = NOW + 100 * DAY) -> SiteKey:
    return SiteKey(key=key, valid_from_ns=start, valid_until_ns=end)


def _card(site: str, *keys: SiteKey, serial: int = 1) -> SiteCard:
    return SiteCard(site=site, name=f"Site {site}", serial=serial, issued_ns=NOW - 10 * DAY, keys=keys, recipient=None)


HQ_CARD = _card(
    "HQ1",
    _valid(HQ, start=NOW - 10 * DAY),
    _valid(HQ_OLD, end=NOW - 10 * DAY),
    replace(_valid(LOST, end=NOW - 20 * DAY), revoked_ns=NOW - 20 * DAY),
    serial=3,
)
KNOWN = {
    "HQ1": KnownSite(card=HQ_CARD),
    "BR1": KnownSite(card=_card("BR1", _valid(BR))),
    "BR2": KnownSite(card=_card("BR2", _valid(BR2))),
    "BR3": KnownSite(card=_card("BR3", _valid(GONE)), revoked="its computer was stolen"),
}
"""What BR1 trusts."""

SUMMARY = ListingSummary(sha256=A, entries=1, files=1, bytes=5, holes=0)
NOTICE = ShipNotice(
    parcel="HQ1-000042",
    source="HQ1",
    destinations=("BR1", "BR2"),
    issued_ns=NOW - HOUR,
    packing_list=A,
    build=B,
    volumes=2,
    priority="medium",
    packages=(PackageRef(package="HQ100001", version=1, listing=A),),
    carrier="Speedy Vans",
    tracking="SV-0042",
    seals={1: "A0001", 2: "A0002"},
)
PACKING = PackingList(
    parcel="HQ1-000042",
    source="HQ1",
    destinations=("BR1", "BR2"),
    created_ns=NOW - 2 * HOUR,
    priority="medium",
    edition=1,
    media="dvd5",
    capacity=4_700_372_992,
    volumes=2,
    encrypted=True,
    block_size=1 << 20,
    archives=(FileRecord(number=1, size=100, sha256=A, volume=1), FileRecord(number=2, size=200, sha256=B, volume=2)),
    parity=(),
    groups=(),
    contents=TableRef(size=300, sha256=C),
    blocks=TableRef(size=64, sha256=C),
    key="on-arrival",
)
LABEL = VolumeLabel(
    parcel="HQ1-000042",
    source="HQ1",
    number=1,
    of=2,
    packing_list=A,
    issued_ns=NOW - 2 * HOUR,
    tags=(("RESTORE.txt", B),),
)
DEFINITION = PackageDefinition(
    package="HQ100001",
    version=1,
    name="Image",
    site="HQ1",
    created_ns=NOW - 300 * DAY,
    issued_ns=NOW - HOUR,
    listing=SUMMARY,
)
RECEIPT = Receipt(
    parcel="BR1-000007",
    source="BR1",
    destination="BR2",
    build=B,
    packing_list=A,
    issued_ns=NOW - HOUR,
    packages=(ReceiptPackage(package="BR100001", version=1, listing=A, outcome=Outcome.IMPORTED),),
    volumes=(ReceiptVolume(number=1, received=True, damaged_blocks=0),),
)
RECALL = Recall(
    parcel="HQ1-000042",
    source="HQ1",
    destinations=("BR1", "BR2"),
    build=B,
    issued_ns=NOW - HOUR,
    reason="lost by the carrier",
)
ARRIVAL = Arrival(
    parcel="BR1-000007",
    source="BR1",
    destination="BR2",
    build=B,
    packing_list=A,
    issued_ns=NOW - HOUR,
    volumes={1: "A0001", 2: ""},
)
RELEASE = KeyRelease(
    parcel="HQ1-000042", source="HQ1", destination="BR1", build=B, issued_ns=NOW - HOUR, key=b"an age file stands here"
)


def signed(payload: bytes, payload_type: str, *keys: PublicKey) -> bytes:
    """An envelope, signed by these keys of ours."""
    return sign(payload, payload_type, [(key.keyid, SIGNERS[key]) for key in keys]).encode()


def _notice(*keys: PublicKey, **changes: object) -> bytes:
    return signed(replace(NOTICE, **changes).payload(), notice.TYPE, *(keys or (HQ,)))  # type: ignore[arg-type]


def _changed(document: bytes, **fields: object) -> bytes:
    """The canonical bytes of a document with fields set, or taken out where None."""
    record = {**decode(document), **fields}
    return encode({name: value for name, value in record.items() if value is not None})


def good() -> dict[str, bytes]:
    """Name -> envelope of a document that is taken."""
    newer = replace(HQ_CARD, serial=4, issued_ns=NOW - HOUR, name="Headquarters, new building")
    return {
        "arrival": signed(ARRIVAL.payload(), arrival.TYPE, BR2),
        "card": signed(newer.payload(), card.TYPE, HQ),
        "label": signed(LABEL.payload(), label.TYPE, HQ),
        "notice": _notice(),
        "notice-by-the-key-of-its-time": _notice(HQ_OLD, issued_ns=NOW - 11 * DAY),
        "notice-of-a-year-ago": _notice(HQ_OLD, issued_ns=NOW - 99 * DAY),
        "notice-with-a-key": _notice(key=b"an age file stands here"),
        "notice-with-a-strange-signature-besides": _notice(EVE, HQ),
        "package": signed(DEFINITION.payload(), package.TYPE, HQ),
        "packing": signed(PACKING.payload(), packing.TYPE, HQ),
        "packing-by-a-key-lost-later": signed(
            replace(PACKING, created_ns=NOW - 21 * DAY).payload(), packing.TYPE, LOST
        ),
        "recall": signed(RECALL.payload(), recall.TYPE, HQ),
        "receipt": signed(RECEIPT.payload(), receipt.TYPE, BR2),
        "release": signed(RELEASE.payload(), release.TYPE, HQ),
    }


def bad() -> dict[str, bytes]:
    """``CODE/NAME`` -> envelope of a document that is refused with that code."""
    plain = _notice()
    envelope = parse_envelope(plain)
    payload, sig = envelope.payload, envelope.signatures[0][1]
    other = replace(NOTICE, volumes=2, packing_list=C).payload()
    eve_card = _card("HQ1", _valid(EVE), serial=4)
    altered = Envelope(payload=other, payload_type=notice.TYPE, signatures=envelope.signatures)
    stranger = _changed(payload, **{"from": "XX1", "parcel": "XX1-000042"})
    climbing = _changed(LABEL.payload(), tags=[{"path": "../restore.py", "sha256": B}])
    return {
        "bad-signature/notice-altered": altered.encode(),
        "bad-signature/notice-under-anothers-type": replace(
            parse_envelope(signed(payload, package.TYPE, HQ)), payload_type=notice.TYPE
        ).encode(),
        "bad-signature/notice-signature-of-another-document": replace(
            envelope, signatures=((HQ.keyid, parse_envelope(_notice(volumes=9)).signatures[0][1]),)
        ).encode(),
        "bad-signature/notice-two-valid-signers-mixed": replace(
            envelope,
            signatures=((HQ.keyid, parse_envelope(_notice(BR2)).signatures[0][1]), (BR2.keyid, sig)),
        ).encode(),
        "card-not-chained/card-forged": signed(eve_card.payload(), card.TYPE, EVE),
        "card-not-chained/card-by-a-stolen-key": signed(eve_card.payload(), card.TYPE, EVE, LOST),
        "card-not-chained/card-by-a-key-that-was-given-up": signed(eve_card.payload(), card.TYPE, EVE, HQ_OLD),
        "card-not-chained/card-by-another-site": signed(eve_card.payload(), card.TYPE, EVE, BR2),
        "clock/notice-of-tomorrow": _notice(issued_ns=NOW + DAY + 1),
        "forged-card/card-by-another-key-than-it-names": signed(
            replace(HQ_CARD, serial=4, issued_ns=NOW).payload(), card.TYPE, EVE
        ),
        "illegal-name/label-of-a-file-that-climbs-out": signed(climbing, label.TYPE, HQ),
        "key-not-valid/notice-by-an-old-key-after-its-end": _notice(HQ_OLD, issued_ns=NOW - 10 * DAY),
        "key-not-valid/notice-by-a-new-key-before-its-beginning": _notice(issued_ns=NOW - 10 * DAY - 1),
        "malformed/notice-cut": plain[:-1],
        "malformed/notice-with-a-byte-behind": plain + b"\n",
        "malformed/notice-not-canonical": plain.replace(b'","', b'", "', 1),
        "malformed/notice-without-signatures": replace(envelope, signatures=()).encode(),
        "malformed/notice-signed-twice-by-one-key": replace(envelope, signatures=envelope.signatures * 2).encode(),
        "malformed/notice-payload-not-canonical": signed(payload.replace(b",", b", ", 1), notice.TYPE, HQ),
        "malformed/notice-a-key-twice": signed(payload[:-1] + b',"volumes":3}', notice.TYPE, HQ),
        "malformed/notice-of-anothers-parcel": signed(_changed(payload, parcel="BR2-000042"), notice.TYPE, HQ),
        "malformed/notice-without-sender": signed(_changed(payload, **{"from": None}), notice.TYPE, HQ),
        "malformed/notice-for-nobody": signed(_changed(payload, to=[]), notice.TYPE, HQ),
        "malformed/notice-of-no-volumes": signed(_changed(payload, volumes=0), notice.TYPE, HQ),
        "malformed/package-of-more-holes-than-bytes": signed(
            _changed(DEFINITION.payload(), listing={**SUMMARY.record(), "holes": 6}), package.TYPE, HQ
        ),
        "malformed/packing-key-without-encryption": signed(
            _changed(PACKING.payload(), encrypted=False), packing.TYPE, HQ
        ),
        "malformed/packing-blocks-of-a-wrong-size": signed(
            _changed(PACKING.payload(), blocks={"size": 65, "sha256": C}), packing.TYPE, HQ
        ),
        "malformed/label-beyond-the-last-volume": signed(_changed(LABEL.payload(), number=3), label.TYPE, HQ),
        "malformed/release-key-not-base64": signed(_changed(RELEASE.payload(), key="?"), release.TYPE, HQ),
        "not-a-card/card-that-is-a-notice": plain,
        "not-for-us/notice-for-another-site": _notice(destinations=("BR2",)),
        "not-for-us/release-for-another-site": signed(replace(RELEASE, destination="BR2").payload(), release.TYPE, HQ),
        "revoked-key/notice-by-a-stolen-key": _notice(LOST, issued_ns=NOW - 21 * DAY),
        "revoked-site/notice-of-a-revoked-site": signed(
            replace(NOTICE, source="BR3", parcel="BR3-000042").payload(), notice.TYPE, GONE
        ),
        "rolled-back-card/card-older": signed(
            replace(HQ_CARD, serial=2, keys=(_valid(HQ_OLD),)).payload(), card.TYPE, HQ_OLD
        ),
        "rolled-back-card/card-of-the-same-serial": signed(replace(HQ_CARD, name="Elsewhere").payload(), card.TYPE, HQ),
        "unknown-format/notice-of-a-later-major": signed(
            _changed(payload, format="courier-ship-notice/2"), notice.TYPE, HQ
        ),
        "unknown-format/notice-downgraded": signed(_changed(payload, format="courier-ship-notice/0"), notice.TYPE, HQ),
        "unknown-format/notice-that-is-a-recall": signed(RECALL.payload(), notice.TYPE, HQ),
        "unknown-key/notice-by-nobody-known": _notice(EVE),
        "unknown-key/notice-by-another-site": _notice(BR2),
        "unknown-key/notice-by-two-other-sites": _notice(BR, BR2),
        "unknown-site/notice-of-a-stranger": signed(stranger, notice.TYPE, EVE),
        "wrong-type/notice-signed-as-a-package": signed(payload, package.TYPE, HQ),
    }


def vectors() -> dict[str, bytes]:
    """Path below `FOLDER` -> bytes of every vector."""
    found = {f"good/{name}.json": data for name, data in good().items()}
    return found | {f"{name}.json": data for name, data in bad().items()}


def main() -> None:
    """Write them, and remove what is no vector any more."""
    wanted = vectors()
    for path in FOLDER.rglob("*.json"):
        if path.relative_to(FOLDER).as_posix() not in wanted:
            path.unlink()
    for name, data in wanted.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_bytes(data)
    print(f"{len(wanted)} vectors below {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
