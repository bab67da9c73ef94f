"""Any 7z archive read member by member: the only door to py7zr (its traps are in `formats.archive.foreign_header`).

The header is read within bounds first; py7zr decodes what has passed. Every member is counted against its declared
size (py7zr takes a stream that ends early), and every error of py7zr and of its decoders comes out as one of ours.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, BinaryIO, cast

from formats.archive.cursor import Cursor
from formats.archive.foreign_header import (
    AES,
    LZMA,
    LZMA2,
    METHODS,
    Coder,
    Folder,
    Streams,
    parse_files,
    parse_start,
    parse_streams,
)
from formats.archive.foreign_member import Counted, ForeignMember, Kind, LinkTarget, Sink, is_damage
from formats.archive.header import MAX_HEADER, START_SIZE, Id
from formats.codecs.zstd import zstd_library
from formats.errors import DigestMismatchError, MalformedError, NotForUsError, TooLargeError, UnexpectedError

_KEY_BATCH = 64
_READ = 4096
"""Bytes that are given to a decoder at once; zstd makes 128 MiB of so many at most."""
_WRONG = "wrong password, or the archive is damaged"


class ForeignArchive:
    """A 7z archive of whatever tool made it: `members` in stored order, `read` for their content."""

    def __init__(self, source: BinaryIO, *, password: Callable[[], str] | None = None) -> None:
        """Read the header of a seekable ``source``; ``password`` is asked once, and only for an encrypted archive.

        Raises `MalformedError`, `TooLargeError`, `UnexpectedError`, `IllegalNameError`, and `NotForUsError` where a
        password is needed and none is given, or the one given is wrong.
        """
        self._source = source
        self._ask = password
        self._password: str | None = None
        size = source.seek(0, 2)
        source.seek(0)
        offset, length, crc = parse_start(source.read(START_SIZE), size=size)
        self.members: tuple[ForeignMember, ...] = ()
        self._streams: Streams | None = None
        if length:
            source.seek(offset)
            self._parse(self._plain(source.read(length), crc, offset), end=offset)
        if self._streams is not None and any(folder.is_encrypted for folder in self._streams.folders):
            self._need_password()

    @property
    def is_encrypted(self) -> bool:
        """Whether a password was needed."""
        return self._password is not None

    def _need_password(self) -> str:
        if self._password is None:
            if self._ask is None:
                raise NotForUsError("the archive is encrypted, and no password was given")
            self._password = self._ask()
        return self._password

    def _plain(self, header: bytes, crc: int, end: int) -> bytes:
        """The header as it is, or unpacked where it is packed or encrypted."""
        if zlib.crc32(header) != crc:
            raise MalformedError("does not have its CRC-32", place="header")
        cursor = Cursor(header)
        if not cursor.next_is(Id.ENCODED_HEADER):
            return header
        streams = parse_streams(cursor, end=end)
        cursor.end()
        if len(streams.folders) != 1 or max(streams.folders[0].outputs) > MAX_HEADER or streams.sizes[0] > MAX_HEADER:
            raise TooLargeError(f"a packed header of more than {MAX_HEADER} bytes, or in several parts", place="header")
        self._source.seek(streams.offset)
        plain = self._decode(self._source.read(streams.sizes[0]), streams.folders[0])
        if plain[:1] == bytes([Id.ENCODED_HEADER]):
            raise TooLargeError("a packed header in a packed header", place="header")
        if plain[:1] != bytes([Id.HEADER]):
            raise (
                NotForUsError(_WRONG) if self._password is not None else MalformedError("not a header", place="header")
            )
        return plain

    def _decode(self, data: bytes, folder: Folder) -> bytes:
        """A packed header, decoded coder by coder from the packed end of the chain."""
        order = range(len(folder.coders)) if folder.main else reversed(range(len(folder.coders)))
        for n in order:
            coder, size = folder.coders[n], folder.outputs[n]
            if coder.method == AES:
                data = _decrypt(data, coder, self._need_password())[:size]
            elif coder.method in (LZMA, LZMA2):
                data = _unpack(data, coder, size, wrong=_WRONG if self._password is not None else "")
            elif coder.method != b"\0":
                raise UnexpectedError(f"the header is packed with {METHODS[coder.method][0]}", place="header")
        if len(data) != folder.size:
            raise MalformedError("the packed header does not have its size", place="header")
        return data

    def _parse(self, header: bytes, *, end: int) -> None:
        cursor = Cursor(header)
        cursor.want(Id.HEADER)
        kind = cursor.byte()
        if kind == Id.MAIN_STREAMS:
            self._streams = parse_streams(cursor, end=end)
            kind = cursor.byte()
        if kind == Id.FILES:
            self.members = tuple(parse_files(cursor, self._streams))
            kind = cursor.byte()
        if kind != Id.END:
            raise MalformedError(f"property 0x{kind:02x} in the header", place="header")
        met: set[str] = set()
        for member in self.members:
            if member.path in met:
                raise UnexpectedError("stands twice in the archive", place=member.path)
            met.add(member.path)

    def read(self, sink: Callable[[ForeignMember], Sink]) -> list[ForeignMember]:
        """Decode every file, in stored order, into what ``sink`` gives for it; return all members, links with targets.

        Raises `MalformedError`, `DigestMismatchError` for content without its CRC-32, `NotForUsError` for a wrong
        password, and what a sink raises. What sinks took counts only when this returns.
        """
        # Imported where it is needed: it takes a quarter of a second.
        import py7zr
        from py7zr import exceptions
        from py7zr.io import MemIO, WriterFactory

        targets: dict[str, LinkTarget] = {}

        def out(member: ForeignMember) -> Sink:
            return targets.setdefault(member.path, LinkTarget()) if member.kind is Kind.LINK else sink(member)

        source = _SmallReads(self._source)
        _end_ppmd_once()
        try:
            with py7zr.SevenZipFile(cast(BinaryIO, source), "r", password=self._password) as archive:
                if len(archive.files) != len(self.members):
                    raise MalformedError("read in two ways", place="header")
                for member, found in zip(self.members, archive.files, strict=True):
                    if member.kind is not Kind.FOLDER:
                        archive.worker.register_filelike(
                            found.id, MemIO(member.path, cast(WriterFactory, _Factory(member, out)))
                        )
                    else:
                        archive.worker.register_filelike(found.id, None)
                source.most = _READ
                archive.worker.extract(archive.fp, None, parallel=False)
        except (*_DECODERS, zstd_library().ZstdError, exceptions.ArchiveError, OSError) as error:
            raise self._explained(error) from None
        return [
            replace(member, size=0, target=targets[member.path].text(place=member.path))
            if member.kind is Kind.LINK
            else member
            for member in self.members
        ]

    def _explained(self, error: Exception) -> Exception:
        """What py7zr or a decoder said, as an error of ours; an error of the disk stays as it is."""
        from py7zr import exceptions

        if isinstance(error, OSError) and not is_damage(error):
            return error
        if isinstance(error, exceptions.PasswordRequired):
            return NotForUsError("the archive is encrypted, and no password was given")
        if isinstance(error, exceptions.UnsupportedCompressionMethodError):
            return UnexpectedError(f"packed in a way that is not read: {error.message}")
        if self._password is not None:
            return NotForUsError(_WRONG)
        if isinstance(error, exceptions.CrcError):
            return DigestMismatchError("content does not have its CRC-32", place=str(error.filename or ""))
        said = str(error)[:100] if isinstance(error, exceptions.ArchiveError) else type(error).__name__
        return MalformedError(f"cannot be unpacked: {said}")


@cache
def _end_ppmd_once() -> None:
    """Have py7zr end with a PPMd stream that says it ends: it would go on, and pyppmd then ends the whole process."""
    from py7zr import FILTER_PPMD, compressor

    class Ending(compressor.PpmdDecompressor):
        def decompress(self, data: bytes | bytearray | memoryview, max_length: int = -1) -> bytes:
            if self.decoder.eof:
                raise EOFError
            return bytes(super().decompress(data, max_length))

    compressor.algorithm_class_map[FILTER_PPMD] = compressor.PpmdCompressor, Ending


class _SmallReads(io.BufferedIOBase):
    """The archive for py7zr to read from, a little at a time once its header is read.

    py7zr asks for 1 MiB and unpacks all that comes into memory at once: 1 MiB of zstd may hold 32 GiB of zeros.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.most = 0
        source.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes, ``most`` of them at most where that is set."""
        size = -1 if size is None else size
        return self._source.read(min(size, self.most) if self.most and size >= 0 else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position."""
        return self._source.seek(offset, whence)

    def tell(self) -> int:
        """The position, in bytes."""
        return self._source.tell()


