"""A tape drive and its tape in memory, with the faults that real ones have."""

from __future__ import annotations

from collections.abc import Collection

from formats.errors import UnreadableError
from formats.tape.drive import MARK_BYTES, EndOfMediumError, EndOfTapeError


class MemoryDrive:
    """A tape of ``capacity`` bytes (None: without end), a mark counting as `MARK_BYTES`.

    ``tape`` is what is recorded: bytes for a block, None for a mark; tests may change it. Writing warns once fewer than
    ``warning`` bytes are left. ``bad`` are places on the tape (blocks and marks counted from 0) that cannot be read.
    """

    def __init__(self, *, capacity: int | None = None, warning: int = 0, bad: Collection[int] = ()) -> None:
        self.tape: list[bytes | None] = []
        self.bad = set(bad)
        self.rewinds = 0
        self._capacity = capacity
        self._warning = warning
        self._at = 0
        self._used = 0

    @property
    def used(self) -> int:
        """Bytes recorded, marks counted."""
        return sum(MARK_BYTES if item is None else len(item) for item in self.tape)

    def _record(self, item: bytes | None) -> bool:
        if self._at < len(self.tape):
            del self.tape[self._at :]
            self._used = self.used
        size = MARK_BYTES if item is None else len(item)
        if self._capacity is not None and self._used + size > self._capacity:
            raise EndOfMediumError("the end of the tape")
        self.tape.append(item)
        self._at += 1
        self._used += size
        return self._capacity is not None and self._capacity - self._used < self._warning

    def write_block(self, data: bytes | memoryview) -> bool:
        """See `Drive.write_block`."""
        if not data:
            raise ValueError("a block has a byte at least")
        return self._record(bytes(data))

    def write_mark(self, count: int = 1) -> None:
        """See `Drive.write_mark`."""
        for _ in range(count):
            self._record(None)

    def read_block(self, limit: int) -> bytes | None:
        """See `Drive.read_block`."""
        if self._at >= len(self.tape):
            raise EndOfTapeError("nothing more is recorded")
        number = self._at
        self._at += 1
        item = self.tape[number]
        if number in self.bad:
            raise UnreadableError("the drive cannot read it", place=f"place {number} on the tape")
        if item is not None and len(item) > limit:
            raise UnreadableError(
                f"a block of {len(item)} bytes, longer than {limit}", place=f"place {number} on the tape"
            )
        return item

    def skip_run(self) -> None:
        """See `Drive.skip_run`."""
        while self._at < len(self.tape):
            self._at += 1
            if self.tape[self._at - 1] is None:
                return
        raise EndOfTapeError("nothing more is recorded")

    def rewind(self) -> None:
        """See `Drive.rewind`."""
        self._at = 0
        self.rewinds += 1
