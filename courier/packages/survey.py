"""Surveying the source of a package: one walk over it finds all there is, and what a package does not keep.

Names, sizes, times to the nanosecond, permission bits, hard links, symbolic links and holes are kept. Owners, extended
attributes, access control lists, devices, sockets and pipes are not: they are counted, and the first of each is named.
What cannot be taken at all (a file that cannot be read, a name or a time that no listing holds) is named together.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO, BinaryIO, cast

from courier.error_codes import Code
from courier.errors import NotFoundError, UsageError
from courier.files import path_text
from courier.packages.holes import find_holes
from courier.packages.offenders import Offenders, reason
from courier.packages.own_name import own_name
from courier.packages.tree_root import TreeRoot
from courier.site.store.sparse import left_out
from formats.documents.listing import FIRST_TIME, LAST_TIME, MAX_LINE, path_key
from formats.errors import FormatError
from formats.names import check_path, check_target, leads_outside
from formats.records import LineCodec, LineReader, Row, read_rows

_IN_MEMORY = 8 << 20
"""Bytes of a survey that are kept in memory; a longer one, of some 50,000 files, goes to a temporary file."""
_TOGETHER = 1024
"""Entries that are put down together."""
EXAMPLES = 3
"""How many paths are named of each kind of thing that is not kept."""
_SPECIAL = ((stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"), (stat.S_ISSOCK, "socket"), (stat.S_ISFIFO, "fifo"))
_ACL = "system.posix_acl_"


class SourceEntry(Row, tag="e", frozen=True, kw_only=True):
    """A file, folder or link of a package's source as the survey found it: path in the package and ``lstat``.

    ``target`` is where a symbolic link leads, and ``first`` the path of the file that this is a further name of; both
    are empty for anything else. ``sparse``: whether it takes less room than its size, so that it may have holes.
    """

    name: str
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    sparse: bool = False
    target: str = ""
    first: str = ""


_LINES: LineCodec[SourceEntry] = LineCodec(SourceEntry, lambda _: None)


class Counted:
    """How many entries there are of some kinds, with the first examples of each kind."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}

    def add(self, kind: str, example: str) -> None:
        """Count one more of a kind."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        named = self.examples.setdefault(kind, [])
        if len(named) < EXAMPLES:
            named.append(example)

    @property
    def total(self) -> int:
        """How many of all kinds."""
        return sum(self.counts.values())


class SourceTree(AbstractContextManager["SourceTree"]):
    """The source of a package as one walk over it found it. A context manager; closing drops it.

    ``entries`` counts files, folders and links, ``bytes`` the content of the files (of a file with several names once),
    and ``allocated`` those that take room. ``not_kept``: entries with something that a package does not keep, of the
    kinds owner, xattr, acl, device, socket and fifo. ``links_outside``: symbolic links that lead out of the package;
    ``links_nowhere``: others that lead to nothing. Memory stays bounded however many entries there are; files with
    several names take some.
    """

    def __init__(self) -> None:
        self.entries = self.bytes = self.allocated = 0
        self.not_kept = Counted()
        self.links_outside = Counted()
        self.links_nowhere = Counted()
        self._open = ExitStack()
        self._roots: dict[Path, TreeRoot] = {}
        self._places: dict[str, tuple[TreeRoot, str]] = {}
        self._lines: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (closed by `close`)
        self._waiting: list[SourceEntry] = []
        """Entries that are not among the lines yet."""
        self._first_names: dict[tuple[int, int], str] = {}
        self._further: dict[str, int] = {}

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what was found."""
        self._open.close()
        self._lines.close()

    def add_place(self, name: str, folder: Path, below: str = "") -> TreeRoot:
        """Take what stands at ``below`` in ``folder`` for the package's path ``name``; return the open folder.

        The empty name stands for the whole package.
        """
        if folder not in self._roots:
            self._roots[folder] = self._open.enter_context(TreeRoot(folder))
        self._places[name] = self._roots[folder], below
        return self._roots[folder]

    def add(self, entry: SourceEntry) -> None:
        """Note one more entry, in the order of the listing."""
        self.entries += 1
        self._waiting.append(entry)
        if len(self._waiting) >= _TOGETHER:
            self._put_down()

    def _put_down(self) -> None:
        self._lines.write(_LINES.encode(self._waiting))
        self._waiting = []

    def earlier(self, name: str, info: os.stat_result) -> str:
        """The first path of the file that ``name`` is a further name of; empty for its first."""
        if info.st_nlink < 2:
            return ""
        first = self._first_names.setdefault((info.st_dev, info.st_ino), name)
        if first == name:
            return ""
        self._further[first] = self._further.get(first, 0) + 1
        return first

    def further_names(self, name: str) -> int:
        """How many further names the file at ``name`` has in the package."""
        return self._further.get(name, 0)

    def walk(self) -> Iterator[SourceEntry]:
        """Each entry in the order they were noted."""
        self._put_down()
        self._lines.seek(0)
        reader = LineReader(cast(BinaryIO, self._lines), longest=MAX_LINE, place="survey")
        for entry, _ in read_rows(reader, _LINES, place=lambda n: f"survey:{n + 1}"):
            yield entry

    def place(self, name: str) -> tuple[TreeRoot, str]:
        """The open folder that an entry is below, and its path there."""
        if "" in self._places:
            return self._places[""][0], name
        first, _, rest = name.partition("/")
        root, below = self._places[first]
        return root, "/".join(part for part in (below, rest) if part)

    def path(self, name: str) -> Path:
        """Where an entry is on the disk."""
        root, below = self.place(name)
        return root.path(below)


