"""Signed documents: every record comes out of its bytes as it went in, and nothing else comes out of any bytes."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from formats.blocks import BLOCK
from formats.documents.card import SiteCard, SiteKey
from formats.documents.label import VolumeLabel
from formats.documents.listing import ListingSummary
from formats.documents.notice import PackageRef, ShipNotice
from formats.documents.package import PackageDefinition
from formats.documents.packing import PRIORITIES, FileRecord, PackingList, ParityGroup, TableRef
from formats.documents.receipt import Outcome, Receipt, ReceiptPackage, ReceiptVolume
from formats.envelope import PublicKey, load_public_key
from formats.errors import FormatError, Malformed, UnknownFormat
from formats.records import decode, encode

Document = PackageDefinition | PackingList | VolumeLabel | ShipNotice | Receipt | SiteCard


def _public(number: int) -> PublicKey:
    private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    return load_public_key(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


KEYS = [_public(n) for n in range(1, 6)]
KEYS.append(
    load_public_key(
        ec.derive_private_key(7, ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
)
RECIPIENT = "age1" + "q" * 58
FIRST_NS, LAST_NS = -62_135_596_800_000_000_000, 253_402_300_799_999_999_999

sites = st.text("ABCXYZ019", min_size=3, max_size=3)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
times = st.integers(FIRST_NS, LAST_NS)
counts = st.integers(0, 2**63 - 1)
numbers = st.integers(1, 2**63 - 1)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
packages = st.builds(lambda site, n: f"{site}{n:05X}", sites, st.integers(0, 0xFFFFF))
summaries = st.builds(ListingSummary, sha256=digests, entries=counts, files=counts, bytes=counts)


@st.composite
def parcels(draw: st.DrawFn) -> tuple[str, str]:
    site = draw(sites)
    return f"{site}-{draw(st.integers(0, 999_999)):06d}", site


@st.composite
def definitions(draw: st.DrawFn) -> PackageDefinition:
    return PackageDefinition(
        package=draw(packages),
        version=draw(numbers),
        name=draw(names),
        site=draw(sites),
        created_ns=draw(times),
        listing=draw(summaries),
    )


@st.composite
def labels(draw: st.DrawFn) -> VolumeLabel:
    parcel, source = draw(parcels())
    of = draw(st.integers(1, 9_999))
    tags = draw(st.dictionaries(st.sampled_from(["RESTORE.txt", "restore.py", "tools/a"]), digests))
    return VolumeLabel(
        parcel=parcel,
        source=source,
        number=draw(st.integers(1, of)),
        of=of,
        packing_list=draw(digests),
        issued_ns=draw(times),
        tags=tuple(tags.items()),
    )


@st.composite
def notices(draw: st.DrawFn) -> ShipNotice:
    parcel, source = draw(parcels())
    volumes = draw(st.integers(1, 9_999))
    return ShipNotice(
        parcel=parcel,
        source=source,
        destinations=tuple(draw(st.lists(sites, min_size=1, max_size=4, unique=True))),
        issued_ns=draw(times),
        packing_list=draw(digests),
        build=draw(digests),
        volumes=volumes,
        priority=draw(st.sampled_from(PRIORITIES)),
        packages=tuple(
            draw(st.lists(st.builds(PackageRef, package=packages, version=numbers, listing=digests), max_size=3))
        ),
        carrier=draw(names),
        tracking=draw(names),
        seals=draw(st.dictionaries(st.integers(1, volumes), names, max_size=4)),
    )


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    parcel, source = draw(parcels())
    outcomes = st.builds(
        ReceiptPackage, package=packages, version=numbers, listing=digests, outcome=st.sampled_from(Outcome)
    )
    volumes = st.builds(ReceiptVolume, number=numbers, received=st.booleans(), damaged_blocks=counts)
    return Receipt(
        parcel=parcel,
        source=source,
        destination=draw(sites),
        build=draw(digests),
        packing_list=draw(digests),
        issued_ns=draw(times),
        packages=tuple(draw(st.lists(outcomes, max_size=3))),
        volumes=tuple(draw(st.lists(volumes, max_size=3))),
    )


@st.composite
def cards(draw: st.DrawFn) -> SiteCard:
    keys = []
    for key in draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique_by=lambda key: key.keyid)):
        start = draw(st.integers(FIRST_NS, LAST_NS - 1))
        keys.append(SiteKey(key=key, valid_from_ns=start, valid_until_ns=draw(st.integers(start + 1, LAST_NS))))
    return SiteCard(
        site=draw(sites),
        name=draw(names),
        serial=draw(numbers),
        issued_ns=draw(times),
        keys=tuple(keys),
        recipient=draw(st.none() | st.text("02468acqz", min_size=58, max_size=58).map("age1{}".format)),
    )


@st.composite
def packing_lists(draw: st.DrawFn) -> PackingList:
    parcel, source = draw(parcels())
    volumes = draw(st.integers(2, 50))
    block_size = draw(st.sampled_from([BLOCK, BLOCK + 1, 1 << 32]))
    total = 0

    def files(most: int) -> tuple[FileRecord, ...]:
        nonlocal total
        records = []
        for number in range(1, draw(st.integers(0, most)) + 1):
            size = draw(st.integers(1, (1 << 32) - 1))
            total += -(-size // block_size)
            on = draw(st.integers(1, volumes))
            records.append(FileRecord(number=number, size=size, sha256=draw(digests), volume=on))
        return tuple(records)

    archives, parity = files(5), files(4)
    groups: tuple[ParityGroup, ...] = ()
    if parity:
        numbered = tuple(file.number for file in parity)
        spare = ParityGroup(volumes=(1,), spares=(2,), columns=1, parity=1, files=numbered)
        own = ParityGroup(volumes=(volumes,), spares=(), columns=200, parity=56, files=numbered)
        groups = (draw(st.sampled_from([spare, own])),)
    return PackingList(
        parcel=parcel,
        source=source,
        destinations=tuple(draw(st.lists(sites, min_size=1, max_size=4, unique=True))),
        created_ns=draw(times),
        priority=draw(st.sampled_from(PRIORITIES)),
        edition=draw(numbers),
        media=draw(st.sampled_from(["dvd5", "drive", "lto-9"])),
        capacity=draw(numbers),
        volumes=volumes,
        sealed=draw(st.booleans()),
        block_size=block_size,
        archives=archives,
        parity=parity,
        groups=groups,
        contents=TableRef(size=draw(counts), sha256=draw(digests)),
        blocks=TableRef(size=total * 32, sha256=draw(digests)),
    )


_SHA = [f"{n:02x}" * 32 for n in range(6)]
SAMPLES: dict[str, Document] = {
    "package": PackageDefinition(
        package="HQ100001",
        version=3,
        name="Büro-Image",
        site="HQ1",
        created_ns=1_795_000_000_123_456_789,
        listing=ListingSummary(sha256=_SHA[0], entries=5, files=3, bytes=10_000_000_000),
    ),
    "packing": PackingList(
        parcel="HQ1-000042",
        source="HQ1",
        destinations=("BR1", "BR2"),
        created_ns=1_795_000_000_000_000_000,
        priority="medium",
        edition=1,
        media="dvd5",
        capacity=4_700_372_992,
        volumes=3,
        sealed=True,
        block_size=BLOCK,
        archives=(
            FileRecord(number=1, size=3 * BLOCK, sha256=_SHA[1], volume=1),
            FileRecord(number=2, size=BLOCK + 1, sha256=_SHA[2], volume=2),
        ),
        parity=(FileRecord(number=1, size=BLOCK, sha256=_SHA[3], volume=3),),
        groups=(ParityGroup(volumes=(1, 2), spares=(3,), columns=2, parity=1, files=(1,)),),
        contents=TableRef(size=1000, sha256=_SHA[4]),
        blocks=TableRef(size=6 * 32, sha256=_SHA[5]),
    ),
    "label": VolumeLabel(
        parcel="HQ1-000042",
        source="HQ1",
        number=2,
        of=3,
        packing_list=_SHA[1],
        issued_ns=0,
        tags=(("RESTORE.txt", _SHA[2]),),
    ),
    "notice": ShipNotice(
        parcel="HQ1-000042",
        source="HQ1",
        destinations=("BR1",),
        issued_ns=-1,
        packing_list=_SHA[1],
        build=_SHA[2],
        volumes=3,
        priority="high",
        packages=(PackageRef(package="HQ100001", version=3, listing=_SHA[0]),),
        carrier="Post",
        tracking="X1",
        seals={1: "A", 3: "B"},
    ),
    "receipt": Receipt(
        parcel="HQ1-000042",
        source="HQ1",
        destination="BR1",
        build=_SHA[2],
        packing_list=_SHA[1],
        issued_ns=1_795_000_000_000_000_000,
        packages=(ReceiptPackage(package="HQ100001", version=3, listing=_SHA[0], outcome=Outcome.IMPORTED_OLDER),),
        volumes=(ReceiptVolume(number=1, received=True, damaged_blocks=2),),
    ),
    "card": SiteCard(
        site="HQ1",
        name="Headquarters",
        serial=2,
        issued_ns=1_795_000_000_000_000_000,
        keys=(
            SiteKey(key=KEYS[0], valid_from_ns=0, valid_until_ns=10**18),
            SiteKey(key=KEYS[5], valid_from_ns=0, valid_until_ns=10**18),
        ),
        recipient=RECIPIENT,
    ),
}
EVERY = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())


@given(definitions() | labels() | notices() | receipts() | cards() | packing_lists())
def test_a_document_comes_out_of_its_bytes_as_it_went_in(document: Document) -> None:
    payload = document.payload()
    parsed = type(document).parse(payload)
    assert parsed == document
    assert parsed.payload() == payload


def _known(sample: Document, payload: bytes) -> bool:
    """Whether the payload has no other keys than the sample's (others are ignored, for releases to come)."""

    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    return keys(decode(payload)) <= keys(decode(sample.payload()))


