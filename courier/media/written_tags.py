"""What was written to a medium, file by file, in a form in which the medium can be compared with it.

A file that is put on a medium is known to be the one that was signed before its bytes leave. What is left to prove is
that the medium gives those very bytes back; for that SHA-256 need not run over them again. Each file gets a tag of
Poly1305 (RFC 8439) under a key of its own, drawn at random when it is written and forgotten after it is read back. Of
files under 4 GiB no two, whoever made them without that key, have the same tag but with a probability below 2 to the
power of -75.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.poly1305 import Poly1305

_KEY = 32


class Tag:
    """The tag of a stream under a key that nobody else has."""

    def __init__(self, key: bytes | None = None) -> None:
        self.key = secrets.token_bytes(_KEY) if key is None else key
        self.count = 0
        self._work = Poly1305(self.key)

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._work.update(data)
        self.count += len(data)

    def finish(self) -> bytes:
        """The tag of all bytes."""
        return self._work.finalize()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    key: bytes
    tag: bytes
    size: int


class WrittenTags:
    """The tags of the files that were written to a medium, by their paths."""

    def __init__(self) -> None:
        self._files: dict[str, _Written] = {}

    def put(self, path: str, tag: Tag) -> None:
        """Keep the tag of a file that was handed on whole, from its begin to its end."""
        self._files[path] = _Written(key=tag.key, tag=tag.finish(), size=tag.count)

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def comparing(self, path: str) -> tuple[Callable[[bytes], None], Callable[[], bool]]:
        """What takes the bytes of a file as they are read back, and what says at their end if they are the same."""
        written = self._files[path]
        tag = Tag(written.key)
        return tag.update, lambda: (tag.count, tag.finish()) == (written.size, written.tag)
