"""Archives of other tools that are damaged or made to harm: decoders fail with an error of ours, and within bounds."""

from __future__ import annotations

import bz2
import errno
import io
import random
import struct
import tarfile
import tracemalloc
import zipfile
from typing import Any

import pytest

from formats.archive.foreign_7z import ForeignArchive
from formats.archive.foreign_member import ForeignMember
from formats.archive.foreign_tar import ForeignTar
from formats.archive.foreign_zip import ForeignZip
from formats.errors import DigestMismatchError, FormatError, MalformedError, TooLargeError, UnexpectedError

DATA = b"hello world\n" * 500 + random.Random(5).randbytes(3000)
OPENERS = {"7z": ForeignArchive, "zip": ForeignZip, "tar": ForeignTar}


class Taken:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes, /) -> None:
        """See `Sink`."""
        self.data += data

    def close(self) -> None:
        """See `Sink`."""


def seven(method: str, data: bytes = DATA, **more: int) -> bytes:
    """A 7z archive of one member that py7zr made."""
    import py7zr

    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", filters=[{"id": getattr(py7zr, f"FILTER_{method}"), **more}]) as archive:
        archive.writestr(data, "a")
    return out.getvalue()


def zipped(method: int) -> bytes:
    """A ZIP archive of one member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("a", DATA)
    return out.getvalue()


def tar_bz2() -> bytes:
    """A tar archive packed by bzip2."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a")
        info.size = len(DATA)
        archive.addfile(info, io.BytesIO(DATA))
    return bz2.compress(out.getvalue())


ARCHIVES = {
    "7z bzip2": lambda: seven("BZIP2"),
    "7z zstd": lambda: seven("ZSTD", level=3),
    "7z ppmd": lambda: seven("PPMD", order=6, mem=24),
    "zip bzip2": lambda: zipped(zipfile.ZIP_BZIP2),
    "zip lzma": lambda: zipped(zipfile.ZIP_LZMA),
    "zip deflate": lambda: zipped(zipfile.ZIP_DEFLATED),
    "tar bzip2": tar_bz2,
}


