"""ISO images: the only door to pycdlib. Writes the files of one volume, reads such an image back.

An image names every file by its true path in three independent trees over the same data: ISO 9660 with Rock Ridge
(1.09: bsdtar shows every size as 0 under 1.12), Joliet, and UDF, so that any system of the last thirty years mounts it.
The same input gives the same bytes, whatever the clock, the time zone and the machine.

`formats.iso_layout` knows the layout, `formats.iso_reader` reads without pycdlib, whose parser takes a whole disc for
lost at the first flaw and raises classes outside its own family on damage.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, cast

from pycdlib import PyCdlib
from pycdlib.dates import DirectoryRecordDate, VolumeDescriptorDate
from pycdlib.pycdlibexception import PyCdlibException
from pycdlib.udf import UDFTimestamp

from formats.errors import DigestMismatch, IllegalName, Malformed, TooLarge
from formats.iso_layout import BLOCK, MAX_FILE, Folder, iso_size, record_identifier, tree_of
from formats.iso_reader import IsoReader

__all__ = ["BLOCK", "MAX_FILE", "IsoFile", "IsoReader", "iso_size", "write_iso"]

_COPY = 1 << 20  # a quarter faster than the library's own 32 KiB
_FILE_MODE = 0o100444
_FOLDER_MODE = 0o040555
_DESCRIPTORS = (16, 17)  # blocks of the ISO 9660 and the Joliet volume descriptor
_MODIFIED = 830  # ECMA-119 8.4.27: where a volume descriptor says when it was modified
_LONGEST_TEXT = 64  # a 128-byte field of Joliet's holds as many characters
_D_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_TF_TIMES = ("creation_time", "access_time", "modification_time", "attribute_change_time")


@dataclass(frozen=True, kw_only=True, slots=True)
class IsoFile:
    """A file to write: ``path`` ("data/archives/000001.7z", see `formats.iso_layout.check_iso_path`), its ``size``
    in bytes, and ``open``, which gives a fresh stream of exactly that many bytes; `write_iso` opens it once, reads it
    from start to end, and closes it.
    """

    path: str
    size: int
    open: Callable[[], BinaryIO]


class _Source(io.BufferedIOBase):
    """What pycdlib reads a file from: opened when its turn comes, never shorter or longer than its size."""

    def __init__(self, file: IsoFile, progress: Callable[[int], None] | None) -> None:
        self._file = file
        self._progress = progress
        self._left = file.size
        self._stream: BinaryIO | None = None

    def seek(self, _offset: int, _whence: int = io.SEEK_SET, /) -> int:
        """Open the file; pycdlib seeks to the start before it reads, once."""
        self._stream = self._file.open()
        return 0

    def read(self, size: int | None = None, /) -> bytes:
        """Exactly ``size`` bytes: pycdlib takes a short answer for the end and pads with zeros."""
        pieces = []
        size = wanted = self._left if size is None else size
        while wanted:
            data = self._stream.read(wanted) if self._stream else b""
            if not data:
                raise DigestMismatch(
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
        """Raise `DigestMismatch` if the file goes on beyond its size; close it."""
        if self._stream is not None and self._stream.read(1):
            raise DigestMismatch(f"goes on after {self._file.size} bytes", place=self._file.path)
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
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write an image of ``files`` to ``out``, a seekable file open for reading and writing, in place of what it held.

    Its length is `iso_size` of the same files, and their data lie in the order given, each read and written once.
    ``volume_id`` (``HQ1_000042_V003``) has 1 to 16 d-characters (A-Z 0-9 _); ``publisher`` and ``application`` are
    shown to people: cut to 64 characters, accents dropped, other characters beyond ASCII made ``?``. Every date is
    ``created_ns`` (nanoseconds since 1970) in whole seconds, UTC. ``progress`` is told of every piece of file data
    copied, in bytes.

    Raises `IllegalName` and `TooLarge` for files and names that no image holds (nothing is written then),
    `DigestMismatch` for a file that is shorter or longer than its size, and passes on what reading and writing raise.
    """
    listing = [(file.path, file.size) for file in files]
    size = iso_size(listing)
    if not 1 <= len(volume_id) <= 16 or not _D_CHARACTERS.issuperset(volume_id):
        raise IllegalName("a volume ID has 1 to 16 characters A-Z 0-9 _", place=ascii(volume_id))
    moment = _moment(created_ns)
    sources = [_Source(file, progress) for file in files]
    image = PyCdlib()
    try:
        try:
            image.new(
                interchange_level=2,
                vol_ident=volume_id,
                pub_ident_str=_text(publisher),
                app_ident_str=_text(application) or " ",
                joliet=3,
                rock_ridge="1.09",
                udf="2.60",
            )
            _add(image, tree_of(listing), files, sources)
            image.force_consistency()
            _lay_in_order(image)
            _date(image, moment)
            _identify(image, volume_id, created_ns)
        except (PyCdlibException, struct.error) as error:
            raise Malformed(f"no image can be made of these files: {error}") from error
        if image.pvd.space_size * BLOCK != size:
            raise Malformed(f"laid out in {image.pvd.space_size * BLOCK} bytes where {size} were reckoned")
        out.seek(0)
        out.truncate(0)
        for file, source in zip(files, sources, strict=True):
            if not file.size:  # pycdlib never looks at these
                source.seek(0)
                source.finish()
        image.write_fp(out, blocksize=_COPY)
    finally:
        for source in sources:
            source.close()
        image.close()
    # pycdlib writes the moment of writing here whatever it is told.
    for block in _DESCRIPTORS:
        out.seek(block * BLOCK + _MODIFIED)
        out.write(_descriptor_date(moment))
    out.seek(0, os.SEEK_END)


