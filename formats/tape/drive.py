"""The interface of a tape drive.

A tape is a sequence of blocks and tape marks. A drive moves forward over it; the only way back is `Drive.rewind`, to
the start. The drives are `courier.media.tape_device` and `courier.media.tape_folder`, a folder that mirrors a tape.
"""

from __future__ import annotations

from typing import Protocol

from formats.errors import NoRoomError, UnreadableError

BLOCK = 256 << 10
"""Bytes in a data block unless another size is asked for: LTO drives stream with it, and every host can read it."""
MAX_BLOCK = 4 << 20
"""Bytes in the largest data block that labels may announce."""
MARK_BYTES = 256
"""Bytes that a tape mark counts as in a capacity, which is more than a drive uses for one. In a folder that mirrors a
tape, a mark takes no room, and these bytes are for the line of ``SHA256SUMS``."""


class EndOfTapeError(UnreadableError):
    """Nothing more is recorded: the tape is blank, or the last mark has been passed. Reading on raises it again."""

    code = "end-of-tape"


class EndOfMediumError(NoRoomError):
    """The physical end of the medium: the block or mark was not written, and no other will be."""


class LostBytesError(UnreadableError):
    """Bytes ``start`` to ``end`` (exclusive) of a file could not be read; ``place`` is the file's path."""

    def __init__(self, message: str, *, place: str, start: int, end: int) -> None:
        super().__init__(f"bytes {start} to {end - 1}: {message}", place=place)
        self.start = start
        self.end = end


class Drive(Protocol):
    """A drive with a tape in it, whose position is between two blocks or marks."""

    def write_block(self, data: bytes | memoryview) -> bool:
        """Write one block of 1 byte or more; all that was recorded from here on is lost.

        Returns True as the early warning: the end of the tape is near, and what a label group needs still fits. Raises
        `EndOfMediumError`, with nothing written, and `OSError` when the drive fails.
        """

    def write_mark(self, count: int = 1) -> None:
        """Write ``count`` tape marks. Raises `EndOfMediumError` and `OSError`."""

    def read_block(self, limit: int) -> bytes | None:
        """The next block, or None for a tape mark; the tape moves past it.

        Raises `EndOfTapeError`, and `UnreadableError` for a block that is damaged or longer than ``limit`` bytes; the
        next call reads the block after it. A drive must not raise `UnreadableError` for ever.
        """

    def skip_run(self) -> None:
        """Go past the next tape mark without reading what is before it. Raises `EndOfTapeError`."""

    def rewind(self) -> None:
        """Go to the start, after making sure that all that was written is on the medium."""
