"""Masters an image with pycdlib, and makes it reproducible.

pycdlib dates each structure with the present time in the zone of the machine, and draws a random volume set identifier.
These fields are set after building, because replacing `time` and `random` would disturb other threads.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, BinaryIO, cast

from pycdlib import PyCdlib
from pycdlib.dates import DirectoryRecordDate, VolumeDescriptorDate
from pycdlib.headervd import BootRecord
from pycdlib.pycdlibexception import PyCdlibException
from pycdlib.udf import UDFTimestamp

from formats.errors import MalformedError
from formats.iso.boot import BOOT_RECORD_BLOCK, SYSTEM_IDENTIFIER
from formats.iso.layout import BLOCK, Folder, blocks_of, record_identifier, tree_of

_COPY = 1 << 20  # a quarter faster than pycdlib's own 32 KiB
_FILE_MODE = 0o100444
_FOLDER_MODE = 0o040555
_MODIFIED = 830  # offset of the time of modification in a volume descriptor (ECMA-119 8.4.27)
_BOOT_SYSTEM_USE = 1977  # bytes
_TIMES = ("creation_time", "access_time", "modification_time", "attribute_change_time")


class Image:
    """An image of files that have not been read yet; a context manager. ``blocks``: where each file begins, by path.

    ``listing`` has the path and size in bytes of each file, and ``sources`` the streams to read them from: pycdlib
    seeks to the start, then reads that many bytes. ``bootable``: room is kept for a boot record, which `set_catalog`
    completes. Raises `MalformedError` if pycdlib cannot make the image.
    """

    def __init__(
        self,
        listing: Sequence[tuple[str, int]],
        sources: Sequence[io.BufferedIOBase],
        *,
        volume_id: str,
        publisher: str,
        application: str,
        moment: datetime,
        bootable: bool = False,
    ) -> None:
        self._moment = moment
        self._image = PyCdlib()
        self._boot_record = BootRecord()
        try:
            self._image.new(
                interchange_level=2,
                vol_ident=volume_id,
                pub_ident_str=publisher,
                app_ident_str=application or " ",  # pycdlib names itself where nothing is given
                joliet=3,
                rock_ridge="1.09",
                udf="2.60",
            )
            _add(self._image, tree_of(listing), listing, sources)
            if bootable:
                # Its place among the descriptors is all that is asked of pycdlib; the catalogue is a file like others.
                self._boot_record.new(SYSTEM_IDENTIFIER)
                self._image.brs.append(self._boot_record)
                self._image._needs_reshuffle = True
            self._image.force_consistency()
        except PyCdlibException as error:
            raise MalformedError(f"no image can be made of these files: {error}") from error
        first = _lay_in_order(self._image)
        self.blocks = _blocks_from(first, listing)
        if bootable and self._boot_record.extent_location() != BOOT_RECORD_BLOCK:
            raise MalformedError(f"the boot record would be in block {self._boot_record.extent_location()}")
        _date(self._image, moment)
        _identify(self._image, volume_id, moment)

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *_: object) -> None:
        self._image.close()

    @property
    def size(self) -> int:
        """Bytes the image will have."""
        return int(self._image.pvd.space_size) * BLOCK

    def set_catalog(self, block: int) -> None:
        """Have the boot record name the block of the boot catalogue (El Torito, figure 7)."""
        self._boot_record.update_boot_system_use(block.to_bytes(4, "little").ljust(_BOOT_SYSTEM_USE, b"\0"))

    def write(self, out: BinaryIO) -> None:
        """Write the image to ``out``, which is empty; it is left at its end."""
        self._image.write_fp(out, blocksize=_COPY)
        # pycdlib writes the present time here, whatever the field says.
        descriptors: Any = (self._image.pvd, self._image.joliet_vd)
        for descriptor in descriptors:
            out.seek(descriptor.extent_location() * BLOCK + _MODIFIED)
            out.write(_descriptor_date(self._moment))
        out.seek(0, io.SEEK_END)


def _add(
    image: PyCdlib, tree: Folder, listing: Sequence[tuple[str, int]], sources: Sequence[io.BufferedIOBase]
) -> None:
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
    for (path, size), source in zip(listing, sources, strict=True):
        image.add_fp(
            cast(BinaryIO, source),
            size,
            identifiers[path],
            rr_name=path.rpartition("/")[2],
            joliet_path=f"/{path}",
            udf_path=f"/{path}",
            file_mode=_FILE_MODE,
        )


def _blocks_from(first: int, listing: Sequence[tuple[str, int]]) -> dict[str, int]:
    """The block at which each file begins that is not empty, by path."""
    found = {}
    for path, size in listing:
        if size:
            found[path] = first
            first += blocks_of(size)
    return found


def _lay_in_order(image: PyCdlib) -> int:
    """Put the data into the order in which the files were added; pycdlib sorts them by folder and name.

    Returns the block of the first.
    """
    partition = image.udf_main_descs.partitions[0].part_start_location
    filled = [inode for inode in image.inodes if inode.get_data_length()]
    first = block = min((inode.extent_location() for inode in filled), default=0)
    for inode in filled:
        inode.set_extent_location(block)
        for record, _ in inode.linked_records:
            record.set_data_location(block, block - partition)
        block += blocks_of(inode.get_data_length())
    return first


def _date(image: Any, moment: datetime) -> None:
    """Date every structure ``moment`` instead of the present time."""
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
                for name in _TIMES:
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


def _identify(image: PyCdlib, volume_id: str, moment: datetime) -> None:
    """Set a reproducible UDF volume set identifier: the time in 8 hex digits, then 8 unique ones (UDF 2.60, 2.2.2.5).

    pycdlib draws the latter at random, and others for the reserve sequence than for the main one.
    """
    time = int(moment.timestamp()) & 0xFFFFFFFF
    unique = hashlib.sha256(f"{volume_id} {moment.isoformat()}".encode()).hexdigest()[:8]
    text = b"\x08" + f"{time:08x}{unique}".encode()
    for sequence in (image.udf_main_descs, image.udf_reserve_descs):
        sequence.pvds[0].vol_set_ident = text.ljust(127, b"\0") + bytes([len(text)])


def _descriptor_date(moment: datetime) -> bytes:
    """A date of a volume descriptor: digits down to hundredths of a second, offset from UTC (ECMA-119 8.4.26.1)."""
    return f"{moment:%Y%m%d%H%M%S}00".encode() + b"\0"
