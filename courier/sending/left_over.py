"""What killed commands leave in the folders of parcels that this site made, and how it goes away.

Whoever writes into these folders holds the lock of all of them (``parcels/out/lock``), but for answers to repair
requests: each of those works in a scratch folder with a lock of its own, so several go on at one time.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from courier.errors import BusyError
from courier.files import TEMP, locked, make_folder, remove_tree, sweep
from courier.parcel.recipes import PACKS, RECIPES
from formats.names import is_parcel

_SCRATCH = f"{TEMP}again-"


def sweep_parcels(out: Path) -> None:
    """Remove what killed commands left in the folders of all parcels; call it under the lock of ``out`` only."""
    for folder in out.iterdir():
        if folder.is_dir() and is_parcel(folder.name):
            sweep_scratch(folder)
            for path in folder.glob(f"{TEMP}*"):
                if not path.name.startswith(_SCRATCH):
                    remove_tree(path)
            for place in (folder / RECIPES, folder / PACKS, *folder.glob("parity-*")):
                sweep(place)


def sweep_scratch(folder: Path) -> None:
    """Remove the scratch folders in a parcel's folder that no living command works in."""
    for path in folder.glob(f"{_SCRATCH}*"):
        try:
            with locked(path / "lock"):
                remove_tree(path)
        except BusyError:
            continue


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new folder in a parcel's folder to work in; it is removed at the end, or by `sweep_scratch` after a kill."""
    sweep_scratch(folder)
    with ExitStack() as stack:
        path = _locked_scratch(folder, stack)
        stack.callback(remove_tree, path)
        yield path


def _locked_scratch(folder: Path, stack: ExitStack) -> Path:
    """A new scratch folder, whose lock is held until ``stack`` ends."""
    while True:
        path = make_folder(folder / f"{_SCRATCH}{secrets.token_hex(8)}")
        # Another command may take it for one left over, in the moment before it is locked.
        with suppress(BusyError):
            stack.enter_context(locked(path / "lock"))
            if (path / "lock").exists():
                return path
