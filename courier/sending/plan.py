"""The sender's journey, first step: plan a parcel out of the store, for a medium and its destinations.

A plan is a value: ``--dry-run`` prints it, `courier.sending.build.build_parcel` consumes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import BinaryIO, Literal, cast

from courier.error_codes import Code
from courier.errors import RefusedError, UsageError
from courier.packages.find import find_package
from courier.parcel.archive_plan import Content, PlannedArchive, plan_archives
from courier.parcel.encryption import BY_NETWORK, encrypted_bytes, plain_limit
from courier.parcel.parity_plan import Redundancy
from courier.parcel.volume_layout import FixedSizes, ParcelHead, archive_cost, archive_limit, lay_out, room_for_archives
from courier.sending.archive_builder import LEVELS, looks_compressible, member_records
from courier.sending.destinations import READS, foresee
from courier.sending.readiness import Demand
from courier.site.catalog import packages, sites
from courier.site.catalog.packages import StoredPackage
from courier.site.clock import now
from courier.site.home import Site
from formats.archive import Member, archive_size
from formats.digest import sha256_hex
from formats.documents.contents import Coding, ContentsWriter, MemberRecord, PackageHeader
from formats.documents.listing import FileEntry
from formats.documents.packing import KeyWay, PackingList, Priority, TableRef
from formats.names import MAX_PARCELS, parcel_id
from formats.records import encode

Compress = Literal["auto", "none", "fast", "best"]
NO_REDUNDANCY = Redundancy()
COMPRESS: tuple[Compress, ...] = ("auto", "none", "fast", "best")


@dataclass(frozen=True, kw_only=True)
class ParcelPlan:
    """A parcel before it is built.

    ``sizes`` bound the bytes of each archive (exact where nothing is compressed); ``preview`` is the packing list
    as it would be with these sizes, its digests not known yet. ``anyway``: why it is built although the sender's
    checks speak against it (``overridden``). ``notes``: what could not be checked.
    """

    head: ParcelHead
    packages: tuple[StoredPackage, ...]
    archives: tuple[PlannedArchive, ...]
    sizes: tuple[int, ...]
    preview: PackingList
    limit: int
    level: int
    recipients: tuple[str, ...]
    anyway: str
    supersedes: str = ""
    notes: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the sizes are exact: nothing is compressed."""
        return all(m.content.coding == "store" for archive in self.archives for m in archive.members)

    @property
    def content_bytes(self) -> int:
        """Bytes of content to ship, each content once."""
        return sum(m.length for archive in self.archives for m in archive.members)

    @property
    def digest(self) -> str:
        """What tells this plan from another: the same packages for the same media, built the same way."""
        what = [
            [[p.package, p.version, p.listing.sha256] for p in self.packages],
            list(self.head.destinations),
            [self.head.media, self.head.capacity, self.head.priority, self.limit, self.level],
            [self.head.spares, str(self.head.redundancy)],
            [self.head.key, *self.recipients],
            self.supersedes,
        ]
        return sha256_hex(encode(what))


def plan_parcel(
    site: Site,
    references: Sequence[str],
    destinations: Sequence[str],
    *,
    media: str,
    capacity: int,
    compress: Compress = "auto",
    encrypt: bool | None = None,
    priority: Priority = "medium",
    spares: int = 0,
    redundancy: Redundancy = NO_REDUNDANCY,
    anyway: str = "",
    key: KeyWay = "media",
    supersedes: str = "",
) -> ParcelPlan:
    """Plan a parcel of these packages for these sites on media of ``capacity`` usable bytes.

    ``encrypt`` None: encrypted when every destination's card has a recipient. ``spares``: further volumes, of which
    any so many may be lost; ``redundancy``: parity on each medium against damage of itself.

    ``key``: how the key of an encrypted parcel comes to its destinations (`KeyWay`).

    Raises `NotFoundError` (package), `RefusedError` (a destination that is not trusted or has no address),
    `NoSpaceError` (medium too small), `UsageError`.
    """
    chosen = _choose(site, references)
    recipients = _destinations(site, destinations, encrypt=encrypt if key == "media" else True, anyway=anyway)
    if key != "media":
        recipients = (BY_NETWORK,)
    with site.catalogue.reading() as connection:
        # A likely one, for sizes: whether one is left at all is for the building to say, which may be going on.
        number = min(packages.read_counter(connection, "parcel") + 1, MAX_PARCELS)
    head = ParcelHead(
        parcel=parcel_id(site.code, number),
        source=site.code,
        name=site.settings.name,
        destinations=tuple(destinations),
        created_ns=now(),
        priority=priority,
        edition=1,
        media=media,
        capacity=capacity,
        encrypted=bool(recipients),
        spares=spares,
        redundancy=redundancy,
        key=key,
    )
    contents = list(_contents(site, chosen, compress))
    if not contents:
        raise UsageError("the packages hold no bytes at all", hint="send packages that have content")
    archives, preview, limit = _fit(site, head, chosen, contents, len(recipients))
    seen: dict[str, int] = {content.sha256: content.size for content in contents}
    notes, overridden = foresee(
        site,
        destinations,
        Demand(
            source=site.code,
            media=media,
            packages=[(one.package, one.version, one.listing.sha256) for one in chosen],
            archives=sum(file.size for file in preview.files()),
            expanded=sum(seen.values()),
            documents=READS,
        ),
        anyway=anyway,
    )
    return ParcelPlan(
        head=head,
        packages=chosen,
        archives=archives,
        sizes=tuple(file.size for file in preview.archives),
        preview=preview,
        limit=limit,
        level=LEVELS.get(compress, 0),
        recipients=recipients,
        anyway=anyway,
        supersedes=supersedes,
        notes=notes,
        overridden=overridden,
    )


