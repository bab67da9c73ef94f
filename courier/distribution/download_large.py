"""Fetching large files by runs of blocks, over several connections: each block is compared before it is written."""

from __future__ import annotations

from collections.abc import Callable

from courier.distribution.download_connections import Connections
from courier.distribution.download_pace import WindowClosedError
from courier.distribution.download_work import Large, Piece, Segment, segments
from courier.distribution.part_file import PartFile
from courier.distribution.point_reader import read_block_table
from courier.distribution.source import Link, SourceFaultError, WrongBytesError, in_memory
from courier.distribution.source_list import MOST_WRONG
from courier.errors import DamagedError
from formats.blocks import BLOCK, BlockTable
from formats.documents.listing import FileEntry
from formats.documents.point import content_path

_PIECE = 256 << 10
"""Bytes that are asked of the pace at a time."""


class LargeFiles:
    """What one thread does with large files."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._shared = connections.shared
        self._work, self._pace = connections.work, connections.pace
        self._block = memoryview(bytearray(BLOCK))

    def begin(self, piece: Large, link: Link) -> list[Piece]:
        """Begin a file, whose block table comes from one source; the runs of blocks that it misses."""
        table = self._table(piece.entry, link)
        descriptor, fresh = self._shared.tree.open(piece.entry, table)
        file = self._shared.file_opened(piece.entry, descriptor, table)
        resumed, zeros = file.read_again(fresh=fresh, check=self._work.check)
        self._shared.was_there(resumed, zeros)
        self._shared.close_if_whole(file)
        return list(segments(file, self._shared.manner.connections))

    @staticmethod
    def _table(entry: FileEntry, link: Link) -> BlockTable:
        try:
            return read_block_table(lambda path, most: in_memory(link.fetch(path, most)), entry)
        except DamagedError as error:
            raise WrongBytesError(f"it gave a wrong block table ({error.message})") from None

    def fetch(self, piece: Segment, number: int, link: Link) -> list[Piece]:
        """Fetch blocks of a file from one source; what is left of them."""
        if not piece.file.enter():
            return []
        try:
            return self._fetch_runs(piece, number, link)
        finally:
            piece.file.leave()
            self._shared.close_if_whole(piece.file)

    def _fetch_runs(self, piece: Segment, number: int, link: Link) -> list[Piece]:
        file = piece.file
        runs = file.missing(piece.first, piece.end)
        if not runs:
            return []
        if number in file.streaming:
            # It knows no parts, and another connection gets the file from its beginning.
            self._work.postpone(piece)
            self._work.stop.wait(0.05)
            return []
        (first, end), *rest = runs
        begin, after = first * BLOCK, min(end * BLOCK, file.entry.size)
        part = link.part(content_path(file.entry.sha256), file.entry.size, begin, after)
        whole = part.begin < begin or part.end > after
        later: list[Piece] = [Segment(file=file, first=one, end=other) for one, other in rest]
        if whole and not file.begin_streaming(number):
            self._connections.drop(number)
            self._work.postpone(piece)
            return []
        try:
            if self._take_blocks(file, number, part.begin, part.end, part.read_into):
                link.finish()
            else:
                self._connections.drop(number)
        except SourceFaultError as error:
            self._connections.failed(number, error)
        except WindowClosedError:
            self._connections.wait_open(number)
        finally:
            if whole:
                file.streaming.discard(number)
        left: list[Piece] = [Segment(file=file, first=one, end=other) for one, other in file.missing(first, end)]
        return [*left, *later]

    def _take_blocks(
        self, file: PartFile, number: int, begin: int, end: int, read_into: Callable[[memoryview], None]
    ) -> bool:
        """Take the blocks of a part; those that are there already are passed over, not written again.

        Return whether the part was read to its end; it is left when the file is whole before.
        """
        at = begin
        while at < end:
            if file.is_whole:
                return False
            block = at // BLOCK
            length = file.length(block)
            if at + length > end:
                raise SourceFaultError("it sends a part that ends within a block")
            view = self._block[:length]
            filled = 0
            while filled < length:
                count = min(self._pace.take(min(length - filled, _PIECE)), length - filled)
                read_into(view[filled : filled + count])
                filled += count
            if not file.is_good(block):
                self._put(file, number, block, view)
            self._work.check()
            at += length
        return True

    def _put(self, file: PartFile, number: int, block: int, view: memoryview) -> None:
        if file.put(block, view):
            self._shared.came(number, len(view))
            return
        key = (number, block)
        file.wrong[key] = file.wrong.get(key, 0) + 1
        if file.wrong[key] >= MOST_WRONG:
            file.avoid.add(number)
        raise WrongBytesError(f"it gave wrong bytes in block {block} of {content_path(file.entry.sha256)}")
