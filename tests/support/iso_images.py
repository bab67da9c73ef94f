"""What the tests of ISO images share: sources, sparse media, media that fail, images by us and by stock tools."""

from __future__ import annotations

import errno
import io
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from formats.iso import IsoFile, IsoReader, write_iso

BLOCK = 2048
CREATED = 1_795_512_600_123_456_789
"""2026-11-24T09:30:00.123456789Z."""
VOLUME = "HQ1_000042_V003"
PATHS_AND_SIZES = {
    "bagit.txt": 55,
    "manifest-sha256.txt": 0,
    "RESTORE.txt": 2048,
    "courier/packing-list.json": 2049,
    "data/archives/000001.7z": 123_457,
    "data/archives/000002.7z": 2047,
    "data/parity/000001.par": 1,
    "data/parity/000001.par.json": 5000,
    f"data/{'long-name-' * 6}.txt": 3,
    "data/a/b/c/d/e/f/deep.bin": 4096,
}


def tree(paths_and_sizes: Mapping[str, int] = PATHS_AND_SIZES) -> dict[str, bytes]:
    """Path -> made-up content, the same at every call."""
    return {path: random.Random(path).randbytes(size) for path, size in paths_and_sizes.items()}


def iso_file(path: str, content: bytes) -> IsoFile:
    return IsoFile(path=path, size=len(content), open=lambda: io.BytesIO(content))


def image(content: Mapping[str, bytes], *, created_ns: int = CREATED) -> bytes:
    """The image of a tree, written by us."""
    out = io.BytesIO()
    files = [iso_file(path, data) for path, data in content.items()]
    write_iso(out, files, volume_id=VOLUME, publisher="Headquarters", application="courier", created_ns=created_ns)
    return out.getvalue()


def read_all(source: BinaryIO | bytes) -> dict[str, bytes]:
    """Every file of an image, in the order `IsoReader` names them."""
    medium = io.BytesIO(source) if isinstance(source, bytes) else source
    with IsoReader(medium) as reader:
        return {path: reader.open(path).read() for path, _ in reader.files()}


def folder_of(content: Mapping[str, bytes], folder: Path) -> Path:
    """``folder`` with the tree in it."""
    for path, data in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


ZEROS = bytes(1 << 20)


class Zeros(io.RawIOBase):
    """A source of ``size`` bytes: zeros between 4 bytes at either end; gigabytes of it cost nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        wanted = min(size, self._size - self._at)
        data = ZEROS if wanted == len(ZEROS) else bytes(wanted)
        if self._at == 0 or self._at + wanted > self._size - 4:
            data = bytes(0xA5 if at < 4 or at >= self._size - 4 else 0 for at in range(self._at, self._at + wanted))
        self._at += wanted
        return data


def zeros_file(path: str, size: int) -> IsoFile:
    return IsoFile(path=path, size=size, open=lambda: cast(BinaryIO, Zeros(size)))


class SparseOut(io.RawIOBase):
    """A file to write to in which `ZEROS` become a hole."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        if data is ZEROS:
            self._out.seek(len(ZEROS), io.SEEK_CUR)
            return len(ZEROS)
        return self._out.write(cast(bytes, data))

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._out.seek(offset, whence)

    def tell(self) -> int:
        return self._out.tell()

    def truncate(self, size: int | None = None, /) -> int:
        return self._out.truncate(size)


class Scratched(io.BytesIO):
    """An image on a medium that fails wherever a read touches one of the ``bad`` blocks."""

    def __init__(self, data: bytes, bad: Iterable[int]) -> None:
        super().__init__(data)
        self._bad = set(bad)

    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        data = super().read(size)
        if not self._bad.isdisjoint(range(start // BLOCK, -(-(start + len(data)) // BLOCK))):
            self.seek(start)
            raise OSError(errno.EIO, "bad sector")
        return data
