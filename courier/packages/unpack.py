"""Unpacking the tar archives of a package into a folder, with owners, attributes, devices, hard links and holes.

It is guarded as Python's ``tar`` extraction filter asks: no absolute names, nothing outside the folder, nothing through
a link. Beyond that filter no name may stand twice, so that nothing is ever written over, and all permission bits are
kept. What the system does not let this user restore is counted and told.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from courier.errors import UsageError, explain
from courier.files import naming_space, require_space, sync_file
from courier.niceties import TIMES, nicety, set_mode, set_time
from courier.packages.find import find_package
from courier.packages.vouched import check_not_contradicted
from courier.packages.write_tree import check_native, new_folder, umask
from courier.progress import SILENT, Progress
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from formats.archive.foreign_member import is_damage
from formats.archive.tar_header import WholeHeader, modified_ns
from formats.digest import CHUNK, HashingReader
from formats.documents.listing import FileEntry, FolderEntry
from formats.errors import FormatError, IllegalNameError, MalformedError, UnexpectedError

OWNER, SPECIAL, ATTRIBUTE = "owner", "special file", "extended attribute"
SET_ID = "set-user-ID or set-group-ID bit"
_NOT_MADE = {errno.EINVAL, errno.ENOENT, errno.ENAMETOOLONG, errno.EILSEQ}
"""What a system says of a name, a link or a device that it cannot have."""
_XATTR = "SCHILY.xattr."
_ERRORS = (tarfile.TarError, EOFError, ValueError, IndexError, OverflowError)


def unpack_package(
    site: Site, reference: str, target: Path, progress: Progress = SILENT
) -> tuple[StoredPackage, Mapping[str, int]]:
    """Unpack the tar archives of a package version into ``target``, a new or empty folder, whole or not at all.

    Return the version, and how many of each thing could not be restored. ``progress`` is told the bytes read. Raises
    `NotFoundError`, `NoSpaceError`, `UsageError` for a package that holds other files than tar archives, and
    `RefusedError` or `DamagedError` for an archive that leads out of ``target`` or is no tar.
    """
    stored = find_package(site, reference)
    check_not_contradicted(site, stored)
    tars = 0
    for entry in site.store.entries(stored.listing):
        if not isinstance(entry, FolderEntry) and not (isinstance(entry, FileEntry) and entry.path.endswith(".tar")):
            raise UsageError(
                f"{stored.package}:{stored.version} holds {entry.path!a}, which is no .tar file",
                hint="leave --unpack out to export the files as they are",
            )
        tars += isinstance(entry, FileEntry)
    if not tars:
        raise UsageError(f"{stored.package}:{stored.version} holds no .tar file", hint="leave --unpack out")
    folder, size, purpose = target.absolute().parent, stored.listing.allocated, "unpacking the package"
    require_space(folder, size, purpose=purpose)
    with naming_space(folder, lambda: size, purpose=purpose), new_folder(target.absolute()) as temporary:
        unpacker = _Unpacker(temporary)
        progress.begin(f"Unpacking {stored.package}:{stored.version}", stored.listing.bytes)
        for entry in site.store.entries(stored.listing):
            if isinstance(entry, FileEntry):
                _unpack_one(site, entry, unpacker, progress)
        unpacker.finish()
    return stored, dict(unpacker.lost)


def _unpack_one(site: Site, entry: FileEntry, unpacker: _Unpacker, progress: Callable[[int], None]) -> None:
    """Unpack one archive, and compare it with its SHA-256 on the way."""
    try:
        with site.store.open_content(entry.sha256) as raw:
            source = _Forward(raw, progress)
            try:
                with tarfile.open(fileobj=cast(BinaryIO, source), mode="r:", tarinfo=WholeHeader) as archive:
                    while (info := archive.next()) is not None:
                        unpacker.take(archive, info)
                        # tarfile keeps every member it has met; here nobody asks for them again.
                        archive.members = []  # type: ignore[attr-defined]
            except _ERRORS as error:
                raise MalformedError(f"not a tar archive, or damaged: {str(error)[:100]}") from None
            while source.read(CHUNK):
                pass
            source.verify(size=entry.size, sha256=entry.sha256, place=entry.path)
    except FormatError as error:
        raise explain(
            error,
            where=f"package store: {entry.path}",
            hint="export the tar as it is, without --unpack, and look at it",
        ) from None


class _Forward(HashingReader):
    """A hashing reader for tarfile, which seeks: it goes forward only, and reads what is between."""

    def __init__(self, source: BinaryIO, progress: Callable[[int], None]) -> None:
        super().__init__(source)
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes from the source."""
        data = super().read(size)
        self._progress(len(data))
        return data

    def tell(self) -> int:
        """Bytes read so far."""
        return self.count

    def seekable(self) -> bool:
        """Forward, it is."""
        return True

    def seek(self, offset: int) -> int:
        """Read on to ``offset``, or to the end of the source. Raises `tarfile.StreamError` where that is behind."""
        if offset < self.count:
            raise tarfile.StreamError("the data of a file stand in the wrong order")
        while self.count < offset and self.read(min(offset - self.count, CHUNK)):
            pass
        return self.count


