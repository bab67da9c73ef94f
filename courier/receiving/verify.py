"""Verification, which receives nothing: media against their signed packing lists, or a parcel on our own disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from courier.errors import CourierError
from courier.media.finding import Note, find_all_media
from courier.media.reading import Medium
from courier.media.tape_reels import Ask, nobody
from courier.parcel.block_table import load_table
from courier.parcel.import_checks import Stage, judge
from courier.parcel.verdict import (
    Verdict,
    builds_on,
    check_files,
    signed_by,
    spans_text,
    spoilt,
    untrusted_packing_list,
)
from courier.parcel.volume_documents import VolumeDocuments
from courier.parcel.volume_reader import VolumeReader, bad_blocks
from courier.progress import SILENT, Progress
from courier.receiving.import_facts import import_facts
from courier.receiving.spool import PACKING_LIST, Spool
from courier.site.clock import now
from courier.site.home import Site
from courier.site.peers import read_card_file
from courier.site.trust import Trust
from formats.blocks import ranges
from formats.documents.packing import PackingList

SPOILT_HINT = "keep the media: when it is imported all is read once more, and what is bad is asked for again"
"""What to do where content that gathers here has changed on our own disk."""


def trust_of_cards(cards: Sequence[Path]) -> Trust:
    """Trust in just these cards, for a computer without a site home."""
    return Trust.of_cards(*(read_card_file(path)[1] for path in cards))


def verify_media(
    trust: Trust,
    paths: Sequence[Path],
    *,
    progress: Progress = SILENT,
    looking: Callable[[Medium, VolumeDocuments], None] = lambda _medium, _head: None,
    admit: Callable[[VolumeDocuments], Sequence[str]] = lambda _: (),
    ask: Ask = nobody,
    note: Note = lambda _: None,
) -> tuple[list[Verdict], list[tuple[str, CourierError]]]:
    """Check every byte of every volume at ``paths``.

    Returns the verdicts, and (name, error) of media that cannot be read or are not to be trusted. ``admit`` returns
    notes on a volume, and raises `RefusedError` where its parcel would not be received here, whatever is signed.
    ``progress`` is called with bytes that were read and are good, ``looking`` with each medium whose documents are
    verified. ``ask`` has a person put in the next reel of a tape, ``note`` is told what lies beside the volumes.
    """
    verdicts, failures = [], []
    for medium in find_all_media(paths, ask, note):
        try:
            with tempfile.TemporaryDirectory(prefix="courier-verify-") as scratch:
                verdicts.append(_verify(trust, medium, Path(scratch), progress, looking, admit))
        except CourierError as error:
            failures.append((medium.name, error))
    return verdicts, _together(failures)


def _together(failures: Sequence[tuple[str, CourierError]]) -> list[tuple[str, CourierError]]:
    """The media that failed, those with the same error in one entry: that a card is of the wrong site is said once."""
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
    progress: Progress,
    looking: Callable[[Medium, VolumeDocuments], None],
    admit: Callable[[VolumeDocuments], Sequence[str]],
) -> Verdict:
    reader = VolumeReader(medium, trust, scratch=scratch, now_ns=now())
    documents = reader.documents()
    looking(medium, documents)
    notes = [*admit(documents), *reader.bag_findings(documents)]
    packing, number = documents.packing, documents.label.number
    problems, damaged = list(documents.findings), 0
    if documents.blocks is not None:
        table = load_table(documents.blocks, packing)
        progress.begin(f"Verifying volume {number} of {packing.volumes}", packing.volume_bytes(number))
        bad = bad_blocks(reader, documents, table, packing.on_volume(number), progress)
        damaged = sum(len(blocks) for blocks in bad.values())
        problems += _payload_problems(reader, packing, bad)
        notes += [*reader.copy_findings(documents), *reader.tape_findings()]
    return Verdict(
        what=medium.name,
        parcel=packing.parcel,
        number=number,
        of=packing.volumes,
        bytes=packing.volume_bytes(number),
        damaged_blocks=damaged,
        problems=tuple(problems),
        notes=tuple(notes),
        reasons=(signed_by(packing), *builds_on(packing), *_label_reason(documents)),
    )


def _payload_problems(reader: VolumeReader, packing: PackingList, bad: Mapping[int, Sequence[int]]) -> list[str]:
    """What is wrong with the payload of a volume that has been read; ``bad``: its bad blocks, by file."""
    problems = [
        f"{packing.path(index)}: {spans_text(ranges(blocks))} damaged or missing" for index, blocks in bad.items()
    ]
    problems += reader.unexpected()
    if reels := reader.lacking_reels(packing, bad):
        problems.append(
            f"{reels} of its tape not given: name the folders of all reels together, or verify it in a drive, at a "
            "terminal"
        )
    return problems


def _label_reason(documents: VolumeDocuments) -> Iterator[str]:
    if documents.labelled:
        label = documents.packing.volume_label(documents.label.number)
        yield f"label and packing list belong together: {label}"


def verify_received(site: Site, parcel: str, progress: Progress = SILENT) -> Verdict | None:
    """Check what has gathered here of a parcel that arrives; None where nothing has."""
    folders = sorted((site.home / "parcels" / "in").glob(f"{parcel}-*"))
    received = [folder for folder in folders if Spool.exists(folder)]  # not what is left of one that was discarded
    if not received:
        return None
    spool = Spool.open(received[-1])
    packing = spool.packing
    errors = untrusted_packing_list(site.trust(), spool.folder / PACKING_LIST)
    reasons = [signed_by(packing), *builds_on(packing)] if not errors else []
    coming, text = _to_come(spool)
    reasons += [text] if text else []
    try:
        awaited = judge(import_facts(site, spool, hold=False), Stage.AGREE).awaiting
    except CourierError as error:
        # A site that is not trusted any more has been named by its signature.
        errors += [error] if error.message not in [known.message for known in errors] else []
    else:
        reasons += [f"awaiting {item}" for item in awaited]
    here = [spool.have(index) for index in range(len(packing.files()))]
    progress.begin(f"Verifying {parcel}", _bytes_here(packing, here))
    problems, unread, damaged = check_files(
        packing, spool.table, here, lambda index: spool.path(index).open("rb"), progress
    )
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
        errors=tuple(errors) if errors or not problems else (spoilt(parcel, SPOILT_HINT),),
        incomplete=coming > 0,
    )


def _bytes_here(packing: PackingList, here: Sequence[bytearray]) -> int:
    """Most bytes of the blocks that are here; ``here``: for each file a byte a block, 1 where it is here."""
    sizes = (file.size for file in packing.files())
    return sum(min(size, have.count(1) * packing.block_size) for size, have in zip(sizes, here, strict=True))


def _to_come(spool: Spool) -> tuple[int, str]:
    """The bytes that are still to come, and that in words; nothing where all archives are here."""
    archives = len(spool.packing.archives)
    missing = sum(not spool.state(index).whole for index in range(archives))
    if not missing:
        return 0, ""
    coming = spool.missing_bytes()
    return coming, f"{missing} of {archives} archives are not all here yet; {coming:,} bytes to come"
