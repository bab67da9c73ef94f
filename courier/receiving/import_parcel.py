"""Importing a parcel into the store, all or nothing; everything is verified as it is used.

A `Part` of its packages can be imported before the rest has come: each of them is then taken whole or not at all.

Archives are read in order. Bytes go into the store only as whole contents that have their signed SHA-256. The packages
are added to the catalogue, and the receipt is queued, in one transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, explain
from courier.packages.link_policy import check_links
from courier.parcel.contents import open_contents
from courier.parcel.custody_ledger import CustodyBook, Happened
from courier.parcel.import_checks import Admission, PackageVersion, version_error
from courier.parcel.keys import identities_for
from courier.parcel.states import ReceivedEvent
from courier.parcel.transitions import received_event
from courier.progress import SILENT, Progress
from courier.receiving.archive_file import ImportedArchive, OpenArchive, one_stream
from courier.receiving.carried import CarriedContents
from courier.receiving.delta_import import DeltaImport
from courier.receiving.delta_needs import needs_of
from courier.receiving.part import WHOLE, Part, partial_receipt
from courier.receiving.spool import Spool
from courier.receiving.vouching import Vouching, check_expansion, keep_source_definition
from courier.site.catalog import packages, parcels, points
from courier.site.catalog.packages import StoredPackage
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.site.store.content_store import Staging
from courier.site.store.key_set import KeySet
from courier.text import plural
from formats.age import Identity
from formats.documents import receipt as receipt_doc
from formats.documents.contents import ContentsReader, PackageHeader
from formats.documents.fields import PackageRef
from formats.documents.listing import FileEntry
from formats.documents.packing import PackingList
from formats.documents.receipt import Outcome, Receipt, ReceiptPackage, ReceiptVolume
from formats.errors import FormatError, UnexpectedError
from formats.holes import hole_bytes

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from sqlalchemy import Connection

_BATCH = 10_000
"""Files of which the store is asked together whether it has their contents."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedParcel:
    """What became of each package that was imported; ``left``: those of the parcel that are outstanding."""

    packages: tuple[ReceiptPackage, ...]
    left: tuple[PackageRef, ...] = ()


def expanded_bytes(site: Site, packing: PackingList, path: Path) -> int:
    """Bytes that an import will add to the store: content that is not held yet, each once.

    ``path``: the parcel's contents. While the key of the parcel has not come, it is as many as its archives have.
    """
    identities = identities_for(site, packing) if packing.encrypted else []
    if packing.key != "media" and not identities:
        return sum(file.size for file in packing.archives)
    return _new_bytes(site, packing, path, identities)


def _new_bytes(site: Site, packing: PackingList, path: Path, identities: Sequence[Identity], part: Part = WHOLE) -> int:
    seen = KeySet(32)
    total = 0
    try:
        with open_contents(site, packing, path, identities) as contents:
            for header, entries in contents.packages():
                taken = part.takes((header.package, header.version))
                files = (entry for entry in entries if taken and isinstance(entry, FileEntry))
                while batch := list(islice(files, _BATCH)):
                    lost = set(site.store.lacking((entry.sha256, entry.size) for entry in batch))
                    for entry in batch:
                        if entry.sha256 in lost and seen.add(bytes.fromhex(entry.sha256)):
                            total += entry.size - hole_bytes(entry.holes)
            for _ in contents.archives():
                pass
            section = contents.delta()
            for recipe, steps in section.recipes() if section else ():
                for _ in steps:
                    pass
                total += recipe.size  # its patch lies beside the archives while it is made
    except FormatError as error:
        raise explain(error, where=f"contents of {packing.parcel}") from None
    return total


def is_held(site: Site, packing: PackingList, path: Path) -> bool:
    """Whether the store has every package of a parcel with all its content; ``path``: the parcel's contents."""
    with site.catalogue.reading() as connection, open_contents(site, packing, path) as contents:
        for header, entries in contents.packages():
            versions = packages.versions(connection, header.package)
            held = any((stored.version, stored.listing) == (header.version, header.listing) for stored in versions)
            if not held or not site.store.has_listing(header.listing.sha256):
                return False
            files = ((entry.sha256, entry.size) for entry in entries if isinstance(entry, FileEntry) and entry.size)
            if any(site.store.lacking(files)):
                return False
    return True


