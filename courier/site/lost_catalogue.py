"""A catalogue that was lost or is damaged: it is begun anew, and if that comes to nothing, all is as it was before.

How far the custody entries of the site were numbered was in the catalogue. So a new book of them begins with it, at 1:
other sites would take two entries of one number for a forgery.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from courier.errors import BusyError, DamagedError
from courier.site.catalog.database import check_whole, sqlite_url
from courier.site.clock import now
from courier.site.file_names import CATALOGUE
from courier.site.home import home_lock
from courier.site.settings import Settings


def catalogue_is_lost(home: Path) -> bool:
    """Whether the catalogue of the site in ``home`` is a file that is missing, empty or damaged."""
    path = home / CATALOGUE
    return not Settings.load(home).catalogue and not (_has_bytes(path) and _is_whole(path))


@contextlib.contextmanager
def catalogue_begun_anew(home: Path) -> Iterator[bool]:
    """Put a damaged catalogue aside, so that the block can begin a new one; yield whether the catalogue was lost.

    The settings get the new book of custody entries first: a command that is killed leaves no catalogue that goes on in
    the old one. When the block raises, a catalogue that it began is removed again, the damaged one is put back, and the
    book is taken out of the settings. So open and close the site within the block. Raises `BusyError`.
    """
    if not catalogue_is_lost(home):
        yield False
        return
    book = secrets.token_hex(8)
    with home_lock(home):
        settings = Settings.load(home)
        replace(settings, books=(*settings.books, book)).save(home)
    aside = _put_aside(home / CATALOGUE)
    try:
        yield True
    except BusyError:
        # Another command rebuilds it: what stands there now is that one's. A book that is not begun harms nobody.
        raise
    except BaseException:
        with contextlib.suppress(BusyError), home_lock(home):
            settings = Settings.load(home)
            replace(settings, books=tuple(one for one in settings.books if one != book)).save(home)
        for path in _files(home / CATALOGUE):
            path.unlink(missing_ok=True)
        for path, kept in aside:
            kept.replace(path)
        raise


def _files(path: Path) -> list[Path]:
    """The file of a catalogue, last, and before it those that SQLite keeps beside it."""
    return [path.with_name(f"{path.name}{more}") for more in ("-wal", "-shm", "")]


def _has_bytes(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _is_whole(path: Path) -> bool:
    try:
        check_whole(sqlite_url(path))
    except DamagedError:
        return False
    return True


def _put_aside(path: Path) -> list[tuple[Path, Path]]:
    """Rename what there is of a lost catalogue; it is kept. Return each name and the new one."""
    moment, aside = now(), []
    for beside in filter(_has_bytes, _files(path)):
        kept = path.with_name(f"damaged-{moment}-{beside.name}")
        beside.replace(kept)
        aside.append((beside, kept))
    return aside
