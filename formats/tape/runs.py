"""Reads a run of labels: the records between two tape marks."""

from __future__ import annotations

from dataclasses import dataclass, field

from formats.errors import FormatError, UnreadableError
from formats.tape.drive import BLOCK, Drive, EndOfTapeError
from formats.tape.labels import MAX_RECORDS, FileLabel, find_file_label
from formats.tape.records import RECORD


@dataclass(kw_only=True, slots=True)
class LabelRun:
    """The records between two marks, as far as they can be read.

    ``foreign``: they are too many or too long for labels. ``ended``: the recording ends with them.
    """

    records: list[bytes] = field(default_factory=list)
    unreadable: bool = False
    foreign: bool = False
    ended: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all before the mark."""
        return not (self.records or self.unreadable or self.foreign)

    def file(self) -> FileLabel | None:
        """The label of a file, or None if there is no good one."""
        try:
            return find_file_label(self.records)
        except FormatError:
            return None


def read_labels(drive: Drive) -> LabelRun:
    """Read labels up to and including the next mark, or only until it is clear that they are not labels."""
    run = LabelRun()
    for _ in range(MAX_RECORDS + 1):
        try:
            block = drive.read_block(BLOCK)
        except EndOfTapeError:
            run.ended = True
            return run
        except UnreadableError:
            run.unreadable = True
            continue
        if block is None:
            return run
        if len(block) > RECORD:
            break
        run.records.append(block)
    run.foreign = True
    return run