def import_parcel(
    site: Site,
    spool: Spool,
    admission: Admission,
    *,
    open_archive: OpenArchive | None = None,
    progress: Progress = SILENT,
    arrived: Callable[[Connection, CustodyBook], None] = lambda _connection, _book: None,
    part: Part = WHOLE,
    executor: Executor | None = None,
) -> ImportedParcel:
    """Import a complete, admitted parcel, or a ``part`` of which all archives are here.

    Raises `RefusedError` or `DamagedError`, with the store as it was. The spool goes with the last package.
    ``open_archive`` opens an archive by its index, where that is not to be read from the spool. ``progress`` is
    told the bytes of each archive once it is staged. ``arrived`` records
    what came, in the transaction that records the import, and in the custody ledger. With an ``executor`` its workers
    unpack what is read from the spool; see `courier.receiving.import_workers`.
    """
    packing = spool.packing
    site.unlock()
    if not spool.tables_are_good:
        raise DamagedError(
            f"{packing.parcel}: a table changed on our own disk since it was received; nothing imported",
            hint="receive any volume of the parcel again: it brings the table; and check this computer's disk",
            code=Code.SPOOL_DAMAGED,
        )
    identities = identities_for(site, packing) if packing.encrypted else []
    purpose = f"importing {packing.parcel}"

    def expanded() -> int:
        return _new_bytes(site, packing, spool.contents(), identities, part)

    if packing.key != "media":
        # Before its key came nobody could tell how much the parcel holds that is new here.
        site.store.require_space(expanded(), purpose=purpose)
    with site.store.naming_space(expanded, purpose=purpose), site.store.lock(), site.store.stage() as staging:
        try:
            with open_contents(site, packing, spool.contents(), identities) as contents:
                every = _stage_listings(site, packing, contents, staging, admission, part)
                headers = [header for header in every if part.takes((header.package, header.version))]
                carried = CarriedContents(staging, headers, only=not part.is_all)
                delta = _checked_delta(site, spool, identities, staging)
                if executor is not None and open_archive is None:
                    from courier.receiving.import_workers import UnpackedArchives

                    given = UnpackedArchives(site, spool, carried, identities, delta, staging.side_folder())
                    given.stage(executor, contents, progress)
                else:
                    _stage_archives(
                        packing,
                        contents,
                        carried,
                        open_archive or one_stream(spool.open_file),
                        identities,
                        progress,
                        delta,
                    )
                _stage_made(packing, contents, carried, delta)
            carried.check_complete()
        except FormatError as error:
            lost = 0 if open_archive else _drop_bad_blocks(spool)
            raise _blocks_lost(site, packing, lost) if lost else explain(error, where=packing.parcel) from None
        outcomes = _outcomes(site, headers)
        site.catalogue.check_held()
        staging.commit()
        done = _Record(
            packing=packing,
            headers=headers,
            outcomes=outcomes,
            admission=admission,
            part=part,
            left=part.left(_refs(every)),
        )
        _record(site, done, arrived)
    if not done.left:
        site.catalogue.check_held()
        spool.remove()
    return ImportedParcel(packages=tuple(outcomes), left=done.left)


def _refs(headers: Iterable[PackageHeader]) -> Iterator[PackageRef]:
    for one in headers:
        yield PackageRef(package=one.package, version=one.version, listing=one.listing.sha256)