@EVERY
def test_every_byte_altered_removed_or_added_is_refused_or_read_as_what_it_says(sample: Document) -> None:
    good = sample.payload()
    damaged = [
        good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :] for at in range(len(good)) for mask in (1, 32, 128)
    ]
    damaged += [good[:at] + good[at + 1 :] for at in range(len(good))]
    damaged += [
        good[:at] + byte + good[at:] for at in range(len(good) + 1) for byte in (b"0", b" ", b'"', b"\\", b"\xff")
    ]
    damaged += [good[:at] for at in range(len(good))]
    for bad in damaged:
        try:
            parsed = type(sample).parse(bad)
        except FormatError:
            continue
        assert bad == good or parsed != sample or not _known(sample, bad)
        assert parsed.payload() == bad or not _known(sample, bad)


def _places(value: Any, place: str = "") -> Iterator[tuple[str, list[str | int]]]:
    """Every place in a JSON value: as an error names it, and as the steps to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            at = f"{place}.{key}" if place else key
            yield at, [key]
            yield from ((p, [key, *steps]) for p, steps in _places(inner, at))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield f"{place}[{n}]", [n]
            yield from ((p, [n, *steps]) for p, steps in _places(inner, f"{place}[{n}]"))


def _changed(payload: bytes, steps: list[str | int], change: Callable[[Any, str | int], None]) -> bytes:
    value = decode(payload)
    inner = value
    for step in steps[:-1]:
        inner = inner[step]
    change(inner, steps[-1])
    return encode(value)


@EVERY
def test_a_wrong_type_anywhere_is_refused_by_its_place(sample: Document) -> None:
    other: dict[type, Any] = {str: 5, int: "x", bool: 1, list: {}, dict: []}
    for place, steps in _places(decode(sample.payload())):
        for wrong in (None, "other"):

            def change(holder: Any, step: str | int, wrong: Any = wrong) -> None:
                holder[step] = wrong if wrong is None else other[type(holder[step])]

            with pytest.raises(Malformed) as caught:
                type(sample).parse(_changed(sample.payload(), steps, change))
            assert caught.value.place == place


@EVERY
def test_a_missing_field_is_refused_by_its_place(sample: Document) -> None:
    for place, steps in _places(decode(sample.payload())):
        if isinstance(steps[-1], int) or place == "recipient":
            continue
        with pytest.raises(Malformed) as caught:
            type(sample).parse(_changed(sample.payload(), steps, lambda holder, step: holder.pop(step)))
        assert (caught.value.place, caught.value.message) == (place, "missing")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**63) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@EVERY
@given(data=st.data())
def test_any_value_at_any_place_raises_only_our_errors(sample: Document, data: st.DataObject) -> None:
    _, steps = data.draw(st.sampled_from(list(_places(decode(sample.payload())))))
    value = data.draw(json_values)
    try:
        bad = _changed(sample.payload(), steps, lambda holder, step: holder.__setitem__(step, value))
    except UnicodeEncodeError:
        return
    try:
        assert type(sample).parse(bad).payload() == bad
    except FormatError:
        return
    except AssertionError:
        assert not _known(sample, bad)


@EVERY
@given(data=st.binary(max_size=300))
def test_any_bytes_raise_only_our_errors(sample: Document, data: bytes) -> None:
    with pytest.raises(FormatError):
        type(sample).parse(data)


@EVERY
def test_another_document_or_a_later_major_version_is_refused_before_all_else(sample: Document) -> None:
    for document in SAMPLES.values():
        if document is not sample:
            with pytest.raises(UnknownFormat):
                type(sample).parse(document.payload())
    found = decode(sample.payload())["format"]
    with pytest.raises(UnknownFormat):
        type(sample).parse(encode({"format": found[:-1] + "2", "nothing": "we know"}))


@EVERY
def test_a_later_minor_release_may_add_fields(sample: Document) -> None:
    more = encode({**decode(sample.payload()), "zz_new": [{"field": 1}]})
    assert type(sample).parse(more) == sample


def _refused(sample: str, **changes: Any) -> str:
    """The place where a sample with these fields is refused."""
    document = SAMPLES[sample]
    with pytest.raises(FormatError) as caught:
        type(document).parse(encode({**decode(document.payload()), **changes}))
    return caught.value.place


def test_a_document_about_a_parcel_is_by_the_site_that_made_the_parcel() -> None:
    """Else a trusted branch could speak about headquarters' parcels."""
    assert _refused("packing", **{"from": "BR1"}) == "parcel"
    assert _refused("label", **{"from": "BR1"}) == "parcel"
    assert _refused("notice", **{"from": "BR1"}) == "parcel"
    assert _refused("receipt", to=["BR2"]) == "parcel"