_DECODERS = (
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    AssertionError,
    RuntimeError,
    SystemError,
)
"""What decoders and py7zr raise on bytes that are not what they say, beside py7zr's own exceptions."""


class _Factory:
    """Makes the one stream that py7zr writes a member to."""

    def __init__(self, member: ForeignMember, sink: Callable[[ForeignMember], Sink]) -> None:
        self._member = member
        self._sink = sink

    def create(self, _filename: str) -> Any:
        return _Stream(self._member, self._sink(self._member))


class _Stream(Counted):
    """A counted sink with what py7zr asks of a file besides."""

    def read(self, _size: int | None = None) -> bytes:
        return b""

    def seek(self, _offset: int, _whence: int = 0) -> int:
        return 0

    def seekable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def size(self) -> int:
        return self.count


def _filter(coder: Coder, size: int) -> dict[str, int]:
    """The decoder of a packed header of ``size`` bytes, for `lzma`."""
    # No distance is longer than what is unpacked: a dictionary beyond that is claimed for nothing.
    if coder.method == LZMA2:
        return {"id": lzma.FILTER_LZMA2, "dict_size": max(4096, min(METHODS[LZMA2][1](coder.properties), size))}
    first, dictionary = struct.unpack("<BI", coder.properties)
    rest, lc = divmod(first, 9)
    pb, lp = divmod(rest, 5)
    return {"id": lzma.FILTER_LZMA1, "dict_size": max(4096, min(dictionary, size)), "lc": lc, "lp": lp, "pb": pb}


