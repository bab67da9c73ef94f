"""Reads the values of a 7z header one after the other, each within its limit (7zFormat.txt)."""

from __future__ import annotations

import struct

from formats.archive.header import MAX_MEMBERS
from formats.errors import MalformedError, TooLargeError


class Cursor:
    """A position in a header that moves on with every value read. Each method raises `MalformedError` past the end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that are still to be read."""
        return len(self._data) - self._at

    def take(self, size: int) -> memoryview:
        """The next ``size`` bytes."""
        if size > self.left:
            raise MalformedError("ends early", place="header")
        self._at += size
        return self._data[self._at - size : self._at]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """The next UINT64, which must be in its shortest form."""
        first = self.byte()
        extra = 8 - (first ^ 0xFF).bit_length()
        value = int.from_bytes(self.take(extra), "little") | (first & 0x7F >> extra) << 8 * extra
        if extra and not value >> 7 * extra:
            raise MalformedError("a number is not in its shortest form", place="header")
        return value

    def count(self, what: str) -> int:
        """The next number, which counts ``what``: 1 to `MAX_MEMBERS`, else `MalformedError` or `TooLargeError`."""
        value = self.number()
        if value > MAX_MEMBERS:
            raise TooLargeError(f"{value} {what}, {MAX_MEMBERS} are the limit", place="header")
        if value == 0:
            raise MalformedError(f"no {what}", place="header")
        return value

    def want(self, *values: int) -> None:
        """Pass over bytes that must be ``values``."""
        for value in values:
            found = self.byte()
            if found != value:
                raise MalformedError(f"0x{found:02x} where 0x{value:02x} is required", place="header")

    def next_is(self, value: int) -> bool:
        """Whether the next byte is ``value``; if so, it is passed over."""
        if not self.left or self._data[self._at] != value:
            return False
        self._at += 1
        return True

    def end(self) -> None:
        """Raise `MalformedError` unless all bytes have been read."""
        if self.left:
            raise MalformedError("goes on after its end", place="header")

    def values(self, count: int, code: str) -> tuple[int, ...]:
        """The next ``count`` little-endian integers of the format ``code`` of `struct`."""
        return struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize(f"<{code}")))