def test_lists_that_mean_a_set_have_one_spelling() -> None:
    seal = [{"volume": 1, "serial": "A"}, {"volume": 3, "serial": "B"}]
    assert _refused("notice", seals=seal[::-1]) == "seals"
    assert _refused("notice", seals=[seal[0], {"volume": 1, "serial": "B"}]) == "seals"
    assert _refused("notice", seals=[{"volume": 4, "serial": ""}]) == "seals[0].volume"
    assert _refused("notice", to=["BR1", "BR1"]) == "to"
    assert _refused("notice", to=[]) == "to"
    assert _refused("packing", to=["BR1", "BR1"]) == "to"
    assert _refused("packing", to=[]) == "to"
    assert _refused("receipt", to=[]) == "to"
    assert _refused("receipt", to=["HQ1", "HQ1"]) == "to"
    tag = {"path": "a", "sha256": _SHA[0]}
    assert _refused("label", tags=[tag, tag]) == "tags"
    assert _refused("label", tags=[{**tag, "path": "../a"}]) == "tags[0].path"


def test_a_label_is_of_a_volume_there_is() -> None:
    assert _refused("label", number=4) == "number"
    assert _refused("label", number=0) == "number"


def test_a_packing_list_agrees_with_itself() -> None:
    record = decode(SAMPLES["packing"].payload())
    archive, group = record["archives"][0], record["groups"][0]
    assert _refused("packing", volumes=2) == "parity[0].volume"
    assert _refused("packing", volumes=10_000) == "volumes"
    assert _refused("packing", archives=[{**archive, "number": 2}]) == "archives[0].number"
    assert _refused("packing", archives=[archive, archive]) == "archives[1].number"
    assert _refused("packing", archives=[{**archive, "size": 1 << 32}]) == "archives[0].size"
    assert _refused("packing", archives=[{**archive, "size": 0}]) == "archives[0].size"
    assert _refused("packing", archives=[archive]) == "blocks.size"
    assert _refused("packing", block_size=BLOCK - 1) == "block_size"
    assert _refused("packing", block_size=2 * BLOCK) == "blocks.size"
    assert _refused("packing", media="DVD 5") == "media"
    assert _refused("packing", priority="urgent") == "priority"
    assert _refused("packing", groups=[]) == "groups"
    assert _refused("packing", groups=[group, group]) == "groups"
    wrongs: list[dict[str, Any]] = [
        {"files": [2]},
        {"files": [1, 1]},
        {"volumes": [1, 4]},
        {"volumes": [1, 1]},
        {"spares": [1]},
        {"spares": []},
        {"spares": [3, 1]},
        {"columns": 3},
        {"columns": 256},
        {"parity": 2},
        {"volumes": []},
    ]
    for wrong in wrongs:
        assert _refused("packing", groups=[{**group, **wrong}]).startswith("groups[0]")
    own = {"volumes": [1], "spares": [], "columns": 200, "parity": 57, "files": [1]}
    assert _refused("packing", groups=[own]) == "groups[0]"


