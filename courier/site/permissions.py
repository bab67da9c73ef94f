"""Who may read the home of a site: its owner alone, or the members of one group for a home of several operators.

A home of one operator has the mode 0700, a home of a group 2770: the system gives whatever is made in it to that group
too. On Windows the permissions of the folder above count, and nothing here does anything.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from courier.errors import RefusedError, UsageError
from courier.files import explain_os, is_of_group
from courier.niceties import set_mode
from courier.site.catalog.database import has_password
from courier.site.file_names import CATALOGUE, SETTINGS

_KEPT = (SETTINGS, "card.json", CATALOGUE)
"""Files of a home whose permissions are looked at; the private keys are refused where others can read them."""


def keep_to_owner(home: Path, group: str = "") -> None:
    """Close a new home to everyone but its owner, or (with a name) to all but the members of a group.

    Raises `UsageError` for a group that does not exist, `RefusedError` for one that this user is not a member of.
    """
    if os.name != "posix":
        if group:
            raise UsageError("--group needs a system with groups of users", hint="leave it out")
        return
    if not group:
        # A file system of its own may belong to another user: then every command warns of what others may read.
        set_mode(home, 0o700)
        return
    import grp

    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(f"there is no group {group!r} on this computer", hint="getent group lists them") from None
    try:
        os.chown(home, -1, number)
        home.chmod(0o2770)
    except PermissionError as error:
        raise RefusedError(
            f"{home} cannot be given to group {group}: {error.strerror}",
            hint="only its owner can, who must be a member of that group (id -nG)",
            code=explain_os(error).code,
        ) from None


@contextlib.contextmanager
def shared_with_group(home: Path) -> Iterator[None]:
    """In the home of a group, let new files of this process be written by the group's members, and read by no others.

    In any other home this changes nothing.
    """
    if os.name != "posix" or not is_of_group(home):
        yield
        return
    before = os.umask(0o007)
    try:
        yield
    finally:
        os.umask(before)


def open_to_others(home: Path) -> str:
    """A warning that names what other users of this computer may read of a home, and what changes that; else empty."""
    if os.name != "posix":
        return ""
    group = is_of_group(home)
    wide = [
        (path, mode)
        for path in (home, *(home / name for name in _KEPT))
        if (mode := _mode(path)) is not None and mode & (0o007 if group else 0o077)
    ]
    if not wide:
        return ""
    named = ", ".join(f"{path} (mode {mode:o})" for path, mode in wide)
    wanted = {True: "2770" if group else "700", False: "660" if group else "600"}
    commands = []
    for folder in (True, False):
        paths = [shlex.quote(str(path)) for path, _ in wide if (path == home) is folder]
        if paths:
            commands.append(f"chmod {wanted[folder]} {' '.join(paths)}")
    return f"other users of this computer can get at {named}: {' && '.join(commands)}"


def password_in_settings(home: Path, catalogue: str) -> str:
    """A warning when the settings in a home hold the password of its database, ``catalogue``; otherwise empty."""
    if not catalogue or not has_password(catalogue):
        return ""
    return (
        f"{home / SETTINGS} holds the password of the database: take it out of the address there; "
        "it belongs into ~/.pgpass (chmod 600), or into $PGPASSWORD"
    )


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