def read(kind: str, source: Any) -> bytes:
    """The content of the one member."""
    taken = Taken()

    def sink(_: ForeignMember) -> Taken:
        return taken

    OPENERS[kind.split(" ", maxsplit=1)[0]](source).read(sink)
    return bytes(taken.data)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_what_a_decoder_says_of_damage_becomes_an_error_of_ours(kind: str) -> None:
    whole = ARCHIVES[kind]()
    assert read(kind, io.BytesIO(whole)) == DATA
    refused = 0
    for at in range(40, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        try:
            read(kind, io.BytesIO(damaged))
        except FormatError:
            refused += 1
    assert refused


class Failing(io.BytesIO):
    """A file on a disk that fails once it is told to."""

    fails = False

    def read(self, size: int | None = -1, /) -> bytes:
        if self.fails:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


@pytest.mark.parametrize("kind", ["7z bzip2", "7z zstd", "7z ppmd"])
def test_an_error_of_the_disk_stays_one(kind: str) -> None:
    source = Failing(ARCHIVES[kind]())

    def sink(_: ForeignMember) -> Taken:
        source.fails = True
        return Taken()

    with pytest.raises(OSError, match="Input/output"):
        ForeignArchive(source).read(sink)


def test_a_ppmd_stream_that_ends_early_does_not_end_the_process() -> None:
    damaged = bytearray(seven("PPMD", order=6, mem=24))
    damaged[37], damaged[64] = 0o200, 0
    with pytest.raises(MalformedError):
        read("7z", io.BytesIO(damaged))


class Asked(io.BytesIO):
    """A file that remembers the most bytes that it was asked for at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.most = max(self.most, len(self.getbuffer()) if size is None or size < 0 else size)
        return super().read(size)


@pytest.mark.parametrize("kind", ["7z zstd", "7z bzip2", "zip bzip2", "zip lzma"])
def test_a_decoder_gets_little_at_once(kind: str) -> None:
    # What it makes of that is in memory all at once: of 1 MiB of zstd 32 GiB.
    data = random.Random(1).randbytes(300_000)
    if kind.startswith("7z"):
        source = Asked(seven("ZSTD", data, level=3) if kind == "7z zstd" else seven("BZIP2", data))
    else:
        source = Asked()
        with zipfile.ZipFile(source, "w", zipfile.ZIP_BZIP2 if kind == "zip bzip2" else zipfile.ZIP_LZMA) as archive:
            archive.writestr("a", data)
    archive_read = OPENERS[kind.split(" ", maxsplit=1)[0]](source)
    source.most = 0
    taken = Taken()
    archive_read.read(lambda _: taken)
    assert taken.data == data
    assert source.most <= 4096


def test_a_zip_s_lzma_dictionary_is_bounded_before_it_is_made() -> None:
    harmful = bytearray(zipped(zipfile.ZIP_LZMA))
    at = 30 + len("a") + 5
    harmful[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(TooLargeError, match="LZMA asks for 4095 MiB"):
        read("zip", io.BytesIO(harmful))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_a_zip_of_zeros_is_unpacked_a_little_at_a_time(method: int) -> None:
    size = 96 << 20
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive, archive.open("a", "w") as member:
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    opened = ForeignZip(packed)
    counted = Counting()
    tracemalloc.start()
    try:
        opened.read(lambda _: counted)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counted.count == size
    assert most < 24 << 20


class Counting:
    """A sink that only counts."""

    def __init__(self) -> None:
        self.count = 0

    def write(self, data: bytes, /) -> None:
        """See `Sink`."""
        self.count += len(data)

    def close(self) -> None:
        """See `Sink`."""


@pytest.mark.parametrize(("method", "name"), [(93, "Zstandard"), (9, "Deflate64"), (1, "method 1")])
def test_a_method_of_zip_that_is_not_read_is_refused_by_name_whatever_the_python(
    method: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python 3.14 reads Zstandard in ZIP, and unpacks all that it reads at once.
    monkeypatch.setattr(zipfile, "_check_compression", lambda _method: None)
    packed = bytearray(zipped(zipfile.ZIP_STORED))
    packed[8:10] = struct.pack("<H", method)
    directory = packed.rindex(b"PK\x01\x02")
    packed[directory + 10 : directory + 12] = struct.pack("<H", method)
    with pytest.raises(UnexpectedError, match=f"packed in a way that is not read: {name}"):
        read("zip", io.BytesIO(packed))


@pytest.mark.parametrize("harm", [(2, 4), (4, 225)])
def test_damaged_properties_of_a_zip_s_lzma_are_called_damage(harm: tuple[int, int]) -> None:
    at, byte = harm
    harmful = bytearray(zipped(zipfile.ZIP_LZMA))
    harmful[30 + len("a") + at] = byte
    with pytest.raises(MalformedError, match="LZMA properties"):
        read("zip", io.BytesIO(harmful))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_content_of_a_zip_without_its_checksum_is_refused(method: int) -> None:
    packed = bytearray(zipped(method))
    directory = packed.rindex(b"PK\x01\x02")
    packed[directory + 16] ^= 1
    with pytest.raises(DigestMismatchError, match="CRC-32"):
        read("zip", io.BytesIO(packed))


def test_a_zip_that_asks_for_a_later_reader_is_refused_by_name() -> None:
    later = zipped(zipfile.ZIP_STORED)
    directory = later.rindex(b"PK\x01\x02")
    with pytest.raises(UnexpectedError, match="of a kind that is not read"):
        read("zip", io.BytesIO(later[: directory + 6] + b"\xff\0" + later[directory + 8 :]))


def test_a_zip_that_lost_its_beginning_is_refused() -> None:
    # The directory says that its member begins before the file does.
    with pytest.raises(FormatError):
        read("zip", io.BytesIO(zipped(zipfile.ZIP_DEFLATED)[20:]))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_tar_whose_name_is_larger_than_memory_is_refused_before_it_is_read(kind: bytes) -> None:
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, 17 << 20
    source = Asked(info.tobuf(tarfile.GNU_FORMAT) + bytes(info.size + 1024))
    with pytest.raises(TooLargeError, match="a name or attributes of 17,825,792 bytes"):
        read("tar", source)
    assert source.tell() < 1 << 20