@dataclass(frozen=True, kw_only=True, slots=True)
class _Details:
    """What is restored of a member beside its content."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    attributes: Mapping[str, bytes]
    is_link: bool


class _Unpacker:
    """Makes the members of archives in a folder that nobody else writes to."""

    def __init__(self, root: Path) -> None:
        self.lost: Counter[str] = Counter()
        self._root = root
        self._root_told = False
        self._checked: tuple[str, ...] = ()
        self._folders: list[tuple[Path, _Details]] = []
        self._mask = umask()
        set_mode(root, 0o700)

    def take(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        """Make one member. Raises `FormatError` for one that leads out, stands twice or is of an unknown kind."""
        steps = _steps(info.name)
        path = self._within(steps)
        if info.isdir():
            self._root_told |= not steps
            if not path.is_dir() or path.is_symlink():
                self._new(path.mkdir, info)
            self._folders.append((path, _details(info)))
            return
        if not steps:
            raise IllegalNameError("name is empty", place=ascii(info.name))
        made = self._new(lambda: self._make(archive, info, path), info)
        if made and not info.islnk():
            self._restore(path, _details(info))

    def finish(self) -> None:
        """Give the folders their details: last, because writing into a folder changes its time and may need rights."""
        for path, details in sorted(self._folders, key=lambda one: -len(one[0].parts)):
            self._restore(path, details)
        if not self._root_told:
            set_mode(self._root, 0o777 & ~self._mask)
        if hasattr(os, "sync"):
            os.sync()

    def _new(self, make: Callable[[], bool | None], info: tarfile.TarInfo) -> bool | None:
        try:
            return make()
        except FileExistsError:
            raise UnexpectedError("stands twice in the archive", place=ascii(info.name)) from None
        except OSError as error:
            if is_damage(error) or error.errno in _NOT_MADE:
                why = error.strerror or "its data are nowhere"
                raise UnexpectedError(f"cannot be made here: {why}", place=ascii(info.name)) from None
            raise

    def _within(self, steps: tuple[str, ...]) -> Path:
        """The path of a member, after a look at every folder above it: none of them is a link. Makes missing ones."""
        folders = steps[:-1]
        if folders == self._checked:  # what was a folder stays one: nothing is ever removed or replaced
            return self._root.joinpath(*steps)
        path = self._root
        for step in folders:
            path = path / step
            try:
                if not stat.S_ISDIR(path.lstat().st_mode):
                    raise IllegalNameError("leads through a link or a file", place=ascii("/".join(steps)))
            except FileNotFoundError:
                path.mkdir()
        self._checked = folders
        return path.joinpath(*steps[-1:])

    def _make(self, archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> bool:
        """Make a member that is no folder; return False for one that this user cannot make, which is counted."""
        if info.isreg():
            _write_file(archive, info, path)
        elif info.issym():
            path.symlink_to(info.linkname)
        elif info.islnk():
            return self._link(info, path)
        elif info.ischr() or info.isblk() or info.isfifo():
            return self._make_special(info, path)
        else:
            raise UnexpectedError(f"a member of the unknown kind {info.type!r}", place=ascii(info.name))
        return True

    def _link(self, info: tarfile.TarInfo, path: Path) -> bool:
        steps = _steps(info.linkname)
        try:
            first = self._within(steps)
            if os.link in os.supports_follow_symlinks:
                os.link(first, path, follow_symlinks=False)
            else:
                path.hardlink_to(first)
        except FileNotFoundError:
            if self.lost[SPECIAL]:
                self.lost[SPECIAL] += 1  # a further name of a device that could not be made
                return False
            raise MalformedError("a hard link to a file that does not come before it", place=ascii(info.name)) from None
        return True

    def _make_special(self, info: tarfile.TarInfo, path: Path) -> bool:
        try:
            if info.isfifo():
                os.mkfifo(path, 0o600)
            else:
                kind = stat.S_IFCHR if info.ischr() else stat.S_IFBLK
                os.mknod(path, 0o600 | kind, os.makedev(info.devmajor, info.devminor))
        except (AttributeError, PermissionError):  # a system without them, or a user who may not
            self.lost[SPECIAL] += 1
            return False
        return True

    def _restore(self, path: Path, details: _Details) -> None:
        """Give a member its owner, then its attributes and permissions, which a change of owner would take away."""
        mode = details.mode
        if not _own(path, details):
            self.lost[OWNER] += 1
            if mode & (stat.S_ISUID | stat.S_ISGID) and not details.is_link:
                # With these bits it would run as whoever unpacked it.
                mode &= ~(stat.S_ISUID | stat.S_ISGID)
                self.lost[SET_ID] += 1
        for name, value in details.attributes.items():
            if not _set_attribute(path, name, value):
                self.lost[ATTRIBUTE] += 1
        times = details.mtime_ns, details.mtime_ns
        if not details.is_link:
            set_time(path, details.mtime_ns)  # before the permissions: Windows sets no time of a read-only file
            set_mode(path, mode)
        elif os.utime in os.supports_follow_symlinks:
            with nicety(path.parent, TIMES):
                os.utime(path, ns=times, follow_symlinks=False)


def _steps(name: str) -> tuple[str, ...]:
    """The components of a member's name; empty for the folder itself. Raises `IllegalNameError` where it leads out."""
    steps = tuple(step for step in name.split("/") if step not in ("", "."))
    if name.startswith("/") or ".." in steps:
        raise IllegalNameError("absolute, or with a '..' component", place=ascii(name))
    check_native("/".join(steps))
    return steps


