"""What a labelled tape is and holds, without reading the data of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from formats.errors import UnreadableError
from formats.tape.drive import Drive, EndOfTapeError
from formats.tape.index import IndexEntry
from formats.tape.labels import VolumeLabel, find_volume_label
from formats.tape.reader import TapeReader
from formats.tape.runs import read_labels


@dataclass(frozen=True, kw_only=True, slots=True)
class TapeScan:
    """What the labels of one reel say. ``volume`` is None where its label is garbled.

    ``files`` are the payload files that labels or an index name, in writing order. ``continues`` says that the last one
    continues on another reel. ``findings`` name what was damaged, a line each.
    """

    volume: VolumeLabel | None
    files: tuple[IndexEntry, ...]
    continues: bool
    findings: tuple[str, ...]


def walk_volume(
    drive: Drive, *, next_reel: Callable[[int], Drive | None] | None = None, known: Sequence[IndexEntry] = ()
) -> Iterator[tuple[str, int, BinaryIO]]:
    """(path, size, stream) of every payload file on the tape in the drive, from its start: `TapeReader.walk`."""
    return TapeReader(drive, next_reel=next_reel, known=known).walk()


def scan_volume(drive: Drive) -> TapeScan:
    """Rebuild a lost or damaged index from the labels of the reel in the drive; the data are not read.

    Raises what `TapeReader.walk` raises.
    """
    reader = TapeReader(drive)
    for _ in reader.walk():
        pass
    listed = {entry.number: entry for entry in reader.index.files} if reader.index else {}
    files = {**listed, **reader.seen}
    for number, entry in listed.items():
        if files[number].sha256 is None and files[number].path == entry.path:
            files[number] = entry
    return TapeScan(
        volume=reader.volume,
        files=tuple(files[number] for number in sorted(files)),
        continues=reader.continues,
        findings=tuple(reader.findings),
    )


def read_volume_label(drive: Drive) -> VolumeLabel:
    """Rewind, and say by the first labels which reel is in the drive.

    Raises `EndOfTapeError` for a blank tape, `UnknownFormatError` for a labelled tape of another program,
    `MalformedError` for any other tape and for a garbled label, `UnreadableError` for one that cannot be read.
    """
    drive.rewind()
    run = read_labels(drive)
    if run.empty and run.ended:
        raise EndOfTapeError("the tape is blank")
    if run.unreadable and not run.records:
        raise UnreadableError("the label at the start of the tape cannot be read", place="VOL1")
    return find_volume_label(run.records)
