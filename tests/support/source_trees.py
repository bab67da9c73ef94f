"""Folders that become packages: a rich one, sparse files, deep ones, and what the disk tells of them and of exports."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import courier
from courier.packages.tree_root import TreeRoot

posix = pytest.mark.skipif(os.name != "posix", reason="elsewhere: POSIX only")
as_root = pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="elsewhere: root only")

NOBODY = 65534
"""User and group that own nothing but what a test gives them."""
GIB = 1 << 30
NFC, NFD = unicodedata.normalize("NFC", "Übung"), unicodedata.normalize("NFD", "Übung")
TIMES = (0, -1, -(10**17) - 7, 1_795_000_000_123_456_789, 4_000_000_000_999_999_999, 999_999_999, 10**19)
"""Nanoseconds since 1970: before it, in its first second, and after 2262."""
MODES = {"run.sh": 0o755, "secret.key": 0o600, "closed": 0o000, "odd": 0o421, "all": 0o666}


def make_rich_tree(root: Path) -> Path:
    """Everything that a package keeps, in a new folder."""
    contents: dict[str, bytes] = {
        "install.wim": os.urandom(3 << 20),
        ".hidden/.file": b"hidden",
        "empty.dat": b"",
        "x" * 255: b"longest name",
        "\U0001f4bf" * 63: b"emoji",
        NFC: b"composed",
        NFD: b"decomposed",
        "日本語/ファイル.txt": b"x",
        "case/a": b"lower",
        "case/A": b"upper",
        'C:\\win*?"<>|': b"no name for Windows",
        "con": b"device",
        "end. ": b"dot and space",
        "new\nline\ttab\x01\x7f": b"control",
        "-rf": b"dash",
        "a b/ c ": b"spaces",
        "deep/" + "/".join(["d" * 60] * 12) + "/leaf": b"a path of more than 700 characters",
        "twin1": b"the same bytes",
        "twin2": b"the same bytes",
        **{name: name.encode() for name in MODES},
    }
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    shutil.copyfile(root / "install.wim", root / "copy of install.wim")
    for name, mode in MODES.items():
        if name != "closed" or os.geteuid() == 0:  # nobody else may read it
            (root / name).chmod(mode)
    (root / "empty folder/empty too").mkdir(parents=True)
    (root / "empty folder").chmod(0o1777)
    (root / "case").chmod(0o700)
    for first, further in HARD_LINKS.items():
        for name in further:
            (root / name).hardlink_to(root / first)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)
    with (root / "sparse.vhdx").open("wb") as file:
        file.truncate(10 << 20)
        file.seek(5 << 20)
        file.write(b"in the middle")
    for n, path in enumerate(sorted(root.rglob("*"), key=lambda path: -len(path.parts))):
        ns = TIMES[n % len(TIMES)] + n
        os.utime(path, ns=(ns, ns), follow_symlinks=False)
    return root


HARD_LINKS = {"install.wim": ("case/z", "zz.wim"), "empty.dat": ("case/empty too", "empty too.dat")}
"""Files with three names, in different folders, one of them empty; those that come first in a listing are others."""
LINKS = {
    "link": "install.wim",
    "case/up": "../.hidden/.file",
    "dangling": "not there/at all",
    "folder link": "case",
    "odd link": "./case//a",
    "outside": "../../outside",
    "absolute": "/etc/passwd",
    "itself": "itself",
}
LEAD_OUTSIDE, LEAD_NOWHERE = 2, 2


def facts(root: Path) -> dict[str, tuple[object, ...]]:
    """All that a package keeps of a folder, asked of the disk without our code: hard links as groups of names."""
    found: dict[str, tuple[object, ...]] = {}
    first_names: dict[tuple[int, int], str] = {}
    for path in sorted(root.rglob("*")):
        info, name = path.lstat(), str(path.relative_to(root))
        what: object = path.read_bytes() if stat.S_ISREG(info.st_mode) else None
        what = os.readlink(path) if path.is_symlink() else what  # noqa: PTH115 (as it is, not normalised)
        mode = None if path.is_symlink() else stat.S_IMODE(info.st_mode)
        same = name if path.is_dir() else first_names.setdefault((info.st_dev, info.st_ino), name)
        found[name] = (stat.S_IFMT(info.st_mode), mode, what, info.st_mtime_ns, same)
    return found


def groups_of_names(root: Path) -> set[frozenset[str]]:
    """The names of each file that has several, as paths in the folder."""
    groups: dict[int, set[str]] = {}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.lstat().st_nlink > 1:
            groups.setdefault(path.lstat().st_ino, set()).add(path.relative_to(root).as_posix())
    return {frozenset(group) for group in groups.values()}


def room_of(path: Path) -> int:
    """Bytes that a file, or all files below a folder, take on the disk; each file once, however many names it has."""
    paths = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
    return sum({(one.lstat().st_dev, one.lstat().st_ino): one.lstat().st_blocks * 512 for one in paths}.values())


def sparse_file(path: Path, size: int = 2 * GIB, data: bytes = b"8 KiB of" * 1024) -> Path:
    """A file of zeros but for some bytes in its middle; skips where the file system has no holes."""
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size // 2)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.stat().st_blocks * 512 > size // 2:
        pytest.skip("elsewhere: a file system with holes")
    return path


def make_deep(root: Path, names: list[str], data: bytes = b"leaf") -> None:
    """Folders of these names one in the other below a new folder, the last a file; works where paths are too long."""
    root.mkdir()
    with TreeRoot(root) as opened:
        for depth in range(1, len(names)):
            opened.mkdir("/".join(names[:depth]))
        descriptor = opened.open("/".join(names), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, data)
        os.close(descriptor)


def read_deep(root: Path, names: list[str]) -> bytes:
    """The bytes of the file that `make_deep` made."""
    with TreeRoot(root) as opened:
        descriptor = opened.open("/".join(names))
        try:
            return os.read(descriptor, 1 << 20)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def ordinary_user() -> Iterator[Path]:
    """Be a user that may do little, in a folder of its own; root becomes one, others are one already."""
    if os.geteuid():
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, NOBODY, NOBODY)
        group, groups = os.getegid(), os.getgroups()
        os.setgroups([])
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        try:
            # What a command imports only when it needs it has to be there for this user too.
            needed = (Path(str(courier.__file__)).parent, Path(pytest.__file__).parent)
            if not all(os.access(folder, os.X_OK, effective_ids=True) for folder in needed):
                pytest.skip("elsewhere: a checkout and an environment that every user may read")
            yield Path(folder)
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)


def no_hard_links(*_: object, **__: object) -> None:
    """What ``os.link`` does on a file system without them."""
    raise PermissionError(errno.EPERM, "Operation not permitted")
