"""Reading packs ahead: contents that are read one after the other, as they were packed, take one read for many.

A content costs some 100 microseconds to find in the index and to open its pack for, and a few to cut out of a piece of
the pack that is in memory. Packages are added, planned, built and exported in the order of their listings, in which
their small contents were packed too.
"""

from __future__ import annotations

import hashlib
import threading
from typing import BinaryIO

from courier.site.store.pack_file import HEADER, LARGEST
from courier.site.store.pack_index import Place

_AHEAD = 1 << 20
"""Bytes of a pack that are read at once."""


class _Piece:
    """What a thread has read of a pack: ``data`` from byte ``offset`` of ``pack`` on."""

    __slots__ = ("at", "data", "end", "offset", "pack")

    def __init__(self, pack: str, offset: int, data: bytes, at: int) -> None:
        self.pack, self.offset, self.data = pack, offset, data
        self.at = self.end = at
        """Where in ``data`` the record after the last that was given begins; and where the last whole one ends, once
        all of them were looked at."""


class ReadAhead:
    """What each thread has read ahead. Nobody's reading changes what another thread finds.

    What was read ahead is given once, in the order in which it was packed, and only if it has its SHA-256: where the
    head of a record is damaged, or another process has put a content right since, the index alone tells where its bytes
    are.
    """

    def __init__(self) -> None:
        self._threads = threading.local()

    def read(self, source: BinaryIO, place: Place) -> bytes:
        """The content at ``place`` of its pack, and with it those that follow, if it follows the one read last.

        It is not compared with its SHA-256.
        """
        last: _Piece | None = getattr(self._threads, "piece", None)
        follows = last is not None and (place.pack, place.offset) == (last.pack, last.offset + last.end + HEADER.size)
        source.seek(place.offset)
        data = source.read(max(place.length, _AHEAD) if follows else place.length)
        self._threads.piece = _Piece(place.pack, place.offset, data, min(place.length, len(data)))
        return data[: place.length]

    def take(self, digest: bytes) -> bytes | None:
        """A content that was read ahead and is good, which is forgotten with that; else None."""
        piece: _Piece | None = getattr(self._threads, "piece", None)
        if piece is None:
            return None
        data, at = piece.data, piece.at
        last = len(data) - HEADER.size
        while at <= last:
            found, length = HEADER.unpack_from(data, at)
            begin = at + HEADER.size
            end = begin + length
            if length > LARGEST or end > len(data):
                break
            at = end
            if found == digest:
                content = data[begin:end]
                if hashlib.sha256(content).digest() != digest:
                    return None
                piece.at = piece.end = end
                return content
        piece.end = at
        return None

    def forget(self) -> None:
        """Forget what every thread has read ahead: the packs change."""
        self._threads = threading.local()
