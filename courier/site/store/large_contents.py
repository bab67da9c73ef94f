"""The contents of a store that are files of their own, and their block tables.

content/ab/HEX    the bytes, with holes where there are long runs of zeros
blocks/ab/HEX     its block table and the CRC-32s of its blocks, where it has more than one; see `block_sums`
damaged/HEX       what is in quarantine, until the next collection
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from courier.errors import DamagedError
from courier.files import delete_files, flush_files, make_folder, sweep, sync_folder, write_atomic
from courier.site.store.block_sums import BlockSums, sums_of
from courier.site.store.content_store import MISSING
from courier.site.store.digest_set import DigestSet
from courier.site.store.packs import DIFFERS, cannot_be_read
from formats.digest import chunks

CONTENT, BLOCKS, DAMAGED = "content", "blocks", "damaged"
ADD_AGAIN = "remove the package and add or receive it again"
_HEX = re.compile(r"[0-9a-f]{64}")
_FEW = 64


class LargeContents:
    """The contents in files of their own, in the folder of a store, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        """The file of a content, which need not exist."""
        return self._folder / CONTENT / sha256[:2] / sha256

    def table_path(self, sha256: str) -> Path:
        """The file of a content's block table, which need not exist."""
        return self._folder / BLOCKS / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """The bytes of a content; None where there is no file of it."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, sha256: str) -> BinaryIO:
        """Open a content for reading; raises `FileNotFoundError`."""
        return self.path(sha256).open("rb")

    def problem(self, sha256: str, progress: Callable[[int], None] = lambda _: None) -> str:
        """What is wrong with a content; empty when it is good. ``progress`` is told the bytes as they are read."""
        hasher = hashlib.sha256()
        try:
            with self.path(sha256).open("rb") as source:
                for data in chunks(source):
                    hasher.update(data)
                    progress(len(data))
        except FileNotFoundError:
            return MISSING
        except OSError as error:
            return cannot_be_read(error)
        return "" if hasher.hexdigest() == sha256 else DIFFERS

    def sums(self, sha256: str, size: int) -> BlockSums:
        """The sums of the blocks of a content of more than one; see `ContentStore.block_digests`."""
        path = self.table_path(sha256)
        with contextlib.suppress(FileNotFoundError):
            kept = BlockSums.parse(path.read_bytes(), size)
            if kept is not None:
                return kept
        with self.open(sha256) as source:
            digest, count, sums = sums_of(chunks(source))
        if sums is None or (digest, count) != (sha256, size):
            raise DamagedError(f"package store: content {sha256} differs from its SHA-256", hint=ADD_AGAIN)
        # Where the home can only be read, it is made again the next time.
        with contextlib.suppress(OSError):
            write_atomic(make_folder(path.parent) / path.name, sums.encode())
        return sums

    def has_sums(self, sha256: str, sums: BlockSums) -> bool:
        """Whether the sums of the blocks of a content are there and are these."""
        try:
            return self.table_path(sha256).read_bytes() == sums.encode()
        except OSError:
            return False

    def contents(self) -> Iterator[tuple[str, int]]:
        """SHA-256 and size of every content, in the order of the SHA-256."""
        for path in _files(self._folder / CONTENT):
            yield path.name, path.stat().st_size

    def move_in(self, staged: Path) -> None:
        """Move the files of a staging folder, in ``content`` and ``blocks``, to where they belong, flushed to disk."""
        # Tables first: where a content is, its table is.
        kinds = [kind for kind in (BLOCKS, CONTENT) if (staged / kind).is_dir()]
        flush_files(list(islice((path for kind in kinds for path in (staged / kind).iterdir()), _FEW + 1)))
        folders = set()
        for kind in kinds:
            for path in (staged / kind).iterdir():
                target = self.path(path.name) if kind == CONTENT else self.table_path(path.name)
                if target.parent not in folders:
                    folders.add(make_folder(target.parent))
                path.replace(target)
        for folder in folders:
            sync_folder(folder)

    def quarantine(self, sha256: str) -> None:
        """Move a content out of use; does nothing where there is none."""
        if self.path(sha256).exists():
            self.path(sha256).replace(make_folder(self._folder / DAMAGED) / sha256)

    def keep_damaged(self, sha256: str, data: bytes) -> None:
        """Put the bytes of a damaged content from elsewhere into quarantine. They are not flushed to the disk."""
        (make_folder(self._folder / DAMAGED) / sha256).write_bytes(data)

    def collect(self, needed: DigestSet) -> int:
        """Delete every content but those needed, block tables, and what is in quarantine; return the bytes freed."""
        freed = delete_files(named_by_digest(self._folder / DAMAGED))
        for kind in (CONTENT, BLOCKS):
            freed += delete_files(
                path for path in _files(self._folder / kind) if bytes.fromhex(path.name) not in needed
            )
        for folder in _folders(self._folder / BLOCKS):
            sweep(folder)
        return freed


def named_by_digest(folder: Path) -> list[Path]:
    """The files of a folder that are called by a SHA-256, in its order.

    Other names are not ours: desktop systems and network file systems leave files everywhere.
    """
    if not folder.is_dir():
        return []
    with os.scandir(folder) as items:
        names = sorted(item.name for item in items if _HEX.fullmatch(item.name))
    return [folder / name for name in names]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _files(folder: Path) -> Iterator[Path]:
    for inner in _folders(folder):
        yield from named_by_digest(inner)
