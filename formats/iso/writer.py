"""Writes the files of one volume as an ISO image.

An image names every file by its true path in three independent trees over the same data, so that any system of the last
thirty years mounts it: ISO 9660 with Rock Ridge (1.09, because bsdtar shows every size as 0 under 1.12), Joliet, and
UDF. The same input gives the same bytes, whatever the clock, the time zone and the machine.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

from formats.errors import DigestMismatchError, IllegalNameError, MalformedError, TooLargeError
from formats.iso.boot import CATALOG, BootImage, catalog, check_boot, with_table
from formats.iso.layout import BLOCK, iso_size

_LONGEST_TEXT = 64  # characters in a 128-byte field of Joliet
_D_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


@dataclass(frozen=True, kw_only=True, slots=True)
class IsoFile:
    """A file to write: ``path`` (see `formats.iso.layout.check_iso_path`), ``size`` in bytes, and ``open``.

    ``open`` gives a new stream of exactly ``size`` bytes. `write_iso` opens it once, reads it whole, and closes it.
    """

    path: str
    size: int
    open: Callable[[], BinaryIO]


class _Source(io.BufferedIOBase):
    """The stream that pycdlib reads a file from: opened at the first read, never shorter or longer than its size."""

    def __init__(self, file: IsoFile, progress: Callable[[int], None] | None) -> None:
        self._file = file
        self._progress = progress
        self._left = file.size
        self._stream: BinaryIO | None = None

    def seek(self, _offset: int, _whence: int = io.SEEK_SET, /) -> int:
        """Open the file; pycdlib seeks to the start once, before it reads."""
        self._stream = self._file.open()
        return 0

    def read(self, size: int | None = None, /) -> bytes:
        """Exactly ``size`` bytes: pycdlib would take fewer for the end, and pad with zeros."""
        pieces = []
        size = wanted = self._left if size is None else size
        while wanted:
            data = self._stream.read(wanted) if self._stream else b""
            if not data:
                raise DigestMismatchError(
                    f"ended after {self._file.size - self._left + size - wanted} of {self._file.size} bytes",
                    place=self._file.path,
                )
            pieces.append(data)
            wanted -= len(data)
        self._left -= size
        if self._progress is not None:
            self._progress(size)
        if not self._left:
            self.finish()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """Raise `DigestMismatchError` if the file goes on beyond its size; close it."""
        if self._stream is not None and self._stream.read(1):
            raise DigestMismatchError(f"goes on after {self._file.size} bytes", place=self._file.path)
        self.close()

    def close(self) -> None:
        """Close the file if it is open."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        super().close()


def write_iso(
    out: BinaryIO,
    files: Sequence[IsoFile],
    *,
    volume_id: str,
    publisher: str,
    application: str,
    created_ns: int,
    boot: Sequence[BootImage] = (),
    progress: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Write an image of ``files`` to ``out``, a seekable file open for reading and writing, instead of what it held.

    The image has `iso_size` bytes, and the data of the files lie in the order given, each read and written once.
    ``volume_id`` (``HQ1_000042_V003``) has 1 to 16 d-characters (A-Z 0-9 _). ``publisher`` and ``application`` are for
    people: they are cut to 64 characters, accents are dropped, and other characters beyond ASCII become ``?``. Every
    date is ``created_ns`` (nanoseconds since 1970) in whole seconds, UTC. ``progress`` is told the bytes of every piece
    of file data copied. Returns the block at which each file begins that is not empty, by path.

    ``boot``: the files that firmware starts (El Torito). The image then has one more file, the last one: the boot
    catalogue, `CATALOG`, of one block.

    Raises `IllegalNameError` and `TooLargeError` for files and names that an image cannot hold (before anything is
    written), and `DigestMismatchError` for a file that is shorter or longer than its size. Errors of reading and
    writing pass through.
    """
    sizes = {file.path: file.size for file in files}
    listing = [(file.path, file.size) for file in files]
    made: dict[str, bytes] = {}
    if boot:
        check_boot(boot, sizes)
        listing.append((CATALOG, BLOCK))
        catalogue = IsoFile(path=CATALOG, size=BLOCK, open=lambda: io.BytesIO(made[CATALOG]))
        files = [*(_made_later(file, boot, made) for file in files), catalogue]
    size = iso_size(listing)
    if not 1 <= len(volume_id) <= 16 or not _D_CHARACTERS.issuperset(volume_id):
        raise IllegalNameError("a volume ID has 1 to 16 characters A-Z 0-9 _", place=ascii(volume_id))
    moment = _moment(created_ns)
    from formats.iso.mastering import Image  # here, because importing pycdlib takes time that reading need not spend

    sources = [_Source(file, progress) for file in files]
    try:
        with Image(
            listing,
            sources,
            volume_id=volume_id,
            publisher=_text(publisher),
            application=_text(application),
            moment=moment,
            bootable=bool(boot),
        ) as image:
            if image.size != size:
                raise MalformedError(f"laid out in {image.size} bytes instead of {size}")
            if boot:
                image.set_catalog(image.blocks[CATALOG])
                made[CATALOG] = catalog(boot, image.blocks, sizes)
                _fill_tables(files, boot, image.blocks, made)
            out.seek(0)
            out.truncate(0)
            for file, source in zip(files, sources, strict=True):
                if not file.size:  # pycdlib does not read these
                    source.seek(0)
                    source.finish()
            image.write(out)
            return image.blocks
    finally:
        for source in sources:
            source.close()


def _made_later(file: IsoFile, boot: Sequence[BootImage], made: dict[str, bytes]) -> IsoFile:
    """``file`` itself, or a loader whose table is filled in once it is known where it lies; then it is in ``made``."""
    if not any(image.table and image.path == file.path for image in boot):
        return file
    return IsoFile(
        path=file.path, size=file.size, open=lambda: io.BytesIO(made[file.path]) if file.path in made else file.open()
    )


def _fill_tables(
    files: Sequence[IsoFile], boot: Sequence[BootImage], blocks: dict[str, int], made: dict[str, bytes]
) -> None:
    for file in files:
        if any(image.table and image.path == file.path for image in boot):
            with file.open() as source:
                loader = source.read(file.size + 1)
            if len(loader) != file.size:
                raise DigestMismatchError(f"{len(loader)} bytes where {file.size} are due", place=file.path)
            made[file.path] = with_table(loader, blocks[file.path])


def _moment(created_ns: int) -> datetime:
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=created_ns // 1_000_000_000)
    except OverflowError:
        moment = datetime(1, 1, 1, tzinfo=UTC)
    if not 1900 <= moment.year <= 1900 + 255:
        raise TooLargeError(f"{created_ns} ns since 1970 is outside the years 1900 to 2155 of ISO 9660")
    return moment


def _text(text: str) -> str:
    """Text for people as an image holds it; a ``_`` at its beginning would name a file (ECMA-119 8.4.20)."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in plain).lstrip("_")[:_LONGEST_TEXT]
