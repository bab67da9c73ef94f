"""The messages that carry a parcel by network: its documents in pieces, then its blocks in parts, in one order.

The parts are those of answers to repair requests, so that the receiver judges and keeps them in the same way. The order
and the bytes of all messages follow from the parcel, the volumes that were chosen and the date: they can be made again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from courier.parcel.block_table import load_table
from courier.sending.outgoing_parcel import CONTENTS, OutgoingParcel
from courier.sending.repair_answer import Blocks
from courier.site.home import Site
from formats.blocks import BlockTable
from formats.documents import table as table_doc
from formats.documents.repair import PART_BYTES, PART_TYPE, RepairPart, file_blocks
from formats.documents.table import Table, TablePart
from formats.envelope import Envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class _DocumentPiece:
    table: Table
    part: int
    of: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _BlockPiece:
    """Consecutive blocks of one archive, by its index; the last block is not among them."""

    archive: int
    first: int
    end: int
    size: int


class NetworkPieces:
    """The messages of one parcel for one site; ``volumes``: those whose archives go, all if there are none.

    Raises `DamagedError` where its block table is not what was signed.
    """

    def __init__(self, parcel: OutgoingParcel, volumes: Collection[int]) -> None:
        self._parcel = parcel
        self._table: BlockTable = load_table(parcel.blocks(), parcel.packing)
        self._documents = _document_pieces(parcel)
        self._archives = [n for n, file in enumerate(parcel.packing.archives) if not volumes or file.volume in volumes]
        self._each = max(1, PART_BYTES // self._table.block_size)
        ends = accumulate(-(-self._table.count(index) // self._each) for index in self._archives)
        self._ends = list(ends)

    @property
    def documents(self) -> int:
        """How many messages carry documents; the blocks follow them."""
        return len(self._documents)

    @property
    def count(self) -> int:
        """How many messages there are."""
        return len(self._documents) + self._parts

    @property
    def _parts(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def bytes(self) -> int:
        """Bytes of content in all of them."""
        archives = self._parcel.packing.archives
        return sum(one.size for one in self._documents) + sum(archives[index].size for index in self._archives)

    def size(self, piece: int) -> int:
        """Bytes of content in a message, by its place in the order, from 0."""
        return self._at(piece).size

    def _at(self, piece: int) -> _DocumentPiece | _BlockPiece:
        if piece < self.documents:
            return self._documents[piece]
        part = piece - self.documents
        at = bisect_right(self._ends, part)
        index, before = self._archives[at], self._ends[at - 1] if at else 0
        first = (part - before) * self._each
        end = min(self._table.count(index), first + self._each)
        size = sum(self._table.length(index, block) for block in range(first, end))
        return _BlockPiece(archive=index, first=first, end=end, size=size)

    def signed(self, site: Site, code: str, begun_ns: int, piece: int, blocks: Blocks) -> Envelope:
        """A message, signed. Raises `DamagedError` where what it is made from is not here as it was signed."""
        packing, one = self._parcel.packing, self._at(piece)
        issued_ns = max(begun_ns, site.card.keys[0].valid_from_ns)
        if isinstance(one, _DocumentPiece):
            document = TablePart(
                parcel=packing.parcel,
                source=site.code,
                build=packing.build,
                site=code,
                issued_ns=issued_ns,
                packing_list=self._parcel.sent.packing_list,
                table=str(one.table),
                part=one.part,
                of=one.of,
                data=_read(self._parcel, one),
            )
            return site.sign(document.payload(), table_doc.TYPE)
        run = range(one.first, one.end)
        part = RepairPart(
            parcel=packing.parcel,
            source=site.code,
            build=packing.build,
            site=code,
            issued_ns=issued_ns,
            request=self._parcel.sent.packing_list,
            part=piece - self.documents + 1,
            of=self._parts,
            files=file_blocks((one.archive + 1, block) for block in run),
            data=b"".join(blocks.read(one.archive, block) for block in run),
        )
        return site.sign(part.payload(), PART_TYPE)

    def reading(self, site: Site) -> Blocks:
        """What reads the blocks; use it as a context manager."""
        return Blocks(site, self._parcel, self._table)


def _document_path(parcel: OutgoingParcel, table: Table) -> Path:
    return parcel.folder / CONTENTS if table is Table.CONTENTS else parcel.blocks()


def _document_pieces(parcel: OutgoingParcel) -> list[_DocumentPiece]:
    packing = parcel.packing
    sizes = {
        Table.PACKING_LIST: len(parcel.envelope),
        Table.CONTENTS: packing.contents.size,
        Table.BLOCKS: packing.blocks.size,
    }
    found = []
    for table, size in sizes.items():
        of = max(1, -(-size // PART_BYTES))
        for part in range(1, of + 1):
            length = min(PART_BYTES, size - (part - 1) * PART_BYTES)
            found.append(_DocumentPiece(table=table, part=part, of=of, size=length))
    return found


def _read(parcel: OutgoingParcel, one: _DocumentPiece) -> bytes:
    start = (one.part - 1) * PART_BYTES
    if one.table is Table.PACKING_LIST:
        return parcel.envelope[start : start + one.size]
    with _document_path(parcel, one.table).open("rb") as source:
        source.seek(start)
        return source.read(one.size)
