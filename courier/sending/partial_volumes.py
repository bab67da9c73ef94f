"""Volumes that are written while their parcel is built: where they lie until all of it is signed.

They have temporary names, hold no signed document, and no command reads them. A run that was killed leaves them behind;
whichever command deals with the parcel next removes them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from courier.files import TEMP, remove_tree, write_atomic

PARTIAL = "partial-volumes.json"
"""The file in the folder of a parcel that names them; it goes when all are written, or removed."""


def note(folder: Path, paths: Sequence[Path]) -> None:
    """Note the temporary names of the volumes that are about to be written."""
    write_atomic(folder / PARTIAL, json.dumps([str(path) for path in paths]).encode())


def is_noted(folder: Path) -> bool:
    """Whether a run that wrote volumes while it built the parcel of ``folder`` did not come to its end."""
    return (folder / PARTIAL).exists()


def forget(folder: Path) -> None:
    """Forget the volumes: they are written, or removed."""
    (folder / PARTIAL).unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove what a killed run left of the volumes, where their media are here. Call it under the parcel's lock.

    They stay noted, until whoever calls this has made them, or forgets the whole build. One that cannot be removed, as
    its medium has become read-only or fails, stays there: its bytes are void, and no reason to stop another command.
    """
    try:
        paths = [Path(path) for path in json.loads((folder / PARTIAL).read_text())]
    except FileNotFoundError:
        return
    for path in paths:
        if path.name.startswith(TEMP):
            with contextlib.suppress(OSError):
                remove_tree(path)
