"""A folder as one tar archive in a package: with owners, attributes, devices, hard links, holes and all permissions.

`PackedTree` surveys the folder, and then writes the tar straight into the store's staging. Both walk over the folder
by the same code, so that a dry run judges as the command itself does. The same folder makes the same bytes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from courier.errors import UsageError
from courier.packages.holes import find_holes
from courier.packages.offenders import CHANGED, Offenders, Refuse, reason, refuse_one
from courier.packages.own_name import own_name
from courier.packages.survey import Counted
from courier.packages.tree_root import NO_LINK, SourceFile
from courier.site.store.content_store import IncomingContent, Staging, StoredContent
from formats.documents.listing import FIRST_TIME, LAST_TIME, Entry, FileEntry
from formats.errors import DigestMismatchError
from formats.holes import data_runs, hole_map
from formats.names import check_path
from formats.pax import PaxMember, PaxWriter, archive_size, member_size

_BUFFER = 1 << 20
"""Bytes of headers and small files that go into the store together."""
_NO_ATTRIBUTES = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class PackedTree(AbstractContextManager["PackedTree"]):
    """A folder that is to become one tar in a package. A context manager, as other sources of a package are.

    ``entries`` counts what goes into the tar, the folder itself too; ``not_kept`` the sockets, which no tar holds;
    ``bytes`` are those of the tar, and it takes as much room.
    """

    def __init__(self, folder: Path) -> None:
        """Walk over ``folder``; no content is read.

        Raises `UsageError` for what is no folder, `IllegalNameError` for a name that no package holds, and
        `RefusedError` that names everything that cannot be read.
        """
        if folder.is_symlink() or not folder.is_dir():
            raise UsageError(f"{folder} is no folder", hint="--pack takes one folder; name it")
        self._folder = folder
        self._name = check_path(f"{own_name(folder) or 'root'}.tar")
        self.entries = 0
        offenders = Offenders()
        members = 0
        for member, _ in self._members(offenders.add):
            self.entries += 1
            members += member_size(member)
        offenders.check()
        self.bytes = self.allocated = archive_size(members)

    def __exit__(self, *_: object) -> None:
        """Nothing is open between the survey and `read`."""

    def read(self, staging: Staging, progress: Callable[[int], None]) -> Iterator[Entry]:
        """Write the tar into the store's staging; yield the one entry of the package's listing.

        ``progress`` is told the bytes of the tar. Raises `RefusedError` for a file that cannot be read or that changes
        while it is read.
        """
        out = _Staged(staging.begin(), progress)
        writer = PaxWriter(out)
        for member, content in self._members(refuse_one):
            try:
                writer.add(member, content)
            except DigestMismatchError:
                refuse_one(self._folder / os.fsdecode(member.path), CHANGED)
        writer.close()
        tar = out.stage()
        yield FileEntry(
            path=self._name,
            mtime_ns=max(FIRST_TIME, min(self._folder.stat().st_mtime_ns, LAST_TIME)),
            mode=0o600,  # it may hold files that only their owner may read
            size=tar.size,
            sha256=tar.sha256,
            blocks=tar.blocks,
        )

    def _members(self, refuse: Refuse) -> Iterator[tuple[PaxMember, BinaryIO | None]]:
        """Each member in the order of the tar, and its content, open while the caller has it."""
        links = _HardLinks()
        self.not_kept = Counted()
        for name, path, info in _walk(self._folder, refuse):
            if stat.S_ISSOCK(info.st_mode):
                self.not_kept.add("socket", name)
                continue
            try:
                same = links.earlier(name, info)
                with _opened(path, info, same) as content:
                    if content is not None and _key(os.fstat(content.fileno())) != _key(info):
                        refuse(path, CHANGED)
                    yield _member(name, path, info, content, same), content
                    if content is not None and _key(os.fstat(content.fileno())) != _key(info):
                        refuse(path, CHANGED)
            except OSError as error:
                refuse(path, reason(error))


class _Staged:
    """The tar on its way into the store; small pieces are put together."""

    def __init__(self, incoming: IncomingContent, progress: Callable[[int], None]) -> None:
        self._incoming = incoming
        self._progress = progress
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes, /) -> None:
        """Take the next bytes."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= _BUFFER:
            self._pass_on()

    def stage(self) -> StoredContent:
        """Stage what was written."""
        self._pass_on()
        return self._incoming.stage()

    def _pass_on(self) -> None:
        self._incoming.append(self._pieces)
        self._progress(self._size)
        self._pieces, self._size = [], 0


class _HardLinks:
    """The files that have several names, as long as not all of these were met. Others take no memory."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], tuple[bytes, int]] = {}

    def earlier(self, name: str, info: os.stat_result) -> bytes:
        """The first name of the file that ``name`` is a further name of; empty for its first."""
        if info.st_nlink < 2 or stat.S_ISDIR(info.st_mode):
            return b""
        key = info.st_dev, info.st_ino
        first, left = self._first.pop(key, (b"", info.st_nlink))
        if left > 1:
            self._first[key] = first or os.fsencode(name), left - 1
        return first


def _walk(folder: Path, refuse: Refuse) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Yield (path in the folder, path on the disk, ``lstat``) of the folder and all in it, sorted by path.

    It takes no recursion, so that depth is bounded by the system alone.
    """
    waiting = [""]
    while waiting:
        name = waiting.pop()
        path = folder / name
        try:
            info = path.lstat()
            if stat.S_ISDIR(info.st_mode):
                inside = sorted((item.name for item in path.iterdir()), key=os.fsencode, reverse=True)
                waiting.extend(f"{name}/{item}" if name else item for item in inside)
        except OSError as error:
            refuse(path, reason(error))
            continue
        yield name, path, info


def _opened(path: Path, info: os.stat_result, same: bytes) -> AbstractContextManager[BinaryIO | None]:
    if same or not stat.S_ISREG(info.st_mode):
        return nullcontext()
    source = SourceFile(os.open(path, os.O_RDONLY | NO_LINK), path)
    return cast(AbstractContextManager[BinaryIO], source)


def _key(info: os.stat_result) -> tuple[int, ...]:
    """What of a file stays the same as long as nobody writes to it."""
    return info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _member(name: str, path: Path, info: os.stat_result, content: BinaryIO | None, same: bytes) -> PaxMember:
    holes = find_holes(content.fileno(), info.st_size) if content is not None else ()
    is_device = stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)
    return PaxMember(
        path=os.fsencode(name or "."),
        mode=info.st_mode,
        mtime_ns=info.st_mtime_ns,
        uid=info.st_uid,
        gid=info.st_gid,
        user=_user(info.st_uid),
        group=_group(info.st_gid),
        size=info.st_size if content is not None else 0,
        data=tuple(data_runs(hole_map(holes), info.st_size)) if holes else None,
        target=os.fsencode(os.readlink(path)) if stat.S_ISLNK(info.st_mode) else b"",
        same=same,
        device=(os.major(info.st_rdev), os.minor(info.st_rdev)) if is_device else (0, 0),
        attributes={} if same else _attributes(path),
    )


def _attributes(path: Path) -> dict[str, bytes]:
    """The extended attributes of a file, ACLs among them; none where the system or the file system has none."""
    if not hasattr(os, "listxattr"):
        return {}
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return {}
        raise


@lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    """The name of a user; empty where the system knows none."""
    if os.name != "posix":
        return ""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=1024)
def _group(gid: int) -> str:
    """The name of a group; empty where the system knows none."""
    if os.name != "posix":
        return ""
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
