"""The codec that stores content as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from formats.codecs.codec import Codec
from formats.digest import chunks


class Store(Codec):
    """Stores content as it is."""

    name = "store"
    suffix = ""
    as_is = True
    memory = 0
    command = ()
    by_hand = ""

    def bound(self, length: int) -> int:
        """``length``, exactly."""
        return length

    def fits(self, room: int) -> int:
        """``room``, exactly."""
        return room

    def saves(self, source: BinaryIO, size: int) -> bool:
        """False: nothing becomes smaller."""
        return False

    def encode(self, pieces: Iterable[bytes], *, length: int, level: int) -> Iterator[bytes]:
        """The pieces themselves."""
        yield from pieces

    def _decode(self, source: BinaryIO, place: str) -> Iterator[bytes]:
        return chunks(source)
