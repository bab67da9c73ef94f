"""What the folder of one migration at a state migration point holds, once decrypted: manifest and records.

A *manifest* names all that was captured: one JSON array a line (`formats.records.lines`), folders before what is in
them, the names in each folder by their bytes. The content of a file follows its row, as pieces in order: of data, named
by the keyed digest of their bytes, or of zeros. A *capture record* binds a manifest to its migration; a *restore
record* says that it was brought back. docs/formats.md has the files around them, their keys, and how each is proved.

Paths are those of the source computer, so they may hold any bytes: a percent sign, and every byte that belongs to no
valid UTF-8, stands as ``%`` and two capital hex digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from formats.documents.deployment import ComputerName, MigrationId
from formats.errors import IllegalNameError, MalformedError
from formats.records import Count, Digest, Key, LineCodec, NamedRecord, Row, Time

PIECE = 4 << 20
"""Bytes of the largest piece of data of a file."""
MAX_LINE = 1 << 20
"""Bytes of the longest line of a manifest."""
MAX_ATTRIBUTES = 256 << 10
"""Bytes of all extended attributes of one file, names and values, at most."""

Why = Literal["unread", "large", "special"]
"""Why something is not in a capture: it could not be read, the rules leave out files of its size, or it is a device,
socket or pipe, which holds nothing."""

_ESCAPED = re.compile(r"%[0-9A-F]{2}|%")
_STRANGE = re.compile("[\udc80-\udcff]")
_HEX = re.compile("[0-9a-f]{64}")


def escape(raw: bytes) -> str:
    """The text that stands for the bytes of a path, of a link's target or of the name of an attribute."""
    text = raw.decode("utf-8", "surrogateescape").replace("%", "%25")
    return _STRANGE.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", text)


def unescape(text: str) -> bytes:
    """The bytes that a text stands for; raises `MalformedError` where `escape` would not have written it."""
    try:
        if "%" not in text:
            return text.encode()
        raw = _ESCAPED.sub(_unescaped, text)
        data = raw.encode("utf-8", "surrogateescape")
    except ValueError:
        raise MalformedError("not an escaped path") from None
    if escape(data) != text:
        raise MalformedError("not an escaped path")
    return data


def _unescaped(found: re.Match[str]) -> str:
    byte = int(found[0][1:], 16)
    return chr(byte + 0xDC00 if byte > 0x7F else byte)


class FolderRow(Row, tag="d", frozen=True, kw_only=True):
    """A folder. ``implied``: 1 where the rules took only something in it; then one that is there stays as it is."""

    path: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    implied: int
    attributes: tuple[tuple[str, bytes], ...]


class FileRow(Row, tag="f", frozen=True, kw_only=True):
    """A file of ``size`` bytes; its pieces follow. ``linked``: 1 where `NameRow` may name it."""

    path: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    linked: int
    attributes: tuple[tuple[str, bytes], ...]


class PieceRow(Row, tag="c", frozen=True, kw_only=True):
    """The next ``size`` bytes of a file, in the object ``digest``."""

    size: int
    digest: str


class ZerosRow(Row, tag="z", frozen=True, kw_only=True):
    """The next ``size`` bytes of a file are zeros, which took no room."""

    size: int


class NameRow(Row, tag="h", frozen=True, kw_only=True):
    """A further name of the file ``first``, which stands before it."""

    path: str
    first: str


class LinkRow(Row, tag="l", frozen=True, kw_only=True):
    """A symbolic link."""

    path: str
    target: str
    uid: int
    gid: int
    mtime_ns: int


class LeftRow(Row, tag="s", frozen=True, kw_only=True):
    """Something that is not in the capture, though the rules name it: ``why``, and the ``reason`` in words."""

    path: str
    why: Why
    size: int
    reason: str


AnyRow = FolderRow | FileRow | PieceRow | ZerosRow | NameRow | LinkRow | LeftRow


def _judge(row: AnyRow) -> None:
    if isinstance(row, PieceRow):
        if not 0 < row.size <= PIECE or not _HEX.fullmatch(row.digest):
            raise MalformedError(f"a piece has 1 to {PIECE} bytes, and a digest", place="size")
        return
    if isinstance(row, ZerosRow):
        if row.size < 1:
            raise MalformedError("no bytes", place="size")
        return
    check_state_path(row.path)
    if isinstance(row, NameRow):
        check_state_path(row.first)
    if isinstance(row, LinkRow) and b"\0" in unescape(row.target):
        raise IllegalNameError("holds a NUL", place="target")
    if isinstance(row, FileRow | LeftRow) and row.size < 0:
        raise MalformedError("less than nothing", place="size")
    if isinstance(row, FolderRow | FileRow) and not 0 <= row.mode <= 0o7777:
        raise MalformedError("no permission bits", place="mode")


def check_state_path(path: str) -> bytes:
    """The bytes of a path in a manifest; raises `IllegalNameError` for one that could lead out of its folder."""
    raw = unescape(path)
    if b"\0" in raw or any(step in (b"", b".", b"..") for step in raw.split(b"/")):
        raise IllegalNameError("absolute, or with an empty, '.' or '..' component, or a NUL", place="path")
    return raw


MANIFEST: LineCodec[AnyRow] = LineCodec(AnyRow, _judge)
"""Reads and writes the lines of a manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureRecord(NamedRecord):
    """One capture. ``number`` counts the captures of the migration; ``manifest`` is the keyed digest of its manifest.

    ``unread``: what could not be read; with any, the capture is partial. ``large`` and ``special``: what else was left
    out. ``bytes``: of all files, each counted once however many names it has.
    """

    NAME = "state-capture"

    migration: MigrationId
    number: Count
    source: ComputerName
    destination: ComputerName
    begun_ns: Annotated[Time, Key("begun")]
    captured_ns: Annotated[Time, Key("captured")]
    manifest: Digest
    rows: Count
    files: Count
    bytes: Count
    unread: Count
    large: Count
    special: Count

    @property
    def is_complete(self) -> bool:
        """Whether all that the rules take could be read."""
        return self.unread == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreRecord(NamedRecord):
    """That the capture ``number`` was brought back, wholly and verified."""

    NAME = "state-restored"

    migration: MigrationId
    number: Count
    restored_ns: Annotated[Time, Key("restored")]
    files: Count