def _stage_listings(
    site: Site, packing: PackingList, contents: ContentsReader, staging: Staging, admission: Admission, part: Part
) -> list[PackageHeader]:
    """Stage the listings of the packages that are taken; return the headers of all packages of the parcel."""
    headers = []
    vouching = Vouching(site, packing.source)
    for header, entries in contents.packages():
        headers.append(header)
        key = header.package, header.version
        if not part.takes(key):
            deque(entries, maxlen=0)
            continue
        definition = admission.definitions.get(key)
        if definition is None or definition.listing != header.listing:
            raise UnexpectedError(
                "the parcel's contents and the package definition disagree", place=f"{header.package}:{header.version}"
            )
        vouching.check(header)
        staging.add_listing(check_links(site, entries, where=f"{header.package}:{header.version}"))
    check_expansion(site, packing, headers)
    noticed = admission.notice.packages if admission.notice else ()
    if {(h.package, h.version) for h in headers} != {(one.package, one.version) for one in noticed}:
        raise UnexpectedError("the parcel does not hold the packages that its ship notice names")
    return headers


def _checked_delta(site: Site, spool: Spool, identities: Sequence[Identity], staging: Staging) -> DeltaImport | None:
    """What makes the contents that a delta does not carry, once all that it builds on was read; None for no delta."""
    needs = needs_of(site, spool.packing, spool.contents(), identities)
    if needs is None:
        return None
    delta = DeltaImport(site, spool.packing, spool.folder, needs, staging)
    delta.check_bases()
    return delta


def _stage_made(
    packing: PackingList, contents: ContentsReader, carried: CarriedContents, delta: DeltaImport | None
) -> None:
    section = contents.delta()
    if section is not None and delta is not None:
        delta.make(section, carried)
    elif section is not None:
        raise UnexpectedError(f"{packing.parcel} builds on other versions, which its packing list does not name")


def _stage_archives(
    packing: PackingList,
    contents: ContentsReader,
    carried: CarriedContents,
    open_archive: OpenArchive,
    identities: Sequence[Identity],
    progress: Progress,
    delta: DeltaImport | None,
) -> None:
    """Stage the content of every member that is taken; one that is cut into parts grows archive by archive."""
    try:
        for number, members in contents.archives():
            index = number - 1
            if not any(carried.wants(member.sha256) for member in members):
                continue
            place = packing.path(index)
            with open_archive(index) as file:
                archive = ImportedArchive(file, identities if packing.encrypted else None)
                archive.expect(members)
                for position, member in enumerate(members):
                    if not carried.wants(member.sha256):
                        continue
                    takes = carried.take if delta is None or not delta.is_patch(member) else delta.take
                    with archive.open(position, member) as source:
                        takes(source, member, f"{place}: {member.name}")
            progress(packing.archives[index].size)
    finally:
        carried.abandon()


def held_listings(site: Site, versions: Iterable[PackageVersion]) -> Mapping[PackageVersion, str]:
    """The digest of the listing of each of these package versions that is in the store."""
    with site.catalogue.reading() as connection:
        found = ((version, packages.find(connection, *version)) for version in versions)
        return {version: stored.listing.sha256 for version, stored in found if stored is not None}


def own_numbers(site: Site, versions: Iterable[PackageVersion]) -> Mapping[str, int]:
    """The highest version that this site has given to each of these packages that is its own."""
    own = {package for package, _ in versions if package.startswith(site.code)}
    with site.catalogue.reading() as connection:
        return {package: packages.read_counter(connection, package) for package in own}


def _drop_bad_blocks(spool: Spool) -> int:
    """Forget the archive blocks that changed on our own disk since they were received; return how many."""
    lost = 0
    for index in range(len(spool.packing.archives)):
        for block in spool.bad_blocks(index):
            spool.drop_block(index, block)
            lost += 1
    return lost


def _blocks_lost(site: Site, packing: PackingList, lost: int) -> CourierError:
    """Record that our own disk lost blocks; return the error that asks for them again."""
    with site.catalogue.writing() as connection:
        text = f"{plural(lost, 'block')} changed on our own disk"
        received_event(connection, site, packing.parcel, packing.build, ReceivedEvent.SPOILT, text)
    return DamagedError(
        f"{packing.parcel}: {plural(lost, 'block')} changed on our own disk since the volumes were received; nothing "
        "imported",
        hint="receive the volumes again: only what is missing is read; and check this computer's disk",
        code=Code.SPOOL_DAMAGED,
    )


