"""Names in a FAT file system: the short one of 8 and 3 characters, and the long one in entries before it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SHORT = re.compile(r"([A-Z0-9!#$%&'()@^_`{}~-]{1,8})(?:\.([A-Z0-9!#$%&'()@^_`{}~-]{1,3}))?")
_NOT_SHORT = re.compile(r"[^A-Z0-9!#$%&'()@^_`{}~-]")
_IN_ENTRY = 13
"""UTF-16 units of a long name in one entry."""


def short_names(names: Sequence[str]) -> dict[str, bytes]:
    """The short name of each of the names of a folder, as the 11 bytes of an entry; all are different.

    A name that is one itself keeps it; others get a number, ``LONGNA~1.TXT``.
    """
    found = {name: _padded(*match.groups("")) for name in names if (match := _SHORT.fullmatch(name))}
    taken = set(found.values())
    numbers: dict[tuple[str, str], int] = {}
    for name in names:
        if name in found:
            continue
        stem, _, extension = name.upper().strip(".").rpartition(".")
        if not stem:
            stem, extension = extension, ""
        key = _NOT_SHORT.sub("", stem)[:6] or "_", _NOT_SHORT.sub("", extension)[:3]
        while True:
            numbers[key] = number = numbers.get(key, 0) + 1
            tail = f"~{number}"
            short = _padded(key[0][: 8 - len(tail)] + tail, key[1])
            if short not in taken:
                break
        found[name] = short
        taken.add(short)
    return found


def _padded(stem: str, extension: str) -> bytes:
    return stem.ljust(8).encode() + extension.ljust(3).encode()


def shown(short: bytes) -> str:
    """A short name as people see it: ``BOOTX64.EFI``."""
    stem, extension = short[:8].decode("latin-1").rstrip(" "), short[8:].decode("latin-1").rstrip(" ")
    return f"{stem}.{extension}" if extension else stem


def entries_of_name(name: str, short: bytes) -> int:
    """How many entries a name takes in its folder."""
    return 1 if shown(short) == name else 1 + -(-len(name) // _IN_ENTRY)


def long_entries(name: str, short: bytes) -> bytes:
    """The entries of a long name, which stand before that of its short one; none where that says it all."""
    if shown(short) == name:
        return b""
    units = name.encode("utf-16-le")
    check = checksum(short)
    count = -(-len(units) // (2 * _IN_ENTRY))
    pieces = []
    for number in range(1, count + 1):
        part = units[(number - 1) * 2 * _IN_ENTRY : number * 2 * _IN_ENTRY]
        if len(part) < 2 * _IN_ENTRY:
            part = (part + b"\0\0").ljust(2 * _IN_ENTRY, b"\xff")
        order = number | (0x40 if number == count else 0)
        head = bytes([order]) + part[:10] + bytes([0x0F, 0, check])
        pieces.append(head + part[10:22] + b"\0\0" + part[22:])
    return b"".join(reversed(pieces))


def checksum(short: bytes) -> int:
    """The sum of a short name, by which its long one belongs to it (page 28)."""
    total = 0
    for byte in short:
        total = ((total & 1) << 7) + (total >> 1) + byte & 0xFF
    return total