def test_the_build_is_named_by_what_is_built_not_by_its_layout() -> None:
    packing = SAMPLES["packing"]
    assert isinstance(packing, PackingList)
    moved = tuple(dataclasses.replace(file, volume=3) for file in packing.archives)
    again = dataclasses.replace(packing, edition=2, media="lto9", archives=moved, capacity=1, created_ns=0)
    assert again.build == packing.build
    other = dataclasses.replace(packing.archives[0], sha256=_SHA[0])
    assert dataclasses.replace(packing, archives=(other, packing.archives[1])).build != packing.build
    assert [packing.path(n) for n in range(3)] == [
        "data/archives/000001.7z.age",
        "data/archives/000002.7z.age",
        "data/parity/000001.par",
    ]
    assert [packing.on_volume(n) for n in (1, 2, 3)] == [[0], [1], [2]]
    assert packing.volume_bytes(2) == BLOCK + 1
    assert packing.volume_label(3) == "HQ1_000042_V003"


def test_a_key_on_a_card_has_one_spelling_and_a_time() -> None:
    key = decode(SAMPLES["card"].payload())["keys"][0]
    der = base64.b64decode(key["public"])
    assert _refused("card", keys=[]) == "keys"
    assert _refused("card", keys=[key, key]) == "keys"
    assert _refused("card", keys=[{**key, "until": key["from"]}]) == "keys[0].until"
    spelt = [key["public"] + "\n", key["public"].replace("=", ""), key["public"] + "=", "\u0661" * 60, "AAAA"]
    assert key["public"].endswith("w=")
    spelt += [f"{key['public'][:-2]}{spare_bits}=" for spare_bits in "xyz"]
    for public in spelt:
        assert _refused("card", keys=[{**key, "public": public}]) == "keys[0].public"
    for other in (der[:-1], der + b"\0", b"", bytes(100)):
        assert _refused("card", keys=[{**key, "public": base64.b64encode(other).decode()}]) == "keys[0].public"
    for recipient in ("", "age1", RECIPIENT.upper(), RECIPIENT + "q", "age1" + "b" * 58, RECIPIENT + "\n"):
        assert _refused("card", recipient=recipient) == "recipient"


