"""File systems in files: made of a tree, added to, read into a tree. Nothing is mounted, and no root is needed.

ext4 is made with its content by ``mkfs.ext4 -d``. FAT32 is filled by mtools. NTFS is written by wimlib, which fills an
empty one only, so all that goes onto it is put into one WIM before. Owners are those of the files in the tree: as
another user than root, everything belongs to that user.
"""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from courier.deployment.run.copying import bytes_of_data, copy_file
from courier.deployment.run.file_system_kinds import NAMES
from courier.deployment.run.tools import run_tool
from courier.deployment.run.work import Work
from courier.deployment.sequence import MOST_ON_FAT32, FileSystem
from courier.errors import CourierError, FailedError, NoSpaceError, RefusedError
from courier.files import RESERVE, free_space, make_folder, remove_tree, require_space, sync_folder
from formats.disk.gpt import SECTOR

_FAT_BAD = set('"*/:<>?\\|')
_BASE = "base.wim"
_EXPECTED = (
    "debugfs",
    "Allocated inode",
    "ext2fs_mkdir: Ext2 directory already exists",
    "mkdir: Ext2 directory already exists",
    "rm: File not found",
)
"""How lines begin that debugfs prints where all is well."""
_FAT_LABEL, _EXT_LABEL, _NTFS_LABEL = 11, 16, 32


def make_file_system(
    work: Work,
    file_system: FileSystem,
    image: Path,
    *,
    size: int,
    begin: int,
    label: str,
    tree: Path,
    identity: uuid.UUID,
) -> None:
    """Make a file system of ``size`` bytes in the new file ``image``, with all that is in the folder ``tree``.

    ``begin``: where its partition begins on the disk, in bytes. ``identity``: its serial number follows from it. Raises
    `RefusedError` for what the file system cannot hold, and `FailedError`. NTFS stays empty: see `fill_ntfs`.
    """
    with image.open("wb") as out:
        out.truncate(size)
    own = uuid.uuid5(identity, f"file system {label}")
    match file_system:
        case "ext4":
            _make_ext4(work, image, label, tree, own)
        case "fat32":
            _make_fat(work, image, label, tree, begin, own)
        case "ntfs":
            run_tool(work, "mkfs.ntfs", *_ntfs_options(begin, label), image)
        case "none":
            pass


@contextlib.contextmanager
def saying_what_is_full(work: Work, file_system: FileSystem, label: str, size: int) -> Iterator[None]:
    """Raise `NoSpaceError` where a program in the block ran out of room: in the partition, or in the work folder."""
    words = ("No space left", "Disk full", "Could not allocate", "allocate block", "not enough space")
    try:
        yield
    except CourierError as error:
        if not any(word.lower() in error.message.lower() for word in words):
            raise
        if (free := free_space(work.folder)) < RESERVE:
            raise NoSpaceError.short_of(
                f"making the partition {label}", needed=size, free=free, reserve=RESERVE, place=str(work.folder)
            ) from None
        raise NoSpaceError(
            f"the partition {label} ({NAMES[file_system]}, {size:,} bytes) is too small for its files",
            hint="make it larger in the task sequence",
        ) from None


def _make_ext4(work: Work, image: Path, label: str, tree: Path, own: uuid.UUID) -> None:
    extended = f"hash_seed={own},lazy_itable_init=0,nodiscard"
    run_tool(
        work, "mkfs.ext4", "-q", "-F", "-U", str(own), "-E", extended, "-L", _cut(label, _EXT_LABEL), "-d", tree, image
    )


