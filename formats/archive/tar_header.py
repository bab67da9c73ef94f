"""Headers of tar archives that any tool made, read through the standard library's tarfile without what it lets pass."""

from __future__ import annotations

import tarfile
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Self

from formats.errors import MalformedError, TooLargeError

MOST_SECONDS = 2**33
"""Times are less than this many seconds from 1970: nanoseconds beyond it do not fit into 64 bits."""


MAX_EXTENSION = 16 << 20
"""Bytes at most of a header that goes before another one, with a long name or attributes; tarfile reads it at once."""
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class WholeHeader(tarfile.TarInfo):
    """A header that must be whole: to tarfile a damaged or missing one after the first is the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The header in a block. Raises `TooLargeError` for more than `MAX_EXTENSION`."""
        info = super().frombuf(buf, encoding, errors)
        if info.type in _EXTENSIONS and info.size > MAX_EXTENSION:
            raise TooLargeError(f"a name or attributes of {info.size:,} bytes, {MAX_EXTENSION:,} are the limit")
        return info

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """The next header. Raises `MalformedError` where neither a header nor the end mark of the archive stands."""
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the end mark; tarfile does not make this name public
                raise
            raise MalformedError(f"not a tar archive, or damaged or cut short: {str(error)[:100]}") from None


def modified_ns(info: tarfile.TarInfo) -> int:
    """The time of a member in nanoseconds since 1970, rounded down. Raises `MalformedError` for none a system has."""
    text = str(info.pax_headers.get("mtime") or info.mtime)[:40]
    try:
        seconds = Decimal(text)
        if -MOST_SECONDS < seconds < MOST_SECONDS:
            return int((seconds * 10**9).to_integral_value(ROUND_FLOOR))
    except InvalidOperation:
        pass
    raise MalformedError(f"a time that no system has: {text!a}", place=ascii(info.name))
