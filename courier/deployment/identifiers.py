"""Names, MAC addresses and SMBIOS GUIDs of computers: every usual form is read, and what identifies nobody is refused.

Pure. A GUID is read in the order in which it is printed. SMBIOS 2.6 stores its first three fields with their lowest
byte first: 00112233-4455-6677-8899-AABBCCDDEEFF is stored as 33 22 11 00 55 44 77 66 88 99 AA BB CC DD EE FF, and a
tool that prints the bytes as they are stored shows another GUID for the same computer, its `swapped` twin.
"""

from __future__ import annotations

import re

from courier.errors import UsageError

MAX_NAME = 63
_NAME = re.compile("[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_.-]{1,254}")
_MAC = re.compile(
    "[0-9A-F]{12}|([0-9A-F]{1,2}:){5}[0-9A-F]{1,2}|([0-9A-F]{2}[-. _]){5}[0-9A-F]{2}"
    "|([0-9A-F]{4}[.:-]){2}[0-9A-F]{4}|[0-9A-F]{6}[-:][0-9A-F]{6}"
)
_SEPARATORS = str.maketrans("", "", ":-. _")
_GUID_DIGITS = re.compile("[0-9A-F]{32}")
_SCIENTIFIC = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?[eE]\+[0-9]+")

_NO_MACS = {
    "44:45:53:54:00:00": "of a modem's driver",
    "20:41:53:59:4E:FF": "of a dial-up driver",
    "33:50:6F:45:30:30": "of a PPPoE driver",
    "02:00:00:00:00:00": "what a system shows in place of a MAC",
    "00:00:00:00:00:00": "no address",
    "FF:FF:FF:FF:FF:FF": "the address of all",
    "00:05:9A:3C:78:00": "of a VPN's driver",
    "00:05:9A:3C:7A:00": "of a VPN's driver",
}
"""MAC addresses that many computers show, and what they are."""
_UNSET = "which boards have that nobody set"
_NO_GUIDS = {
    "00000000-0000-0000-0000-000000000000": "which firmware shows that has none",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF": "which firmware shows that has none",
    "03000200-0400-0500-0006-000700080009": _UNSET,
    "00020003-0004-0005-0006-000700080009": _UNSET,
    "12345678-1234-5678-90AB-CDDEEFAABBCC": _UNSET,
    "78563412-3412-7856-90AB-CDDEEFAABBCC": _UNSET,
    "FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE": _UNSET,
    "4C4C4544-0000-2010-8020-80C04F202020": "of a board without its service tag",
    "44454C4C-0000-1020-8020-80C04F202020": "of a board without its service tag",
}
"""SMBIOS GUIDs that many computers have, and why; in both orders of their bytes."""


def parse_name(text: str) -> str:
    """The name of a computer: a host name of one label, as it was written. Raises `UsageError`."""
    name = text.strip()
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{text[:80]!r} is not a name of a computer",
            hint=f"1 to {MAX_NAME} letters, digits and hyphens, the first and the last no hyphen",
        )
    return name


def parse_mac(text: str) -> str:
    """A MAC address such as ``00:1A:2B:3C:4D:5E``, from any usual form.

    Read are colons, hyphens, dots or spaces between the bytes, one digit for a byte below 16 between colons, dots
    between groups of four digits, and none at all. Raises `UsageError`, also for addresses that no single network card
    has.
    """
    cleaned = text.strip().upper()
    if not _MAC.fullmatch(cleaned):
        raise UsageError(f"{text[:80]!r} is not a MAC address", hint="write it like 00:1A:2B:3C:4D:5E")
    if len(cleaned) < 17 and cleaned.count(":") == 5:
        cleaned = "".join(byte.rjust(2, "0") for byte in cleaned.split(":"))
    d = cleaned.translate(_SEPARATORS)
    mac = f"{d[:2]}:{d[2:4]}:{d[4:6]}:{d[6:8]}:{d[8:10]}:{d[10:]}"
    if mac in _NO_MACS:
        raise UsageError(
            f"{mac} is {_NO_MACS[mac]}, and identifies no computer", hint="give the MAC of the network card itself"
        )
    if int(d[:2], 16) & 1:
        raise UsageError(f"{mac} is an address of a group, not of a card", hint="is the first byte right?")
    return mac


def parse_guid(text: str) -> str:
    """An SMBIOS GUID such as ``4C4C4544-0044-3510-8052-B4C04F4A3732``, from any usual form.

    Read are braces, ``urn:uuid:``, 32 digits with or without hyphens, and 16 bytes with spaces between them, in the
    order in which they are printed. Raises `UsageError`, also for one that many computers have.
    """
    cleaned = text.strip().upper().removeprefix("URN:UUID:").removeprefix("0X")
    if cleaned.startswith("{") and cleaned.endswith("}"):
        cleaned = cleaned[1:-1]
    digits = cleaned.translate(_SEPARATORS)
    if not _GUID_DIGITS.fullmatch(digits):
        raise UsageError(
            f"{text[:80]!r} is not an SMBIOS GUID", hint="write it like 4C4C4544-0044-3510-8052-B4C04F4A3732"
        )
    guid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    why = _NO_GUIDS.get(guid)
    if why:
        raise UsageError(
            f"{guid} is a GUID {why}, and identifies no computer",
            hint="leave it empty and give the MAC, or set the GUID in the firmware",
        )
    return guid


def swapped(guid: str) -> str:
    """The other GUID that the same 16 bytes of SMBIOS may be shown as: the bytes of its first three fields reversed."""
    g = guid
    return f"{g[6:8]}{g[4:6]}{g[2:4]}{g[:2]}-{g[11:13]}{g[9:11]}-{g[16:18]}{g[14:16]}{g[18:]}"


def parse_variable(name: str) -> str:
    """The name of a variable. Raises `UsageError`."""
    if not _VARIABLE.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is not a name of a variable",
            hint="two characters or more: letters, digits, underlines, dots and hyphens, the first no digit",
        )
    return name


def is_scientific(text: str) -> bool:
    """Whether a spreadsheet has turned what stood there into a number such as 2.19E+26."""
    return "+" in text and _SCIENTIFIC.fullmatch(text.strip()) is not None
