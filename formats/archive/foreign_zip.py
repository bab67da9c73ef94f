"""Any ZIP archive read member by member, through the standard library's zipfile, within bounds."""

from __future__ import annotations

import bz2
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import BinaryIO

from formats.archive.foreign_header import MAX_MEMORY
from formats.archive.foreign_member import MAX_FILES, Counted, ForeignMember, Kind, LinkTarget, Sink, is_damage
from formats.digest import CHUNK
from formats.errors import DigestMismatchError, MalformedError, NotForUsError, TooLargeError, UnexpectedError
from formats.names import check_path

MAX_DIRECTORY = 256 << 20
"""Bytes of the central directory at most; zipfile reads it at once."""
_TIMESTAMP = 0x5455
_UNICODE_PATH = 0x7075
_UTF8 = 0x800
_UNIX = 3
_LOCAL = struct.Struct("<26sHH")
"""The header before a member's name: the lengths of the name and of the extra fields end it."""
_LZMA = struct.Struct("<HHBI")
"""What LZMA members begin with: a version, the length of the properties, and these: the last one is the dictionary."""
_LZMA_PROPERTIES = 5
_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"


class ForeignZip:
    """A ZIP archive of whatever tool made it: `members` in the order of its directory, `read` for their content."""

    def __init__(self, source: BinaryIO, *, password: Callable[[], str] | None = None) -> None:
        """Read the directory of a seekable ``source``; ``password`` is asked once, and only for encrypted members.

        Raises as `formats.archive.foreign_7z.ForeignArchive` does.
        """
        self._source = source
        _check_directory(source)
        try:
            self._zip = zipfile.ZipFile(source)
        except NotImplementedError as error:
            raise UnexpectedError(f"a ZIP archive of a kind that is not read: {error}") from None
        except _ERRORS as error:
            raise MalformedError(f"not a ZIP archive, or damaged: {str(error)[:100]}") from None
        infos = self._zip.infolist()
        if len(infos) > MAX_FILES:
            raise TooLargeError(f"{len(infos)} files, {MAX_FILES} are the limit")
        if any(info.header_offset < 0 for info in infos):
            raise MalformedError("a ZIP archive whose beginning is missing")
        self._found = [(_member(info), info) for info in infos]
        self.members = tuple(member for member, _ in self._found)
        paths = {member.path for member in self.members}
        if len(paths) != len(self.members):
            raise UnexpectedError("two members of the same name")
        self._password: bytes | None = None
        if any(info.flag_bits & 1 for info in infos):
            if password is None:
                raise NotForUsError("the archive is encrypted, and no password was given")
            self._password = password().encode()

    def read(self, sink: Callable[[ForeignMember], Sink]) -> list[ForeignMember]:
        """As `formats.archive.foreign_7z.ForeignArchive.read`."""
        result = []
        for member, info in self._found:
            if member.kind is Kind.LINK:
                target = LinkTarget()
                self._copy(info, Counted(member, target), member.path)
                result.append(replace(member, size=0, target=target.text(place=member.path)))
                continue
            if member.kind is Kind.FILE:
                self._copy(info, Counted(member, sink(member)), member.path)
            result.append(member)
        return result

    def _copy(self, info: zipfile.ZipInfo, out: Counted, place: str) -> None:
        if info.compress_type not in _METHODS:
            method = _NOT_READ.get(info.compress_type, f"method {info.compress_type}")
            raise UnexpectedError(f"packed in a way that is not read: {method}", place=place)
        try:
            with self._zip.open(info, pwd=self._password) as source:
                if info.compress_type in _IN_STEPS:
                    while data := source.read(CHUNK):
                        out.write(data)
                else:
                    self._decode(info, out, place)
        except zipfile.BadZipFile:
            raise DigestMismatchError("content does not have its CRC-32", place=place) from None
        except NotImplementedError as error:
            raise UnexpectedError(f"packed in a way that is not read: {error}", place=place) from None
        except RuntimeError:
            raise NotForUsError("wrong password, or the archive is damaged", place=place) from None
        except (*_ERRORS, OSError) as error:
            if isinstance(error, OSError) and not is_damage(error):
                raise
            raise MalformedError(f"cannot be unpacked: {type(error).__name__}", place=place) from None
        out.close()

    def _decode(self, info: zipfile.ZipInfo, out: Counted, place: str) -> None:
        """Unpack a member of bzip2 or LZMA a little at a time: zipfile unpacks at once all that it reads.

        450 bytes of bzip2 may hold 800 MiB of zeros.
        """
        if info.flag_bits & 1:
            method = _METHODS[info.compress_type]
            raise UnexpectedError(f"packed with {method} and encrypted, which is not read", place=place)
        self._source.seek(info.header_offset)
        *_, name, extra = _LOCAL.unpack(self._source.read(_LOCAL.size))
        self._source.seek(name + extra, 1)
        left = info.compress_size
        if info.compress_type == zipfile.ZIP_LZMA:
            decoder: lzma.LZMADecompressor | bz2.BZ2Decompressor = _lzma_decoder(self._source.read(_LZMA.size), place)
            left -= _LZMA.size
        else:
            decoder = bz2.BZ2Decompressor()
        crc = 0
        while out.count < info.file_size and not decoder.eof:
            data = self._source.read(min(left, _READ)) if decoder.needs_input else b""
            left -= len(data)
            if decoder.needs_input and not data:
                break
            plain = decoder.decompress(data, CHUNK)
            crc = zlib.crc32(plain, crc)
            out.write(plain)
        if out.count == info.file_size and crc != info.CRC:
            raise DigestMismatchError("content does not have its CRC-32", place=place)


