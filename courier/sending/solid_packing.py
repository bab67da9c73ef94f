"""Packing the solid groups of archives, run by run on all processors; the bytes do not depend on how many there are."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.parcel.archive_plan import PlannedMember
from courier.sending.member_source import MemberSource
from formats.codecs import SolidCodec
from formats.crc32 import combined
from formats.records import changed

MOST_THREADS = 16
"""Runs that are packed at a time at most, however many processors there are: each takes some 94 MiB of memory."""

Run = tuple[PlannedMember, ...]
"""What is packed in one go: members, or a part of a member that is longer than a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedRun:
    """A packed run: its bytes in a temporary file at its beginning, and the CRC-32 of the content of each member."""

    data: BinaryIO
    crc32s: tuple[int, ...]


def runs_of(group: Sequence[PlannedMember], codec: SolidCodec) -> list[Run]:
    """The runs of a solid group: a member longer than a run is cut, all others are one run together."""
    member = group[0]
    if member.length <= codec.run:
        return [tuple(group)]
    return [
        (changed(member, offset=member.offset + at, length=min(codec.run, member.length - at)),)
        for at in range(0, member.length, codec.run)
    ]


class SolidPacking:
    """Packs runs in threads of its own. A context manager; threads begin when there is something to pack."""

    def __init__(
        self,
        open_content: Callable[[str], BinaryIO],
        *,
        level: int,
        folder: Path,
        pieces: Callable[[MemberSource], Iterator[bytes]],
        threads: int | None = None,
    ) -> None:
        """``pieces`` reads a member to its end, and may stop that by an error; ``threads`` None: one a processor.

        ``folder`` takes temporary files of packed runs that wait for their turn, one or two for each thread.
        """
        self._open = open_content
        self._level = level
        self._folder = folder
        self._pieces = pieces
        self._threads = threads or min(_processors(), MOST_THREADS)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="pack")

    def pack(self, runs: Sequence[tuple[SolidCodec, Run]]) -> Generator[PackedRun]:
        """The runs in order; while one is used, the next are packed. Whoever takes a run closes its file.

        Raises `DigestMismatchError` for a content that is not the right one, and what opening and reading raise.
        """
        waiting: deque[Future[PackedRun]] = deque()
        try:
            for codec, run in runs:
                waiting.append(self._pool.submit(self._one, codec, run))
                if len(waiting) > self._threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                if not future.cancel():
                    future.add_done_callback(_discard)

    def _one(self, codec: SolidCodec, run: Run) -> PackedRun:
        crcs: list[int] = []
        data = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (whoever takes the run closes it)
        try:
            for packed in codec.encode_run(self._content(run, crcs), level=self._level):
                data.write(packed)
            data.seek(0)
        except BaseException:
            data.close()
            raise
        return PackedRun(data=data, crc32s=tuple(crcs))

    def _content(self, run: Run, crcs: list[int]) -> Iterator[bytes]:
        """The content of a run's members one after the other; ``crcs`` gets the CRC-32 of each."""
        for member in run:
            crc = 0
            with MemberSource(self._open(member.content.sha256), member) as source:
                for data in self._pieces(source):
                    crc = zlib.crc32(data, crc)
                    yield data
            crcs.append(crc)

    def __enter__(self) -> SolidPacking:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _discard(future: Future[PackedRun]) -> None:
    if not future.exception():
        future.result().data.close()


def joined(crcs: Sequence[int], run: int, length: int) -> int:
    """The CRC-32 of a member of ``length`` bytes, from those of its runs of ``run`` bytes."""
    whole = 0
    for number, crc in enumerate(crcs):
        whole = combined(whole, crc, min(run, length - number * run))
    return whole


def _processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
