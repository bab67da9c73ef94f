"""Scratch folders in a folder of a home, of which several commands have one each, at several computers.

Each has a lock of its own, which its command holds while it works there. So whoever removes what killed commands left
can tell the folder of a living command from one that was left, also where the living one works at another computer,
whose process numbers mean nothing here.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from courier.errors import BusyError
from courier.files import TEMP, make_folder, remove_tree
from courier.site.home import Site

_SCRATCH = f"{TEMP}again-"


@contextmanager
def scratch(site: Site, folder: Path) -> Iterator[Path]:
    """A new folder in ``folder`` to work in; it is removed at the end, or by `sweep_scratch` after a kill."""
    sweep_scratch(site, folder)
    with ExitStack() as stack:
        path = _locked_scratch(site, folder, stack)
        stack.callback(remove_tree, path)
        yield path


def _locked_scratch(site: Site, folder: Path, stack: ExitStack) -> Path:
    """A new scratch folder, whose lock is held until ``stack`` ends."""
    while True:
        path = make_folder(folder / f"{_SCRATCH}{secrets.token_hex(8)}")
        # Another command may take it for one left over, in the moment before it is locked.
        with suppress(BusyError):
            stack.enter_context(site.locked(path / "lock"))
            if (path / "lock").exists():
                return path


def sweep_scratch(site: Site, folder: Path) -> None:
    """Remove the scratch folders in ``folder`` that no living command works in."""
    for path in folder.glob(f"{_SCRATCH}*"):
        try:
            with site.locked(path / "lock"):
                remove_tree(path)
        except BusyError:
            continue


def sweep_left(site: Site, folder: Path) -> None:
    """Remove all that killed commands left in ``folder`` under temporary names, and nothing of the living.

    Call it under the lock of the folder, without which only scratch folders are written there.
    """
    sweep_scratch(site, folder)
    for path in folder.glob(f"{TEMP}*"):
        if not path.name.startswith(_SCRATCH):
            remove_tree(path)


def left_in(site: Site, folder: Path) -> list[Path]:
    """What killed commands left in ``folder`` under temporary names; call it as `sweep_left`."""
    found = list(folder.glob(f"{TEMP}*"))
    return [path for path in found if not path.name.startswith(_SCRATCH) or not site.is_locked(path / "lock")]
