"""The spool: where the files of a parcel that arrives gather, block by block, until all are here and good.

Each build has one folder below ``parcels/in``. ``archives/000001.7z`` is written in place and sparse. Its map
``archives/000001.7z.have`` is one byte a block: 1 where the block is here and had its signed digest when written.
Only blocks that agree with the signed block table are ever written, so media can be read in any order and any number of
times: each reading only adds blocks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.files import flush_files, make_folder, remove_tree, sync_file, sync_folder, write_atomic
from courier.parcel.block_table import load_table
from courier.parcel.volume_documents import VolumeDocuments
from formats.blocks import BlockTable
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope
from formats.errors import FormatError

PACKING_LIST = "packing-list.json"
CONTENTS = "contents"
BLOCKS = "blocks.bin"
EDITIONS = "editions"
EXPANDED = "expanded"
"""Name of the file with the bytes that the import will add to the store."""
_ONLY_ONES = bytes(byte == 1 for byte in range(256))
SETTLE_BYTES = 1 << 30
"""Bytes written to an archive before its map of blocks is put on the disk: what a kill can cost to read again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileState:
    """How much of one archive or parity file is here: ``good`` of its ``blocks``."""

    index: int
    blocks: int
    good: int

    @property
    def whole(self) -> bool:
        """Whether all of it is here."""
        return self.good == self.blocks


class Spool:
    """What is here of one build of a parcel.

    ``packing`` is the packing list the spool was begun with, ``digest`` the SHA-256 of its payload. ``checked``: its
    two tables have just been compared with their signed digests.
    """

    def __init__(
        self, folder: Path, packing: PackingList, table: BlockTable, *, digest: str, checked: bool = False
    ) -> None:
        self.folder = folder
        self.packing = packing
        self.table = table
        self.digest = digest
        self._checked = checked

    @classmethod
    def begin(cls, folder: Path, documents: VolumeDocuments) -> Spool:
        """Make the spool of a build from a volume that has both of its tables; they are moved into the spool."""
        make_folder(folder / "archives")
        make_folder(folder / EDITIONS)
        return cls._with_tables_of(folder, documents)

    @classmethod
    def reopen(cls, folder: Path, documents: VolumeDocuments) -> Spool:
        """Open a spool that was begun; where its tables were damaged on our own disk, the volume's replace them.

        ``documents``: those of a volume of the same build. Blocks that gathered stay; parity stays where it belongs to
        the volume's edition. Raises `DamagedError` for what this volume cannot put right.
        """
        own = _own_packing(folder, documents.digest)
        if own is not None and _has_tables(folder, own[0]):
            return cls(folder, own[0], load_table(folder / BLOCKS, own[0]), digest=own[1], checked=True)
        if documents.contents is None or documents.blocks is None:
            return cls.open(folder)
        others = {path.name for path in (folder / EDITIONS).glob("*")} - {documents.digest}
        if others and (own is None or own[0] != documents.packing):
            _forget_parity(folder, documents.packing)
        return cls._with_tables_of(folder, documents)

    @classmethod
    def is_sound(cls, folder: Path, documents: VolumeDocuments) -> bool:
        """Whether `reopen` would change nothing in a spool."""
        own = _own_packing(folder, documents.digest)
        return own is not None and _has_tables(folder, own[0])

    @classmethod
    def _with_tables_of(cls, folder: Path, documents: VolumeDocuments) -> Spool:
        if documents.contents is None or documents.blocks is None:
            raise ValueError("a volume with both tables is needed")
        flush_files([documents.contents, documents.blocks])
        documents.contents.replace(folder / CONTENTS)
        documents.blocks.replace(folder / BLOCKS)
        # The packing list comes last: a folder without it is not a spool yet.
        write_atomic(folder / PACKING_LIST, documents.envelope)
        table = load_table(folder / BLOCKS, documents.packing)
        return cls(folder, documents.packing, table, digest=documents.digest, checked=True)

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Whether a spool has been begun in ``folder``."""
        return (folder / PACKING_LIST).exists()

    @classmethod
    def open(cls, folder: Path) -> Spool:
        """Open a spool that was begun; raises `DamagedError` when its own files do not fit together."""
        try:
            envelope = parse_envelope((folder / PACKING_LIST).read_bytes())
            packing = PackingList.parse(envelope.payload)
            table = load_table(folder / BLOCKS, packing)
        except (FormatError, OSError, ValueError) as error:
            raise DamagedError(
                f"spool {folder}: {error}",
                hint="receive any volume of the parcel again: it brings what is damaged here; and check the disk",
                code=Code.SPOOL_DAMAGED,
            ) from None
        return cls(folder, packing, table, digest=envelope.sha256)

    def path(self, index: int) -> Path:
        """The path where a file gathers; ``index``: its place in ``packing.files()``."""
        return self.folder / "archives" / Path(self.packing.path(index)).name

    def contents(self) -> Path:
        """The path of the parcel's contents, as they lie on the medium."""
        return self.folder / CONTENTS

    def _map_path(self, index: int) -> Path:
        return self.path(index).with_name(f"{self.path(index).name}.have")

    def have(self, index: int) -> bytearray:
        """The map of a file: one byte a block, 1 where it is here."""
        count = self.table.count(index)
        try:
            data = bytearray(self._map_path(index).read_bytes())
        except FileNotFoundError:
            return bytearray(count)
        if len(data) != count or not self.path(index).exists():
            return bytearray(count)
        return data.translate(_ONLY_ONES)

    @property
    def tables_are_good(self) -> bool:
        """Whether contents and block table have their signed digests; they are read where that was not checked yet."""
        self._checked = self._checked or _has_tables(self.folder, self.packing)
        return self._checked

    def state(self, index: int) -> FileState:
        """How much of a file is here."""
        return FileState(index=index, blocks=self.table.count(index), good=self.have(index).count(1))

    def states(self) -> list[FileState]:
        """`state` of every file."""
        return [self.state(index) for index in range(len(self.packing.files()))]

    @property
    def complete(self) -> bool:
        """Whether all archives are here; parity does not count."""
        return all(self.state(index).whole for index in range(len(self.packing.archives)))

    def note_edition(self, documents: VolumeDocuments) -> None:
        """Remember that a volume with this packing list, of the same build, has come."""
        path = self.folder / EDITIONS / documents.digest
        if not path.exists():
            write_atomic(path, documents.envelope)

    def editions(self) -> frozenset[str]:
        """The digests of all packing lists that came with volumes."""
        return frozenset(path.name for path in (self.folder / EDITIONS).iterdir())

    def layouts(self) -> dict[str, PackingList]:
        """The packing lists that came with volumes, by digest; that of another edition that is damaged is left out."""
        found = {self.digest: self.packing}
        for path in (self.folder / EDITIONS).iterdir():
            with contextlib.suppress(FormatError, OSError):
                found.setdefault(path.name, PackingList.parse(parse_envelope(path.read_bytes()).payload))
        return found

    def missing_bytes(self) -> int:
        """Bytes that are not here yet, parity included."""
        total = 0
        for index, file in enumerate(self.packing.files()):
            have = self.have(index)
            if not any(have):
                total += file.size
            else:
                total += sum(self.table.length(index, block) for block, here in enumerate(have) if not here)
        return total

    def filling(self, index: int, have: bytearray | None = None) -> Filling:
        """Write blocks of a file; use it as a context manager. ``have``: the file's map, where it was read already."""
        return Filling(self, index, have)

    def open_file(self, index: int) -> BinaryIO:
        """Open a file to read; raises `DamagedError` while blocks of it are missing."""
        if not self.state(index).whole:
            raise DamagedError(f"{self.packing.path(index)} is not all here", hint="receive the missing volumes")
        return self.path(index).open("rb")

    def drop_block(self, index: int, block: int) -> None:
        """Forget a block that is bad on our own disk, so that it is read from its medium or fetched again."""
        have = self.have(index)
        have[block] = 0
        write_atomic(self._map_path(index), bytes(have))

    def bad_blocks(self, index: int) -> Iterator[int]:
        """Read a file from our own disk, and yield the blocks that were good and are not any more."""
        have = self.have(index)
        if not any(have):
            return
        with self.path(index).open("rb") as source:
            yield from self.table.bad_blocks(source, index, have)

    def remove(self) -> None:
        """Delete the spool."""
        (self.folder / PACKING_LIST).unlink(missing_ok=True)
        remove_tree(self.folder)


