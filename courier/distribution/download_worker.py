"""One thread of a download: it takes a piece, asks a source for it, and keeps what has the right digest.

What a source does not give, or gives wrong, is left of the piece, and the next source is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from courier.distribution.download_pace import WindowClosedError
from courier.distribution.download_transfer import Transfer
from courier.distribution.download_work import Large, Piece, Segment, Small, segments
from courier.distribution.part_file import PartFile
from courier.distribution.point_reader import read_block_table
from courier.distribution.source import GoneError, Link, SourceFaultError, WrongBytesError
from courier.distribution.source_list import MOST_WRONG, told
from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, UnreachableError
from formats.blocks import BLOCK, BlockTable
from formats.documents.listing import FileEntry
from formats.documents.point import content_path

_PIECE = 256 << 10
"""Bytes that are asked of the pace at a time."""


class Worker:
    """One thread with its connections, one to each source that it asked."""

    def __init__(self, shared: Transfer) -> None:
        self._shared = shared
        self._sources, self._work, self._pace = shared.sources, shared.work, shared.manner.pace
        self._links: dict[int, Link] = {}
        self._block = memoryview(bytearray(BLOCK))

    def run(self) -> None:
        """Do pieces until there are no more."""
        try:
            while (piece := self._work.take()) is not None:
                self._work.done(*self._do(piece))
        finally:
            for number in list(self._links):
                self._drop(number)

    def _do(self, piece: Piece) -> list[Piece]:
        """Do a piece as far as one source gives it; what is left of it."""
        if isinstance(piece, Small) and piece.unchecked:
            return self._check_small(piece)
        avoid = piece.file.avoid if isinstance(piece, Segment) else piece.avoid
        number = self._choose(piece, avoid)
        if number is None:
            return [piece]
        try:
            link = self._link(number)
            match piece:
                case Small():
                    return self._fetch_small(piece, number, link)
                case Large():
                    return self._begin_large(piece, number, link)
                case Segment():
                    return self._fetch_segment(piece, number, link)
        except WindowClosedError:
            self._drop(number)
            self._work.went_on(seconds=self._pace.wait_open())
            return [piece]
        except SourceFaultError as error:
            self._failed(number, error)
            self._note(piece, number, error)
            return [piece]
        raise AssertionError

    def _choose(self, piece: Piece, avoid: set[int]) -> int | None:
        """The source to ask, or None after a wait. Raises where none is left."""
        number = self._sources.choose(avoid)
        if number is not None:
            return number
        pause = self._sources.pause(avoid)
        if pause is None:
            raise self._nobody(piece)
        if self._work.idle > self._shared.manner.retry_for:
            raise UnreachableError(
                f"nothing came for {self._work.idle:.0f} s: {told(self._sources.blames())}",
                hint="what was fetched is kept: give the same command again, with another --from where there is one",
            )
        self._work.stop.wait(min(pause + 0.01, 0.5))
        self._work.check()
        return None

    def _nobody(self, piece: Piece) -> CourierError:
        entry = _first_entry(piece)
        return DamagedError(
            f"{entry.path}: no source gives it right: {told(self._sources.blames())}",
            hint="what was fetched is kept; give the command again with another --from, or have the site that runs the "
            "point give: courier point redistribute",
            code=Code.INCOMPLETE,
        )

    def _link(self, number: int) -> Link:
        if number not in self._links:
            self._links[number] = self._shared.opened(self._sources[number].link())
        self._work.check()
        return self._links[number]

    def _drop(self, number: int) -> None:
        link = self._links.pop(number, None)
        if link is not None:
            self._shared.closed(link)

    def _failed(self, number: int, error: SourceFaultError) -> None:
        self._drop(number)
        self._work.check()  # a connection that we hung up ourselves is no fault of the source
        self._sources.failed(number, error)

    @staticmethod
    def _note(piece: Piece, number: int, error: SourceFaultError) -> None:
        """Note that a source is not to be asked for a piece again, where that is so."""
        avoid = piece.file.avoid if isinstance(piece, Segment) else piece.avoid
        if isinstance(error, GoneError):
            avoid.add(number)
        elif isinstance(error, WrongBytesError):
            if isinstance(piece, Segment):
                key = (number, piece.first)
                piece.file.wrong[key] = piece.file.wrong.get(key, 0) + 1
                count = piece.file.wrong[key]
            else:
                count = piece.wrong[number] = piece.wrong.get(number, 0) + 1
            if count >= MOST_WRONG:
                avoid.add(number)

    # --- small files ------------------------------------------------------------------------------------------------

    def _check_small(self, piece: Small) -> list[Piece]:
        missing = []
        for entry in piece.entries:
            self._work.check()
            if self._shared.tree.there(entry):
                self._shared.was_there(entry.size)
            else:
                missing.append(entry)
        return [Small(entries=missing)] if missing else []

    def _fetch_small(self, piece: Small, number: int, link: Link) -> list[Piece]:
        tree, left = self._shared.tree, piece.entries
        wanted = [entry for entry in left if entry.size]
        for entry in left:
            if not entry.size:
                tree.write(entry, memoryview(b""))
        piece.entries = wanted
        apart: list[Piece] = []
        answers = link.small(self._paced(wanted))
        done = 0
        try:
            for answer in answers:
                entry = wanted[done]
                if isinstance(answer, memoryview) and hashlib.sha256(answer).hexdigest() == entry.sha256:
                    tree.write(entry, answer)
                    self._shared.came(number, entry.size)
                else:
                    apart.append(self._apart(piece, entry, number, answer))
                done += 1
                if self._work.is_over:
                    self._work.check()
        except SourceFaultError as error:
            if done == len(wanted):
                return apart
            self._failed(number, error)
            failing = Small(entries=[wanted[done]], avoid=set(piece.avoid), wrong=dict(piece.wrong))
            self._note(failing, number, error)
            rest = Small(entries=wanted[done + 1 :], avoid=piece.avoid, wrong=piece.wrong)
            return [*apart, failing, *([rest] if rest.entries else [])]
        except WindowClosedError:
            self._drop(number)
            self._work.went_on(seconds=self._pace.wait_open())
            return [*apart, Small(entries=wanted[done:], avoid=piece.avoid, wrong=piece.wrong)]
        return apart

    def _apart(self, piece: Small, entry: FileEntry, number: int, answer: memoryview | GoneError) -> Small:
        """The piece of a file that a source does not have, or has otherwise."""
        again = Small(entries=[entry], avoid=set(piece.avoid), wrong=dict(piece.wrong))
        if isinstance(answer, memoryview):
            wrong = WrongBytesError(f"it gave wrong bytes of {content_path(entry.sha256)}")
            self._sources.failed(number, wrong)
            self._note(again, number, wrong)
        else:
            self._sources.missed(number, answer)
            self._note(again, number, answer)
        return again

    def _paced(self, entries: list[FileEntry]) -> Iterator[tuple[str, int]]:
        for entry in entries:
            left = entry.size
            while left:
                left -= self._pace.take(left)
            yield content_path(entry.sha256), entry.size

    # --- large files ------------------------------------------------------------------------------------------------

    def _begin_large(self, piece: Large, number: int, link: Link) -> list[Piece]:
        table = self._table(piece.entry, link)
        descriptor, fresh = self._shared.tree.open(piece.entry)
        file = PartFile(piece.entry, descriptor, table)
        self._shared.file_opened(file)
        resumed, zeros = file.read_again(fresh=fresh, check=self._work.check)
        self._shared.was_there(resumed, zeros)
        self._shared.close_if_whole(file)
        return list(segments(file, self._shared.manner.connections))

    @staticmethod
    def _table(entry: FileEntry, link: Link) -> BlockTable:
        try:
            return read_block_table(link.fetch, entry)
        except DamagedError as error:
            raise WrongBytesError(f"it gave a wrong block table ({error.message})") from None

    def _fetch_segment(self, piece: Segment, number: int, link: Link) -> list[Piece]:
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
        whole = part.begin < begin
        later: list[Piece] = [Segment(file=file, first=one, end=other) for one, other in rest]
        if whole:
            if number in file.streaming:
                self._drop(number)
                self._work.postpone(piece)
                return []
            file.streaming.add(number)
        try:
            if self._take_blocks(file, number, part.begin, part.end, part.read_into):
                link.finish()
            else:
                self._drop(number)
        except SourceFaultError as error:
            self._failed(number, error)
        except WindowClosedError:
            self._drop(number)
            self._work.went_on(seconds=self._pace.wait_open())
        finally:
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


def _first_entry(piece: Piece) -> FileEntry:
    match piece:
        case Small():
            return piece.entries[0]
        case Large():
            return piece.entry
        case Segment():
            return piece.file.entry