def scan_tree(paths: Sequence[Path]) -> SourceTree:
    """Walk over the source of a package and judge what is there; no content is read. Close the result.

    The content of a single folder is the package. Otherwise each path stands in the package under its own name. A link
    that is named here is followed, as a folder is entered; one inside is kept as a link. Raises `NotFoundError`,
    `UsageError` (two paths of one name), and `RefusedError` that names everything that cannot be taken.
    """
    tree = SourceTree()
    try:
        survey = _Survey(tree)
        for name, path in _roots(paths).items():
            survey.take(name, path)
        survey.offenders.check()
    except BaseException:
        tree.close()
        raise
    return tree


def _roots(paths: Sequence[Path]) -> dict[str, Path]:
    """Return where the package's first path components are on the disk; "" stands for all of a single folder."""
    for path in paths:
        if not os.path.lexists(path):
            raise NotFoundError(f"{path_text(path)} does not exist", hint="check the path")
        if not path.exists():
            raise NotFoundError(
                f"{path_text(path)} is a link that leads nowhere ({path_text(Path(os.readlink(path)))})",  # noqa: PTH115
                hint="name the file itself, or mend the link",
            )
    if len(paths) == 1 and paths[0].is_dir():
        return {"": paths[0]}
    named = {own_name(path): path for path in paths}
    if len(named) != len(paths):
        raise UsageError("two of the paths have the same name", hint="put them in one folder and add the folder")
    return {name: named[name] for name in sorted(named, key=path_key)}


