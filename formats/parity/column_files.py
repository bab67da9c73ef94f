"""Reads and writes the blocks of a parity group in open binary files."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import BinaryIO

from formats.errors import UnreadableError
from formats.parity.layout import Geometry


class ColumnFiles:
    """``read`` and ``write`` for `formats.parity.encode` and `mend`; several threads may call them.

    ``files[column][n]`` is file n of a column, counted as in `Geometry.place`; columns of the same volume share their
    files. A column that is neither read nor written may be an empty list. Open the files unbuffered (``buffering=0``),
    because a buffer would only copy.
    """

    def __init__(self, geometry: Geometry, files: Sequence[Sequence[BinaryIO]]) -> None:
        self._geometry = geometry
        self._files = files
        self._locks = {id(file): Lock() for column in files for file in column}

    def read(self, column: int, row: int, start: int, into: memoryview) -> None:
        """Fill ``into`` from byte ``start`` of a block; raises `UnreadableError` where the file fails or ends early."""
        file, offset = self._find(column, row)
        try:
            with self._locks[id(file)]:
                file.seek(offset + start)
                while into:
                    count = file.readinto(into)  # type: ignore[attr-defined]  # every binary file has it
                    if not count:
                        raise UnreadableError("file ends early", place=f"column {column}, row {row}")
                    into = into[count:]
        except OSError as error:
            raise UnreadableError(str(error), place=f"column {column}, row {row}") from error

    def write(self, column: int, row: int, start: int, data: bytes) -> None:
        """Write ``data`` into a block from its byte ``start`` on; an `OSError` passes through."""
        file, offset = self._find(column, row)
        rest = memoryview(data)
        with self._locks[id(file)]:
            file.seek(offset + start)
            while rest:
                rest = rest[file.write(rest) :]

    def _find(self, column: int, row: int) -> tuple[BinaryIO, int]:
        place = self._geometry.place(column, row)
        if place is None:
            raise IndexError(f"virtual block: column {column}, row {row}")
        return self._files[column][place.file], place.offset
