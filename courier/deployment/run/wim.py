"""What a WIM or ESD says of itself: its images and how many bytes each has. Pure; the images are applied by wimlib.

The header has 208 bytes; the description is XML in UTF-16 at the end of the file (Microsoft's "Windows Imaging File
Format", 2007). Both are read here, so that a file of many GB need not be fetched to see whether it fits.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree as XML

from courier.errors import DamagedError, UsageError

MAGIC = b"MSWIM\0\0\0"
HEADER = 208
MAX_XML = 16 << 20
"""Bytes of the longest description that is read."""
_XML_AT = 72
_COMPRESSED, _SIZE = 0x04, (1 << 56) - 1
_FOREIGN = {
    b"WLPWM\0\0\0": ("a pipable WIM", "wimexport FILE all OTHER.wim --not-pipable"),
    b"vhdxfile": ("a VHDX file", "qemu-img convert -O raw FILE OTHER.img"),
    b"conectix": ("a VHD file", "qemu-img convert -O raw FILE OTHER.img"),
    b"QFI\xfb": ("a qcow2 file", "qemu-img convert -O raw FILE OTHER.img"),
    b"KDMV": ("a VMDK file", "qemu-img convert -O raw FILE OTHER.img"),
}

ReadAt = Callable[[int, int], bytes]
"""Reads so many bytes at an offset; fewer at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WimImage:
    """An image of a WIM: ``bytes`` of all its files, those with several names counted once."""

    index: int
    name: str
    bytes: int


def is_wim(head: bytes, *, where: str) -> bool:
    """Whether a file that begins with ``head`` is a WIM or ESD; else it is taken for a raw image.

    Raises `UsageError` for a kind of image that has to be converted first, as only its content may go onto a disk.
    """
    for magic, (what, remedy) in _FOREIGN.items():
        if head.startswith(magic):
            raise UsageError(f"{where} is {what}", hint=f"convert it, and add that to the package: {remedy}")
    return head.startswith(MAGIC)


def read_images(read_at: ReadAt, *, where: str) -> list[WimImage]:
    """The images of the WIM ``where``. Raises `DamagedError` where it does not say what it holds."""
    head = read_at(0, HEADER)
    if len(head) < HEADER:
        raise _damaged(where, "its header is too short")
    packed, offset, size = struct.unpack_from("<QQQ", head, _XML_AT)
    if packed >> 56 & _COMPRESSED or packed & _SIZE != size or not 0 < size <= MAX_XML:
        raise _damaged(where, "its description cannot be read")
    data = read_at(offset, size)
    if len(data) != size:
        raise _damaged(where, "it ends before its description")
    try:
        text = data.decode("utf-16")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise _damaged(where, "its description declares entities")
        root = XML.fromstring(re.sub(r"^<\?xml[^>]*\?>", "", text.lstrip("\ufeff")))
        return [
            WimImage(
                index=int(one.get("INDEX", "")),
                name=one.findtext("NAME", ""),
                bytes=int(one.findtext("TOTALBYTES", "0")) - int(one.findtext("HARDLINKBYTES", "0")),
            )
            for one in root.iter("IMAGE")
        ]
    except (UnicodeDecodeError, XML.ParseError, ValueError) as error:
        raise _damaged(where, f"its description is not as it should be ({error})") from None


def _damaged(where: str, what: str) -> DamagedError:
    return DamagedError(f"{where}: {what}", hint="is it a WIM? wimlib-imagex info FILE; add a good one to the package")