def _make_fat(work: Work, image: Path, label: str, tree: Path, begin: int, own: uuid.UUID) -> None:
    check_fat(tree)
    hidden = str(begin // SECTOR)
    run_tool(
        work, "mkfs.fat", "-F", "32", "-h", hidden, "-i", own.hex[:8], "-n", _cut(label.upper(), _FAT_LABEL), image
    )
    copy_to_fat(work, image, tree)


def copy_to_fat(work: Work, image: Path, tree: Path) -> None:
    """Copy all of ``tree`` onto the FAT32 in ``image``; what has the same name there is replaced."""
    # Some hundred names at a time: a command line has a limit.
    names = sorted(path.name for path in tree.iterdir())
    for first in range(0, len(names), 200):
        some = [f"./{name}" for name in names[first : first + 200]]
        run_tool(work, "mcopy", "-s", "-m", "-Q", "-o", "-i", image, *some, "::", where=tree)


def check_fat(tree: Path) -> None:
    """Raise `RefusedError` for the first thing in ``tree`` that FAT32 cannot hold."""
    for folder, names in _folders(tree):
        seen: dict[str, str] = {}
        for name in names:
            path = folder / name
            info = path.lstat()
            shown = path.relative_to(tree).as_posix()
            problem = ""
            if stat.S_ISLNK(info.st_mode):
                problem = "it is a symbolic link"
            elif not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
                problem = "it is no file and no folder"
            elif stat.S_ISREG(info.st_mode) and info.st_size > MOST_ON_FAT32:
                problem = f"it has {info.st_size:,} bytes, and a file there has {MOST_ON_FAT32:,} at most"
            elif set(name) & _FAT_BAD or name.endswith((".", " ")) or any(ord(c) < 32 for c in name):
                problem = "its name has characters that are not allowed there"
            elif (other := seen.setdefault(name.casefold(), name)) != name:
                problem = f"it differs from {other} in case alone"
            if problem:
                raise RefusedError(
                    f"{shown} cannot be on FAT32: {problem}",
                    hint="leave it out, or format the partition as ext4 or ntfs",
                )


def _folders(tree: Path) -> Iterator[tuple[Path, list[str]]]:
    for above, folders, names in os.walk(tree, onerror=_raise):
        folders.sort()
        yield Path(above), sorted([*folders, *names])


def _raise(error: OSError) -> None:
    raise error


def _ntfs_options(begin: int, label: str) -> list[str]:
    # The geometry is that of every present disk; Windows reads the begin of the partition from its boot sector.
    geometry = ["-s", str(SECTOR), "-p", str(begin // SECTOR), "-H", "255", "-S", "63"]
    return ["-F", "-f", "-Q", "-q", *geometry, "-L", _cut(label, _NTFS_LABEL)]


def _cut(label: str, most: int) -> str:
    return label.encode("ascii", "replace").decode().replace("?", "_")[:most] or "DATA"


# --- a WIM in a folder ------------------------------------------------------------------------------------------------


def apply_to_folder(work: Work, wim: Path, index: int, folder: Path, *, step: int, unix: bool) -> None:
    """Put image ``index`` of a WIM into an empty folder; what a cut left of this very step is removed before.

    Into a folder that holds something no WIM is put: wimlib would write through links that are there. ``unix``: owners
    and permissions are taken over where the WIM has them. Raises `RefusedError`, and what `run_tool` raises.
    """
    begun = work.place(f"applying-{step}")
    if any(os.scandir(folder)):
        if not begun.exists():
            raise RefusedError(
                f"{folder.name} holds files already, and an image goes onto an empty partition",
                hint="put the step that applies it before those that add files",
            )
        for path in folder.iterdir():
            remove_tree(path)
    begun.touch()
    sync_folder(work.built)
    run_tool(work, "wimapply", wim, str(index), folder, *(["--unix-data"] if unix else []))


# --- NTFS: one WIM for all that goes onto it --------------------------------------------------------------------------


def base_of(store: Path) -> Path:
    """The WIM that the folder ``store`` keeps for an NTFS partition, which may not exist."""
    return store / _BASE


def fill_ntfs(work: Work, image: Path, store: Path, tree: Path, *, index: int) -> None:
    """Fill an empty NTFS with image ``index`` of the WIM in ``store``, if there is one, and with the files of ``tree``.

    What is in ``tree`` takes the place of what the WIM has there; names that differ in case alone are one, as Windows
    has it. Can be done again: the WIM is replaced as a whole.
    """
    base = base_of(store)
    with contextlib.ExitStack() as stack:
        if not base.exists():
            base, index = stack.enter_context(work.scratch("added.wim")), 1
            run_tool(work, "wimcapture", make_folder(stack.enter_context(work.scratch("nothing"))), base)
        if any(os.scandir(tree)):
            command = f"--command=add --no-acls '{tree.name}' /"
            run_tool(work, "wimupdate", base, str(index), "--rebuild", command, where=tree.parent)
        run_tool(work, "wimapply", base, str(index), image)


# --- adding to what is there ------------------------------------------------------------------------------------------


def add_files(work: Work, file_system: FileSystem, image: Path, tree: Path) -> None:
    """Add the files of ``tree`` to the file system in ``image``; what has the same name there is replaced.

    Raises `RefusedError` for NTFS and what is not known here, else as `make_file_system` does.
    """
    match file_system:
        case "fat32":
            check_fat(tree)
            copy_to_fat(work, image, tree)
        case "ext4":
            _add_to_ext4(work, image, tree)
        case _:
            raise no_additions(file_system)


def no_additions(file_system: FileSystem) -> RefusedError:
    """The error for files that are to be added to an image of a kind that takes none here."""
    return RefusedError(
        f"files cannot be added to a raw image of {NAMES[file_system]} without mounting it",
        hint="put the image into the package as a WIM, which is applied to a partition (wimcapture FILE OTHER.wim)",
    )


def _add_to_ext4(work: Work, image: Path, tree: Path) -> None:
    lines: list[str] = []
    for folder, names in _folders(tree):
        for name in names:
            path = folder / name
            inside = path.relative_to(tree).as_posix()
            if any(ord(c) < 32 or c == '"' for c in inside):
                raise RefusedError(
                    f"{inside!a} cannot be added to a raw image of ext4: its name has quotes or control characters",
                    hint="rename it, or apply the image as a WIM",
                )
            lines += _ext4_commands(path, inside)
    with work.scratch("debugfs-commands") as script:
        script.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        said = run_tool(work, "debugfs", "-w", "-f", script, image, where=tree)
    for line in said.splitlines():
        # A folder that is there already, and a file that was not, are as they should be; the others are failures.
        if line.strip() and not line.startswith(_EXPECTED):
            raise FailedError(
                f"debugfs could not add a file: {line[:200]}",
                hint=f"is the partition large enough? all it said is in {work.log_file}",
            )
    run_tool(work, "e2fsck", "-f", "-n", image)


def _ext4_commands(path: Path, inside: str) -> list[str]:
    info = path.lstat()
    place = f'"{inside}"'
    owner = [f"sif {place} uid {info.st_uid}", f"sif {place} gid {info.st_gid}"]
    times = [f"sif {place} mtime @{int(info.st_mtime)}"]
    if stat.S_ISDIR(info.st_mode):
        return [f"mkdir {place}"]
    if stat.S_ISLNK(info.st_mode):
        return [f"rm {place}", f'symlink {place} "{os.readlink(path)}"', *owner]  # noqa: PTH115 (as it is)
    if not stat.S_ISREG(info.st_mode):
        raise RefusedError(f"{inside}: it is no file and no folder", hint="leave it out")
    return [f"rm {place}", f"write {place} {place}", f"sif {place} mode 0{info.st_mode:o}", *owner, *times]


# --- reading ----------------------------------------------------------------------------------------------------------


def read_file_system(work: Work, file_system: FileSystem, disk: Path, target: Path, *, begin: int, size: int) -> None:
    """Copy all files of a partition of ``disk`` into the new folder ``target``.

    ``begin`` and ``size``: where it lies, in bytes. NTFS is copied out of the disk first, as wimlib reads whole files
    only. Raises `RefusedError` where it is of a kind that cannot be read here, `FailedError` where any of it cannot be
    read, and `NoSpaceError`.
    """
    remove_tree(target)
    make_folder(target)
    match file_system:
        case "ext4":
            _read_ext4(work, f"{disk}?offset={begin}", target)
        case "fat32":
            place = f"{disk}@@{begin}"
            # A volume without a file makes mcopy fail, as nothing fits the pattern.
            if run_tool(work, "mdir", "-b", "-i", place, "::").strip():
                run_tool(work, "mcopy", "-s", "-m", "-n", "-i", place, "::*", f"{target}/")
        case "ntfs":
            require_space(work.folder, bytes_of_data(disk, begin, size), purpose="reading an NTFS partition")
            with work.scratch("partition.img") as image, work.scratch("captured.wim") as captured:
                copy_file(disk, image, begin, size)
                run_tool(work, "wimcapture", image, captured, "--compress=none")
                image.unlink()
                run_tool(work, "wimapply", captured, "1", target)
        case "none":
            raise RefusedError(
                "the partition has a file system that cannot be read here",
                hint="ext4, FAT32 and NTFS can; capture from within the old system: courier state capture",
            )
    sync_folder(target)


def _read_ext4(work: Work, place: str, target: Path) -> None:
    said = run_tool(work, "debugfs", "-R", f"rdump / {target.name}", place, where=target.parent)
    # It ends well whatever happens, and says what it could not read.
    problems = [line for line in said.splitlines() if line.strip() and not line.startswith("debugfs ")]
    if problems:
        raise FailedError(
            f"debugfs could not read all of the partition: {problems[0][:200]}",
            hint=f"check the file system of the disk (fsck.ext4); all it said is in {work.log_file}",
        )
    lost = target / "lost+found"
    if lost.is_dir() and not any(lost.iterdir()):
        lost.rmdir()
