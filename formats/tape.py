"""Labelled tapes (ISO 1001, ANSI X3.27): one parcel volume as one tape, or a chain of them. Writer and reader.

The same writer and reader serve a real drive, a folder that mirrors a tape file by file, and a drive in memory, through
the five verbs of `Drive`. ``docs/tape.md`` specifies every byte. The parts: `formats.tape_records` (of 80 bytes),
`formats.tape_labels`, `formats.tape_index`, `formats.tape_writer`, `formats.tape_runs` (labels between two marks),
`formats.tape_walk` and `formats.tape_reader`, `formats.tape_stream` (a file while it is read), `formats.tape_names`
(the files of a folder).
"""

from __future__ import annotations

from formats.tape_drive import BLOCK, MARK_BYTES, Drive, EndOfMedium, EndOfTape, LostBytes
from formats.tape_index import IndexEntry, TapeIndex
from formats.tape_labels import VolumeLabel, reel_id
from formats.tape_reader import TapeScan, read_volume_label, scan_volume, walk_volume
from formats.tape_stream import TapeStream
from formats.tape_walk import TapeReader
from formats.tape_writer import TapeFile, tape_size, write_volume

__all__ = [
    "BLOCK",
    "MARK_BYTES",
    "Drive",
    "EndOfMedium",
    "EndOfTape",
    "IndexEntry",
    "LostBytes",
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
