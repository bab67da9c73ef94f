"""Computers' state to capture and restore: a tree with all kinds of files, and places at a point without a site."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from courier.deployment.state_capture import Captured, capture
from courier.deployment.state_restore import Restored, restore
from courier.deployment.state_rules import StateRules, make_rules
from courier.deployment.state_store import MigrationFolder
from formats.age import Identity
from formats.documents.deployment import StatePlace

MIGRATION = "0123456789abcdef" * 2
EVERYTHING = make_rules(["**"])
TIME = 1_600_000_000_123_456_789


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A point in a folder with a place for one migration, a source folder, and the keys of those concerned."""

    root: Path
    destination: Identity = field(default_factory=Identity.generate)
    recovery: Identity = field(default_factory=Identity.generate)
    migration: str = MIGRATION

    @classmethod
    def make(cls, root: Path) -> Bench:
        """A bench with a place at the point, and an empty source."""
        bench = cls(root=root)
        bench.point.mkdir()
        bench.source.mkdir()
        bench.folder.reserve()
        return bench

    @property
    def point(self) -> Path:
        """The folder of the point."""
        return self.root / "point"

    @property
    def source(self) -> Path:
        """What is captured."""
        return self.root / "source"

    @property
    def target(self) -> Path:
        """What is restored into."""
        return self.root / "target"

    @property
    def folder(self) -> MigrationFolder:
        """The migration's folder."""
        return MigrationFolder(self.point, self.migration)

    def place(self, **changes: Any) -> StatePlace:
        """Where the state goes to and comes from."""
        values: dict[str, Any] = {
            "point": "P1",
            "path": str(self.point),
            "restore_only": False,
            "min_free": "0",
            "source": "OLD",
            "destination": "NEW",
            "migration": self.migration,
            "recipients": (self.destination.recipient, self.recovery.recipient),
        }
        return StatePlace(**{**values, **changes})

    def capture(self, rules: StateRules = EVERYTHING, *, work: str = "work", **changes: Any) -> Captured:
        """Capture the source."""
        return capture(self.place(**changes), self.source, rules, work=self.root / work)

    def restore(self, identity: Identity | None = None, *, number: int | None = None, **changes: Any) -> Restored:
        """Restore into the target."""
        key = (identity or self.destination).to_text()
        return restore(self.place(recipients=(), identity=key, **changes), self.target, number=number)

    def objects(self) -> list[Path]:
        """All objects at the point, by name."""
        return sorted(path for path in self.point.rglob("objects/*/*") if path.is_file())


def full_tree(top: Path) -> None:
    """Make files of all kinds below a folder."""
    docs = top / "home" / "anna" / "Documents"
    docs.mkdir(parents=True)
    (docs / "empty folder").mkdir(mode=0o750)
    (docs / "empty").write_bytes(b"")
    (docs / "letter.txt").write_bytes(b"Dear all,\n" * 100)
    (docs / "same.txt").write_bytes(b"Dear all,\n" * 100)
    (docs / "large").write_bytes(os.urandom(5 << 20))
    (docs / ("n" * 255)).write_bytes(b"long name")
    (docs / "percent %41 \n line").write_bytes(b"odd")
    (docs / os.fsdecode(b"\xe9t\xe9.txt")).write_bytes(b"summer")  # Latin-1, no UTF-8
    with (docs / "holes").open("wb") as out:
        out.write(b"begin")
        out.seek(8 << 20)
        out.write(b"end")
        out.truncate(16 << 20)
    (docs / "script").write_bytes(b"#!/bin/sh\n")
    (docs / "script").chmod(0o751)
    os.link(docs / "letter.txt", docs / "second name.txt")
    (docs / "link").symlink_to("letter.txt")
    (docs / "broken link").symlink_to("/nowhere/at/all")
    (docs / "odd link").symlink_to(os.fsdecode(b"\xff"))
    (docs / "read only").mkdir()
    (docs / "read only" / "inside").write_bytes(b"locked away")
    (docs / "read only").chmod(0o555)
    for path in sorted(docs.rglob("*"), reverse=True):
        os.utime(path, ns=(TIME, TIME + len(path.name)), follow_symlinks=False)
    os.utime(docs, ns=(TIME, TIME))


def described(top: Path) -> dict[bytes, tuple[Any, ...]]:
    """All that matters of each entry below a folder."""
    found: dict[bytes, tuple[Any, ...]] = {}
    first: dict[int, bytes] = {}
    for above, folders, files in os.walk(os.fsencode(top)):
        for name in sorted(folders + files):
            path = os.path.join(above, name)  # noqa: PTH118 (bytes)
            info = os.lstat(path)
            below = os.path.relpath(path, os.fsencode(top))
            content: Any = None
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)  # noqa: PTH115 (bytes)
            elif stat.S_ISREG(info.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            same = first.setdefault(info.st_ino, below) if stat.S_ISREG(info.st_mode) else below
            found[below] = (info.st_mode, info.st_mtime_ns, content, same, _attributes(path))
    return found


def _attributes(path: bytes) -> dict[str, bytes]:
    if not hasattr(os, "listxattr"):
        return {}
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names if name.startswith("user.")}


def refusing(path: Path, error: int) -> Callable[..., int]:
    """An ``open`` of `courier.packages.tree_root.TreeRoot` that fails for one name, as a locked file does."""
    from courier.packages.tree_root import TreeRoot

    real = TreeRoot.open

    def opened(self: TreeRoot, name: str, flags: int = os.O_RDONLY) -> int:
        if self.path(name) == path:
            raise OSError(error, os.strerror(error), str(path))
        return real(self, name, flags)

    return opened
