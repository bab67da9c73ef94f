"""Archives of stored members and of solid groups, put together by `ArchiveView`, with faults where asked for."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from formats.archive import Member
from formats.archive.view import ArchiveView, Span
from formats.codecs import LZMA2


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Members that follow each other: stored, or one solid group.

    ``stream`` in place of the group's own, ``lengths`` in place of the members' (both: what an attacker may claim).
    """

    members: Mapping[str, bytes]
    solid: bool = True
    stream: bytes | None = None
    lengths: Sequence[int] | None = None


def stream_of(data: bytes, *, level: int = 0) -> bytes:
    """The stream of a solid group that holds ``data``."""
    return b"".join(LZMA2.encode([data], length=len(data), level=level))


def opened(data: bytes, _number: int) -> BinaryIO:
    """What a `Span` opens for a member: ``data``."""
    return io.BytesIO(data)


def archive_of(*parts: Part) -> bytes:
    """The archive of these parts."""
    spans = []
    for part in parts:
        whole = b"".join(part.members.values())
        stream = b"" if not part.solid else stream_of(whole) if part.stream is None else part.stream
        lengths = part.lengths or [len(data) for data in part.members.values()]
        for n, (name, data) in enumerate(part.members.items()):
            packed = None if not part.solid else 0 if n else len(stream)
            spans.append(
                Span(
                    member=Member(name=name, size=lengths[n], mtime_ns=0, packed=packed),
                    crc32=zlib.crc32(data),
                    open=partial(opened, stream if part.solid else data),
                )
            )
    return ArchiveView(spans).read()
