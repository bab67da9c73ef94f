"""Verification without taking anything in: media against their signed packing lists, or a parcel on our own disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.errors import CourierError, Damaged, NotFound
from courier.media.reading import Medium, find_all_media
from courier.media.tape_reels import Ask, nobody
from courier.parcel.block_table import load_table
from courier.parcel.notices import judge
from courier.parcel.volume_documents import Head
from courier.parcel.volume_reader import VolumeReader
from courier.receiving.spool import PACKING_LIST, Spool
from courier.sending.outgoing_parcel import open_outgoing, packing_name
from courier.site.clock import now
from courier.site.home import Site
from courier.site.peers import read_card_file
from courier.site.trust import KnownSite, Trust
from formats.blocks import BlockTable, ranges
from formats.documents import packing as packing_doc
from formats.documents.packing import PackingList
from formats.errors import FormatError
from formats.records import format_time


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What verification found of one medium or parcel.

    ``problems`` is empty when all is well; ``reasons`` say what the verdict rests on, ``notes`` what is worth knowing
    although the content is good. ``bytes`` are those there are to check; ``incomplete``: more of an arriving parcel is
    to come. ``errors``: those of the problems that are no damage of content, with what to do about each.
    """

    what: str
    parcel: str
    number: int
    of: int
    bytes: int
    damaged_blocks: int
    problems: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    errors: tuple[CourierError, ...] = ()
    incomplete: bool = False


def trust_of_cards(cards: Sequence[Path]) -> Trust:
    """Trust in just these cards, for a computer without a site home."""
    known = {}
    for path in cards:
        _, card = read_card_file(path)
        known[card.site] = KnownSite(card=card)
    return Trust(own=None, known=known)


def verify_media(
    trust: Trust,
    paths: Sequence[Path],
    *,
    progress: Callable[[int], None] = lambda _: None,
    looking: Callable[[Medium, Head], None] = lambda _medium, _head: None,
    admit: Callable[[Head], Sequence[str]] = lambda _: (),
    ask: Ask = nobody,
) -> tuple[list[Verdict], list[tuple[str, CourierError]]]:
    """Check every volume at ``paths``, all of it; return verdicts, and errors of media that are not to be trusted.

    ``admit`` raises `Refused` for a parcel that would not be taken here, whatever its signatures; it returns notes.
    ``ask`` has a person put in the next reel of a tape.
    """
    verdicts, failures = [], []
    for medium in find_all_media(paths, ask):
        try:
            with tempfile.TemporaryDirectory(prefix="courier-verify-") as scratch:
                verdicts.append(_verify(trust, medium, Path(scratch), progress, looking, admit))
        except CourierError as error:
            failures.append((medium.name, error))
    return verdicts, _together(failures)


def _together(failures: Sequence[tuple[str, CourierError]]) -> list[tuple[str, CourierError]]:
    """Media that failed, those with the same error as one: the card of the wrong site is said once."""
    found: dict[str, tuple[list[str], CourierError]] = {}
    for name, error in failures:
        found.setdefault(error.message, ([], error))[0].append(name)
    return [
        (", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""), error)
        for names, error in found.values()
    ]


def _verify(
    trust: Trust,
    medium: Medium,
    scratch: Path,
    progress: Callable[[int], None],
    looking: Callable[[Medium, Head], None],
    admit: Callable[[Head], Sequence[str]],
) -> Verdict:
    reader = VolumeReader(medium, trust, scratch=scratch, now_ns=now())
    head = reader.head()
    looking(medium, head)
    notes = [*admit(head), *reader.bag_findings(head)]
    packing, number = head.packing, head.label.number
    problems = list(head.findings)
    damaged = 0
    if head.blocks is not None:
        table = load_table(head.blocks, packing)
        bad = {index: set(range(table.count(index))) for index in packing.on_volume(number)}
        for read in reader.blocks(packing, number, lambda _index, _block: True):
            if read.data is not None and table.is_good(read.index, read.block, read.data):
                bad[read.index].discard(read.block)
                progress(len(read.data))
        damaged = sum(len(blocks) for blocks in bad.values())
        for index, blocks in bad.items():
            if blocks:
                problems.append(f"{packing.path(index)}: {spans_text(ranges(blocks))} damaged or missing")
        problems += reader.unexpected()
        if reels := reader.lacking_reels(packing, bad):
            problems.append(
                f"{reels} of its tape not given: name the folders of all reels together, or verify it "
                "in a drive, at a terminal"
            )
        notes += [*reader.copy_findings(head), *reader.tape_findings()]
    return Verdict(
        what=medium.name,
        parcel=packing.parcel,
        number=number,
        of=packing.volumes,
        bytes=packing.volume_bytes(number),
        damaged_blocks=damaged,
        problems=tuple(problems),
        notes=tuple(notes),
        reasons=(
            _signed(packing),
            *([f"label and packing list belong together: {packing.volume_label(number)}"] if head.labelled else []),
        ),
    )


def _signed(packing: PackingList) -> str:
    made = f"{format_time(packing.created_ns)[:16].replace('T', ' ')}Z"
    return f"signed by {packing.source} for {', '.join(packing.destinations)}, {made}, with a key valid then"


def spans_text(spans: Sequence[tuple[int, int]]) -> str:
    """Ranges of block numbers for people: ``blocks 1-3, 7``; the first few of many."""
    shown = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans[:8])
    more = f" and {len(spans) - 8} more ranges" if len(spans) > 8 else ""
    one = len(spans) == 1 and spans[0][0] == spans[0][1]
    return f"block{'' if one else 's'} {shown}{more}"


