"""The packing list: the signed list of all that a parcel holds, carried whole by every one of its volumes.

It names every archive and parity file by size and digest, says which volume carries it, and binds the two large
tables by their digests: the *contents* (packages, files, archive members: `formats.documents.contents`) and the
*block table* (`formats.blocks`). What it says in clear is what a courier or an intake clerk needs; names and sizes
of files stand in the contents only.

One *build* of a parcel can be laid out anew for another kind of medium: that makes another *edition*, a packing list
with the same archives on other volumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any, Literal, Self

from formats.blocks import BLOCK, block_count
from formats.delta.rows import MAX_BASE_VERSIONS
from formats.digest import sha256_hex
from formats.documents.fields import PackageRef, ParcelDocument, Receivers
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.names import volume_name
from formats.records import (
    OPTIONAL,
    Count,
    Digest,
    Key,
    Number,
    Record,
    Time,
    encode,
    integer,
    items,
    matching,
    read_named,
)

MAX_VOLUMES = 9_999
MAX_ARCHIVES = 100_000
"""Archives in a parcel, and parity files, at most."""

Priority = Literal["high", "medium", "low"]
KeyWay = Literal["media", "network", "on-arrival"]
"""How the key of an encrypted parcel comes to its destination: on the media, encrypted to the sites' recipients; in the
ship notice; or in a key release, when the arrival of all volumes was reported."""
PRIORITIES: tuple[Priority, ...] = ("high", "medium", "low")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord(Record):
    """An archive or parity file: ``number`` from 1, ``size`` in bytes, ``sha256``, and the volume that carries it."""

    number: Number
    size: Annotated[int, integer(1, (1 << 32) - 1)]
    sha256: Digest
    volume: Number


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRef(Record):
    """One of the large tables: its ``size`` in bytes and its ``sha256``."""

    size: Count
    sha256: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityGroup(Record):
    """Volumes, or one volume's own blocks, that are protected together (docs/parity.md).

    ``volumes`` are the data volumes of the group. With ``spares`` (the volumes that carry its parity columns, one each)
    every data volume is a column. Without, there is one volume, whose blocks are cut in ``columns`` columns protected
    by ``parity`` further columns, and its parity files are on the volume itself.
    """

    volumes: tuple[Number, ...]
    spares: tuple[Number, ...]
    columns: Annotated[int, integer(1, 255)]
    parity: Annotated[int, integer(1, 255)]
    files: tuple[Number, ...]

    def check(self) -> None:
        """Raise `MalformedError` where volumes, spares and columns do not fit each other."""
        if self.columns + self.parity > 256:
            raise MalformedError("more than 256 columns in a group")
        if self.spares:
            if len(self.spares) != self.parity or len(self.volumes) != self.columns:
                raise MalformedError("each volume is one column")
        elif len(self.volumes) != 1:
            raise MalformedError("without spare volumes a group is one volume")


_OF_A_BUILD = attrgetter("number", "size", "sha256")
_Files = Annotated[tuple[FileRecord, ...], items(0, MAX_ARCHIVES)]


class _Worked(ParcelDocument):
    """Room for what a packing list has worked out from its fields once somebody has asked: it never changes.

    ``_carried``: by volume, indexes into `PackingList.files`; ``_build``: as `PackingList.build`.
    """

    __slots__ = ("_build", "_carried")
    _build: str
    _carried: dict[int, list[int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class PackingList(_Worked):
    """All that a parcel holds.

    ``media`` is the kind of medium it was laid out for and ``capacity`` its usable bytes; ``volumes`` is their number.
    ``archives`` are numbered from 1 without gaps, and so are ``parity`` files. ``encrypted`` says whether archives and
    contents are age files, ``key`` how their key comes to the destinations. ``block_size`` is in bytes. ``edition``
    counts layouts of the same build, from 1. ``bases``: the package versions that a delta builds on, in order. They
    stand here in clear, because whoever does not have them cannot use the parcel.
    """

    NAME = "packing-list"

    destinations: Receivers
    created_ns: Annotated[Time, Key("created")]
    priority: Priority
    edition: Number
    media: Annotated[str, matching("[a-z0-9-]{1,20}")]
    capacity: Number
    volumes: Annotated[int, integer(1, MAX_VOLUMES)]
    encrypted: bool
    block_size: Annotated[int, integer(BLOCK, 1 << 32)]
    archives: _Files
    parity: _Files
    groups: tuple[ParityGroup, ...]
    contents: TableRef
    blocks: TableRef
    key: Annotated[KeyWay, OPTIONAL] = "media"
    bases: Annotated[tuple[PackageRef, ...], items(0, MAX_BASE_VERSIONS), OPTIONAL] = ()

    @property
    def based_on(self) -> str:
        """The versions that a delta builds on, for people: ``HQ100001:1, HQ100004:2``; empty for any other parcel."""
        return ", ".join(f"{base.package}:{base.version}" for base in self.bases)

    @classmethod
    def parse(cls, payload: bytes, *, place: str = "") -> Self:
        """Read canonical bytes; raises `FormatError`, as `read_named` does.

        The last one is kept: every volume of a parcel carries the same list, which names the files of all volumes.
        """
        kind: Any = cls
        found: Self = _parsed(kind, payload, place)
        return found

    @property
    def build(self) -> str:
        """SHA-256 that names the build: the same archives and contents, however laid out on volumes."""
        if not hasattr(self, "_build"):
            archives = [*map(_OF_A_BUILD, self.archives)]
            record = {"parcel": self.parcel, "from": self.source, "archives": archives, "contents": self.contents}
            object.__setattr__(self, "_build", sha256_hex(encode(record)))
        return self._build

    @property
    def spares(self) -> frozenset[int]:
        """The numbers of the spare volumes, which carry parity over other volumes and no archive."""
        return frozenset(number for group in self.groups for number in group.spares)

    def files(self) -> tuple[FileRecord, ...]:
        """Archives, then parity files: the order of the block table."""
        return self.archives + self.parity

    def file(self, index: int) -> FileRecord:
        """File ``index`` of `files`."""
        before = len(self.archives)
        return self.archives[index] if index < before else self.parity[index - before]

    def path(self, index: int) -> str:
        """Path on its volume of file ``index`` of `files`."""
        if index < len(self.archives):
            return archive_path(self.archives[index].number, encrypted=self.encrypted)
        return parity_path(self.parity[index - len(self.archives)].number)

    def on_volume(self, number: int) -> list[int]:
        """Indexes into `files` of what volume ``number`` carries, in the order it is written."""
        # Asked for each of up to `MAX_VOLUMES` volumes: the files are looked through once for all of them.
        if not hasattr(self, "_carried"):
            carried: dict[int, list[int]] = {}
            for index, file in enumerate(self.files()):
                carried.setdefault(file.volume, []).append(index)
            object.__setattr__(self, "_carried", carried)
        return self._carried.get(number, [])[:]

    def volume_bytes(self, number: int) -> int:
        """Payload bytes of a volume."""
        return sum(self.file(index).size for index in self.on_volume(number))

    def volume_label(self, number: int) -> str:
        """The volume's label, such as ``HQ1_000042_V003``."""
        return volume_name(self.parcel, number)

    def check(self) -> None:
        """Raise `MalformedError` where the parts of the list do not agree."""
        _check_files(self.archives, self.volumes, "archives")
        _check_files(self.parity, self.volumes, "parity")
        if self.key != "media" and not self.encrypted:
            raise MalformedError("a key for a parcel that is not encrypted", place="key")
        bases = [(base.package, base.version) for base in self.bases]
        if bases != sorted(set(bases)):
            raise MalformedError("each once, in order", place="bases")
        self.check_blocks_size()
        _check_groups(self)

    def check_blocks_size(self) -> None:
        """Raise `MalformedError` unless the block table has the length that the files ask."""
        expected = sum(block_count(file.size, self.block_size) for file in self.files()) * 32
        if self.blocks.size != expected:
            raise MalformedError(f"{self.blocks.size} bytes where the files ask {expected}", place="blocks.size")


