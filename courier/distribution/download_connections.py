"""The connections of one thread of a download, one to each source that it asked, and which source is asked next."""

from __future__ import annotations

from courier.distribution.download_shared import Fetching
from courier.distribution.download_work import Large, Piece, Segment, Small
from courier.distribution.source import GoneError, Link, SourceFaultError, WrongBytesError
from courier.distribution.source_list import MOST_WRONG, told
from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, UnreachableError
from formats.documents.listing import FileEntry


class Connections:
    """See the module."""

    def __init__(self, shared: Fetching) -> None:
        self.shared = shared
        self.sources, self.work, self.pace = shared.sources, shared.work, shared.manner.pace
        self._links: dict[int, Link] = {}

    def close(self) -> None:
        """Close all of them."""
        for number in list(self._links):
            self.drop(number)

    def choose(self, piece: Piece, avoid: set[int]) -> int | None:
        """The source to ask, or None after a wait. Raises where none is left."""
        number = self.sources.choose(avoid)
        if number is not None:
            return number
        pause = self.sources.pause(avoid)
        if pause is None:
            raise self._nobody(piece)
        if self.work.idle > self.shared.manner.retry_for:
            raise UnreachableError(
                f"nothing came for {self.work.idle:.0f} s: {told(self.sources.blames())}",
                hint="what was fetched is kept: give the same command again, with another point where there is one",
            )
        self.work.stop.wait(min(pause + 0.01, 0.5))
        self.work.check()
        return None

    def _nobody(self, piece: Piece) -> CourierError:
        entry = _first_entry(piece)
        return DamagedError(
            f"{entry.path}: no source gives it right: {told(self.sources.blames())}",
            hint="what was fetched is kept; give the command again with another point, or have the site that runs the "
            "point give: courier point redistribute",
            code=Code.INCOMPLETE,
        )

    def link(self, number: int) -> Link:
        """The connection to a source. Raises `SourceFaultError`."""
        if number not in self._links:
            self._links[number] = self.shared.opened(self.sources[number].link())
        self.work.check()
        return self._links[number]

    def drop(self, number: int) -> None:
        """Close the connection to a source."""
        link = self._links.pop(number, None)
        if link is not None:
            self.shared.closed(link)

    def failed(self, number: int, error: SourceFaultError) -> None:
        """Note a fault of a source, and close the connection to it."""
        self.drop(number)
        self.work.check()  # a connection that we hung up ourselves is no fault of the source
        self.sources.failed(number, error)

    def wait_open(self, number: int) -> None:
        """Close the connection to a source until a window is open again."""
        self.drop(number)
        self.work.went_on(seconds=self.pace.wait_open())

    @staticmethod
    def note(piece: Piece, number: int, error: SourceFaultError) -> None:
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


def _first_entry(piece: Piece) -> FileEntry:
    match piece:
        case Small():
            return piece.entries[0]
        case Large():
            return piece.entry
        case Segment():
            return piece.file.entry