def _details(info: tarfile.TarInfo) -> _Details:
    headers: dict[str, Any] = dict(info.pax_headers)
    attributes = {
        key.removeprefix(_XATTR): value.encode("utf-8", "surrogateescape")
        for key, value in sorted(headers.items())
        if key.startswith(_XATTR)
    }
    return _Details(
        mode=stat.S_IMODE(info.mode),
        uid=info.uid,
        gid=info.gid,
        mtime_ns=modified_ns(info),
        attributes=attributes,
        is_link=info.issym(),
    )


def _write_file(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> None:
    """Write a regular file; only its data, so that its holes stay holes."""
    source = archive.extractfile(info)
    if source is None:
        raise MalformedError("a file without content", place=ascii(info.name))
    runs = cast("list[tuple[int, int]] | None", info.sparse)
    with path.open("xb") as out:
        for offset, length in [(0, info.size)] if runs is None else runs:
            source.seek(offset)
            out.seek(offset)
            left = length
            while left > 0:
                data = source.read(min(left, CHUNK))
                if not data:
                    raise MalformedError("the archive ends in the middle of a file", place=ascii(info.name))
                out.write(data)
                left -= len(data)
        out.truncate(info.size)
        if not hasattr(os, "sync"):
            out.flush()
            sync_file(out.fileno(), path)


def _own(path: Path, details: _Details) -> bool:
    """Give a file its owner and group, by number; return whether the system let us."""
    if not hasattr(os, "lchown"):
        return False
    try:
        os.lchown(path, details.uid, details.gid)
    except OSError:
        return False
    return True


def _set_attribute(path: Path, name: str, value: bytes) -> bool:
    """Give a file an extended attribute; return whether the system and the file system let us."""
    if not hasattr(os, "setxattr"):
        return False
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError:
        return False
    return True
