"""What a download asks of a source, be it a web server, a share or a folder, and how a source fails.

A source is never trusted: what it gives is used only after it was compared with a digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Protocol


class SourceFaultError(Exception):
    """A source failed; the text says how, in words that follow its name. It may work later."""


class GoneError(SourceFaultError):
    """The source does not have this file. It is not asked for it again."""


class ClosedError(SourceFaultError):
    """The source closed the connection where an answer was to begin."""


class WrongBytesError(SourceFaultError):
    """What the source has there is not the file that it should be."""


class DeniedError(SourceFaultError):
    """The source refuses us, and asking again does not help."""


class SourceBusyError(SourceFaultError):
    """The source asks us to come again in ``seconds``; nothing is wrong with it."""

    def __init__(self, text: str, *, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a source is waited for, in seconds.

    ``connect``: until it takes the connection. ``answer``: until it begins to answer. ``stall``: without a byte.
    Within each ``span`` spent in waiting at least ``least`` bytes have to come, so that one that sends a byte now and
    then is left too. ``busy``: the longest pause that a source may ask for.
    """

    connect: float = 10
    answer: float = 30
    stall: float = 30
    span: float = 60
    least: int = 32 << 10
    busy: float = 120


class Part(Protocol):
    """Bytes of a file that a source gives, from ``begin`` to before ``end``."""

    begin: int
    end: int

    def read_into(self, view: memoryview) -> None:
        """Fill ``view`` with the next bytes. Raises `SourceFaultError`."""


class Link(Protocol):
    """One connection to a source, for one thread. After an error it is closed, and another one is opened."""

    def fetch(self, path: str, most: int) -> Iterator[memoryview]:
        """The bytes of a whole file of at most ``most`` bytes, of a longer one ``most + 1``; each until the next.

        Raises `SourceFaultError`, with any of them.
        """

    def part(self, path: str, size: int, begin: int, end: int) -> Part:
        """The bytes of a file of ``size`` bytes from ``begin`` to before ``end``.

        A source may begin at the beginning of the file instead, or end earlier. Raises `SourceFaultError`.
        """

    def finish(self) -> None:
        """Say that the last part was read to its end, so that the connection can be used again."""

    def small(self, files: Iterator[tuple[str, int]]) -> Iterator[memoryview | GoneError]:
        """The whole bytes of small files, paths and sizes, in this order; each is valid until the next.

        Raises `SourceFaultError` where it cannot go on with the next.
        """

    def close(self) -> None:
        """Close what is open."""


def in_memory(pieces: Iterable[memoryview]) -> BinaryIO:
    """What a link fetches, as an open file that is in memory: a document or a block table."""
    found = BytesIO()
    for piece in pieces:
        found.write(piece)
    found.seek(0)
    return found


class Source(Protocol):
    """Where files of a point come from."""

    @property
    def name(self) -> str:
        """What the operator calls it."""

    def link(self) -> Link:
        """A new connection. Raises `SourceFaultError`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceReport:
    """What became of a source.

    ``kind``: ``point`` or ``peer``. ``bytes``: of contents that were taken from it. ``refused``: how many blocks or
    small files from it were not what they should be. ``faults``: its faults in words, each with how often it came.
    """

    name: str
    kind: str
    bytes: int
    refused: int
    faults: Sequence[tuple[str, int]]
