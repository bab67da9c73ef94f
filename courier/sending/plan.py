"""Planning a parcel out of the store, for a kind of medium and its destinations.

A plan is a value: ``--dry-run`` prints it, `courier.sending.build.build_parcel` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from courier.error_codes import Code
from courier.errors import RefusedError, UsageError
from courier.packages.definitions import source_definition
from courier.packages.find import find_package
from courier.packages.vouched import check_not_contradicted
from courier.parcel.archive_plan import PlannedArchive
from courier.parcel.content_table import ContentTable
from courier.parcel.encryption import BY_NETWORK
from courier.parcel.parity_plan import Redundancy
from courier.parcel.volume_layout import LayoutRequest
from courier.progress import SILENT, Progress
from courier.sending.delta import DeltaPlan, DeltaResult, DeltaWay, plan_delta
from courier.sending.destinations import READS, check_destinations
from courier.sending.fit import Fitting
from courier.sending.held_versions import DELTA_READS
from courier.sending.package_order import package_order
from courier.sending.parcel_contents import coding_of
from courier.sending.readiness import Demand
from courier.sending.samples import Ratios, sample_ratios
from courier.site.catalog import packages, sites
from courier.site.catalog.packages import StoredPackage
from courier.site.clock import now
from courier.site.home import Site
from formats.codecs import COMPRESSIONS, Compression
from formats.digest import sha256_hex
from formats.documents.contents import ContentsGauge, ContentsWriter, KeptRuns, MemberRecord, PackageHeader
from formats.documents.listing import FileEntry
from formats.documents.packing import KeyWay, PackingList, Priority
from formats.names import MAX_PARCELS, parcel_id
from formats.records import encode

NO_REDUNDANCY = Redundancy()
_IN_MEMORY = 4 << 20
"""Bytes of compressed lines that are kept in memory; more of them, of some 40,000 files, go to a temporary file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParcelRequest:
    """A parcel that an operator asks for.

    ``packages``: references such as ``HQ100001`` or ``HQ100001:2``. ``capacity``: usable bytes of a medium of the kind
    ``media``. ``compress``: one of `COMPRESSIONS`. ``encrypt`` None: encrypted if the card of every destination has a
    recipient. ``spares``: further volumes, any of which may be lost; ``redundancy``: parity on each medium against
    damage of its own. ``key``: how the key of an encrypted parcel gets to its destinations. ``anyway``: why it is built
    although the checks object. ``supersedes``: the parcel that it replaces. ``first``: packages among these that lie on
    the first volumes. ``delta``: whether it may build on what its destinations hold.
    """

    packages: tuple[str, ...]
    destinations: tuple[str, ...]
    media: str
    capacity: int
    compress: str = "auto"
    encrypt: bool | None = None
    priority: Priority = "medium"
    spares: int = 0
    redundancy: Redundancy = NO_REDUNDANCY
    key: KeyWay = "media"
    anyway: str = ""
    supersedes: str = ""
    first: tuple[str, ...] = ()
    delta: DeltaWay = "full"


@dataclass(frozen=True, kw_only=True)
class ParcelPlan:
    """A parcel before it is built.

    ``preview`` is the packing list as it would be if every archive had its largest possible size (exact if nothing is
    compressed); the digests in it are not known yet. ``archives`` are made anew whenever they are gone through.
    ``content_bytes``: bytes of content to ship, each content once; ``packed_bytes``: the most that those members take
    which are not stored as they are. ``limit``: most bytes of an archive; ``level``: the codec's,
    0 for no compression. ``anyway``: why it is built although checks object (``overridden``). ``notes``: what could not
    be checked. ``kept``: lines of the contents document that planning compressed.
    """

    request: LayoutRequest
    packages: tuple[StoredPackage, ...]
    archives: Collection[PlannedArchive]
    preview: PackingList
    content_bytes: int
    packed_bytes: int
    limit: int
    level: int
    recipients: tuple[str, ...]
    anyway: str
    supersedes: str = ""
    notes: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()
    delta: DeltaPlan | None = None
    kept: KeptRuns | None = None

    @property
    def exact(self) -> bool:
        """Whether the sizes are exact: nothing is compressed."""
        return not self.packed_bytes

    @property
    def archive_bytes(self) -> int:
        """Most bytes of all archives together."""
        return sum(file.size for file in self.preview.archives)

    @property
    def digest(self) -> str:
        """Digest of what is built and how: two plans with the same digest make the same parcel."""
        request = self.request
        what = [
            [[p.package, p.version, p.listing.sha256] for p in self.packages],
            list(request.destinations),
            [request.media, request.capacity, request.priority, self.limit, self.level],
            [request.spares, str(request.redundancy)],
            [request.key, *self.recipients],
            self.supersedes,
            *([] if self.delta is None else [self.delta.digest]),
        ]
        return sha256_hex(encode(what))


