"""The documents of a set of stand-alone media: what is on which disc, and what the computer that starts from them does.

Every disc carries the same two. The *set list* is signed and in clear: it names each file of every disc by size and
digest, so that any disc can be verified by itself, without a passphrase. The *contents* are bound by the set list and
encrypted with everything else when there is a passphrase: the signed deployment policy, with the task sequence, and the
files of a distribution point's folder that the pieces on the discs are put together to (docs/formats.md, "Stand-alone
media").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from formats.blocks import BLOCK, block_count
from formats.documents.deployment import DeploymentId
from formats.documents.fields import Path, Sender
from formats.documents.kind import DocumentKind
from formats.documents.packing import TableRef
from formats.errors import IllegalNameError, MalformedError
from formats.names import fold
from formats.records import (
    MAX_INT,
    OPTIONAL,
    Count,
    Digest,
    Document,
    Key,
    NamedRecord,
    Number,
    Record,
    Time,
    base64_text,
    integer,
    items,
    matching,
    text,
)

MAX_DISCS = 99
"""Discs of a set, at most: their volume IDs have two digits for it."""
MAX_PIECES = 90_000
"""Pieces of a set, at most, so that every disc can be listed by a reader of ISO images."""
MAX_BOOT_FILES = 5_000
MAX_BOOT_FILE = 32 << 20
"""Bytes of the largest loader that computers start by; kernels, initrds and WIM files may be larger."""
MAX_PIECE = (4 << 30) - BLOCK
"""Bytes of the largest piece, 4 GiB less a block: neither FAT32 nor one extent of ISO 9660 holds 4 GiB."""
MAX_CONTENTS = 64 << 20
"""Bytes of the largest document of contents."""
MAX_BLOCKS = 512 << 20
"""Bytes of the largest block table: 16 TiB of pieces."""
_MAX_POLICY = 4 << 20

SET = "courier/set.json"
"""Path on every disc of the set list, in its signed envelope."""
CARD = "courier/card.json"
"""Path on every disc of the signed card of the site."""
BLOCKS = "courier/blocks.bin"
"""Path on every disc of the block table of all pieces: SHA-256 (32 bytes) of each block of 1 MiB."""
KEY = "courier/key.age"
"""Path on every disc of the key of an encrypted set: an age identity, encrypted with the passphrase."""
POINT = "courier/point/"
"""Beginning of the paths of whole, unencrypted files: below it a disc is the folder of a distribution point."""

Layout = Literal["iso", "usb"]


def contents_path(*, encrypted: bool) -> str:
    """Path on every disc of the contents."""
    return "courier/contents.age" if encrypted else "courier/contents.json"


def piece_path(number: int, *, encrypted: bool) -> str:
    """Path on its disc of a piece that is encrypted, or is a part of a file."""
    return f"courier/pieces/{number:06d}{'.age' if encrypted else '.part'}"


def disc_name(deployment: str, disc: int) -> str:
    """The volume ID of a disc: HQ1_D00001_02 is disc 2 of HQ1-D00001."""
    return f"{deployment.replace('-', '_')}_{disc:02d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece(Record):
    """A file of a disc that holds a content or a part of it.

    ``size`` and ``sha256`` are of the file as it is on the disc, encrypted or not.
    """

    number: Number
    disc: Annotated[int, integer(1, MAX_DISCS)]
    path: Path
    size: Annotated[int, integer(1, MAX_PIECE)]
    sha256: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class BootFile(Record):
    """A file of disc 1 that the computer starts by.

    ``table``: whether it has a boot information table, which is filled in when the image is mastered; then ``sha256``
    is of the file with zeros for its bytes 8 to 63.
    """

    path: Path
    size: Count
    sha256: Digest
    table: Annotated[bool, OPTIONAL] = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StandaloneSet(Document):
    """The set list: every file of every disc of the set ``deployment``, which ``site`` made for any computer.

    ``name`` is for people. ``media`` is the kind of medium and ``capacity`` its usable bytes. The sequence runs neither
    before ``valid_from_ns`` nor at or after ``valid_until_ns`` (UTC; None for no limit). ``contents``: of the file as
    it is on the discs. ``key``: the encrypted key of a set with a passphrase; None where nothing is encrypted.
    """

    NAME = "standalone-set"

    site: Sender
    deployment: DeploymentId
    name: Annotated[str, text(200)]
    created_ns: Annotated[Time, Key("created")]
    layout: Layout
    media: Annotated[str, matching("[a-z0-9-]{1,20}")]
    capacity: Number
    discs: Annotated[int, integer(1, MAX_DISCS)]
    valid_from_ns: Annotated[Time | None, Key("valid-from"), OPTIONAL] = None
    valid_until_ns: Annotated[Time | None, Key("valid-until"), OPTIONAL] = None
    boot: Annotated[tuple[BootFile, ...], items(1, MAX_BOOT_FILES)]
    pieces: Annotated[tuple[Piece, ...], items(1, MAX_PIECES)]
    blocks: TableRef
    contents: TableRef
    key: Annotated[TableRef | None, OPTIONAL] = None

    @property
    def encrypted(self) -> bool:
        """Whether pieces and contents are age files."""
        return self.key is not None

    def disc_name(self, disc: int) -> str:
        """The volume ID of a disc."""
        return disc_name(self.deployment, disc)

    def on_disc(self, disc: int) -> tuple[Piece, ...]:
        """The pieces of a disc."""
        return tuple(piece for piece in self.pieces if piece.disc == disc)

    def check(self) -> None:
        """Raise `MalformedError` where the parts of the list do not agree."""
        if not self.deployment.startswith(f"{self.site}-"):
            raise MalformedError("is of another site", place="deployment")
        if (self.valid_from_ns or 0) >= (self.valid_until_ns or MAX_INT):
            raise MalformedError("not after valid-from", place="valid-until")
        _check_paths(self.boot, self.pieces)
        for n, piece in enumerate(self.pieces):
            if piece.number != n + 1:
                raise MalformedError(f"{piece.number} where {n + 1} is due", place=f"pieces[{n}].number")
            before = self.pieces[n - 1].disc if n else 1
            if not before <= piece.disc <= self.discs:
                raise MalformedError("discs are filled in order", place=f"pieces[{n}].disc")
            if not piece.path.startswith("courier/"):
                raise MalformedError("not below courier/", place=f"pieces[{n}].path")
        if self.pieces[-1].disc != self.discs or {piece.disc for piece in self.pieces} | {1} != set(
            range(1, self.discs + 1)
        ):
            raise MalformedError("a disc without pieces", place="discs")
        expected = 32 * sum(block_count(piece.size) for piece in self.pieces)
        if self.blocks.size != expected:
            raise MalformedError(f"{self.blocks.size} bytes where the pieces ask {expected}", place="blocks.size")


def _check_paths(boot: Sequence[BootFile], pieces: Sequence[Piece]) -> None:
    """Raise `IllegalNameError` for two files of a disc with one path, or in the place of a document."""
    seen = {fold(path) for path in (SET, CARD, BLOCKS, KEY, *(contents_path(encrypted=one) for one in (True, False)))}
    for place, paths in (("boot", [file.path for file in boot]), ("pieces", [piece.path for piece in pieces])):
        for n, path in enumerate(paths):
            key = fold(path)
            if key in seen:
                raise IllegalNameError("another file has this path", place=f"{place}[{n}].path")
            seen.add(key)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentFile(Record):
    """A file of the point's folder: its path there, its size and digest, and the pieces that it is cut into, in order.

    Decrypted where the set is encrypted, and one after the other, the pieces are the file. Each piece is of one file.
    """

    path: Path
    size: Number
    sha256: Digest
    pieces: Annotated[tuple[Number, ...], items(1, MAX_PIECES)]


@dataclass(frozen=True, kw_only=True, slots=True)
class StandaloneContents(NamedRecord):
    """What the pieces of a set are: ``files`` of a point's folder; ``policy`` is the envelope of the signed policy."""

    NAME = "standalone-contents"

    policy: Annotated[bytes, base64_text(_MAX_POLICY)]
    files: Annotated[tuple[ContentFile, ...], items(1, MAX_PIECES)]

    def check(self) -> None:
        """Raise `MalformedError` unless every piece belongs to one file, in order."""
        numbers = [number for file in self.files for number in file.pieces]
        if numbers != list(range(1, len(numbers) + 1)):
            raise MalformedError("the pieces in their order, each once", place="files")
        if len({fold(file.path) for file in self.files}) != len(self.files):
            raise MalformedError("a path twice", place="files")


KIND = DocumentKind(
    document=StandaloneSet,
    title="list of a set of stand-alone media",
    made_ns=lambda document: document.created_ns,
    signer=lambda document: document.site,
)
"""The set list, as the trust rules know it."""
TYPE = KIND.type
