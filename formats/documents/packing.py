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
from typing import Literal, cast

from formats.blocks import BLOCK, block_count
from formats.digest import sha256_hex
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.names import check_parcel, check_site, volume_name
from formats.records import Fields, encode, format_time, open_document

NAME = "packing-list"
TYPE = f"application/vnd.courier.{NAME}+json"
MAX_VOLUMES = 9_999
MAX_ARCHIVES = 100_000

Priority = Literal["high", "medium", "low"]
KeyWay = Literal["media", "network", "on-arrival"]
"""How the key of a sealed parcel comes to its destination: on the media, sealed to the sites' recipients; in the ship
notice; or in a key release, when the arrival of all volumes was reported."""
PRIORITIES: tuple[Priority, ...] = ("high", "medium", "low")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRecord:
    """An archive or parity file: ``number`` from 1, ``size`` in bytes, ``sha256``, and the volume that carries it."""

    number: int
    size: int
    sha256: str
    volume: int

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {"number": self.number, "size": self.size, "sha256": self.sha256, "volume": self.volume}


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRef:
    """One of the large tables: its ``size`` in bytes and its ``sha256``."""

    size: int
    sha256: str

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {"size": self.size, "sha256": self.sha256}

    @classmethod
    def parse(cls, fields: Fields) -> TableRef:
        """From a JSON object; raises `MalformedError`."""
        return cls(size=fields.integer("size"), sha256=fields.digest("sha256"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityGroup:
    """Volumes or one volume's own blocks protected together (docs/parity.md).

    ``volumes`` are the data volumes of the group: with ``spares`` (the volumes that carry its parity columns, one
    each) every data volume is a column; without, there is one volume, whose blocks are cut in ``columns`` columns
    protected by ``parity`` further columns, and its parity files lie on itself.
    """

    volumes: tuple[int, ...]
    spares: tuple[int, ...]
    columns: int
    parity: int
    files: tuple[int, ...]

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {
            "volumes": list(self.volumes),
            "spares": list(self.spares),
            "columns": self.columns,
            "parity": self.parity,
            "files": list(self.files),
        }

    @classmethod
    def parse(cls, fields: Fields) -> ParityGroup:
        """From a JSON object; raises `MalformedError`."""
        group = cls(
            volumes=tuple(fields.integers("volumes", minimum=1)),
            spares=tuple(fields.integers("spares", minimum=1)),
            columns=fields.integer("columns", minimum=1, maximum=255),
            parity=fields.integer("parity", minimum=1, maximum=255),
            files=tuple(fields.integers("files", minimum=1)),
        )
        if group.columns + group.parity > 256:
            raise MalformedError("more than 256 columns in a group", place=fields.place)
        if group.spares:
            if len(group.spares) != group.parity or len(group.volumes) != group.columns:
                raise MalformedError("a column a volume", place=fields.place)
        elif len(group.volumes) != 1:
            raise MalformedError("without spare volumes a group is one volume", place=fields.place)
        return group


@dataclass(frozen=True, kw_only=True, slots=True)
class PackingList:
    """All that a parcel holds.

    ``media`` is the kind of medium it was laid out for and ``capacity`` its usable bytes; ``volumes`` their number.
    ``archives`` are numbered from 1 without gaps, so are ``parity`` files; ``encrypted`` says whether archives and
    contents are age files, ``key`` how their key comes to the destinations. ``block_size`` is in bytes. ``edition``
    counts layouts of the same build, from 1.
    """

    parcel: str
    source: str
    destinations: tuple[str, ...]
    created_ns: int
    priority: Priority
    edition: int
    media: str
    capacity: int
    volumes: int
    encrypted: bool
    block_size: int
    archives: tuple[FileRecord, ...]
    parity: tuple[FileRecord, ...]
    groups: tuple[ParityGroup, ...]
    contents: TableRef
    blocks: TableRef
    key: KeyWay = "media"

    @property
    def build(self) -> str:
        """SHA-256 that names the build: the same archives and contents, however laid out on volumes."""
        archives = [[file.number, file.size, file.sha256] for file in self.archives]
        record = {"parcel": self.parcel, "from": self.source, "archives": archives, "contents": self.contents.record()}
        return sha256_hex(encode(record))

    def files(self) -> tuple[FileRecord, ...]:
        """Archives, then parity files: the order of the block table."""
        return self.archives + self.parity

    def path(self, index: int) -> str:
        """Path on its volume of file ``index`` of `files`."""
        if index < len(self.archives):
            return archive_path(self.archives[index].number, encrypted=self.encrypted)
        return parity_path(self.parity[index - len(self.archives)].number)

    def on_volume(self, number: int) -> list[int]:
        """Indexes into `files` of what volume ``number`` carries, in the order it is written."""
        return [index for index, file in enumerate(self.files()) if file.volume == number]

    def volume_bytes(self, number: int) -> int:
        """Payload bytes of a volume."""
        return sum(file.size for file in self.files() if file.volume == number)

    def volume_label(self, number: int) -> str:
        """The volume's label, such as ``HQ1_000042_V003``."""
        return volume_name(self.parcel, number)

    def payload(self) -> bytes:
        """The canonical bytes that are signed; ``key`` stands there only where it is not on the media."""
        key = {} if self.key == "media" else {"key": self.key}
        return encode(
            {
                "format": f"courier-{NAME}/1",
                **key,
                "parcel": self.parcel,
                "from": self.source,
                "to": list(self.destinations),
                "created": format_time(self.created_ns),
                "priority": self.priority,
                "edition": self.edition,
                "media": self.media,
                "capacity": self.capacity,
                "volumes": self.volumes,
                "sealed": self.encrypted,
                "block_size": self.block_size,
                "archives": [file.record() for file in self.archives],
                "parity": [file.record() for file in self.parity],
                "groups": [group.record() for group in self.groups],
                "contents": self.contents.record(),
                "blocks": self.blocks.record(),
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> PackingList:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`, also where its parts do not agree."""
        fields = open_document(payload, name=NAME)
        volumes = fields.integer("volumes", minimum=1, maximum=MAX_VOLUMES)
        source = check_site(fields.text("from"), place="from")
        block_size = fields.integer("block_size", minimum=BLOCK, maximum=1 << 32)
        packing = cls(
            parcel=check_parcel(fields.text("parcel"), source=source, place="parcel"),
            source=source,
            destinations=parse_destinations(fields),
            created_ns=fields.time("created"),
            priority=parse_priority(fields),
            edition=fields.integer("edition", minimum=1),
            media=fields.text("media", pattern="[a-z0-9-]{1,20}"),
            capacity=fields.integer("capacity", minimum=1),
            volumes=volumes,
            encrypted=fields.flag("sealed"),
            block_size=block_size,
            archives=_files(fields, "archives", volumes),
            parity=_files(fields, "parity", volumes),
            groups=tuple(ParityGroup.parse(item) for item in fields.objects("groups")),
            contents=TableRef.parse(fields.object("contents")),
            blocks=TableRef.parse(fields.object("blocks")),
            key=cast(KeyWay, fields.text("key", pattern="network|on-arrival")) if fields.has("key") else "media",
        )
        if packing.key != "media" and not packing.encrypted:
            raise MalformedError("a key for a parcel that is not sealed", place="key")
        packing.check_blocks_size()
        _check_groups(packing)
        return packing

    def check_blocks_size(self) -> None:
        """Raise `MalformedError` unless the block table has the length that the files ask."""
        expected = sum(block_count(file.size, self.block_size) for file in self.files()) * 32
        if self.blocks.size != expected:
            raise MalformedError(f"{self.blocks.size} bytes where the files ask {expected}", place="blocks.size")


def archive_path(number: int, *, encrypted: bool) -> str:
    """Path on its volume of archive ``number``."""
    return f"data/archives/{number:06d}.7z{'.age' if encrypted else ''}"


def parity_path(number: int) -> str:
    """Path on its volume of parity file ``number``."""
    return f"data/parity/{number:06d}.par"


def parse_destinations(fields: Fields) -> tuple[str, ...]:
    """The ``to`` field: one or more different sites; raises `MalformedError`."""
    sites = tuple(check_site(code, place=f"to[{n}]") for n, code in enumerate(fields.texts("to")))
    if not sites or len(set(sites)) != len(sites):
        raise MalformedError("one or more different sites", place="to")
    return sites


def parse_priority(fields: Fields) -> Priority:
    """The ``priority`` field; raises `MalformedError`."""
    return cast(Priority, fields.text("priority", pattern="high|medium|low"))


def _files(fields: Fields, name: str, volumes: int) -> tuple[FileRecord, ...]:
    records = []
    for n, item in enumerate(fields.objects(name)):
        record = FileRecord(
            number=item.integer("number", minimum=n + 1, maximum=n + 1),
            size=item.integer("size", minimum=1, maximum=(1 << 32) - 1),
            sha256=item.digest("sha256"),
            volume=item.integer("volume", minimum=1, maximum=volumes),
        )
        records.append(record)
    if len(records) > MAX_ARCHIVES:
        raise MalformedError(f"more than {MAX_ARCHIVES}", place=name)
    return tuple(records)


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
    type=TYPE,
    title="packing list",
    parse=PackingList.parse,
    made_ns=lambda document: document.created_ns,
    signer=lambda document: document.source,
)
"""The packing list, as the trust rules and the handlers of messages know it."""