def test_only_keys_of_the_accepted_kinds_are_loaded() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa, x25519

    def der(key: Any, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
        data: bytes = key.public_key().public_bytes(Encoding.DER, form)
        return data

    for other in (
        der(rsa.generate_private_key(65537, 2048)),
        der(ec.generate_private_key(ec.SECP384R1())),
        der(x25519.X25519PrivateKey.generate()),
        ec.derive_private_key(7, ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
    ):
        with pytest.raises(Malformed):
            load_public_key(other)
    assert [key.scheme for key in KEYS[-2:]] == ["ed25519", "ecdsa-sha2-nistp256"]
    assert len(KEYS[0].fingerprint) == 79
    assert KEYS[0].fingerprint.replace(" ", "") == KEYS[0].keyid


@given(st.binary(max_size=200), st.integers(0, 90), st.integers(0, 255))
def test_any_bytes_as_a_key_raise_only_our_errors(noise: bytes, at: int, byte: int) -> None:
    for key in KEYS[-2:]:
        for data in (noise, key.der[:at] + bytes([byte]) + key.der[at + 1 :], key.der + noise, noise + key.der):
            try:
                assert load_public_key(data).der == data
            except Malformed:
                continue


def test_any_surrogate_text_is_refused_by_its_place() -> None:
    raw = SAMPLES["package"].payload().replace("Büro-Image".encode(), b"\\ud800")
    with pytest.raises(Malformed):
        PackageDefinition.parse(raw)
