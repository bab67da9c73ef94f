"""The mark in each folder of a point: whose it is. A folder without it is a disk or share that is not mounted."""

from __future__ import annotations

from pathlib import Path

from courier.distribution.folder import PointFolder
from courier.errors import NotFoundError, RefusedError
from courier.site.point_places import MARKER

_LONGEST = 200


def write_marker(folder: Path, site: str, name: str, position: int) -> None:
    """Mark a folder as number ``position`` of a point of ``site``."""
    with PointFolder(folder) as opened:
        opened.write(MARKER, _text(site, name, position).encode())


def remove_marker(folder: Path) -> None:
    """Take the mark of a folder away."""
    with PointFolder(folder) as opened:
        opened.delete(MARKER)


def find_marker(opened: PointFolder) -> str | None:
    """What the mark of a folder says, or None where it has none."""
    try:
        with opened.open(MARKER) as source:
            return source.read(_LONGEST).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None


def check_marker(folder: Path, marker: str | None, site: str, name: str, position: int) -> None:
    """Raise `NotFoundError` for a folder without a mark, `RefusedError` where it is another's."""
    if marker is None:
        raise NotFoundError(
            f"{folder} is not marked as a folder of point {name}",
            hint=f"is its disk or share mounted? if the folder is new: courier point remove {name}, then add it again",
        )
    if marker != _text(site, name, position).strip():
        raise RefusedError(
            f"{folder} is marked as {marker[:80]!r}: it is another folder than this one of point {name} of {site}",
            hint="check the path and what is mounted there; or choose another folder",
        )


def _text(site: str, name: str, position: int) -> str:
    return f"point {name} of site {site}, folder {position + 1}\n"
