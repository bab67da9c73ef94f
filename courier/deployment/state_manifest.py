"""Reading the manifest of a capture: proved as a whole first, then row by row, in bounded memory."""

from __future__ import annotations

import hmac
import io
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from courier.deployment.shared_files import open_file
from courier.deployment.state_keys import MigrationKeys
from formats.digest import CHUNK
from formats.documents.state import (
    MANIFEST,
    MAX_LINE,
    AnyRow,
    CaptureRecord,
    FileRow,
    FolderRow,
    LeftRow,
    NameRow,
    PieceRow,
    ZerosRow,
    check_state_path,
)
from formats.errors import DigestMismatchError, MalformedError
from formats.records import LineReader, read_rows


def check_manifest(path: Path, keys: MigrationKeys, record: CaptureRecord) -> None:
    """Raise `FormatError` unless the file is the manifest that the record names; `FileNotFoundError` without one."""
    digest = keys.manifest_digest()
    with open_file(path) as source, keys.decrypting(source) as plain:
        while block := plain.read(CHUNK):
            digest.update(block)
    if not hmac.compare_digest(digest.hexdigest(), record.manifest):
        raise DigestMismatchError("not the manifest of this capture", place=path.name)


def manifest_rows(path: Path, keys: MigrationKeys) -> Iterator[AnyRow]:
    """The rows of a manifest that `check_manifest` proved. Raises `FormatError` for rows that make no tree."""
    order = _Order()
    with open_file(path) as source, keys.decrypting(source) as plain:
        # Lines are found byte by byte where nothing is buffered.
        buffered = io.BufferedReader(cast(io.RawIOBase, plain), CHUNK)
        reader = LineReader(buffered, longest=MAX_LINE, place=path.name)
        for row, _ in read_rows(reader, MANIFEST, place=lambda n: f"{path.name}:{n + 1}"):
            order.check(row)
            yield row
    order.end()


class _Order:
    """Judges that rows make one tree: each entry once, in a folder that stands before it, and files with all pieces.

    So whoever follows the rows needs to remember nothing, and nothing can lead out of the folder that they go into.
    """

    def __init__(self) -> None:
        self._folders: list[bytes] = []
        self._last: list[bytes] = [b""]
        self._left = 0
        self._linked: set[str] = set()

    def check(self, row: AnyRow) -> None:
        """Raise `MalformedError` for a row that may not stand here."""
        if isinstance(row, PieceRow | ZerosRow):
            self._left -= row.size
            if self._left < 0:
                raise MalformedError("a file has more bytes than its row says")
            return
        self.end()
        if isinstance(row, LeftRow):
            return
        *above, name = check_state_path(row.path).split(b"/")
        while len(self._folders) > len(above):
            self._folders.pop()
            self._last.pop()
        if self._folders != above:
            raise MalformedError("its folder does not stand before it", place=row.path)
        if name <= self._last[-1]:
            raise MalformedError("twice, or not in order", place=row.path)
        self._last[-1] = name
        if isinstance(row, FolderRow):
            self._folders.append(name)
            self._last.append(b"")
        elif isinstance(row, FileRow):
            self._left = row.size
            if row.linked:
                self._linked.add(row.path)
        elif isinstance(row, NameRow) and row.first not in self._linked:
            raise MalformedError("a further name of a file that does not stand before it", place=row.path)

    def end(self) -> None:
        """Raise `MalformedError` where the last file has fewer bytes than its row says."""
        if self._left:
            raise MalformedError("a file has fewer bytes than its row says")
