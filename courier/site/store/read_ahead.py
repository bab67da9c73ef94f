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


class ReadAhead:
    """What each thread has read ahead. Nobody's reading changes what another thread finds.

    What was read ahead is given once, and only if it has its SHA-256: where the head of a record is damaged, or another
    process has put a content right since, the index alone tells where its bytes are.
    """

    def __init__(self) -> None:
        self._threads = threading.local()

    def read(self, source: BinaryIO, place: Place) -> bytes:
        """The content at ``place`` of its pack, and with it those that follow, if it follows the one read last.

        It is not compared with its SHA-256.
        """
        after = getattr(self._threads, "after", None)
        self._threads.contents = {}
        source.seek(place.offset)
        if after != (place.pack, place.offset):
            data = source.read(place.length)
            end = place.offset + place.length
        else:
            piece = source.read(max(place.length, _AHEAD))
            data = piece[: place.length]
            self._threads.contents, taken = _records(piece, place.length)
            end = place.offset + taken
        self._threads.after = place.pack, end + HEADER.size
        return data

    def take(self, digest: bytes) -> bytes | None:
        """A content that was read ahead and is good, which is forgotten with that; else None."""
        contents: dict[bytes, bytes] | None = getattr(self._threads, "contents", None)
        data = contents.pop(digest, None) if contents else None
        return data if data is not None and hashlib.sha256(data).digest() == digest else None

    def forget(self) -> None:
        """Forget what every thread has read ahead: the packs change."""
        self._threads = threading.local()


def _records(piece: bytes, at: int) -> tuple[dict[bytes, bytes], int]:
    """The contents of the whole records of ``piece`` from ``at`` on, by SHA-256, and where they end."""
    found: dict[bytes, bytes] = {}
    while at + HEADER.size <= len(piece):
        digest, length = HEADER.unpack_from(piece, at)
        end = at + HEADER.size + length
        if length > LARGEST or end > len(piece):
            break
        found[digest] = piece[at + HEADER.size : end]
        at = end
    return found, at
