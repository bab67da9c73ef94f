"""Labelled tapes (ISO 1001, ANSI X3.27): one parcel volume as one tape, or a chain of them. Writer and reader.

The same writer and reader serve a real drive, a folder that mirrors a tape file by file, and a drive in memory, through
the five verbs of `Drive`. ``docs/tape.md`` specifies every byte. The parts: `formats.tape.records` (of 80 bytes),
`formats.tape.labels`, `formats.tape.index`, `formats.tape.writer`, `formats.tape.runs` (labels between two marks),
`formats.tape.walk` and `formats.tape.reader`, `formats.tape.stream` (a file while it is read), `formats.tape.names`
(the files of a folder).
"""

from __future__ import annotations

from formats.tape.drive import BLOCK, MARK_BYTES, Drive, EndOfMediumError, EndOfTapeError, LostBytesError
from formats.tape.index import IndexEntry, TapeIndex
from formats.tape.labels import VolumeLabel, reel_id
from formats.tape.reader import TapeScan, read_volume_label, scan_volume, walk_volume
from formats.tape.stream import TapeStream
from formats.tape.walk import TapeReader
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
