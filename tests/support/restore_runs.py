"""Running the restore script as a stranger would, and looking at what it made."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from restore_parcels import TREES, Name, Tree, mode, mtime
from stock import stock_tool

import formats.restore

SCRIPT = Path(formats.restore.__file__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    code: int
    output: str


def run(*arguments: object, script: Path | None = None, path: str | None = None, cwd: Path | None = None) -> Ran:
    """Run the script as a stranger would: without our packages, without any but the standard library."""
    environment = os.environ if path is None else {**os.environ, "PATH": path}
    command = [sys.executable, "-I", "-S", script or arguments[0], *arguments[0 if script else 1 :]]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, timeout=120, check=False, env=environment, cwd=cwd
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return Ran(code=done.returncode, output=done.stdout.decode() + done.stderr.decode())


def found(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that a folder holds: path -> kind, content and attributes that a package keeps."""
    result: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.iterdir()):
        info = path.lstat()
        bits = stat.S_IMODE(info.st_mode)
        if stat.S_ISLNK(info.st_mode):
            result[path.name] = ("link", path.readlink().as_posix(), info.st_mtime_ns)
            continue
        with opened(path, bits):
            if stat.S_ISDIR(info.st_mode):
                result[path.name] = ("folder", info.st_mtime_ns, bits)
                result |= {f"{path.name}/{name}": what for name, what in found(path).items()}
            else:
                result[path.name] = ("file", path.read_bytes(), info.st_mtime_ns, bits)
    return result


@contextlib.contextmanager
def opened(path: Path, bits: int) -> Iterator[None]:
    """Let us into what keeps even its owner out, for the time of the block."""
    shut = bits & 0o500 != 0o500 and not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK)
    if shut:
        path.chmod(bits | 0o700)
    try:
        yield
    finally:
        if shut:
            path.chmod(bits)


def expected(tree: Tree) -> dict[str, tuple[object, ...]]:
    result: dict[str, tuple[object, ...]] = {}
    for path, what in tree.items():
        if isinstance(what, bytes):
            result[path] = ("file", what, mtime(path), mode(path) & 0o1777)
        elif what is None:
            result[path] = ("folder", mtime(path), mode(path) & 0o1777)
        elif isinstance(what, str):
            result[path] = ("link", what, mtime(path))
    # What further names are of is known by now.
    return result | {path: result[what.first] for path, what in tree.items() if isinstance(what, Name)}


def restored(target: Path) -> dict[str, dict[str, tuple[object, ...]]]:
    return {folder.name.replace("-", ":"): found(folder) for folder in target.iterdir()} if target.exists() else {}


WHOLE = {name: expected(tree) for name, tree in TREES.items()}


def copied_script(folder: Path) -> Path:
    """The script alone in a folder outside the repository."""
    stock_tool("7z")
    place = folder / "script" / "restore.py"
    place.parent.mkdir()
    shutil.copy(SCRIPT, place)
    return place