def _forget_parity(folder: Path, packing: PackingList) -> None:
    """Forget the parity blocks that gathered: those of another edition would pass for those of this packing list's."""
    archives = {f"{Path(packing.path(index)).name}.have" for index in range(len(packing.archives))}
    for kept in (folder / "archives").glob("*.have"):
        if kept.name not in archives:
            kept.unlink()


def _own_packing(folder: Path, coming: str) -> tuple[PackingList, str] | None:
    """The packing list of a spool and its digest, if it is one that came with a volume.

    ``coming``: the digest of a packing list that comes with a volume now.
    """
    try:
        envelope = parse_envelope((folder / PACKING_LIST).read_bytes())
        packing = PackingList.parse(envelope.payload)
    except (FormatError, OSError):
        return None
    came = envelope.sha256 == coming or (folder / EDITIONS / envelope.sha256).exists()
    return (packing, envelope.sha256) if came else None


def _has_tables(folder: Path, packing: PackingList) -> bool:
    for name, ref in ((CONTENTS, packing.contents), (BLOCKS, packing.blocks)):
        try:
            with (folder / name).open("rb") as source:
                if hashlib.file_digest(source, "sha256").hexdigest() != ref.sha256:
                    return False
        except OSError:
            return False
    return True


class Filling:
    """Writes blocks into one file of a spool; ``have`` is the map of those that are here, kept up to date."""

    def __init__(self, spool: Spool, index: int, have: bytearray | None = None) -> None:
        self._spool = spool
        self._index = index
        self.have = spool.have(index) if have is None else have
        self._unsettled = 0

    def __enter__(self) -> Filling:
        path = self._spool.path(self._index)
        is_new = not path.exists()
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        if is_new:
            os.truncate(path, self._spool.table.sizes[self._index])
            sync_folder(path.parent)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._flush()
        finally:
            os.close(self._handle)

    def write(self, block: int, data: bytes | memoryview) -> bool:
        """Write a block if it has its signed digest; return whether it had."""
        table = self._spool.table
        if not table.is_good(self._index, block, data):
            return False
        os.lseek(self._handle, block * table.block_size, os.SEEK_SET)
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]
        self.have[block] = 1
        self._unsettled += len(data)
        if self._unsettled >= SETTLE_BYTES:
            self._flush()
        return True

    def _flush(self) -> None:
        # The data first, then the map that says that they are there.
        if self._unsettled:
            sync_file(self._handle, self._spool.path(self._index))
            write_atomic(self._spool._map_path(self._index), bytes(self.have))
            self._unsettled = 0
