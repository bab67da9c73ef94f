"""Archives that are read from their media for an import: every block is compared before a byte of it is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import BinaryIO

from courier.media.reading import RandomMedium
from formats.blocks import BlockTable
from formats.documents.packing import PackingList
from formats.errors import DigestMismatchError, UnreadableError
from formats.streams import View

AHEAD = 6
"""So many blocks are read and compared ahead while one is used."""


@contextmanager
def archives_of(
    media: Mapping[int, RandomMedium], packing: PackingList, table: BlockTable, progress: Callable[[int], None]
) -> Iterator[Callable[[int], BinaryIO]]:
    """A function that opens an archive, by its index, on the medium that holds it.

    ``media``: by volume number; one of them is open at a time.
    """
    present: tuple[int, Callable[[str], BinaryIO]] | None = None
    with ExitStack() as stack, ThreadPoolExecutor(2, thread_name_prefix="blocks") as pool:
        medium = stack.enter_context(ExitStack())

        def open_archive(index: int) -> BinaryIO:
            nonlocal present
            number = packing.archives[index].volume
            if present is None or present[0] != number:
                medium.close()
                present = number, medium.enter_context(media[number].files())
            try:
                source = present[1](packing.path(index))
            except (KeyError, FileNotFoundError):
                raise UnreadableError("is not on its medium", place=packing.path(index)) from None
            return CheckedFile(source, table, index, pool, progress)

        yield open_archive


class CheckedFile(View):
    """A file of a medium, of which only blocks with their signed digest can be read.

    Blocks are read and compared ahead by the threads of ``pool``. Raises `DigestMismatchError` for a block that
    differs, and `UnreadableError` where the medium fails or ends.
    """

    def __init__(
        self, source: BinaryIO, table: BlockTable, index: int, pool: ThreadPoolExecutor, progress: Callable[[int], None]
    ) -> None:
        super().__init__(table.sizes[index])
        self._source = source
        self._table = table
        self._index = index
        self._pool = pool
        self._progress = progress
        self._lock = Lock()
        self._count = table.count(index)
        self._told = bytearray(self._count)
        self._block = -1
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
            self._fetch_ahead(block)
            self._data = self._ahead.popleft()[1].result()
            self._block = block
            if not self._told[block]:  # the ends of an archive are read several times
                self._told[block] = 1
                self._progress(len(self._data))
            self._fetch_ahead(block + 1)
        return self._data

    def _fetch_ahead(self, block: int) -> None:
        following = self._ahead[-1][0] + 1 if self._ahead else block
        while following < self._count and len(self._ahead) < AHEAD:
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
