"""Any tar archive read member by member in one pass, through the standard library's tarfile, within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from typing import BinaryIO, cast

from formats.archive.foreign_member import (
    MAX_FILES,
    MAX_RATIO,
    MAX_TARGET,
    Counted,
    ForeignMember,
    Kind,
    Sink,
    is_damage,
)
from formats.archive.tar_header import WholeHeader, modified_ns
from formats.codecs.zstd import zstd_library
from formats.digest import CHUNK
from formats.errors import MalformedError, TooLargeError, UnexpectedError
from formats.names import check_path

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
MAX_MEMORY = 256 << 20
"""Bytes of memory for an xz decoder at most."""
MAX_PADDING = 64 << 20
"""Bytes after the end mark of a tar archive at most: tar fills its last record, and a tape its last block."""
MAX_WINDOW_LOG = 27
"""Base-2 logarithm of a zstd window at most (128 MiB)."""


def _plain(source: BinaryIO) -> BinaryIO:
    """The tar archive in ``source``, which may be packed by gzip, bzip2, xz or zstd."""
    begin = source.read(6)
    source.seek(0)
    packed = next((name for magic, name in _MAGIC if begin.startswith(magic)), "")
    if packed == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=source))
    if packed == "bzip2":
        return cast(BinaryIO, bz2.BZ2File(source))
    if packed == "xz":
        return cast(BinaryIO, io.BufferedReader(_Xz(source), CHUNK))
    if packed == "zstd":
        zstd = zstd_library()
        return cast(
            BinaryIO, zstd.ZstdFile(source, options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})
        )
    return source


class _Xz(io.RawIOBase):
    """An xz stream, decoded with a limit on memory (`lzma.LZMAFile` takes none)."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._decoder.eof:
            data = self._source.read(CHUNK) if self._decoder.needs_input else b""
            if not data and self._decoder.needs_input:
                raise MalformedError("the xz stream is cut short")
            plain = self._decoder.decompress(data, len(buffer))
            if plain:
                buffer[: len(plain)] = plain
                return len(plain)
        if self._decoder.unused_data.strip(b"\0") or self._source.read(1):
            raise MalformedError("bytes after the xz stream")
        return 0


class ForeignTar:
    """A tar archive of whatever tool made it, packed or not; its members are known only as they are read."""

    members: tuple[ForeignMember, ...] = ()

    def __init__(self, source: BinaryIO) -> None:
        """``source`` is read from its beginning to its end, once."""
        self._source = source

    def read(self, sink: Callable[[ForeignMember], Sink]) -> list[ForeignMember]:
        """As `formats.archive.foreign_7z.ForeignArchive.read`.

        Where a member stands twice, tar takes the last one; in one pass the first is taken already, so it is refused.
        """
        most = MAX_RATIO * self._source.seek(0, io.SEEK_END)
        self._source.seek(0)
        found: dict[str, ForeignMember] = {}
        try:
            plain = _plain(self._source)
            with tarfile.open(fileobj=plain, mode="r|", errorlevel=2, tarinfo=WholeHeader) as archive:
                for info in archive:
                    path = _path(info.name)
                    if not path:
                        continue
                    if path in found:
                        raise UnexpectedError("stands twice in the archive", place=path)
                    if len(found) == MAX_FILES:
                        raise TooLargeError(f"more than {MAX_FILES} files")
                    member = found[path] = _member(info, path)
                    if member.kind is Kind.SAME and getattr(found.get(member.target), "kind", None) is not Kind.FILE:
                        raise MalformedError("a hard link to a file that does not come before it", place=path)
                    if member.kind is Kind.FILE:
                        most -= member.size
                        if most < 0:  # a sparse file of a few bytes may declare any size
                            raise TooLargeError("more content than an archive of this size can hold", place=path)
                        _copy(archive, info, Counted(member, sink(member)))
                    # tarfile keeps every member it has met; in a stream nobody asks for them again.
                    archive.members = []  # type: ignore[attr-defined]
            _read_to_the_end(plain)
        except (*_ERRORS, zstd_library().ZstdError, OSError) as error:  # the library is loaded only where there is one
            if isinstance(error, OSError) and not is_damage(error):
                raise
            if any(words in str(error) for words in _TOO_MUCH_MEMORY):
                raise TooLargeError("packed so that unpacking it needs more memory than is allowed") from None
            raise MalformedError(f"not a tar archive, or damaged: {str(error)[:100]}") from None
        return [*found.values()]


def _read_to_the_end(plain: BinaryIO) -> None:
    """Read what follows the end mark: the checksum of a compressed stream stands at its very end."""
    left = MAX_PADDING
    while data := plain.read(CHUNK):
        left -= len(data)
        if left < 0:
            raise TooLargeError(f"more than {MAX_PADDING:,} bytes after the end of the archive")


_ERRORS = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError, IndexError)
_TOO_MUCH_MEMORY = ("Memory usage limit exceeded", "Frame requires too much memory")
"""What the libraries say of a stream beyond `MAX_MEMORY` or `MAX_WINDOW_LOG`, for which they have no class of error."""


def _path(name: str) -> str:
    """The path of a member: tar tools write ``./a`` and ``a/`` for ``a``; empty for the root itself."""
    plain = name.rstrip("/")
    while plain.startswith("./"):
        plain = plain[2:].lstrip("/")
    return "" if plain in ("", ".") else check_path(plain)


def _member(info: tarfile.TarInfo, path: str) -> ForeignMember:
    if info.isreg():
        kind, target = Kind.FILE, ""
    elif info.isdir():
        kind, target = Kind.FOLDER, ""
    elif info.issym():
        kind, target = Kind.LINK, info.linkname
    elif info.islnk():
        kind, target = Kind.SAME, _path(info.linkname)
    else:
        raise UnexpectedError("a device, socket or pipe", place=path)
    if len(target.encode("utf-8", "surrogateescape")) > MAX_TARGET:
        raise TooLargeError(f"link target of more than {MAX_TARGET} bytes", place=path)
    return ForeignMember(
        path=path,
        kind=kind,
        size=info.size if kind is Kind.FILE else 0,
        mtime_ns=modified_ns(info),
        mode=info.mode & 0o7777,
        target=target,
    )


def _copy(archive: tarfile.TarFile, info: tarfile.TarInfo, out: Counted) -> None:
    source = archive.extractfile(info)
    if source is None:
        raise MalformedError("a file without content", place=info.name)
    while data := source.read(CHUNK):
        out.write(data)
    out.close()