def plan_parcel(site: Site, request: ParcelRequest) -> ParcelPlan:
    """Plan the parcel that was asked for.

    Raises `NotFoundError` (package), `RefusedError` (a destination that is not trusted, has no address or objects),
    `NoSpaceError` (medium too small, or no room at a destination), `UsageError`.
    """
    return draft_parcel(site, request).plan(request.media, request.capacity)


@dataclass(frozen=True, kw_only=True, eq=False)
class ParcelDraft:
    """What is the same in the plans of one request for any kind of medium: its packages, and each content once.

    ``contents``: those that travel, the patches of a delta among them; ``expanded``: bytes that all take when imported.
    ``told``: the contents document of the parcel, as far as it tells of the packages, and of what a delta makes.
    """

    site: Site
    request: ParcelRequest
    packages: tuple[StoredPackage, ...]
    recipients: tuple[str, ...]
    contents: ContentTable
    told: ContentsGauge
    expanded: int
    delta: DeltaResult

    @cached_property
    def ratios(self) -> Ratios | None:
        """How much the contents shrink, sampled once for all media; None where nothing is to be compressed."""
        level = COMPRESSIONS[self.request.compress].level
        return sample_ratios(self.contents, self.site.store.open_content, level=level)

    def plan(self, media: str, capacity: int) -> ParcelPlan:
        """The plan for media of a kind with so many usable bytes. Raises as `plan_parcel` does."""
        return _plan(self, replace(self.request, media=media, capacity=capacity))


def draft_parcel(site: Site, request: ParcelRequest, progress: Progress = SILENT) -> ParcelDraft:
    """Look at the contents of a parcel once, for plans for one kind of medium or several. Raises as `plan_parcel`.

    ``progress`` is told the bytes that are compared with what the destinations hold.
    """
    chosen = package_order(_choose(site, request.packages), request.first)
    recipients = _recipients(site, request)
    contents, told = _look(site, chosen, COMPRESSIONS[request.compress])
    delta = plan_delta(
        site, chosen, contents, request.destinations, way=request.delta, compress=request.compress, progress=progress
    )
    travelling = contents
    if delta.plan is not None:
        delta.plan.write(told)
        travelling = delta.plan.travelling(contents)
    if not travelling and request.spares:
        raise UsageError(
            "the packages hold no bytes that a spare volume could restore",
            hint="leave out --spare-volumes: the volume holds everything, and may be written twice",
        )
    return ParcelDraft(
        site=site,
        request=request,
        packages=chosen,
        recipients=recipients,
        contents=travelling,
        told=told,
        expanded=contents.allocated,
        delta=delta,
    )


def _plan(draft: ParcelDraft, request: ParcelRequest) -> ParcelPlan:
    site, chosen, recipients, contents = draft.site, draft.packages, draft.recipients, draft.contents
    delta = draft.delta.plan
    layout_request = _layout_request(site, request, encrypted=bool(recipients), delta=delta)
    fitting = Fitting(layout_request, contents, draft.told, recipients=len(recipients), card=len(site.card_envelope))
    fit = fitting.fit()
    demand = Demand(
        source=site.code,
        media=request.media,
        packages=[(one.package, one.version, one.listing.sha256) for one in chosen],
        archives=sum(file.size for file in fit.packing.files()),
        expanded=draft.expanded,
        documents=READS if delta is None else READS | DELTA_READS,
    )
    notes, overridden = check_destinations(site, request.destinations, demand, anyway=request.anyway)
    return ParcelPlan(
        request=layout_request,
        packages=chosen,
        archives=fit.archives,
        preview=fit.packing,
        content_bytes=fit.content,
        packed_bytes=fit.packed,
        limit=fit.limit,
        level=COMPRESSIONS[request.compress].level,
        recipients=recipients,
        anyway=request.anyway,
        supersedes=request.supersedes,
        notes=(*draft.delta.notes, *notes),
        overridden=overridden,
        delta=delta,
        kept=fit.kept,
    )


def _layout_request(site: Site, request: ParcelRequest, *, encrypted: bool, delta: DeltaPlan | None) -> LayoutRequest:
    with site.catalogue.reading() as connection:
        # The likely number, for sizes; the build, which may be of an earlier begun parcel, takes one of its own.
        number = min(packages.read_counter(connection, "parcel") + 1, MAX_PARCELS)
    return LayoutRequest(
        parcel=parcel_id(site.code, number),
        source=site.code,
        name=site.settings.name,
        destinations=request.destinations,
        created_ns=now(),
        priority=request.priority,
        edition=1,
        media=request.media,
        capacity=request.capacity,
        encrypted=encrypted,
        spares=request.spares,
        redundancy=request.redundancy,
        key=request.key,
        bases=() if delta is None else delta.refs,
    )


