"""Repairing a parcel at its receiver: from parity first, then by blocks that the sender is asked for.

Blocks of an answer go into the spool only if they have their signed digest, like those of any medium. Each part of an
answer is useful by itself; parts may come in any order and any number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, NotFoundError, RefusedError, explain
from courier.files import naming_space, path_text, write_atomic
from courier.parcel.base_contents import BaseContents
from courier.parcel.block_table import PART_SUFFIX
from courier.parcel.import_checks import refused_here
from courier.parcel.notices import check_not_recalled
from courier.parcel.parity_repair import BlockAt, ParcelParity, blocks_to_request
from courier.parcel.states import ReceivedState
from courier.parcel.transitions import ASKED, REPAIRED, log_entry
from courier.receiving.complete import complete_parcel
from courier.receiving.fetched_bases import base_contents, missing_base_blocks, take_base_blocks
from courier.receiving.mend import mend_spool, missing_blocks
from courier.receiving.parcel_status import ParcelStatus, find_build, status_of
from courier.receiving.spool import Spool
from courier.receiving.spools_lock import alone_with_spool, message_alone_with_spool
from courier.site.catalog import parcels, sites
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue, withdraw_request
from courier.text import plural
from formats.documents.repair import PART_KIND, REQUEST_TYPE, RepairPart, RepairRequest, file_blocks
from formats.envelope import MAX_ENVELOPE, Envelope, parse_envelope
from formats.errors import FormatError, TooLargeError


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaired:
    """What `repair_parcel` did: blocks that it mended from parity, and the archive blocks ``left`` to be fetched.

    ``base_blocks``: how many blocks of what a delta builds on are to be fetched.
    """

    mended: int
    left: tuple[BlockAt, ...]
    status: ParcelStatus
    base_blocks: int = 0


def _spool(site: Site, parcel: str) -> tuple[Spool | None, str]:
    """The spool of a parcel that arrives (None: it was imported) and its build.

    Raises `NotFoundError` where none is begun, `RefusedError` where the parcel is refused here.
    """
    build = find_build(site, parcel)
    folder = site.incoming(parcel, build)
    status = status_of(site, parcel, build)
    if status.state == ReceivedState.REFUSED:
        check_not_recalled(site, site.trust(), parcel, status.source)
        raise refused_here(parcel)
    if Spool.exists(folder):
        return Spool.open(folder), build
    if status.state == ReceivedState.IMPORTED:
        return None, build
    raise NotFoundError(
        f"{parcel}: no volume has been received yet; any of its volumes says what it holds",
        hint="courier parcel receive MEDIUM; if all were lost, ask the sender to reissue one volume",
    )


def repair_parcel(site: Site, parcel: str) -> Repaired:
    """Mend from parity as much as can be; then import the parcel if it is complete and agreed.

    Raises `NotFoundError`, and what stands against the import.
    """
    spool, build = _spool(site, parcel)
    if spool is None:
        return Repaired(mended=0, left=(), status=status_of(site, parcel, build))
    with (
        alone_with_spool(site, spool.folder),
        naming_space(spool.folder, spool.missing_bytes, purpose=f"mending {parcel}"),
    ):
        report = mend_spool(spool)
    if report.mended:
        _log(site, parcel, "mended", f"{plural(report.mended, 'block')} mended from parity")
    status = complete_parcel(site, parcel, build)
    bases = len(missing_base_blocks(site, spool)) if Spool.exists(spool.folder) else 0
    return Repaired(mended=report.mended, left=report.left, status=status, base_blocks=bases)


def request_blocks(site: Site, parcel: str) -> tuple[RepairRequest, Envelope, int]:
    """A request for the fewest blocks with which parity mends the rest, its signed envelope, and the blocks' bytes.

    Raises `NotFoundError`, and `RefusedError` where nothing is missing.
    """
    spool, _ = _spool(site, parcel)
    wanted = blocks_to_request(ParcelParity(spool.packing), missing_blocks(spool)) if spool else ()
    bases = missing_base_blocks(site, spool) if spool else []
    if spool is None or not (wanted or bases):
        raise RefusedError(
            f"{parcel}: nothing is missing", hint=f"courier parcel show {parcel} says how it stands", code=Code.COMPLETE
        )
    request = RepairRequest(
        parcel=parcel,
        build=spool.packing.build,
        site=site.code,
        source=spool.packing.source,
        issued_ns=now(),
        files=file_blocks(
            [*((block.file + 1, block.block) for block in wanted), *((base.number, block) for base, block in bases)]
        ),
    )
    size = sum(spool.table.length(block.file, block.block) for block in wanted)
    size += sum(base.length(block) for base, block in bases)
    return request, site.sign(request.payload(), REQUEST_TYPE), size


def write_request(site: Site, envelope: Envelope, request: RepairRequest, target: Path) -> bool:
    """Write a request to a file for the operator to carry; return whether it replaced one that was there.

    Raises `RefusedError` where ``target`` exists and is no repair request of this site for the same parcel.
    """
    replaced = target.exists()
    if replaced:
        try:
            # What is no plain file (a pipe, the terminal) may have no end; no request is as large as an image.
            small = target.is_file() and target.stat().st_size <= MAX_ENVELOPE
            there = parse_envelope(target.read_bytes()) if small else None
            old = RepairRequest.parse(there.payload) if there and there.payload_type == REQUEST_TYPE else None
        except (FormatError, OSError):
            old = None
        if old is None or (old.parcel, old.site) != (request.parcel, request.site):
            what = f"a repair request for {old.parcel} by {old.site}" if old else "no repair request"
            raise RefusedError(f"{target} exists and is {what}", hint="name another file", code=Code.TARGET_EXISTS)
    write_atomic(target, envelope.encode(), readable=True)
    _log(site, request.parcel, ASKED, f"{plural(request.count, 'block')}, request written to {path_text(target)}")
    return replaced


def queue_request(site: Site, envelope: Envelope, request: RepairRequest) -> None:
    """Queue a request for the channel, in place of one for the same parcel that was not delivered yet.

    Raises `RefusedError` where no address reaches the sender.
    """
    with site.catalogue.writing() as connection:
        if not sites.addresses(connection, request.source):
            raise RefusedError(
                f"there is no network address to {request.source}",
                hint=f"write the request to a file: courier parcel repair {request.parcel} --request-out FILE",
                code=Code.NO_ADDRESS,
            )
        withdraw_request(connection, request.source, request.parcel)
        enqueue(connection, envelope, request.source)
        text = f"{plural(request.count, 'block')}, request queued for {request.source}"
        parcels.write_log(connection, log_entry(site, request.parcel, ASKED, text))


def reply_files(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """The part files at ``paths``, each with whether it was named itself, not found in a folder.

    Raises `NotFoundError` for a path without any.
    """
    found: list[tuple[Path, bool]] = []
    for path in paths:
        inside = sorted(path.glob(f"*{PART_SUFFIX}")) if path.is_dir() else [path]
        # What is no plain file (a pipe, a device) may have no end.
        files = [(file, not path.is_dir()) for file in inside if file.is_file()]
        if not files:
            raise NotFoundError(f"{path}: no answer to a repair request there", hint=f"name its {PART_SUFFIX} files")
        found += files
    return found


def apply_replies(site: Site, parcel: str, paths: Sequence[Path]) -> int:
    """Write the blocks of an answer into the spool; return how many were new. ``paths``: its parts, or folders of them.

    Parts of other parcels in a folder are passed over. A part that cannot be used does not stop the others: its error
    is raised once all have been tried. Raises `NotFoundError`, `RefusedError` or `DamagedError`.
    """
    new, ours = 0, not paths
    others: set[str] = set()
    failures: list[CourierError] = []
    for path, named in reply_files(paths):
        try:
            part = _verified_part(site, path)
            if part.parcel == parcel:
                ours = True
                new += _apply(site, part)
            elif named:
                hint = f"courier parcel repair {part.parcel} --reply {path}"
                raise RefusedError(f"{path}: an answer for {part.parcel}", hint=hint)
            else:
                others.add(part.parcel)
        except CourierError as error:
            failures.append(error)
    if failures:
        first = failures[0]
        rest = f"; {plural(new, 'block')} of other parts kept" if new else ""
        raise type(first)(f"{first.message}{rest}", hint=first.hint, code=first.code)
    if not ours:
        raise NotFoundError(
            f"no answer for {parcel} there, only for {', '.join(sorted(others))}",
            hint="courier parcel answer at the sender makes it",
        )
    return new


def _verified_part(site: Site, path: Path) -> RepairPart:
    if path.stat().st_size > MAX_ENVELOPE:
        raise explain(TooLargeError("larger than any part"), where=str(path))
    part, _ = site.trust().verify(path.read_bytes(), PART_KIND, now_ns=now(), where=str(path))
    return part


def take_repair_part(site: Site, part: RepairPart, _envelope: Envelope) -> str:
    """Take in the blocks of a part that came by network; return an empty text.

    The import follows by `courier.receiving.complete.complete_all`.
    """
    _apply(site, part)
    return ""


def _apply(site: Site, part: RepairPart) -> int:
    with site.catalogue.reading() as connection:
        rows = parcels.find_received(connection, part.parcel, part.build)
    if not rows or rows[0].source != part.source:
        raise RefusedError(
            f"an answer of {part.source} for {part.parcel}, of which that build does not arrive here",
            hint="receive a volume of the parcel first; if it was discarded, its volumes are received anew",
            code=Code.UNKNOWN_PARCEL,
        )
    folder = site.incoming(part.parcel, part.build)
    if rows[0].state == ReceivedState.REFUSED or not Spool.exists(folder):
        return 0
    root, purpose = site.home / "parcels" / "in", f"writing an answer for {part.parcel}"
    with message_alone_with_spool(site, folder), naming_space(root, lambda: len(part.data), purpose=purpose):
        spool = Spool.open(folder)
        bases = base_contents(site, spool)
        _check_fits(spool, bases, part)
        new, wrong = _fill(spool, bases, part)
    if new:
        text = f"{plural(new, 'block')} from {part.source} (part {part.part} of {part.of})"
        _log(site, part.parcel, REPAIRED, text)
    if wrong:
        raise DamagedError(
            f"{part.parcel}: {plural(wrong, 'block')} of the answer (part {part.part} of {part.of}) not as in the "
            "signed packing list, and not kept",
            hint=f"ask again: courier parcel repair {part.parcel} --from-network; tell {part.source} of it",
            code=Code.WRONG_BLOCKS,
        )
    return new


def _check_fits(spool: Spool, bases: BaseContents, part: RepairPart) -> None:
    archives, total = len(spool.packing.archives), 0
    for file in part.files:
        index, base = file.archive - 1, bases.find(file.archive)
        if base is not None and file.spans[-1][1] < base.blocks:
            total += sum(base.length(block) for block in file.blocks())
            continue
        if index >= archives or file.spans[-1][1] >= spool.table.count(index):
            raise RefusedError(f"{part.parcel} has no such block of archive {file.archive}", hint="ask the sender")
        total += sum(spool.table.length(index, block) for block in file.blocks())
    if total != len(part.data):
        raise RefusedError(
            f"{part.parcel}: an answer of {len(part.data)} bytes, its blocks have {total}", hint="ask again"
        )


def _fill(spool: Spool, bases: BaseContents, part: RepairPart) -> tuple[int, int]:
    """Write the blocks of a part; return how many were new, and how many wrong."""
    at = new = wrong = 0
    data = memoryview(part.data)
    for file in part.files:
        index, base = file.archive - 1, bases.find(file.archive)
        if base is not None:
            length = sum(base.length(block) for block in file.blocks())
            new += take_base_blocks(spool, base, file, data[at : at + length])
            at += length
            continue
        with spool.filling(index) as filling:
            for block in file.blocks():
                length = spool.table.length(index, block)
                if not filling.have[block]:
                    good = filling.write(block, data[at : at + length])
                    new, wrong = new + good, wrong + (not good)
                at += length
    return new, wrong


def _log(site: Site, parcel: str, event: str, text: str) -> None:
    with site.catalogue.writing() as connection:
        parcels.write_log(connection, log_entry(site, parcel, event, text))