def _unpack(data: bytes, coder: Coder, size: int, *, wrong: str) -> bytes:
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_filter(coder, size)])
        return decoder.decompress(data, size)
    except (lzma.LZMAError, ValueError):
        if wrong:
            raise NotForUsError(wrong) from None
        raise MalformedError("the packed header cannot be unpacked", place="header") from None


def _decrypt(data: bytes, coder: Coder, password: str) -> bytes:
    """AES-256 in CBC mode; the key is SHA-256 over salt, password and a counter (7zAES of 7-Zip)."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cursor = Cursor(coder.properties)
    first = cursor.byte()
    second = cursor.byte() if first & 0xC0 else 0
    salt = bytes(cursor.take((first >> 7 & 1) + (second >> 4)))
    iv = bytes(cursor.take((first >> 6 & 1) + (second & 0x0F))).ljust(16, b"\0")
    if len(data) % 16:
        raise MalformedError("encrypted bytes are not whole blocks", place="header")
    decryptor = Cipher(algorithms.AES(_key(password, salt, first & 0x3F)), modes.CBC(iv)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def _key(password: str, salt: bytes, power: int) -> bytes:
    secret = salt + password.encode("utf-16-le")
    digest = hashlib.sha256()
    for start in range(0, 1 << power, _KEY_BATCH):
        stop = min(start + _KEY_BATCH, 1 << power)
        digest.update(b"".join(secret + n.to_bytes(8, "little") for n in range(start, stop)))
    return digest.digest()
