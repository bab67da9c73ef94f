"""What the tests of a client's cache share: packages on the disk, a cache with entries of a given age, and kills."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from courier.distribution.cache_entries import write_record
from courier.distribution.cache_folder import changing, inventory, open_cache
from courier.distribution.cache_place import Placing, copy_of, listing_of, place

MINUTE = 60 * 10**9
NOW = 1_900_000_000 * 10**9
SIZE = 1000
"""Bytes of a package that `package_folder` makes."""


def package_folder(folder: Path, *, size: int = SIZE, seed: int = 0) -> Path:
    """A folder of files of so many bytes in all, with a folder and a link in it."""
    (folder / "sub").mkdir(parents=True)
    (folder / "image.bin").write_bytes(bytes((seed + n) % 251 for n in range(size - 10)))
    (folder / "sub" / "ten").write_bytes(b"0123456789")
    (folder / "link").symlink_to("sub/ten")
    return folder


def place_folder(home: Path, package: str, folder: Path, *, version: int = 1, now_ns: int = NOW) -> Placing:
    """Place the files in ``folder`` as they are."""
    with listing_of(folder) as (listing, digest):
        return place(
            home, package, version, listing=listing, digest=digest, fill=copy_of(folder, listing), now_ns=now_ns
        )


def set_age(home: Path, package: str, *, minutes: int, now_ns: int = NOW) -> None:
    """Let the entries of a package be referenced so many minutes before ``now_ns``."""
    with changing(home) as cache:
        for entry in inventory(cache).entries:
            if entry.package == package:
                write_record(cache.content / entry.name, replace(entry, referenced_ns=now_ns - minutes * MINUTE))


def held(home: Path) -> set[str]:
    """The names of the entries, each read again as a whole; none may be damaged."""
    found = inventory(open_cache(home), digests=True)
    assert found.damaged == ()
    return {entry.name for entry in found.entries}


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do ``work`` in a process of its own that is killed before its ``step``-th change of files.

    Return whether it was killed; False when it was done before. Its errors fail the test.
    """
    child = os.fork()
    if child == 0:
        left = step

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event not in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.truncate"):
                return
            if event == "open" and not int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR):
                return
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
