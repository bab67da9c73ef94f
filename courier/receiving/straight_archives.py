"""Archives that are read from their media for an import.

Blocks are compared with the signed block table before anything in them is parsed or expanded. Large contents that are
stored as they are need that no second time: `ImportedArchive` says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import BinaryIO

from courier.media.reading import RandomMedium
from courier.receiving.archive_file import ArchiveFile, OpenArchive
from formats.blocks import BlockTable
from formats.documents.packing import PackingList
from formats.errors import DigestMismatchError, UnreadableError
from formats.streams import View

AHEAD = 6
"""So many blocks are read and compared ahead while one is used."""


@contextmanager
def archives_of(
    media: Mapping[int, RandomMedium], packing: PackingList, table: BlockTable, progress: Callable[[int], None]
) -> Iterator[OpenArchive]:
    """A function that opens an archive, by its index, on the medium that holds it.

    ``media``: by volume number; one of them is open at a time.
    """
    present: tuple[int, Callable[[str], BinaryIO]] | None = None
    with ExitStack() as stack, ThreadPoolExecutor(2, thread_name_prefix="blocks") as pool:
        medium = stack.enter_context(ExitStack())

        def open_archive(index: int) -> ArchiveFile:
            nonlocal present
            number = packing.archives[index].volume
            if present is None or present[0] != number:
                medium.close()
                present = number, medium.enter_context(media[number].files())
            try:
                source, again = (present[1](packing.path(index)) for _ in range(2))
            except (KeyError, FileNotFoundError):
                raise UnreadableError("is not on its medium", place=packing.path(index)) from None
            told = _Told(table, index, progress)
            return ArchiveFile(
                checked=CheckedFile(source, table, index, pool, told),
                unchecked=UncheckedFile(again, table.sizes[index], told),
            )

        yield open_archive


class _Told:
    """Tells the bytes of an archive that were read, each once: its ends are read several times, by several streams."""

    def __init__(self, table: BlockTable, index: int, progress: Callable[[int], None]) -> None:
        self._table, self._index, self._progress = table, index, progress
        self._told = bytearray(table.count(index))
        self._lock = Lock()

    def read(self, offset: int, size: int) -> None:
        """Tell of the blocks in which these bytes lie."""
        if not size:
            return
        first, last = offset // self._table.block_size, (offset + size - 1) // self._table.block_size
        with self._lock:
            new = [block for block in range(first, last + 1) if not self._told[block]]
            for block in new:
                self._told[block] = 1
        if new:
            self._progress(sum(self._table.length(self._index, block) for block in new))


class UncheckedFile(View):
    """The first ``size`` bytes of a file of a medium, as they are: whoever reads them compares them himself."""

    def __init__(self, source: BinaryIO, size: int, told: _Told) -> None:
        super().__init__(size)
        self._source = source
        self._told = told

    def read(self, size: int | None = -1, /) -> bytes:
        """Read ``size`` bytes, fewer where the medium ends; without a size all there is. Nothing is copied."""
        left = max(0, self.size - self._position)
        self._source.seek(self._position)
        data = self._source.read(left if size is None or size < 0 else min(size, left))
        self._told.read(self._position, len(data))
        self._position += len(data)
        return data

    def _fill(self, into: memoryview) -> int:
        self._source.seek(self._position)
        count: int = self._source.readinto(into)  # type: ignore[attr-defined]  # every binary file has it
        self._told.read(self._position, count)
        return count

    def close(self) -> None:
        """Close the file on the medium."""
        self._source.close()
        super().close()


class CheckedFile(View):
    """A file of a medium, of which only blocks with their signed digest can be read.

    Blocks are read and compared ahead by the threads of ``pool``. Raises `DigestMismatchError` for a block that
    differs, and `UnreadableError` where the medium fails or ends.
    """

    def __init__(self, source: BinaryIO, table: BlockTable, index: int, pool: ThreadPoolExecutor, told: _Told) -> None:
        super().__init__(table.sizes[index])
        self._source = source
        self._table = table
        self._index = index
        self._pool = pool
        self._told = told
        self._lock = Lock()
        self._count = table.count(index)
        self._block = -2  # before any that could follow it
        self._data = b""
        self._ahead: deque[tuple[int, Future[bytes]]] = deque()

    def _fill(self, into: memoryview) -> int:
        block, within = divmod(self._position, self._table.block_size)
        piece = memoryview(self._at(block))[within : within + len(into)]
        into[: len(piece)] = piece
        return len(piece)

    def _at(self, block: int) -> bytes:
        if block != self._block:
            while self._ahead and self._ahead[0][0] != block:
                self._ahead.popleft()[1].cancel()
            # Who goes elsewhere may want no more than the one block: the header of the archive, or a member.
            ahead = AHEAD if block == self._block + 1 else 0
            self._fetch_ahead(block, max(1, ahead))
            self._data = self._ahead.popleft()[1].result()
            self._block = block
            self._told.read(block * self._table.block_size, len(self._data))
            self._fetch_ahead(block + 1, ahead)
        return self._data

    def _fetch_ahead(self, block: int, most: int) -> None:
        following = self._ahead[-1][0] + 1 if self._ahead else block
        while following < self._count and len(self._ahead) < most:
            self._ahead.append((following, self._pool.submit(self._load, following)))
            following += 1

    def _load(self, block: int) -> bytes:
        length, place = self._table.length(self._index, block), f"block {block}"
        with self._lock:
            try:
                self._source.seek(block * self._table.block_size)
                data = self._source.read(length)
            except OSError as error:
                raise UnreadableError(error.strerror or str(error), place=place) from error
        if not self._table.is_good(self._index, block, data):
            raise DigestMismatchError("does not have its signed digest", place=place)
        return data

    def close(self) -> None:
        """Close the file on the medium."""
        while self._ahead:
            self._ahead.pop()[1].cancel()
        with self._lock:
            self._source.close()
        super().close()
