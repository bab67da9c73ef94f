"""Opening a disc of a set to read: an image, a stick, or a disc in a drive. Nothing is ever written to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import RefusedError, explain
from courier.files import path_text
from formats.disk.gpt import SECTOR, Gpt
from formats.disk.hybrid import read_hybrid
from formats.documents.standalone import Layout
from formats.errors import FormatError
from formats.fat import FatReader
from formats.iso import IsoReader

_ISO_MARK = (16 * 2048 + 1, b"CD001")


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenDisc:
    """A disc that is open. ``name``: what messages call it. ``volume``: its volume ID, as the disc itself says.

    ``files``: path and size of each file; ``open`` raises `KeyError` for a path that is not there. ``gpt``: its table;
    None where it has none, and then ``fault`` says why. ``source``: its bytes, for one reader at a time.
    """

    name: str
    volume: str
    layout: Layout
    files: tuple[tuple[str, int], ...]
    open: Callable[[str], BinaryIO]
    gpt: Gpt | None
    fault: str
    source: BinaryIO


@contextmanager
def open_disc(path: Path) -> Iterator[OpenDisc]:
    """Open an image or a block device. Raises `RefusedError` for what is no disc of a set, and `OSError`."""
    name = path_text(path)
    with path.open("rb") as source:
        yield _opened(source, name)


def _opened(source: BinaryIO, name: str) -> OpenDisc:
    gpt, fault = _gpt(source)
    try:
        if _is_iso(source):
            reader = IsoReader(source)
            return OpenDisc(
                name=name,
                volume=reader.volume_id,
                layout="iso",
                files=tuple(reader.files()),
                open=reader.open,
                gpt=gpt,
                fault=fault,
                source=source,
            )
        if gpt is None or len(gpt.partitions) != 1:
            raise RefusedError(
                f"{name} is no disc of stand-alone media{f' ({fault})' if fault else ''}",
                hint="give the image of a disc or stick, or its device",
                code=Code.NOT_A_VOLUME,
            )
        fat = FatReader(source, gpt.partitions[0].first * SECTOR)
        return OpenDisc(
            name=name,
            volume=gpt.partitions[0].name,
            layout="usb",
            files=tuple(fat.files()),
            open=fat.open,
            gpt=gpt,
            fault="",
            source=source,
        )
    except FormatError as error:
        raise explain(error, where=name, hint="read it in another drive, or copy the image onto a new medium") from None


def _is_iso(source: BinaryIO) -> bool:
    at, mark = _ISO_MARK
    source.seek(at)
    return source.read(len(mark)) == mark


def _gpt(source: BinaryIO) -> tuple[Gpt | None, str]:
    """The partition table, and why there is none. A disc that was burned has blocks of 2048 bytes, and the same one."""
    try:
        return read_hybrid(source), ""
    except FormatError as error:
        return None, str(error)
