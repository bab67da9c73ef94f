"""The disks of ``courier demo --deploy``: files, blank at first, and what is on them in the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from courier.cli.demo_branch import check

DISK_SIZE = 32 << 20
"""Bytes of a disk."""


def blank_disk(path: Path) -> Path:
    """The file of a disk with nothing on it."""
    with path.open("wb") as disk:
        disk.truncate(DISK_SIZE)
    return path


def compare_disk(disk: Path, *, image: bytes, users: Mapping[str, bytes], work: Path) -> None:
    """Compare the two partitions of a disk with the ``image`` that the first has to be, and the files of the second.

    ``work``: a folder for what is read. Raises `DamagedError` for any difference, and as
    `courier.deployment.run.file_systems.read_file_system` does.
    """
    from courier.deployment.run.file_systems import read_file_system
    from courier.deployment.run.partitions import read_table
    from courier.deployment.run.work import work_folder

    with disk.open("rb") as source:

        def read_at(offset: int, count: int) -> bytes:
            source.seek(offset)
            return source.read(count)

        table = read_table(read_at)
        spans = table.spans if table else ()
        check([span.label for span in spans] == ["SYSTEM", "HOME"], f"{disk.name} has other partitions")
        system, home = spans
        check(read_at(system.begin, system.size) == image, "the image on the disk is another")
    with work_folder(work) as folder:
        target = folder.place("read")
        read_file_system(folder, "ext4", disk, target, begin=home.begin, size=home.size)
        there = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    check(there == users, "the files of the users are others")
