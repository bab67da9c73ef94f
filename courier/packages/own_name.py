"""The name that a path which was given has in its folder."""

from __future__ import annotations

import os
from pathlib import Path


def own_name(path: Path, *, windows: bool = os.name == "nt") -> str:
    """The name of a file or folder as its folder has it; empty for the top of a disk. A link keeps its own name.

    On Windows a path may be given by the short name that DOS has for it, such as ``IMAGE~1.WIM``: the package gets the
    whole one. ``windows``: whether this system has such names.
    """
    # Not resolved: a link that was named is followed, but its name is the one that was given.
    given = Path(os.path.abspath(path))  # noqa: PTH100
    if not windows or "~" not in given.name or given.is_symlink():
        return given.name
    return given.resolve().name
