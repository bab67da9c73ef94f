"""What the tape layout asks of a drive: five verbs, whatever stands behind them.

A tape is a sequence of blocks and tape marks. A drive moves over it in one direction; the only way back is the whole
way, `Drive.rewind`. Drives are in `formats.tape.memory` (in memory) and `courier.media.tape_folder` (a folder, a
device).
"""

from __future__ import annotations

from typing import Protocol

from formats.errors import NoRoomError, UnreadableError

BLOCK = 256 << 10
"""Bytes in a data block, unless the writer is told another size: what LTO drives stream with and every host takes."""
MAX_BLOCK = 4 << 20
"""Bytes in the largest data block that labels may announce."""
MARK_BYTES = 256
"""Bytes that a tape mark counts as where capacity is reckoned: more than a drive spends on one in the stream. In a
folder, where a mark costs nothing, this room holds the run's line of ``SHA256SUMS``."""


class EndOfTapeError(UnreadableError):
    """Nothing more is recorded: a blank tape, or the place past the last mark. Reading on raises it again."""

    code = "end-of-tape"


class EndOfMediumError(NoRoomError):
    """The physical end of the medium: the block or mark has not been written, and none will be."""


class LostBytesError(UnreadableError):
    """Bytes ``start`` to ``end`` (exclusive) of a file could not be read; ``place`` is the file's path."""

    def __init__(self, message: str, *, place: str, start: int, end: int) -> None:
        super().__init__(f"bytes {start} to {end - 1}: {message}", place=place)
        self.start = start
        self.end = end


class Drive(Protocol):
    """A drive with a tape in it, standing between two blocks or marks."""

    def write_block(self, data: bytes | memoryview) -> bool:
        """Write one block (1 byte or more) and let go of whatever stood from here on.

        True is the early warning: the end is near, what a label group needs still fits. Raises `EndOfMediumError`, with
        nothing written, and `OSError` when the drive fails.
        """

    def write_mark(self, count: int = 1) -> None:
        """Write tape marks. Raises `EndOfMediumError` and `OSError`."""

    def read_block(self, limit: int) -> bytes | None:
        """The next block, or None for a tape mark; either way the tape moves past it.

        Raises `EndOfTapeError`; `UnreadableError` for a block that is damaged or longer than ``limit`` bytes, and the
        next call goes on with the block after it. No drive raises `UnreadableError` without end.
        """

    def skip_run(self) -> None:
        """Go past the next tape mark without reading what stands before it. Raises `EndOfTapeError`."""

    def rewind(self) -> None:
        """Go to the start; when something was written, first make sure that it is on the medium."""
