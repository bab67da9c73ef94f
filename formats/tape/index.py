"""The index of a tape: its first and its last tape file, which list the files between them.

The first is written before the data, so it has only the digests that the writer was given; the last has all. An unknown
digest is 64 hyphens, so that both have the same length and the size of a tape is known exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from formats.errors import IllegalNameError, MalformedError, TooLargeError
from formats.records import Count, Form, Key, NamedRecord, Record, Text, Time, integer, matching, read_named, text
from formats.tape.drive import MAX_BLOCK
from formats.tape.labels import MAX_NUMBER, MAX_PATH, MAX_SIZE, check_tape_path, check_volume_id

INDEX_PATH = "TAPE-INDEX.json"
"""The path of both indexes in their labels; the field "content" is I for them, and D for a payload file."""
MAX_FILES = MAX_NUMBER - 2
"""The most files of a set beside its two indexes, because file sequence numbers have four digits."""
MAX_INDEX = 16 << 20
"""The most bytes of an index that is read."""

_UNKNOWN = "-" * 64


def _load_digest(digest: str) -> str | None:
    return None if digest == _UNKNOWN else digest


_Digest: Form[str | None] = Form(
    carried=Annotated[str, matching("[0-9a-f]{64}|-{64}")], load=_load_digest, dump=lambda digest: digest or _UNKNOWN
)


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexEntry(Record):
    """A payload file: its tape file number (from 2), path, size in bytes, blocks on all reels, and SHA-256."""

    number: Count
    path: Annotated[str, text(MAX_PATH)]
    size: Annotated[int, integer(0, MAX_SIZE)]
    blocks: Count
    sha256: Annotated[str | None, _Digest] = None

    def check(self) -> None:
        """Raise `MalformedError` for a path that cannot be on a tape."""
        try:
            check_tape_path(self.path)
        except IllegalNameError as error:
            raise MalformedError(error.message) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class TapeIndex(NamedRecord):
    """All payload files of a set in writing order; ``set_id`` is the volume identifier of its first reel."""

    NAME = "tape-index"

    set_id: Annotated[Text, Key("set")]
    created_ns: Annotated[Time, Key("created")]
    block_size: Annotated[int, integer(1, MAX_BLOCK)]
    files: tuple[IndexEntry, ...]

    def encode(self) -> bytes:
        """The bytes of the index: canonical JSON (`formats.records`)."""
        return self.json()

    @classmethod
    def parse(cls, data: bytes) -> TapeIndex:
        """Read an index; raises `MalformedError`, `TooLargeError` or `UnknownFormatError`."""
        if len(data) > MAX_INDEX:
            raise TooLargeError(f"over {MAX_INDEX} bytes", place=INDEX_PATH)
        return read_named(cls, data)

    def check(self) -> None:
        """Raise `MalformedError` where the parts of the index do not agree, `TooLargeError` for too many files."""
        try:
            check_volume_id(self.set_id)
        except IllegalNameError as error:
            raise MalformedError(error.message, place="set") from None
        if len(self.files) > MAX_FILES:
            raise TooLargeError(f"more than {MAX_FILES} files", place="files")
        taken: set[str] = set()
        for n, entry in enumerate(self.files):
            if entry.number != n + 2:
                raise MalformedError(f"{entry.number} where {n + 2} is due", place=f"files[{n}].number")
            if entry.blocks != -(-entry.size // self.block_size):
                raise MalformedError("blocks do not fit the size", place=f"files[{n}].blocks")
            if entry.path in taken:
                raise MalformedError(f"{entry.path} is listed twice", place=f"files[{n}].path")
            taken.add(entry.path)


def make_index(
    files: Sequence[tuple[str, int, str | None]], *, set_id: str, created_ns: int, block_size: int
) -> TapeIndex:
    """The index of files given as (path, size, SHA-256 or None), in writing order.

    Raises `IllegalNameError` for a path that labels cannot hold, `MalformedError` for one given twice, and
    `TooLargeError` for a size or a number of files that has too many digits for labels.
    """
    if len(files) > MAX_FILES:
        raise TooLargeError(f"{len(files)} files; a labelled tape holds {MAX_FILES}")
    if not 1 <= block_size <= MAX_BLOCK:
        raise TooLargeError(f"blocks of {block_size} bytes; from 1 to {MAX_BLOCK} are possible")
    taken: set[str] = set()
    entries = []
    for number, (path, size, sha256) in enumerate(files, 2):
        check_tape_path(path)
        if not 0 <= size <= MAX_SIZE:
            raise TooLargeError(f"a file of {size} bytes", place=path)
        if path in taken:
            raise MalformedError("given twice", place=path)
        taken.add(path)
        entries.append(IndexEntry(number=number, path=path, size=size, blocks=-(-size // block_size), sha256=sha256))
    return TapeIndex(set_id=set_id, created_ns=created_ns, block_size=block_size, files=tuple(entries))
