"""The index of a tape: its first and its last tape file, which list the files between them.

The first is written before the data, so it has only the digests that the writer was given; the last has all. An unknown
digest is 64 hyphens, so that both have the same length and the size of a tape is known exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from formats.errors import IllegalNameError, MalformedError, TooLargeError
from formats.records import encode, format_time, open_document
from formats.tape.drive import MAX_BLOCK
from formats.tape.labels import MAX_NUMBER, MAX_PATH, MAX_SIZE, check_tape_path, check_volume_id

INDEX_PATH = "TAPE-INDEX.json"
"""The path of both indexes in their labels; the field "content" is I for them, and D for a payload file."""
MAX_FILES = MAX_NUMBER - 2
"""The most files of a set beside its two indexes, because file sequence numbers have four digits."""
MAX_INDEX = 16 << 20
"""The most bytes of an index that is read."""

_UNKNOWN = "-" * 64


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexEntry:
    """A payload file: its tape file number (from 2), path, size in bytes, blocks on all reels, and SHA-256."""

    number: int
    path: str
    size: int
    blocks: int
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TapeIndex:
    """All payload files of a set in writing order; ``set_id`` is the volume identifier of its first reel."""

    set_id: str
    created_ns: int
    block_size: int
    files: tuple[IndexEntry, ...]

    def encode(self) -> bytes:
        """The bytes of the index: canonical JSON (`formats.records`)."""
        return encode(
            {
                "format": "courier-tape-index/1",
                "set": self.set_id,
                "created": format_time(self.created_ns),
                "block_size": self.block_size,
                "files": [
                    {
                        "number": file.number,
                        "path": file.path,
                        "size": file.size,
                        "blocks": file.blocks,
                        "sha256": file.sha256 or _UNKNOWN,
                    }
                    for file in self.files
                ],
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> TapeIndex:
        """Read an index; raises `MalformedError`, `TooLargeError` or `UnknownFormatError`."""
        if len(data) > MAX_INDEX:
            raise TooLargeError(f"over {MAX_INDEX} bytes", place=INDEX_PATH)
        fields = open_document(data, name="tape-index")
        block_size = fields.integer("block_size", minimum=1, maximum=MAX_BLOCK)
        try:
            set_id = check_volume_id(fields.text("set"))
        except IllegalNameError as error:
            raise MalformedError(error.message, place="set") from None
        files = []
        taken: set[str] = set()
        for number, item in enumerate(fields.objects("files"), 2):
            entry = IndexEntry(
                number=item.integer("number", minimum=number, maximum=number),
                path=item.text("path", longest=MAX_PATH),
                size=item.integer("size", maximum=MAX_SIZE),
                blocks=item.integer("blocks"),
                sha256=_known(item.text("sha256", pattern="[0-9a-f]{64}|-{64}")),
            )
            try:
                check_tape_path(entry.path)
            except IllegalNameError as error:
                raise MalformedError(error.message, place=item.place) from None
            if entry.blocks != -(-entry.size // block_size):
                raise MalformedError("blocks do not fit the size", place=item.at("blocks"))
            if entry.path in taken:
                raise MalformedError(f"{entry.path} is listed twice", place=item.at("path"))
            taken.add(entry.path)
            files.append(entry)
        if len(files) > MAX_FILES:
            raise TooLargeError(f"more than {MAX_FILES} files", place="files")
        return cls(set_id=set_id, created_ns=fields.time("created"), block_size=block_size, files=tuple(files))


def _known(digest: str) -> str | None:
    return None if digest == _UNKNOWN else digest


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