def _outcomes(site: Site, headers: list[PackageHeader]) -> list[ReceiptPackage]:
    """What becomes of each package. It is judged once more, for the store may have changed since the parcel was
    admitted.
    """
    items = [(header.package, header.version) for header in headers]
    held, numbered = held_listings(site, items), own_numbers(site, items)
    outcomes = []
    with site.catalogue.reading() as connection:
        for header in headers:
            item, listing = (header.package, header.version), header.listing.sha256
            error = version_error(item, listing, site=site.code, held=held, numbered=numbered)
            if error is not None:
                raise error
            if item in held:
                outcome = Outcome.ALREADY_HELD
            elif any(stored.version > header.version for stored in packages.versions(connection, header.package)):
                outcome = Outcome.IMPORTED_OLDER
            else:
                outcome = Outcome.IMPORTED
            outcomes.append(
                ReceiptPackage(package=header.package, version=header.version, listing=listing, outcome=outcome)
            )
    return outcomes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """What is recorded of an import: of the packages that it took, and which are ``left`` outstanding."""

    packing: PackingList
    headers: Sequence[PackageHeader]
    outcomes: Sequence[ReceiptPackage]
    admission: Admission
    part: Part
    left: tuple[PackageRef, ...]

    @property
    def event(self) -> ReceivedEvent:
        """What happened to the parcel."""
        return ReceivedEvent.PART if self.left else ReceivedEvent.IMPORTED


def _record(site: Site, what: _Record, arrived: Callable[[Connection, CustodyBook], None]) -> None:
    """Record an import and queue its receipt, in one transaction."""
    packing = what.packing
    names = ", ".join(f"{o.package}:{o.version} {o.outcome}" for o in what.outcomes)
    text = f"{names}; {plural(len(what.left), 'package')} outstanding" if what.left else names
    with site.catalogue.writing() as connection:
        book = CustodyBook(connection, site, packing.parcel)
        arrived(connection, book)
        receipt = _receipt(connection, site, what)
        moment = receipt.issued_ns
        envelope = site.sign(receipt.payload(), receipt_doc.TYPE)
        for header, outcome in zip(what.headers, what.outcomes, strict=True):
            if outcome.outcome != Outcome.ALREADY_HELD:
                packages.add(connection, _stored_package(header, what, moment))
            keep_source_definition(connection, site, packing.source, header, moment)
            points.note_import(connection, header.package, header.version, moment)
        received_event(
            connection,
            site,
            packing.parcel,
            packing.build,
            what.event,
            text,
            imported_ns=None if what.left else moment,
            receipt=envelope.encode(),
        )
        book.write(
            Happened(event="note" if what.left else "imported", note=f"imported: {text}" if what.left else names)
        )
        enqueue(connection, envelope, packing.source)


def _receipt(connection: Connection, site: Site, what: _Record) -> Receipt:
    packing = what.packing
    (row,) = parcels.find_received(connection, packing.parcel, packing.build)
    before = partial_receipt(row)
    seen = {volume.number: volume for volume in parcels.received_volumes(connection, packing.parcel, packing.build)}
    return Receipt(
        parcel=packing.parcel,
        source=packing.source,
        destination=site.code,
        build=packing.build,
        packing_list=row.packing_list,
        # The sender keeps the newest, so that each is later than the one before it.
        issued_ns=max(now(), before.issued_ns + 1) if before else now(),
        packages=(*what.part.before.values(), *what.outcomes),
        volumes=tuple(
            ReceiptVolume(
                number=number,
                received=number in seen,
                damaged_blocks=seen[number].damaged_blocks if number in seen else 0,
            )
            for number in range(1, packing.volumes + 1)
        ),
        outstanding=what.left,
        bases=packing.bases,
    )


def _stored_package(header: PackageHeader, what: _Record, moment_ns: int) -> StoredPackage:
    return StoredPackage(
        package=header.package,
        version=header.version,
        name=header.name,
        listing=header.listing,
        created_ns=what.admission.definitions[header.package, header.version].created_ns,
        added_ns=moment_ns,
        origin=what.packing.parcel,
    )
