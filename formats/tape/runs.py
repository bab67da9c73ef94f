"""A run of labels: the records between two tape marks, as far as they can be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from formats.errors import FormatError, UnreadableError
from formats.tape.drive import BLOCK, Drive, EndOfTapeError
from formats.tape.labels import MAX_RECORDS, FileLabel, find_file_label
from formats.tape.records import RECORD


@dataclass(kw_only=True, slots=True)
class LabelRun:
    """The records between two marks. ``foreign``: too many, or too long, for labels; ``ended``: the recording is."""

    records: list[bytes] = field(default_factory=list)
    unreadable: bool = False
    foreign: bool = False
    ended: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing at all stands before the mark."""
        return not (self.records or self.unreadable or self.foreign)

    def file(self) -> FileLabel | None:
        """The label of a file, if it is here and good."""
        try:
            return find_file_label(self.records)
        except FormatError:
            return None


def read_labels(drive: Drive) -> LabelRun:
    """Read labels up to and with the next mark; of a run that cannot be labels, no more than tells so."""
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
