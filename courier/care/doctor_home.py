"""Looking after the files of a home: who may read them, locks, space, and what killed commands left."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from courier.care.ailment import Ailment, Area
from courier.errors import BusyError
from courier.files import RESERVE, free_space, is_of_group, locked, private_mode
from courier.niceties import set_mode
from courier.site.card import CARD
from courier.site.file_names import BACKUP, CATALOGUE_FILES, CONFIG, SETTINGS, WATCH
from courier.site.home import Site
from courier.site.keyring import IDENTITY
from courier.site.scratch import left_in, sweep_left
from courier.text import plural, size_text

_SWEPT = ("keys", "store", "parcels/in", "parcels/out", BACKUP, WATCH)
"""Folders of a home in which commands write under temporary names, and hold the lock there meanwhile."""


def look_at_rights(home: Path, *, mend: bool) -> Iterator[Ailment]:
    """Files that other users of this computer can read, and should not."""
    if os.name != "posix":
        return
    private = [home / name for name in (SETTINGS, CARD, CONFIG, *CATALOGUE_FILES)]
    keys = [path for path in (home / "keys").glob("*") if path.is_file() and path.name != "lock"]
    for path in [*private, *keys]:
        if not path.is_file():
            continue
        mode, wanted = stat.S_IMODE(path.stat().st_mode), private_mode(path.parent)
        if mode & 0o777 & ~wanted:
            yield _closed(path, mode, wanted, mend=mend, is_key=path in keys)
    mode, wanted = stat.S_IMODE(home.stat().st_mode), 0o2770 if is_of_group(home) else 0o700
    if mode & 0o777 & ~wanted:
        yield _closed(home, mode, wanted, mend=mend, is_key=False)


def _closed(path: Path, mode: int, wanted: int, *, mend: bool, is_key: bool) -> Ailment:
    if mend:
        set_mode(path, wanted)
    means, afterwards = "what it says of the site is open to them", ""
    if is_key:
        does = "open what is encrypted for this site" if path.name == IDENTITY else "sign as this site"
        means, afterwards = f"whoever read this key can {does}", "if others had access: courier site rotate-key --lost"
    remedy = f"chmod {wanted:o} {path}"
    return Ailment(
        area=Area.KEYS if is_key else Area.RIGHTS,
        what=f"other users of this computer can read {path} (mode {mode:o})",
        means=means,
        remedy=f"{remedy}; {afterwards}" if afterwards else remedy,
        afterwards=afterwards,
        mendable=True,
        mended=mend and stat.S_IMODE(path.stat().st_mode) & 0o777 & ~wanted == 0,
    )


def look_at_locks(home: Path) -> Iterator[Ailment]:
    """Whether the disk of the home knows locks; it is the disk that is asked, and not the catalogue."""
    try:
        with locked(home / "locks" / "doctor"):
            pass
    except BusyError:
        return  # another doctor is at work, so that locks work
    except OSError as error:
        yield Ailment(
            area=Area.LOCKS,
            what=f"the disk of {home} takes no locks ({error.strerror or error})",
            means="two commands at once could damage the catalogue and the store",
            remedy="keep the home on a local disk, or mount the network file system with locks (NFS: without nolock)",
        )


def look_at_space(home: Path) -> Iterator[Ailment]:
    """Whether the disk of the home has room."""
    if (free := free_space(home)) < RESERVE:
        yield Ailment(
            area=Area.SPACE,
            what=f"the disk of {home} has {size_text(free)} free",
            means=f"commands that write stop, as {size_text(RESERVE)} are to stay free",
            remedy="courier package list shows what could be removed; or a larger disk",
        )


def _locked(site: Site, name: str) -> AbstractContextManager[None]:
    """The lock of one of the folders `_SWEPT`."""
    if name == "keys":
        return site.files_locked()
    return site.store.lock() if name == "store" else site.locked(site.home / name / "lock")


def look_for_leftovers(site: Site, *, mend: bool) -> Iterator[Ailment]:
    """What killed commands left under temporary names, where no command is at work."""
    for name in _SWEPT:
        folder = site.home / name
        if not folder.is_dir():
            continue
        try:
            with _locked(site, name):
                left = left_in(site, folder)
                if not left:
                    continue
                if mend:
                    sweep_left(site, folder)
                yield Ailment(
                    area=Area.LEFTOVERS,
                    what=f"{plural(len(left), 'temporary file')} of commands that were killed in {folder}",
                    means="nothing but the room that they take",
                    remedy="courier doctor --mend",
                    mendable=True,
                    mended=mend,
                )
        except BusyError:
            continue  # they are a command's that is at work
