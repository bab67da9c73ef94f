"""The spool: where the archives of an arriving parcel gather, block by block, until all are here and good.

One folder a build, below ``parcels/in``. ``archives/000001.7z`` is written in place, sparse;
``archives/000001.7z.have`` is one byte a block, 1 where the block is here and had
its signed digest when it was written. Only blocks that match
the signed block table are ever written, so any reading, in any order, any number of times, only adds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.files import flush_files, make_folder, remove_tree, sync_folder, write_atomic
from courier.parcel.block_table import load_table
from formats.blocks import BlockTable
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope
from formats.errors import FormatError

PACKING_LIST = "packing-list.json"
CONTENTS = "contents"
BLOCKS = "blocks.bin"
EDITIONS = "editions"
_ONLY_ONES = bytes(byte == 1 for byte in range(256))
SETTLE_BYTES = 1 << 30
"""Bytes written to an archive before its map of blocks is put on the disk: what a kill can cost to read again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileState:
    """How much of one archive or parity file is here: ``good`` of ``blocks`` blocks."""

    index: int
    blocks: int
    good: int

    @property
    def whole(self) -> bool:
        """Whether all of it is here."""
        return self.good == self.blocks


class Spool:
    """What is here of one build of a parcel. ``packing`` is the packing list the spool was begun with."""

    def __init__(self, folder: Path, packing: PackingList, table: BlockTable) -> None:
        self.folder = folder
        self.packing = packing
        self.table = table

    @classmethod
    def begin(cls, folder: Path, packing: PackingList, envelope: bytes, *, contents: Path, blocks: Path) -> Spool:
        """Make the spool of a build; the two tables must have been checked, and are moved in."""
        make_folder(folder / "archives")
        make_folder(folder / EDITIONS)
        _put_tables(folder, envelope, contents=contents, blocks=blocks)
        return cls.open(folder)

    @classmethod
    def heal(
        cls, folder: Path, packing: PackingList, envelope: bytes, *, contents: Path | None, blocks: Path | None
    ) -> None:
        """Put tables that were damaged on our own disk right from a volume's, which must have been checked.

        ``packing`` and ``envelope`` are the volume's, of the same build. Blocks that gathered stay; parity stays
        where it belongs to the volume's edition. What this volume cannot put right is left as it is.
        """
        digest = parse_envelope(envelope).sha256
        own = _own_packing(folder, digest)
        if own is not None and _has_tables(folder, own):
            return
        if contents is None or blocks is None:
            return
        others = {path.name for path in (folder / EDITIONS).glob("*")} - {digest}
        if own != packing and others:
            # The blocks of another edition's parity would pass for those of this one.
            archives = {f"{Path(packing.path(index)).name}.have" for index in range(len(packing.archives))}
            for kept in (folder / "archives").glob("*.have"):
                if kept.name not in archives:
                    kept.unlink()
        _put_tables(folder, envelope, contents=contents, blocks=blocks)

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
        return cls(folder, packing, table)

    def path(self, index: int) -> Path:
        """Where file ``index`` (of ``packing.files()``) gathers."""
        return self.folder / "archives" / Path(self.packing.path(index)).name

    def contents(self) -> Path:
        """The contents, as they lie on the medium."""
        return self.folder / CONTENTS

    def _map_path(self, index: int) -> Path:
        return self.path(index).with_name(f"{self.path(index).name}.have")

    def have(self, index: int) -> bytearray:
        """One byte a block: 1 where it is here."""
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
        """Whether contents and block table still have their signed digests."""
        return _has_tables(self.folder, self.packing)

    def state(self, index: int) -> FileState:
        """How much of a file is here."""
        return FileState(index=index, blocks=self.table.count(index), good=self.have(index).count(1))

    def states(self) -> list[FileState]:
        """`state` of every file."""
        return [self.state(index) for index in range(len(self.packing.files()))]

    @property
    def complete(self) -> bool:
        """Whether all content is here; parity does not count."""
        return all(self.state(index).whole for index in range(len(self.packing.archives)))

    @property
    def digest(self) -> str:
        """The digest of the packing list that the spool was begun with."""
        return parse_envelope((self.folder / PACKING_LIST).read_bytes()).sha256

    def note_edition(self, envelope: bytes) -> None:
        """Remember that a volume with this packing list, of the same build, has come."""
        path = self.folder / EDITIONS / parse_envelope(envelope).sha256
        if not path.exists():
            write_atomic(path, envelope)

    def editions(self) -> frozenset[str]:
        """The digests of every packing list that came with a volume."""
        return frozenset(path.name for path in (self.folder / EDITIONS).iterdir())

    def missing_bytes(self) -> int:
        """Bytes that still have to come."""
        total = 0
        for index, file in enumerate(self.packing.files()):
            state = self.state(index)
            if state.good == 0:
                total += file.size
            elif not state.whole:
                have = self.have(index)
                total += sum(self.table.length(index, n) for n, here in enumerate(have) if not here)
        return total

    def filling(self, index: int) -> Filling:
        """Write blocks of a file; use it as a context manager."""
        return Filling(self, index)

    def open_file(self, index: int) -> BinaryIO:
        """A file to read; raises `DamagedError` while blocks are missing."""
        if not self.state(index).whole:
            raise DamagedError(f"{self.packing.path(index)} is not all here", hint="receive the missing volumes")
        return self.path(index).open("rb")

    def drop_block(self, index: int, block: int) -> None:
        """Forget a block that was found bad on our own disk, so that it is read or asked for again."""
        have = self.have(index)
        have[block] = 0
        write_atomic(self._map_path(index), bytes(have))

    def bad_blocks(self, index: int) -> Iterator[int]:
        """Read a file again from our own disk and yield the blocks that are here and not good any more."""
        have = self.have(index)
        if not any(have):
            return
        with self.path(index).open("rb") as source:
            for block, here in enumerate(have):
                if here:
                    source.seek(block * self.table.block_size)
                    if not self.table.is_good(index, block, source.read(self.table.length(index, block))):
                        yield block

    def remove(self) -> None:
        """Delete the spool."""
        (self.folder / PACKING_LIST).unlink(missing_ok=True)
        remove_tree(self.folder)


def _put_tables(folder: Path, envelope: bytes, *, contents: Path, blocks: Path) -> None:
    flush_files([contents, blocks])
    contents.replace(folder / CONTENTS)
    blocks.replace(folder / BLOCKS)
    # The packing list comes last: a folder without it is not a spool yet.
    write_atomic(folder / PACKING_LIST, envelope)


def _own_packing(folder: Path, coming: str) -> PackingList | None:
    """The packing list of a spool, if it is one that came with a volume; ``coming``: the digest of one that comes."""
    try:
        envelope = parse_envelope((folder / PACKING_LIST).read_bytes())
        packing = PackingList.parse(envelope.payload)
    except (FormatError, OSError):
        return None
    return packing if envelope.sha256 == coming or (folder / EDITIONS / envelope.sha256).exists() else None


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
    """Blocks on their way into one file of a spool."""

    def __init__(self, spool: Spool, index: int) -> None:
        self._spool = spool
        self._index = index
        self.have = spool.have(index)
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
            self._settle()
        finally:
            os.close(self._handle)

    def write(self, block: int, data: bytes | memoryview) -> bool:
        """Keep a block if it has its signed digest; say whether it had."""
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
            self._settle()
        return True

    def _settle(self) -> None:
        # Data first, then the map that says they are there.
        if self._unsettled:
            os.fsync(self._handle)
            write_atomic(self._spool._map_path(self._index), bytes(self.have))
            self._unsettled = 0