def verify_parcel(site: Site, parcel: str, progress: Callable[[int], None] = lambda _: None) -> Verdict:
    """Check a parcel on our own disk: the archives of one we made, or what has gathered of one that arrives."""
    received = sorted((site.home / "parcels" / "in").glob(f"{parcel}-*"))
    spool: Spool | None = None
    try:
        outgoing = open_outgoing(site, parcel)
    except NotFound:
        if not received:
            raise NotFound(f"nothing of {parcel} is here", hint="courier parcel list shows the parcels") from None
        spool = Spool.open(received[-1])
        packing, table, signed = spool.packing, spool.table, spool.folder / PACKING_LIST
        arriving = spool

        def open_file(index: int) -> BinaryIO:
            return arriving.path(index).open("rb")

        pending = [spool.have(index) for index in range(len(packing.files()))]
    else:
        packing, open_file = outgoing.packing, outgoing.files(site).open
        signed = outgoing.folder / packing_name(packing.edition)
        table = load_table(outgoing.blocks(), packing)
        pending = [bytearray(b"\1") * table.count(index) for index in range(len(packing.files()))]
    errors: list[CourierError] = []
    coming = 0
    try:
        site.trust().verify(
            signed.read_bytes(),
            PackingList.parse,
            payload_type=packing_doc.TYPE,
            signed_ns=lambda p: p.created_ns,
            now_ns=now(),
            where=signed.name,
            on_medium=True,
        )
    except CourierError as error:
        errors.append(error)
    reasons = [_signed(packing)] if not errors else []
    if spool is not None:
        missing = sum(not state.whole for state in spool.states()[: len(packing.archives)])
        if missing:
            coming = spool.missing_bytes()
            reasons += [f"{missing} of {len(packing.archives)} archives are not all here yet; {coming:,} bytes to come"]
        try:
            reasons += [f"awaiting {item}" for item in judge(site, packing, spool.editions()).awaiting]
        except CourierError as error:
            # A site that is not trusted any more has been named by its signature.
            errors += [error] if error.message not in [known.message for known in errors] else []
    problems, unread, damaged = _check_files(packing, table, pending, open_file, progress)
    errors += unread
    return Verdict(
        what=parcel,
        parcel=parcel,
        number=0,
        of=packing.volumes,
        bytes=sum(file.size for file in packing.files()) - coming,
        damaged_blocks=damaged,
        problems=(*(error.message for error in errors), *problems),
        reasons=tuple(reasons),
        errors=tuple(errors) if errors or not problems else (_spoilt(parcel, made_here=spool is None),),
        incomplete=coming > 0,
    )


def _check_files(
    packing: PackingList,
    table: BlockTable,
    pending: Sequence[bytearray],
    open_file: Callable[[int], BinaryIO],
    progress: Callable[[int], None],
) -> tuple[list[str], list[CourierError], int]:
    """Read the blocks that are here: what is wrong in words, the errors with a remedy of their own, blocks damaged."""
    problems: list[str] = []
    errors: dict[str, CourierError] = {}
    damaged = 0
    for index in range(len(packing.files())):
        if not any(pending[index]):
            continue
        try:
            with open_file(index) as source:
                bad = [*_bad_blocks(source, table, index, pending[index], progress)]
        except OSError as error:
            problems.append(f"{packing.path(index)}: {error.strerror}")
        except FormatError as error:
            problems.append(f"{packing.path(index)}: {error.message}")
        except CourierError as error:
            # One key that cannot be read keeps every file from being read; it is said once.
            if errors.setdefault(error.code, error).message != error.message:
                problems.append(f"{packing.path(index)}: {error.message}")
        else:
            problems += [f"{packing.path(index)}: {spans_text(ranges(bad))} damaged"] if bad else []
            damaged += len(bad)
    return problems, [*errors.values()], damaged


def _spoilt(parcel: str, *, made_here: bool) -> Damaged:
    """The error for content of a parcel that has changed on our own disk."""
    if made_here:
        again = (
            f"what a build keeps is made again: courier parcel discard {parcel}, then write it; courier package verify"
        )
    else:
        again = "keep the media: when it is imported all is read once more, and what is bad is asked for again"
    return Damaged(f"{parcel} is not good on this computer's disk", hint=f"{again}; and check the disk")


def _bad_blocks(
    source: BinaryIO, table: BlockTable, index: int, expected: bytearray, progress: Callable[[int], None]
) -> Iterator[int]:
    for block, here in enumerate(expected):
        if here:
            source.seek(block * table.block_size)
            data = source.read(table.length(index, block))
            if not table.is_good(index, block, data):
                yield block
            progress(len(data))
