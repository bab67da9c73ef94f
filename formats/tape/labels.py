"""Tape labels: the 80-character records before and after every file of a labelled tape (ISO 1001, ANSI X3.27).

`formats.tape.records` has their fields. Any program for labelled tapes reads the standard labels (VOL1, HDR1, HDR2,
EOF1, EOF2, EOV1, EOV2). They have no room for a path, for more than six digits of blocks, or for a digest: these are in
user labels (UVL, UHL, UTL), which the standard leaves to the writer. The first three fields of UHL1 are where CERN's
CASTOR and CTA have them (AUL format), for the same reason: a block length over 99,999 does not fit into HDR2, which
then holds zeros.

The user labels hold a CRC-32 of all records of their group, so that a garbled label is detected.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from formats.errors import IllegalNameError, MalformedError, TooLargeError, UnknownFormatError
from formats.names import check_path
from formats.tape.drive import MAX_BLOCK
from formats.tape.records import (
    COLUMNS,
    IMPLEMENTATION,
    RECORD,
    TAG,
    a_characters,
    add_checksum,
    check_checksum,
    compose_record,
    split_record,
)

MAX_PATH = 500
"""The most characters in a path; a label group has at most seven records for it."""
MAX_NUMBER = 9_999
"""The highest file sequence number, file section number and reel number: four digits in HDR1."""
MAX_SIZE = 10**15 - 1
"""Bytes in the largest file, of which labels hold fifteen digits."""
MAX_RECORDS = 24
"""The most labels read between two tape marks; VOL1, UVL1, HDR1, HDR2 and UHL1 to UHL9 are thirteen."""

Kind = Literal["HDR", "EOF", "EOV"]

_PIECE = 76
_RECORD_LENGTH = 1
_KINDS: tuple[Kind, ...] = ("HDR", "EOF", "EOV")
_USER = {"HDR": "UHL", "EOF": "UTL", "EOV": "UTL"}
_FIRST_PIECE = {"HDR": 2, "EOF": 3, "EOV": 3}
_VOLUME_ID = re.compile(r"[A-Z0-9]{6}")
_LABEL = re.compile(r"[!-~]{1,32}")
_PATH = re.compile(r"[ -~]{1,500}")
_OUR_NAME = re.compile(r"[A-Z0-9]{3}_([0-9]{6})_V([0-9]{3,4})")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeLabel:
    """VOL1 and UVL1: what a reel is. ``set_id`` is the ``volume_id`` of reel 1; ``created_ns`` is since 1970, UTC."""

    volume_id: str
    owner: str
    label: str
    reel: int
    set_id: str
    created_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FileLabel:
    """A group of labels before (HDR) or after (EOF, EOV) the data of a file, or of its section on this reel.

    ``number`` counts tape files from 1, in writing order, over all reels. ``section`` counts the reels that a file is
    on; the section begins at byte ``offset`` of the file. ``blocks`` (of the section) and ``sha256`` (of the file from
    its start to the end of the section) are 0 and "" in HDR. ``date`` is six characters of HDR1, see `label_date`.
    """

    kind: Kind
    number: int
    path: str
    size: int
    block_size: int
    set_id: str
    date: str
    is_index: bool = False
    section: int = 1
    offset: int = 0
    blocks: int = 0
    sha256: str = ""


def label_date(created_ns: int) -> str:
    """The day of a time (nanoseconds since 1970, UTC) as labels have it: a space for 19.. or 0 for 20.., then yyddd.

    Raises `MalformedError` outside the years 1900 to 2099.
    """
    try:
        moment = _EPOCH + timedelta(seconds=created_ns // 10**9)
    except OverflowError:
        raise MalformedError(f"time out of range: {created_ns} ns since 1970") from None
    if not 1900 <= moment.year <= 2099:
        raise MalformedError(f"the year {moment.year} does not fit into a tape label")
    return f"{' ' if moment.year < 2000 else '0'}{moment:%y%j}"


def reel_id(label: str, reel: int) -> str:
    """The volume identifier of a reel of a parcel volume, unless the operator gives another.

    It has two digits of the parcel, three of the volume, and one for the reel (1 to 9, A to Z): the first reel of
    ``HQ1_000042_V003`` is ``420031``. For a label of another form, the first five are its CRC-32 in base 36.
    """
    if not 1 <= reel < len(_DIGITS):
        raise TooLargeError(f"no volume identifier for reel {reel}", place=label)
    match = _OUR_NAME.fullmatch(label)
    if match:
        return f"{match[1][-2:]}{match[2][-3:]}{_DIGITS[reel]}"
    number = zlib.crc32(label.encode())
    return "".join(_DIGITS[number // 36**n % 36] for n in range(5)) + _DIGITS[reel]


def check_volume_id(text: str) -> str:
    """Return ``text`` if it is six characters A-Z 0-9, as on a barcode; raise `IllegalNameError` otherwise."""
    if not _VOLUME_ID.fullmatch(text):
        raise IllegalNameError("not a volume identifier (six characters A-Z 0-9)", place=ascii(text))
    return text


def check_label(text: str) -> str:
    """Return ``text`` if it can name a parcel volume in UVL1 (1 to 32 visible ASCII characters).

    Raises `IllegalNameError` otherwise.
    """
    if not _LABEL.fullmatch(text):
        raise IllegalNameError("not a volume name of 1 to 32 ASCII characters without spaces", place=ascii(text))
    return text


def check_tape_path(path: str) -> str:
    """Return ``path`` if a label can hold it; raise `IllegalNameError` otherwise.

    It must pass `formats.names.check_path`, and be printable ASCII of at most `MAX_PATH` characters.
    """
    if not _PATH.fullmatch(path):
        raise IllegalNameError(f"a path on tape is 1 to {MAX_PATH} printable ASCII characters", place=ascii(path))
    return check_path(path)


def volume_records(label: VolumeLabel) -> list[bytes]:
    """The records VOL1 and UVL1."""
    return add_checksum(
        [
            compose_record(
                "VOL1", {"volume identifier": label.volume_id, "owner identifier": a_characters(label.owner)}
            ),
            compose_record(
                "UVL1",
                {
                    "parcel volume": label.label,
                    "reel number": label.reel,
                    "file set identifier": label.set_id,
                    "creation time": label.created_ns,
                },
            ),
        ],
        at=1,
    )


def file_records(label: FileLabel) -> list[bytes]:
    """The records of a file: HDR1, HDR2 and UHL1 to UHLn, or the same with EOF or EOV and UTL."""
    kind, user = label.kind, _USER[label.kind]
    records = [
        compose_record(
            f"{kind}1",
            {
                "file identifier": a_characters(label.path.rpartition("/")[2]),
                "file set identifier": label.set_id,
                "file section number": label.section,
                "file sequence number": label.number,
                "creation date": label.date,
                "expiration date": label.date,
                "block count": label.blocks % 10**6,
            },
        ),
        compose_record(
            f"{kind}2",
            {
                "block length": label.block_size if label.block_size < 10**5 else 0,
                "record length": _RECORD_LENGTH,
            },
        ),
        compose_record(
            f"{user}1",
            {
                "file number": label.number,
                "block length": label.block_size,
                "record length": _RECORD_LENGTH,
                "file size": label.size,
                "section start": label.offset,
                "content": "I" if label.is_index else "D",
                "path length": len(label.path),
            },
        ),
    ]
    if kind != "HDR":
        records.append(compose_record("UTL2", {"sha256": label.sha256, "section blocks": label.blocks}))
    for n, start in enumerate(range(0, len(label.path), _PIECE), _FIRST_PIECE[kind]):
        records.append(f"{user}{n}{label.path[start : start + _PIECE]:<{_PIECE}}".encode("ascii"))
    return add_checksum(records, at=2)


def group_size(path: str) -> int:
    """Bytes in the two label groups of a file with this path."""
    pieces = -(-len(path) // _PIECE)
    return RECORD * (3 + pieces + 4 + pieces)


def is_label(block: bytes) -> bool:
    """Whether a block looks like a label, of this program or another."""
    return len(block) == RECORD and block[:3] in {b"VOL", b"UVL", b"HDR", b"UHL", b"EOF", b"EOV", b"UTL"}


def is_ours(record: bytes) -> bool:
    """Whether a record, good or garbled, has a mark of this layout."""
    name = record[:4].decode("ascii", "replace")
    return len(record) == RECORD and any(
        column.fixed in (TAG, IMPLEMENTATION) and record[column.first - 1 : column.last] == column.fixed.encode()
        for column in COLUMNS.get(name, ())
    )


def find_volume_label(records: Sequence[bytes]) -> VolumeLabel:
    """The label of the reel among the records of a run.

    Raises `MalformedError` where it is missing or garbled, and `UnknownFormatError` for a labelled tape of another
    layout.
    """
    vol1 = next((record for record in records if record[:4] == b"VOL1"), None)
    uvl1 = next((record for record in records if record[:4] == b"UVL1"), None)
    if vol1 is None or uvl1 is None or not is_ours(uvl1):
        if vol1 is not None and not any(map(is_ours, records)):
            name = vol1[4:10].decode("ascii", "replace").strip()
            raise UnknownFormatError(f"a labelled tape of another program, volume {name!a}", place="VOL1")
        raise MalformedError("no volume label", place="VOL1")
    check_checksum([vol1, uvl1], at=1)
    first, own = split_record(vol1), split_record(uvl1)
    label = VolumeLabel(
        volume_id=first["volume identifier"],
        owner=first["owner identifier"],
        label=own["parcel volume"],
        reel=int(own["reel number"]),
        set_id=own["file set identifier"],
        created_ns=int(own["creation time"]),
    )
    if volume_records(label) != [vol1, uvl1]:
        raise MalformedError("a field has a value that is not allowed", place="VOL1")
    return label


def find_file_label(records: Sequence[bytes]) -> FileLabel:
    """The label group of a file among the records of a run; raises `MalformedError` where it is missing or garbled."""
    start, kind = next(
        ((n, kind) for n, record in enumerate(records) for kind in _KINDS if record[:4] == f"{kind}1".encode()),
        (len(records), _KINDS[0]),
    )
    group = list(records[start:])
    if len(group) < 3 + (kind != "HDR") or group[2][:4] != f"{_USER[kind]}1".encode() or not is_ours(group[2]):
        raise MalformedError("no label group of a file", place="HDR1")
    place = f"{kind}1"
    check_checksum(group, at=2, place=place)
    first, own = split_record(group[0]), split_record(group[2])
    has_digest = kind != "HDR"
    tail = split_record(group[3]) if has_digest and group[3][:4] == b"UTL2" else {}
    length = int(own["path length"])
    label = FileLabel(
        kind=kind,
        number=int(own["file number"]),
        path="".join(record[4:].decode("ascii", "replace") for record in group[3 + has_digest :])[:length],
        size=int(own["file size"]),
        block_size=int(own["block length"]),
        set_id=first["file set identifier"],
        date=first["creation date"],
        is_index=own["content"] == "I",
        section=int(first["file section number"]),
        offset=int(own["section start"]),
        blocks=int(tail.get("section blocks", "0")),
        sha256=tail.get("sha256", ""),
    )
    try:
        check_tape_path(label.path)
    except IllegalNameError as error:
        raise MalformedError(error.message, place=place) from None
    if not (
        1 <= label.number <= MAX_NUMBER
        and 1 <= label.section <= MAX_NUMBER
        and 1 <= label.block_size <= MAX_BLOCK
        and label.offset <= label.size
        and has_digest == bool(re.fullmatch("[0-9a-f]{64}", label.sha256))
        and file_records(label) == group
    ):
        raise MalformedError("a field has a value that is not allowed", place=place)
    return label
