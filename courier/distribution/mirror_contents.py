"""Where the contents of a branch point go while they are fetched: into the layout of a point, each when it is whole.

A large content is written bit by bit below ``.courier``, where a later try goes on; small ones are flushed and read
back many at a time. A content appears under its name only after it was read back, its block table before it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

from courier.distribution.fill import Content, digest_there, read_back
from courier.distribution.folder import PointFolder
from courier.distribution.mirror_folder import PARTS
from courier.error_codes import Code
from courier.errors import CourierError, DamagedError
from courier.files import allocated, flush_files
from formats.blocks import DIGEST, BlockTable, block_count
from formats.documents.listing import Entry, FileEntry
from formats.documents.point import blocks_path, content_path

_BATCH_FILES, _BATCH_BYTES = 256, 32 << 20
"""Small contents appear when so many, or so many bytes of them, have come: a kill loses no more."""


class MirrorContents(AbstractContextManager["MirrorContents"]):
    """Takes the contents that are ``missing`` (SHA-256), each once. See `FilesTarget`."""

    resumed = False

    def __init__(self, folder: PointFolder, missing: set[bytes]) -> None:
        self._folder, self._missing = folder, missing
        self._lock = threading.Lock()
        self._batch: list[tuple[str, str]] = []
        self._bytes = 0

    def __exit__(self, *_: object) -> None:
        """Keep what has come, where the fetching ended too early."""
        with contextlib.suppress(OSError, CourierError):
            self.finish()

    def files(self, entries: Iterable[Entry]) -> Iterator[FileEntry]:
        """See `FilesTarget.files`."""
        for entry in entries:
            if isinstance(entry, FileEntry) and (key := bytes.fromhex(entry.sha256)) in self._missing:
                self._missing.discard(key)
                yield entry

    def there(self, entry: FileEntry) -> bool:
        """See `FilesTarget.there`: small contents are there whole, and then not missing, or not at all."""
        return False

    def write(self, entry: FileEntry, data: memoryview) -> None:
        """See `FilesTarget.write`."""
        with self._lock:
            new, out = self._folder.create()
            with out:
                out.write(data)
            self._batch.append((new, entry.sha256))
            self._bytes += len(data)
            if len(self._batch) >= _BATCH_FILES or self._bytes >= _BATCH_BYTES:
                self._appear()

    def open(self, entry: FileEntry, table: BlockTable, /) -> tuple[int, bool]:
        """See `FilesTarget.open`. The block table is put where clients find it."""
        path = blocks_path(entry.sha256)
        if digest_there(self._folder, path) != entry.blocks:
            with self._lock:
                self._folder.write(path, b"".join(table.digest(0, n) for n in range(table.count(0))))
        return self._folder.go_on(f"{PARTS}/{entry.sha256}")

    def close(self, entry: FileEntry, descriptor: int) -> None:
        """See `FilesTarget.close`."""
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part = f"{PARTS}/{entry.sha256}"
        self._check(part, entry.sha256)
        self._folder.place(part, content_path(entry.sha256))
        self._folder.flush([content_path(entry.sha256)])

    def finish(self) -> None:
        """See `FilesTarget.finish`."""
        with self._lock:
            self._appear()

    def _appear(self) -> None:
        batch, self._batch, self._bytes = self._batch, [], 0
        flush_files([self._folder.path(new) for new, _ in batch])
        for new, sha256 in batch:
            self._check(new, sha256)
            self._folder.place(new, content_path(sha256))
        if batch:
            self._folder.flush([content_path(sha256) for _, sha256 in batch])

    def _check(self, new: str, sha256: str) -> None:
        if read_back(self._folder, new) != sha256:
            self._folder.delete(new)
            raise DamagedError(
                f"{self._folder.path(content_path(sha256))}: what was written there did not read back the same",
                hint="check that disk; then give the same command again",
                code=Code.READ_BACK,
            )


def is_held(folder: PointFolder, content: Content, *, verify: bool) -> bool:
    """Whether a mirror has a content and its block table: by their sizes, or with ``verify`` by their bytes."""
    path, table = content_path(content.sha256), blocks_path(content.sha256)
    if folder.size(path) != content.size:
        return False
    if content.blocks and folder.size(table) != block_count(content.size) * DIGEST:
        return False
    if not verify:
        return True
    return digest_there(folder, path) == content.sha256 and (
        not content.blocks or digest_there(folder, table) == content.blocks
    )


def part_bytes(folder: PointFolder, sha256: str) -> int:
    """Bytes on the disk of a content that is fetched in part."""
    try:
        descriptor, info = folder.descriptor(f"{PARTS}/{sha256}")
    except FileNotFoundError:
        return 0
    os.close(descriptor)
    return allocated(info)


def delete_parts_but(folder: PointFolder, needed: set[bytes]) -> None:
    """Delete what was fetched in part of contents that are not ``needed`` any more."""
    keep = {key.hex() for key in needed}
    for name in folder.names(PARTS):
        if name not in keep:
            folder.delete(f"{PARTS}/{name}")