def _choose(site: Site, references: Sequence[str]) -> tuple[StoredPackage, ...]:
    chosen: dict[tuple[str, int], StoredPackage] = {}
    for reference in references:
        stored = find_package(site, reference)
        check_not_contradicted(site, stored)
        chosen[stored.package, stored.version] = stored
    return tuple(chosen.values())


def _recipients(site: Site, request: ParcelRequest) -> tuple[str, ...]:
    """Check that each destination can take a parcel; return the recipients to encrypt for (none: not encrypted)."""
    destinations = request.destinations
    if not destinations or len(set(destinations)) != len(destinations):
        raise UsageError("name each destination once", hint="--to BR1 --to BR2")
    trust = site.trust()
    cards = []
    with site.catalogue.reading() as connection:
        for code in destinations:
            if code == site.code:
                raise UsageError(f"{code} is this site", hint="name the sites that shall receive the parcel")
            cards.append(trust.site(code).card)
            if not sites.addresses(connection, code) and not request.anyway:
                raise RefusedError(
                    f"there is no network address to {code}: its package definitions and ship notice could not travel",
                    hint=f"courier channel address add {code} ADDRESS; or give the reason with --anyway REASON",
                    code=Code.NO_ADDRESS,
                )
    known = tuple(card.recipient for card in cards if card.recipient is not None)
    if (request.encrypt or request.key != "media") and len(known) < len(cards):
        without = [card.site for card in cards if card.recipient is None]
        raise RefusedError(
            f"the card of {', '.join(without)} has no recipient to encrypt to",
            hint="get a card made by a current release from that site, or use --no-encrypt",
            code=Code.NO_RECIPIENT,
        )
    if request.key != "media":
        return (BY_NETWORK,)
    return known if request.encrypt is not False and len(known) == len(cards) else ()


class _KeptLines(SpooledTemporaryFile[bytes]):
    """Compressed lines, as long as a plan or a draft of it refers to them."""

    def __del__(self) -> None:
        self.close()


def _look(site: Site, chosen: Sequence[StoredPackage], compression: Compression) -> tuple[ContentTable, ContentsGauge]:
    """Every content of the packages, once, in listing order; and the contents document as far as the archives."""
    contents = ContentTable()
    keep = cast(BinaryIO, _KeptLines(_IN_MEMORY))
    told = ContentsGauge(parcel=parcel_id(site.code, 1), packages=len(chosen), archives=0, keep=keep)

    def lines(stored: StoredPackage) -> Iterator[bytes]:
        for entry, line in site.store.rows(stored.listing):
            if isinstance(entry, FileEntry) and entry.size:
                contents.add(
                    sha256=entry.sha256,
                    size=entry.size,
                    mtime_ns=entry.mtime_ns,
                    path=entry.path,
                    coding=partial(coding_of, site, entry, compression),
                    holes=entry.holes,
                )
            yield line

    for stored in chosen:
        contents.folder(f"{stored.package}-{stored.version}")
        told.package(_header(site, stored, sign=False), lines(stored))
    return contents, told


def write_contents(
    site: Site, out: BinaryIO, parcel: str, plan: ParcelPlan, members: Callable[[int], Sequence[MemberRecord]]
) -> None:
    """Write the contents of a parcel: its packages with their listings, and the members of each of its archives.

    ``members`` gives those of an archive by its number. They are not asked for where they are known from the plan, as
    nothing is compressed, and their lines were kept.
    """
    count = len(plan.archives)
    writer = ContentsWriter(out, parcel=parcel, packages=len(plan.packages), archives=count, kept=plan.kept)
    for stored in plan.packages:
        writer.package(_header(site, stored, sign=True), (line for _, line in site.store.rows(stored.listing)))
    for number in range(1, count + 1):
        if not (plan.exact and writer.kept_archive(number)):
            writer.archive(number, members(number))
    if plan.delta is not None:
        plan.delta.write(writer)
    writer.close()


def _header(site: Site, stored: StoredPackage, *, sign: bool) -> PackageHeader:
    """The line of a package; ``sign``: whether a definition of this site's own is signed, or is only as long."""
    return PackageHeader(
        package=stored.package,
        version=stored.version,
        name=stored.name,
        listing=stored.listing,
        definition=source_definition(site, stored, sign=sign),
    )
