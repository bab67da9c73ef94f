"""What a client remembers of points: the highest serial of each one's statement that it has verified.

So a point, or who stands between, cannot show an older statement, with a package that was withdrawn since.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from courier.errors import BusyError, DamagedError
from courier.files import locked, sweep_beside, write_atomic
from formats.documents.fields import Sender
from formats.documents.point import PointName
from formats.errors import FormatError
from formats.records import NamedRecord, Number, Record, items, read_named

SEEN, SEEN_BESIDE = "points.json", ".courier-points.json"
"""The name of the file in a cache, and beside a folder that a package is put into."""
MOST = 10_000
"""Points that are remembered at most."""
_WAIT = 10.0
"""Seconds that another program, which writes it at the same time, is waited for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen(Record):
    """A point of a site, and the highest serial that was seen of it."""

    site: Sender
    point: PointName
    serial: Number


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenStatements(NamedRecord):
    """All that is remembered, in order."""

    NAME = "seen-statements"

    points: Annotated[tuple[Seen, ...], items(0, MOST)] = ()


class Memory:
    """The file in which it is remembered; a missing one remembers nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def highest(self, site: str, point: str) -> int:
        """The highest serial that was seen of a point; 0 for none. Raises `DamagedError`."""
        return next((one.serial for one in self._read() if (one.site, one.point) == (site, point)), 0)

    def remember(self, site: str, point: str, serial: int) -> None:
        """Remember a serial, before anything of its statement is used. A lower one changes nothing."""
        until = time.monotonic() + _WAIT
        while True:
            try:
                with locked(self.path.with_name(f"{self.path.name}.lock")):
                    self._write(site, point, serial)
                return
            except BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def _write(self, site: str, point: str, serial: int) -> None:
        known = {(one.site, one.point): one for one in self._read()}
        before = known.get((site, point))
        if before is not None and before.serial >= serial:
            return
        sweep_beside(self.path)
        known[site, point] = Seen(site=site, point=point, serial=serial)
        record = SeenStatements(points=tuple(known[key] for key in sorted(known)))
        write_atomic(self.path, record.json() + b"\n")

    def _read(self) -> tuple[Seen, ...]:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        try:
            return read_named(SeenStatements, data.rstrip(b"\n")).points
        except FormatError as error:
            raise DamagedError(
                f"{self.path}: {error}",
                hint="restore it from a backup; if it is deleted, points may show this client older statements once",
            ) from None