def _choose(site: Site, references: Sequence[str]) -> tuple[StoredPackage, ...]:
    chosen: dict[tuple[str, int], StoredPackage] = {}
    for reference in references:
        stored = find_package(site, reference)
        chosen[stored.package, stored.version] = stored
    return tuple(chosen.values())


def _destinations(site: Site, destinations: Sequence[str], *, encrypt: bool | None, anyway: str) -> tuple[str, ...]:
    """Check that each destination can take a parcel; return the recipients to encrypt to (none: not encrypted)."""
    if not destinations or len(set(destinations)) != len(destinations):
        raise UsageError("name each destination once", hint="--to BR1 --to BR2")
    trust = site.trust()
    recipients = []
    with site.catalogue.reading() as connection:
        for code in destinations:
            if code == site.code:
                raise UsageError(f"{code} is this site", hint="name the sites that shall receive the parcel")
            recipients.append(trust.site(code).card.recipient)
            if not sites.addresses(connection, code) and not anyway:
                raise RefusedError(
                    f"there is no network address to {code}: its package definitions and ship notice could not travel",
                    hint=f"courier channel address add {code} ADDRESS; or give the reason with --anyway REASON",
                    code=Code.NO_ADDRESS,
                )
    known = tuple(recipient for recipient in recipients if recipient is not None)
    if encrypt and len(known) < len(recipients):
        without = [code for code, recipient in zip(destinations, recipients, strict=True) if recipient is None]
        raise RefusedError(
            f"the card of {', '.join(without)} has no recipient to encrypt to",
            hint="get a card made by a present release from that site, or use --no-encrypt",
            code=Code.NO_RECIPIENT,
        )
    return known if encrypt is not False and len(known) == len(recipients) else ()


def _contents(site: Site, chosen: Sequence[StoredPackage], compress: Compress) -> Iterator[Content]:
    """Every content of the packages, once, in listing order."""
    seen: set[bytes] = set()
    for stored in chosen:
        folder = f"{stored.package}-{stored.version}"
        for entry in site.store.entries(stored.listing):
            if not isinstance(entry, FileEntry) or not entry.size:
                continue
            key = bytes.fromhex(entry.sha256)
            if key in seen:
                continue
            seen.add(key)
            yield Content(
                sha256=entry.sha256,
                size=entry.size,
                mtime_ns=entry.mtime_ns,
                folder=folder,
                path=entry.path,
                coding=_coding(site, entry, compress),
            )


def _coding(site: Site, entry: FileEntry, compress: Compress) -> Coding:
    if compress == "none":
        return "store"
    with site.store.open_content(entry.sha256) as source:
        return "zstd" if looks_compressible(source, entry.size) else "store"


def _fit(
    site: Site, head: ParcelHead, chosen: Sequence[StoredPackage], contents: Sequence[Content], recipients: int
) -> tuple[tuple[PlannedArchive, ...], PackingList, int]:
    """Archives as large as suits the medium, and the layout they make.

    What every volume carries grows with the number of archives, which grows as archives shrink: so it is tried until
    both agree, each time with a little less room.
    """
    fixed = fixed_sizes(site, contents=1 << 10)
    count, total = 1, sum(content.size for content in contents)
    for _ in range(12):
        limit = archive_limit(head, room_for_archives(head, count, total, fixed))
        archives = tuple(plan_archives(contents, plain_limit(limit, recipients)))
        sizes = [_most(archive, recipients) for archive in archives]
        provisional = [member_records(a, [m.most for m in a.members]) for a in archives]
        counter = _Counter()
        write_contents(site, counter, head.parcel, chosen, provisional)
        size = encrypted_bytes(counter.count, recipients)
        # Stored sizes may differ in their number of digits from those assumed: a little more room for that.
        fixed = fixed_sizes(site, contents=size + size // 50 + 256)
        count, total = len(archives), sum(sizes)
        if archive_cost(max(sizes), head.capacity) <= room_for_archives(head, count, total, fixed):
            unknown = "0" * 64
            table = TableRef(size=fixed.contents, sha256=unknown)
            preview = lay_out(head, [(s, unknown) for s in sizes], contents=table, fixed=fixed)
            return archives, preview.packing, limit
    raise AssertionError("archives shrink until they fit or the medium is refused")


def _most(archive: PlannedArchive, recipients: int) -> int:
    members = [Member(name=m.name, size=m.most, mtime_ns=m.content.mtime_ns) for m in archive.members]
    return encrypted_bytes(archive_size(members), recipients)


class _Counter:
    """An output stream that only counts."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, data: bytes) -> int:
        self.count += len(data)
        return len(data)

    def flush(self) -> None:
        pass


def write_contents(
    site: Site,
    out: BinaryIO | _Counter,
    parcel: str,
    chosen: Sequence[StoredPackage],
    archives: Sequence[Sequence[MemberRecord]],
) -> None:
    """Write the contents of a parcel."""
    writer = ContentsWriter(cast(BinaryIO, out), parcel=parcel, packages=len(chosen), archives=len(archives))
    for stored in chosen:
        header = PackageHeader(package=stored.package, version=stored.version, name=stored.name, listing=stored.listing)
        writer.package(header, site.store.entries(stored.listing))
    for number, members in enumerate(archives, 1):
        writer.archive(number, members)
    writer.close()


def restore_script() -> bytes:
    """The stand-alone restore script, as it is put on every volume."""
    return resources.files("formats").joinpath("restore.py").read_bytes()


def fixed_sizes(site: Site, *, contents: int) -> FixedSizes:
    """Bytes of what every volume of ours carries, with contents of that size."""
    return FixedSizes(card=len(site.card_envelope), script=len(restore_script()), contents=contents)