@lru_cache(maxsize=1)
def _parsed(kind: Any, payload: bytes, place: str) -> Any:
    return read_named(kind, payload, place=place)


def archive_path(number: int, *, encrypted: bool) -> str:
    """Path on its volume of archive ``number``."""
    return f"data/archives/{number:06d}.7z{'.age' if encrypted else ''}"


def parity_path(number: int) -> str:
    """Path on its volume of parity file ``number``."""
    return f"data/parity/{number:06d}.par"


def _check_files(files: tuple[FileRecord, ...], volumes: int, place: str) -> None:
    for n, file in enumerate(files):
        if file.number != n + 1:
            raise MalformedError(f"{file.number} where {n + 1} is due", place=f"{place}[{n}].number")
        if file.volume > volumes:
            raise MalformedError(f"volume {file.volume} of {volumes}", place=f"{place}[{n}].volume")


def _check_groups(packing: PackingList) -> None:
    numbers: list[int] = []
    for n, group in enumerate(packing.groups):
        place = f"groups[{n}]"
        _within(group.volumes + group.spares, packing.volumes, f"{place}.volumes")
        _within(group.files, len(packing.parity), f"{place}.files")
        numbers += group.files
    if sorted(numbers) != list(range(1, len(packing.parity) + 1)):
        raise MalformedError("every parity file belongs to one group", place="groups")


def _within(numbers: Iterable[int], most: int, place: str) -> None:
    listed: Sequence[int] = list(numbers)
    if len(set(listed)) != len(listed) or any(not 1 <= number <= most for number in listed):
        raise MalformedError(f"numbers from 1 to {most}, each once", place=place)


KIND = DocumentKind(
    document=PackingList,
    title="packing list",
    made_ns=lambda document: document.created_ns,
    signer=lambda document: document.source,
)
"""The packing list, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type
