"""Fetching small files, many from one connection: each is compared with its SHA-256 before it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from courier.distribution.download_connections import Connections
from courier.distribution.download_pace import WindowClosedError
from courier.distribution.download_work import Piece, Small
from courier.distribution.source import GoneError, Link, SourceFaultError, WrongBytesError
from formats.documents.listing import FileEntry
from formats.documents.point import content_path


class SmallFiles:
    """What one thread does with small files."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._shared, self._sources = connections.shared, connections.sources
        self._work, self._pace = connections.work, connections.pace

    def check(self, piece: Small) -> list[Piece]:
        """Find out which files an earlier try left; a piece of those that are missing."""
        missing = []
        for entry in piece.entries:
            self._work.check()
            if self._shared.tree.there(entry):
                self._shared.was_there(entry.size)
            else:
                missing.append(entry)
        return [Small(entries=missing)] if missing else []

    def fetch(self, piece: Small, number: int, link: Link) -> list[Piece]:
        """Fetch files from one source; what is left of them."""
        tree, left = self._shared.tree, piece.entries
        wanted = [entry for entry in left if entry.size]
        for entry in left:
            if not entry.size:
                tree.write(entry, memoryview(b""))
        piece.entries = wanted
        apart: list[Piece] = []
        # What this source lacks is asked for together again, of the next one.
        lacked = Small(entries=[], avoid={*piece.avoid, number}, wrong=dict(piece.wrong))
        answers = link.small(self._paced(wanted))
        done = 0
        try:
            for answer in answers:
                entry = wanted[done]
                if isinstance(answer, GoneError):
                    self._sources.missed(number, answer)
                    if not lacked.entries:
                        apart.append(lacked)
                    lacked.entries.append(entry)
                elif hashlib.sha256(answer).hexdigest() == entry.sha256:
                    tree.write(entry, answer)
                    self._shared.came(number, entry.size)
                else:
                    apart.append(self._wrong(piece, entry, number))
                done += 1
                if self._work.is_over:
                    self._work.check()
        except SourceFaultError as error:
            if done == len(wanted):
                return apart
            self._connections.failed(number, error)
            failing = Small(entries=[wanted[done]], avoid=set(piece.avoid), wrong=dict(piece.wrong))
            self._connections.note(failing, number, error)
            rest = Small(entries=wanted[done + 1 :], avoid=piece.avoid, wrong=piece.wrong)
            return [*apart, failing, *([rest] if rest.entries else [])]
        except WindowClosedError:
            self._connections.wait_open(number)
            return [*apart, Small(entries=wanted[done:], avoid=piece.avoid, wrong=piece.wrong)]
        return apart

    def _wrong(self, piece: Small, entry: FileEntry, number: int) -> Small:
        """The piece of a file of which a source gave wrong bytes."""
        again = Small(entries=[entry], avoid=set(piece.avoid), wrong=dict(piece.wrong))
        wrong = WrongBytesError(f"it gave wrong bytes of {content_path(entry.sha256)}")
        self._sources.failed(number, wrong)
        self._connections.note(again, number, wrong)
        return again

    def _paced(self, entries: list[FileEntry]) -> Iterator[tuple[str, int]]:
        for entry in entries:
            left = entry.size
            while left:
                left -= self._pace.take(left)
            yield content_path(entry.sha256), entry.size