def _add(image: PyCdlib, tree: Folder, files: Sequence[IsoFile], sources: Sequence[_Source]) -> None:
    """Name every folder and file in the three trees."""
    iso_folders = {"": ""}
    identifiers: dict[str, str] = {}
    for path, folder in tree.walk():
        prefix = f"{path}/" if path else ""
        for name, identifier in folder.identifiers().items():
            is_folder = name in folder.folders
            iso_path = f"{iso_folders[path]}/{record_identifier(identifier, is_folder)}"
            identifiers[prefix + name] = iso_path
            if is_folder:
                iso_folders[prefix + name] = iso_path
                image.add_directory(
                    iso_path,
                    rr_name=name,
                    joliet_path=f"/{prefix}{name}",
                    udf_path=f"/{prefix}{name}",
                    file_mode=_FOLDER_MODE,
                )
    for file, source in zip(files, sources, strict=True):
        image.add_fp(
            cast(BinaryIO, source),
            file.size,
            identifiers[file.path],
            rr_name=file.path.rpartition("/")[2],
            joliet_path=f"/{file.path}",
            udf_path=f"/{file.path}",
            file_mode=_FILE_MODE,
        )


def _lay_in_order(image: PyCdlib) -> None:
    """Move the data into the order the files were added in; pycdlib lays them by folder and name."""
    partition = image.udf_main_descs.partitions[0].part_start_location
    filled = [inode for inode in image.inodes if inode.get_data_length()]
    block = min((inode.extent_location() for inode in filled), default=0)
    for inode in filled:
        inode.set_extent_location(block)
        for record, _ in inode.linked_records:
            record.set_data_location(block, block - partition)
        block += -(-inode.get_data_length() // BLOCK)


def _date(image: Any, moment: datetime) -> None:
    """Give every structure the date ``moment``: pycdlib takes the clock's, in the zone of the machine."""
    seven = DirectoryRecordDate()
    seven.parse(bytes([moment.year - 1900, moment.month, moment.day, moment.hour, moment.minute, moment.second, 0]))
    for descriptor in (image.pvd, image.joliet_vd):
        date = VolumeDescriptorDate()
        date.parse(_descriptor_date(moment))
        descriptor.volume_creation_date = descriptor.volume_effective_date = date
        for record in _records(descriptor.root_directory_record()):
            record.date = seven
            if record.rock_ridge is not None:
                times = record.rock_ridge.dr_entries.tf_record
                for name in _TF_TIMES:
                    if getattr(times, name) is not None:
                        setattr(times, name, seven)
    stamp = UDFTimestamp()
    stamp.parse(  # ECMA-167 1/7.3: type 1 and an offset of 0 minutes is UTC
        struct.pack(
            "<BBHBBBBBBBB", 0, 0x10, moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second,
            0, 0, 0,
        )
    )  # fmt: skip
    image.udf_logical_volume_integrity.recording_date = stamp
    image.udf_file_set.recording_date = stamp
    for sequence in (image.udf_main_descs, image.udf_reserve_descs):
        sequence.pvds[0].recording_date = stamp
    entries = [image.udf_root]
    while entries:
        entry = entries.pop()
        entry.access_time = entry.mod_time = entry.attr_time = stamp
        entries += [name.file_entry for name in entry.fi_descs.values() if name.file_entry is not None]


def _records(root: Any) -> Iterator[Any]:
    """A directory record of pycdlib's and all below it."""
    todo = [root]
    while todo:
        record = todo.pop()
        yield record
        todo += record.children


def _identify(image: PyCdlib, volume_id: str, created_ns: int) -> None:
    """A UDF volume set identifier that repeats: the time in 8 hex digits, then 8 unique ones (UDF 2.60, 2.2.2.5).

    pycdlib draws the latter at random, others for the reserve sequence than for the main one.
    """
    unique = hashlib.sha256(f"{volume_id} {created_ns}".encode()).hexdigest()[:8]
    text = b"\x08" + f"{created_ns // 1_000_000_000 & 0xFFFFFFFF:08x}{unique}".encode()
    for sequence in (image.udf_main_descs, image.udf_reserve_descs):
        sequence.pvds[0].vol_set_ident = text.ljust(127, b"\0") + bytes([len(text)])


def _moment(created_ns: int) -> datetime:
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=created_ns // 1_000_000_000)
    except OverflowError:
        moment = datetime(1, 1, 1, tzinfo=UTC)
    if not 1900 <= moment.year <= 1900 + 255:
        raise TooLarge(f"{created_ns} ns since 1970 is outside the years 1900 to 2155 of ISO 9660")
    return moment


def _descriptor_date(moment: datetime) -> bytes:
    """A date of a volume descriptor: digits to hundredths of a second, offset from UTC (ECMA-119 8.4.26.1)."""
    return f"{moment:%Y%m%d%H%M%S}00".encode() + b"\0"


def _text(text: str) -> str:
    """As `write_iso` says; a text that began with ``_`` would name a file (ECMA-119 8.4.20)."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in plain).lstrip("_")[:_LONGEST_TEXT]