def _lzma_decoder(begin: bytes, place: str) -> lzma.LZMADecompressor:
    """The decoder for what an LZMA member begins with; its dictionary, up to 4 GiB, is held against `MAX_MEMORY`."""
    _version, length, properties, asked = _LZMA.unpack(begin)
    if length != _LZMA_PROPERTIES or properties >= 9 * 5 * 5:
        raise MalformedError("LZMA properties that there cannot be: the archive is damaged", place=place)
    if asked > MAX_MEMORY:
        raise TooLargeError(f"LZMA asks for {asked >> 20} MiB, {MAX_MEMORY >> 20} MiB are the limit", place=place)
    rest, lc = divmod(properties, 9)
    pb, lp = divmod(rest, 5)
    one = {"id": lzma.FILTER_LZMA1, "dict_size": max(4096, asked), "lc": lc, "lp": lp, "pb": pb}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[one])


_METHODS = {
    zipfile.ZIP_STORED: "nothing",
    zipfile.ZIP_DEFLATED: "deflate",
    zipfile.ZIP_BZIP2: "bzip2",
    zipfile.ZIP_LZMA: "LZMA",
}
"""The methods that are read, whatever more the zipfile of a later Python reads."""
_NOT_READ = {9: "Deflate64", 93: "Zstandard", 95: "xz", 98: "PPMd"}
_IN_STEPS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The methods that zipfile unpacks only as far as it is asked to."""
_READ = 4096
"""Bytes that are given to a decoder at once."""
_ERRORS = (
    zipfile.BadZipFile,
    lzma.LZMAError,
    struct.error,
    zlib.error,
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
)


def _check_directory(source: BinaryIO) -> None:
    """Hold the size that the end record claims for the directory against `MAX_DIRECTORY`, before zipfile reads it."""
    size = source.seek(0, 2)
    source.seek(max(0, size - (1 << 16) - 22 - 76))
    tail = source.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise MalformedError("not a ZIP archive, or cut short")
    claimed = struct.unpack_from("<I", tail, at + 12)[0]
    at64 = tail.rfind(_END64)
    if claimed == 0xFFFFFFFF and at64 >= 0 and len(tail) >= at64 + 48:
        claimed = struct.unpack_from("<Q", tail, at64 + 40)[0]
    if claimed > min(size, MAX_DIRECTORY):
        raise TooLargeError(f"a directory of {claimed} bytes")
    source.seek(0)


def _member(info: zipfile.ZipInfo) -> ForeignMember:
    path = check_path(_name(info).rstrip("/"))
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    kinds = {0: None, stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.FOLDER, stat.S_IFLNK: Kind.LINK}
    if stat.S_IFMT(mode) not in kinds:
        raise UnexpectedError("a device, socket or pipe", place=path)
    kind = kinds[stat.S_IFMT(mode)] or (Kind.FOLDER if info.is_dir() else Kind.FILE)
    if (kind is Kind.FOLDER) != info.is_dir():
        raise MalformedError("a folder with content, or a file without", place=path)
    return ForeignMember(
        path=path, kind=kind, size=info.file_size, mtime_ns=_time(info), mode=stat.S_IMODE(mode) if mode else None
    )


def _name(info: zipfile.ZipInfo) -> str:
    """The name of a member: UTF-8 by its flag, by the Unicode path of Info-ZIP, or because its bytes are; else CP437.

    zipfile reads the first and the last alone.
    """
    if info.flag_bits & _UTF8 or info.filename.isascii():
        return info.filename
    raw = info.filename.encode("cp437", "surrogateescape")
    unicode = _extra(info, _UNICODE_PATH)
    if len(unicode) > 5 and unicode[0] == 1 and struct.unpack_from("<I", unicode, 1)[0] == zlib.crc32(raw):
        raw = unicode[5:]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return info.filename


def _extra(info: zipfile.ZipInfo, kind: int) -> bytes:
    """The extra field of a kind; empty where there is none."""
    extra, at = info.extra, 0
    while at + 4 <= len(extra):
        found, length = struct.unpack_from("<HH", extra, at)
        if found == kind:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return b""


def _time(info: zipfile.ZipInfo) -> int | None:
    """The time of last change: of the extended time stamp (UTC) where there is one, else as the directory has it."""
    stamp = _extra(info, _TIMESTAMP)
    if len(stamp) >= 5 and stamp[0] & 1:
        return int(struct.unpack_from("<i", stamp, 1)[0]) * 10**9
    try:
        # The local time of an unknown zone: taken as UTC, so that it is the same wherever it is read.
        return int(datetime(*info.date_time, tzinfo=UTC).timestamp()) * 10**9
    except ValueError:
        return None
