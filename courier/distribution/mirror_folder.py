"""The folder of a branch point: a copy of another point's folder, which a computer without a site keeps and serves.

It has the layout of a point's folder. Below ``.courier``, which is not served, it has its mark, what is fetched in
part, the highest serial that was seen, and what clients wished for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from courier.distribution.folder import PointFolder
from courier.distribution.marker import find_marker
from courier.errors import BusyError, NotFoundError, RefusedError
from courier.files import locked, make_folder
from courier.site.point_places import MARKER

PARTS = ".courier/parts"
"""Path of the contents that are fetched in part, each named by its SHA-256."""
SEEN = ".courier/points.json"
_LOCK = ".courier/mirror.lock"
_UNBOUND = "mirror"
_BOUND = re.compile(r"mirror of point (?P<point>\S{1,64}) of site (?P<site>[A-Z0-9]{3})")
_OURS = {".courier", "point.json", "definitions", "listings", "blocks", "content", "lost+found"}


@dataclass(frozen=True, kw_only=True, slots=True)
class MirrorFolder:
    """An open mirror. ``site`` and ``point``: which point it is a copy of, empty until its first statement is there."""

    opened: PointFolder
    site: str
    point: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.opened.folder

    def bind(self, site: str, point: str) -> None:
        """Mark it as the copy of one point: another one's statement is not taken from now on."""
        self.opened.write(MARKER, f"mirror of point {point} of site {site}\n".encode())


@contextlib.contextmanager
def opened_mirror(path: Path, *, new: bool) -> Iterator[MirrorFolder]:
    """Open a mirror for the one command that writes to it, and delete what a killed one left. ``new``: make it.

    Raises `NotFoundError` for a folder that is not marked as a mirror, because its disk may not be mounted,
    `RefusedError` for one that is something else, and `BusyError` while another command is at work on it.
    """
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(_opened(make_folder(path, readable=True) if new else path))
        if new:
            _begin(opened)
        site, point = _mark(opened)
        try:
            stack.enter_context(locked(path / _LOCK))
        except BusyError:
            raise BusyError(
                f"another courier command is at work on {path}", hint="wait for it, then give this command again"
            ) from None
        opened.sweep()
        yield MirrorFolder(opened=opened, site=site, point=point)


def check_served(path: Path) -> None:
    """Raise `NotFoundError` for a folder that is not marked as a point's, or a copy of one."""
    with _opened(path) as opened:
        if find_marker(opened) is None:
            raise _not_marked(path)


def _opened(path: Path) -> PointFolder:
    try:
        return PointFolder(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _not_marked(path) from None


def _not_marked(path: Path) -> NotFoundError:
    return NotFoundError(
        f"{path} is not marked as the folder of a point",
        hint="is its disk mounted? to begin a branch point there: courier point mirror with --new",
    )


def _begin(opened: PointFolder) -> None:
    """Mark a new folder. What it holds in the layout of a point, copied from a drive, is compared before it counts."""
    if find_marker(opened) is not None:
        return
    if strange := sorted(set(opened.names("")) - _OURS):
        raise RefusedError(
            f"{opened.folder} holds {strange[0]!r}, which is no part of a point",
            hint="choose an empty folder: clients can read all of it that has the form of a point",
        )
    opened.write(MARKER, f"{_UNBOUND}\n".encode())


def _mark(opened: PointFolder) -> tuple[str, str]:
    marker = find_marker(opened)
    if marker is None:
        raise _not_marked(opened.folder)
    if marker == _UNBOUND:
        return "", ""
    if (match := _BOUND.fullmatch(marker)) is None:
        raise RefusedError(
            f"{opened.folder} is marked as {marker[:80]!r}, and is no mirror",
            hint="a site fills that folder itself; choose another one",
        )
    return match["site"], match["point"]