class _Survey:
    """One walk over the source of a package."""

    def __init__(self, tree: SourceTree) -> None:
        self.offenders = Offenders()
        self._tree = tree
        self._me = (os.geteuid(), os.getegid()) if hasattr(os, "geteuid") else None

    def take(self, name: str, path: Path) -> None:
        """Survey one of the paths that were named, as ``name`` in the package; empty for the whole package."""
        if not path.is_dir():
            # A link that was named is followed: the file is opened in the folder that really holds it.
            real = path.resolve()
            if any(is_kind(real.stat().st_mode) for is_kind, _ in _SPECIAL):
                self.offenders.add(
                    path,
                    "it is a device, socket or pipe",
                    code=Code.SPECIAL_FILE,
                    hint="packages hold files, folders and links; a whole folder with devices goes in with --pack",
                )
                return
            self._judged(self._tree.add_place(name, real.parent, real.name), real.name, name)
            return
        root = self._tree.add_place(name, path)
        if not name or self._judged(root, "", name):
            self._walk(root, name)

    def _walk(self, root: TreeRoot, prefix: str) -> None:
        """Survey all below a root, in the order of a listing; no recursion, so that names alone bound the depth."""
        waiting = [self._names(root, "")]
        folders = [("", _in_unicode(prefix))]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                folders.pop()
                continue
            item = waiting[-1].pop()
            below, name = (f"{above}/{item}" if above else item for above in folders[-1])
            if self._judged(root, below, name):
                waiting.append(self._names(root, below))
                # In a folder that has to be renamed, each entry is judged by its own name.
                folders.append((below, _in_unicode(name)))

    def _names(self, root: TreeRoot, below: str) -> list[str]:
        """What a folder holds, last name first."""
        try:
            return root.names(below)[::-1]
        except OSError as error:
            self.offenders.add(root.path(below), reason(error))
            return []

    def _judged(self, root: TreeRoot, below: str, name: str) -> bool:
        """Note an entry, or what is wrong with it; return whether it is a folder to go into."""
        try:
            info = root.lstat(below)
        except OSError as error:
            self.offenders.add(root.path(below), reason(error))
            return False
        is_folder = stat.S_ISDIR(info.st_mode)
        try:
            check_path(name)
            is_file = stat.S_ISREG(info.st_mode)
            if not (is_file or is_folder) and (special := _special(info.st_mode)):
                self._tree.not_kept.add(special, name)
            elif not FIRST_TIME <= info.st_mtime_ns <= LAST_TIME:
                self.offenders.add(
                    root.path(below),
                    "its time is outside the years 1 to 9999",
                    code=Code.TIME_OUT_OF_RANGE,
                    hint="set it right (touch), then add again",
                )
            elif is_file and not root.can_read(below):
                self.offenders.add(root.path(below), "it cannot be read (Permission denied)")
            else:
                self._note(root, below, name, info)
        except FormatError as error:
            hint = "rename it in the source folder, then add again"
            self.offenders.add(root.path(below), error.message, code=Code.ILLEGAL_NAME, hint=hint)
            # A folder that only has another name to get is gone into; one that is too deep is not.
            return is_folder and name != _in_unicode(name)
        except OSError as error:
            self.offenders.add(root.path(below), reason(error))
        return is_folder

    def _note(self, root: TreeRoot, below: str, name: str, info: os.stat_result) -> None:
        tree, target, first, sparse = self._tree, "", "", False
        if stat.S_ISLNK(info.st_mode):
            target = root.readlink(below)
            target = check_target(target.replace("\\", "/") if os.name == "nt" else target)
            if leads_outside(name, target):
                tree.links_outside.add("link", f"{name} -> {target}")
            elif root.leads_nowhere(below):
                tree.links_nowhere.add("link", f"{name} -> {target}")
        elif stat.S_ISREG(info.st_mode):
            first = tree.earlier(name, info)
            room = info.st_size
            if getattr(info, "st_blocks", room) * 512 < room:
                # Holes take no room. Data take less as well where the file system compresses: so holes are asked for.
                holes = _holes(root, below, info.st_size)
                sparse = bool(holes)
                room -= left_out(holes, info.st_size)
            if not first:
                tree.bytes += info.st_size
                tree.allocated += room
        if not first:
            self._note_not_kept(root, below, name, info)
        tree.add(
            SourceEntry(
                name=name,
                mode=info.st_mode,
                size=info.st_size,
                mtime_ns=info.st_mtime_ns,
                ctime_ns=info.st_ctime_ns,
                sparse=sparse,
                target=target,
                first=first,
            )
        )

    def _note_not_kept(self, root: TreeRoot, below: str, name: str, info: os.stat_result) -> None:
        if self._me is not None and (info.st_uid, info.st_gid) != self._me:
            self._tree.not_kept.add("owner", name)
        if names := root.attributes(below):
            for kind in sorted({"acl" if one.startswith(_ACL) else "xattr" for one in names}):
                self._tree.not_kept.add(kind, name)


def _special(mode: int) -> str:
    """What an entry is that no package holds; empty for any other."""
    return next((kind for is_kind, kind in _SPECIAL if is_kind(mode)), "")


def _holes(root: TreeRoot, below: str, size: int) -> tuple[tuple[int, int], ...]:
    """The holes of a file; raises `OSError`."""
    descriptor = root.open(below)
    try:
        return find_holes(descriptor, size)
    finally:
        os.close(descriptor)


def _in_unicode(name: str) -> str:
    """A name with everything that is no Unicode in it spelled out."""
    return name.encode("utf-8", "backslashreplace").decode()
