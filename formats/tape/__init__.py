"""Labelled tapes (ISO 1001, ANSI X3.27): a parcel volume on one tape, or on a chain of tapes (reels).

The writer and the reader use a drive through the five methods of `Drive`, so that it may be a real one or a folder that
mirrors a tape. ``docs/tape.md`` specifies every byte; decision 0014 says why no library is used.

- `formats.tape.records`: the 80-character records of labels; `formats.tape.labels`: the labels;
  `formats.tape.runs`: the labels between two marks; `formats.tape.index`: the list of files on the tape
- `formats.tape.writer` writes; `formats.tape.reader` reads; `formats.tape.scan` reads labels alone;
  `formats.tape.stream` is a file while it is read
- `formats.tape.names`: how a folder that mirrors a tape names its files
"""

from __future__ import annotations

from formats.tape.drive import BLOCK, MARK_BYTES, Drive, EndOfMediumError, EndOfTapeError, LostBytesError
from formats.tape.index import IndexEntry, TapeIndex
from formats.tape.labels import VolumeLabel, reel_id
from formats.tape.reader import TapeReader
from formats.tape.scan import TapeScan, read_volume_label, scan_volume, walk_volume
from formats.tape.stream import TapeStream
from formats.tape.writer import TapeFile, tape_size, write_volume

__all__ = [
    "BLOCK",
    "MARK_BYTES",
    "Drive",
    "EndOfMediumError",
    "EndOfTapeError",
    "IndexEntry",
    "LostBytesError",
    "TapeFile",
    "TapeIndex",
    "TapeReader",
    "TapeScan",
    "TapeStream",
    "VolumeLabel",
    "read_volume_label",
    "reel_id",
    "scan_volume",
    "tape_size",
    "walk_volume",
    "write_volume",
]
