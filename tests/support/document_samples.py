"""Documents to test with: a strategy for every kind of signed document, and one plain sample of each."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
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
from formats.names import MAX_VERSION

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
versions = st.integers(1, MAX_VERSION)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
packages = st.builds(lambda site, n: f"{site}{n:05X}", sites, st.integers(0, 0xFFFFF))


@st.composite
def summaries(draw: st.DrawFn) -> ListingSummary:
    size = draw(counts)
    holes = draw(st.integers(0, size))
    return ListingSummary(sha256=draw(digests), entries=draw(counts), files=draw(counts), bytes=size, holes=holes)


@st.composite
def parcels(draw: st.DrawFn) -> tuple[str, str]:
    site = draw(sites)
    return f"{site}-{draw(st.integers(0, 999_999)):06d}", site


@st.composite
def definitions(draw: st.DrawFn) -> PackageDefinition:
    return PackageDefinition(
        package=draw(packages),
        version=draw(versions),
        name=draw(names),
        site=draw(sites),
        created_ns=draw(times),
        issued_ns=draw(times),
        listing=draw(summaries()),
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
            draw(st.lists(st.builds(PackageRef, package=packages, version=versions, listing=digests), max_size=3))
        ),
        carrier=draw(names),
        tracking=draw(names),
        seals=draw(st.dictionaries(st.integers(1, volumes), names, max_size=4)),
    )


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    parcel, source = draw(parcels())
    outcomes = st.builds(
        ReceiptPackage, package=packages, version=versions, listing=digests, outcome=st.sampled_from(Outcome)
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
        encrypted=draw(st.booleans()),
        block_size=block_size,
        archives=archives,
        parity=parity,
        groups=groups,
        contents=TableRef(size=draw(counts), sha256=draw(digests)),
        blocks=TableRef(size=total * 32, sha256=draw(digests)),
    )


SHA = [f"{n:02x}" * 32 for n in range(6)]
SAMPLES: dict[str, Document] = {
    "package": PackageDefinition(
        package="HQ100001",
        version=3,
        name="Büro-Image",
        site="HQ1",
        created_ns=1_795_000_000_123_456_789,
        issued_ns=1_795_000_000_123_456_789,
        listing=ListingSummary(sha256=SHA[0], entries=5, files=3, bytes=10_000_000_000, holes=8_192),
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
        encrypted=True,
        block_size=BLOCK,
        archives=(
            FileRecord(number=1, size=3 * BLOCK, sha256=SHA[1], volume=1),
            FileRecord(number=2, size=BLOCK + 1, sha256=SHA[2], volume=2),
        ),
        parity=(FileRecord(number=1, size=BLOCK, sha256=SHA[3], volume=3),),
        groups=(ParityGroup(volumes=(1, 2), spares=(3,), columns=2, parity=1, files=(1,)),),
        contents=TableRef(size=1000, sha256=SHA[4]),
        blocks=TableRef(size=6 * 32, sha256=SHA[5]),
    ),
    "label": VolumeLabel(
        parcel="HQ1-000042",
        source="HQ1",
        number=2,
        of=3,
        packing_list=SHA[1],
        issued_ns=0,
        tags=(("RESTORE.txt", SHA[2]),),
    ),
    "notice": ShipNotice(
        parcel="HQ1-000042",
        source="HQ1",
        destinations=("BR1",),
        issued_ns=-1,
        packing_list=SHA[1],
        build=SHA[2],
        volumes=3,
        priority="high",
        packages=(PackageRef(package="HQ100001", version=3, listing=SHA[0]),),
        carrier="Post",
        tracking="X1",
        seals={1: "A", 3: "B"},
    ),
    "receipt": Receipt(
        parcel="HQ1-000042",
        source="HQ1",
        destination="BR1",
        build=SHA[2],
        packing_list=SHA[1],
        issued_ns=1_795_000_000_000_000_000,
        packages=(ReceiptPackage(package="HQ100001", version=3, listing=SHA[0], outcome=Outcome.IMPORTED_OLDER),),
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
