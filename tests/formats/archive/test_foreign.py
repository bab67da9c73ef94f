"""Archives of other tools: every method is read to the byte, and what lies or asks for too much is refused."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import random
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stock import stock_tool

from formats.archive.foreign_7z import ForeignArchive
from formats.archive.foreign_member import ForeignMember, Kind
from formats.archive.foreign_tar import ForeignTar
from formats.archive.foreign_write import Parts, write_7z
from formats.archive.foreign_zip import ForeignZip
from formats.errors import (
    DigestMismatchError,
    FormatError,
    IllegalNameError,
    MalformedError,
    NotForUsError,
    TooLargeError,
    UnexpectedError,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "archives"
FILES = {
    "a.bin": random.Random(1).randbytes(70_000),
    "empty": b"",
    "sub/deep/x": b"x",
    "text": b"hello world\n" * 9_000,
    "naïve ü": b"not ASCII",
}
Archive = ForeignArchive | ForeignZip | ForeignTar
METHODS = {
    "lzma": ["-m0=lzma"],
    "lzma2": ["-m0=lzma2"],
    "ppmd": ["-m0=ppmd"],
    "bzip2": ["-m0=bzip2"],
    "deflate": ["-m0=deflate"],
    "deflate64": ["-m0=deflate64"],
    "copy": ["-m0=copy"],
    "bcj": ["-m0=bcj", "-m1=lzma"],
    "delta": ["-m0=delta:4", "-m1=lzma2"],
    "not solid": ["-ms=off"],
    "plain header": ["-mhc=off"],
    "encrypted": ["-psecret"],
    "encrypted header": ["-psecret", "-mhe=on"],
}


class Kept(io.BytesIO):
    """A sink whose bytes are kept under the member's path once it is closed."""

    def __init__(self, member: ForeignMember, into: dict[str, bytes]) -> None:
        super().__init__()
        self._member, self._into = member, into

    def close(self) -> None:
        self._into[self._member.path] = self.getvalue()
        super().close()


def read(archive: Archive) -> tuple[dict[str, ForeignMember], dict[str, bytes]]:
    found: dict[str, bytes] = {}
    members = archive.read(partial(Kept, into=found))
    return {member.path: member for member in members}, found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name, data in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "link").symlink_to("sub/deep/x")
    (root / "bare").mkdir()
    (root / "text").chmod(0o600)
    return root


def packed(tree: Path, name: str, *options: str) -> Path:
    path = tree.parent / name
    if not path.exists():
        command = [stock_tool("7z"), "a", "-bd", "-snl", *options, str(path), "."]
        subprocess.run(command, cwd=tree, check=True, stdout=subprocess.DEVNULL)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_an_archive_of_7_zip_is_read_whatever_its_method(tree: Path, method: str) -> None:
    path = packed(tree, f"{method}.7z", *METHODS[method])
    with path.open("rb") as source:
        members, found = read(ForeignArchive(source, password=lambda: "secret"))
    assert found == FILES
    assert members["bare"].kind is Kind.FOLDER
    assert (members["link"].kind, members["link"].target) == (Kind.LINK, "sub/deep/x")
    assert members["text"].mode == 0o600
    before = (tree / "text").stat().st_mtime_ns
    assert abs((members["text"].mtime_ns or 0) - before) < 1000


@pytest.mark.parametrize("method", ["encrypted", "encrypted header"])
@pytest.mark.parametrize("password", [None, lambda: "wrong"])
def test_a_wrong_password_is_called_so(tree: Path, method: str, password: Callable[[], str] | None) -> None:
    path = packed(tree, f"{method}.7z", *METHODS[method])
    with path.open("rb") as source, pytest.raises(NotForUsError, match="password"):
        read(ForeignArchive(source, password=password))


def test_a_password_is_asked_only_where_one_is_needed(tree: Path) -> None:
    def never() -> str:
        raise AssertionError

    with packed(tree, "lzma2.7z", "-m0=lzma2").open("rb") as source:
        assert not ForeignArchive(source, password=never).is_encrypted


def test_bcj2_is_refused_by_name(tree: Path) -> None:
    options = ["-m0=bcj2", "-m1=lzma", "-m2=lzma", "-m3=lzma", "-mb0:1", "-mb0s1:2", "-mb0s2:3"]
    with packed(tree, "bcj2.7z", *options).open("rb") as source, pytest.raises(UnexpectedError, match="BCJ2"):
        ForeignArchive(source)


def test_a_dictionary_of_more_than_the_limit_is_refused_before_it_is_made(tree: Path) -> None:
    data = bytearray(packed(tree, "plain lzma2.7z", "-m0=lzma2", "-mhc=off").read_bytes())
    offset, length = struct.unpack_from("<QQ", data, 12)
    header = 32 + offset
    at = data.index(b"\x21\x21\x01", header)  # one coder with properties, LZMA2, one byte of properties
    data[at + 3] = 40
    data[28:32] = struct.pack("<I", zlib.crc32(data[header : header + length]))
    data[8:12] = struct.pack("<I", zlib.crc32(data[12:32]))
    with pytest.raises(TooLargeError, match="LZMA2 asks for 4095 MiB"):
        ForeignArchive(io.BytesIO(data))


@pytest.mark.parametrize("folder", sorted(path.name for path in VECTORS.iterdir() if path.is_dir()))
def test_archives_made_to_harm_are_read_or_refused(folder: str) -> None:
    """Names that leave the folder, bombs and lies: what is refused by us is our error, and never another one."""
    for path in sorted((VECTORS / folder).iterdir()):
        with path.open("rb") as source:
            try:
                read(ForeignArchive(source))
            except FormatError:
                continue


@pytest.mark.parametrize("name", ["../up", "/etc", "a/../../b", "a//b", "nul\0"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_no_package_takes_is_refused(name: str, kind: str) -> None:
    import tarfile

    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            info = zipfile.ZipInfo("x" * len(name))
            archive.writestr(info, b"data")
        raw = out.getvalue().replace(b"x" * len(name), name.encode())
        out = io.BytesIO(raw)
    else:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            entry = tarfile.TarInfo(name)
            entry.size = 4
            tar.addfile(entry, io.BytesIO(b"data"))
    with pytest.raises((IllegalNameError, MalformedError)) as refused:
        members, _ = read(ForeignZip(out) if kind == "zip" else ForeignTar(out))
        if "\0" in name:  # both libraries cut a name at its NUL, as C does
            assert "nul" in members
            raise MalformedError("cut")
    assert refused.value


def test_a_zip_is_read_with_its_times_modes_and_links(tree: Path) -> None:
    path = tree.parent / "stock.zip"
    command = [stock_tool("zip"), "-qry", str(path), "."]
    subprocess.run(command, cwd=tree, check=True)
    with path.open("rb") as source:
        members, found = read(ForeignZip(source))
    assert found == FILES
    assert members["link"].target == "sub/deep/x"
    assert members["text"].mode == 0o600
    assert members["text"].mtime_ns == (tree / "text").stat().st_mtime_ns // 10**9 * 10**9


@pytest.mark.parametrize("suffix", ["", "z", "J", "j", "zstd"])
def test_a_tar_is_read_however_it_is_packed(tree: Path, suffix: str) -> None:
    path = tree.parent / f"stock-{suffix}.tar"
    how = "--zstd" if suffix == "zstd" else f"-{suffix}" if suffix else "--format=pax"
    subprocess.run([stock_tool("tar"), "-c", how, "-f", str(path), "-C", str(tree), "."], check=True)
    with path.open("rb") as source:
        members, found = read(ForeignTar(source))
    assert found == FILES
    assert members["link"].target == "sub/deep/x"
    assert members["bare"].kind is Kind.FOLDER


def test_a_tar_that_needs_too_much_memory_to_unpack_is_refused() -> None:
    content = bytes(10_240)
    long_window = subprocess.run(
        [stock_tool("zstd"), "-q", "-c", "--long=28", "-19"], input=content, check=True, capture_output=True
    ).stdout
    large_dictionary = lzma.compress(content, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}])
    for data in (long_window, large_dictionary):
        with pytest.raises(TooLargeError, match="more memory than is allowed"):
            read(ForeignTar(io.BytesIO(data)))


@pytest.mark.parametrize("end", [-1, 40])
def test_a_cut_or_damaged_tar_packed_by_zstd_is_refused(tree: Path, end: int) -> None:
    path = tree.parent / "whole.tar.zst"
    subprocess.run([stock_tool("tar"), "-c", "--zstd", "-f", str(path), "-C", str(tree), "."], check=True)
    whole = path.read_bytes()
    for bad in (whole[:end], whole[:40] + bytes(40) + whole[80:]):
        with pytest.raises(MalformedError):
            read(ForeignTar(io.BytesIO(bad)))


def test_a_hard_link_in_a_tar_names_the_file_before_it(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "one").write_bytes(b"same")
    (tmp_path / "t" / "two").hardlink_to(tmp_path / "t" / "one")
    subprocess.run(
        [stock_tool("tar"), "-cf", str(tmp_path / "t.tar"), "-C", str(tmp_path / "t"), "one", "two"], check=True
    )
    with (tmp_path / "t.tar").open("rb") as source:
        members, found = read(ForeignTar(source))
    assert found == {"one": b"same"}
    assert (members["two"].kind, members["two"].target) == (Kind.SAME, "one")


@pytest.fixture(scope="module")
def samples(tree: Path) -> list[tuple[type[Archive], bytes]]:
    import tarfile

    small = io.BytesIO()
    with tarfile.open(fileobj=small, mode="w:gz") as tar:
        tar.add(tree / "empty", "empty")
        tar.add(tree / "naïve ü", "n")
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", FILES["text"][:2000])
        archive.writestr("b", b"")
    seven = [packed(tree, f"{name}.7z", *METHODS[name]).read_bytes() for name in ("lzma2", "plain header", "ppmd")]
    return [(ForeignTar, small.getvalue()), (ForeignZip, zipped.getvalue()), *((ForeignArchive, one) for one in seven)]


@given(which=st.integers(0, 4), at=st.floats(0, 1), value=st.integers(0, 255), cut=st.floats(0.02, 1))
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_damage_is_refused_with_an_error_of_ours(
    samples: list[tuple[type[Archive], bytes]], which: int, at: float, value: int, cut: float
) -> None:
    make, whole = samples[which]
    damaged = bytearray(whole[: max(1, int(len(whole) * cut))])
    damaged[int(at * (len(damaged) - 1))] = value
    with contextlib.suppress(FormatError):
        read(make(io.BytesIO(damaged)))


@pytest.mark.parametrize("level", [None, 1])
@pytest.mark.parametrize("limit", [0, 40_000])
def test_what_is_written_is_read_by_7_zip_and_by_us(tree: Path, tmp_path: Path, level: int | None, limit: int) -> None:
    def member(name: str, kind: Kind = Kind.FILE, **more: Any) -> ForeignMember:
        return ForeignMember(
            path=name, kind=kind, size=len(FILES.get(name, b"")), mtime_ns=1_700_000_000_123_456_700, **more
        )

    members: list[tuple[ForeignMember, Callable[[], BinaryIO]]] = [
        (member("bare", Kind.FOLDER, mode=0o750), io.BytesIO),
        *((member(name, mode=0o640), partial(io.BytesIO, data)) for name, data in FILES.items()),
        (member("link", Kind.LINK, mode=0o777, target="sub/deep/x"), io.BytesIO),
    ]

    def open_part(number: int) -> BinaryIO:
        return (tmp_path / (f"out.7z.{number:03d}" if limit else "out.7z")).open("w+b")

    with Parts(open_part, limit) as parts:
        write_7z(parts, members, level=level)
    first = tmp_path / ("out.7z.001" if limit else "out.7z")
    assert parts.count == 1 if not limit else parts.count > 1
    subprocess.run([stock_tool("7z"), "t", str(first)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([stock_tool("7z"), "x", f"-o{tmp_path / 'x'}", str(first)], check=True, stdout=subprocess.DEVNULL)
    assert {name: (tmp_path / "x" / name).read_bytes() for name in FILES} == FILES
    assert (tmp_path / "x" / "text").stat().st_mtime_ns == 1_700_000_000_123_456_700
    assert (tmp_path / "x" / "bare").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "x" / "link").readlink() == Path("sub/deep/x")
    if not limit:
        with first.open("rb") as source:
            again, found = read(ForeignArchive(source))
        assert (found, [again[m.path] for m, _ in members]) == (FILES, [m for m, _ in members])


def test_the_same_members_make_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        with Parts(lambda _, name=name: (tmp_path / name).open("w+b"), 0) as parts:  # type: ignore[misc]
            member = ForeignMember(path="x", kind=Kind.FILE, size=5, mtime_ns=0, mode=None)
            write_7z(parts, [(member, lambda: io.BytesIO(b"hello"))], level=1)
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]


def test_content_that_is_shorter_than_listed_is_an_error(tmp_path: Path) -> None:
    member = ForeignMember(path="x", kind=Kind.FILE, size=6, mtime_ns=0, mode=None)
    with Parts(lambda _: (tmp_path / "out").open("w+b"), 0) as parts, pytest.raises(DigestMismatchError):
        write_7z(parts, [(member, lambda: io.BytesIO(b"hello"))], level=None)


def _tar(*names: str, **details: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = 512, dict(details)
            archive.addfile(info, io.BytesIO(name.encode() * 512))
    return out.getvalue()


def _members(data: bytes) -> list[ForeignMember]:
    return ForeignTar(io.BytesIO(data)).read(lambda _: _Dropped())


class _Dropped:
    def write(self, data: bytes, /) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("end", [2048, 2148, 3072], ids=["between members", "inside a header", "without the end mark"])
def test_a_tar_that_is_cut_short_does_not_pass_for_a_smaller_one(end: int) -> None:
    whole = _tar("a", "b", "c")
    assert [member.path for member in _members(whole)] == ["a", "b", "c"]
    with pytest.raises(MalformedError, match="cut short"):
        _members(whole[:end])


@pytest.mark.parametrize("byte", [1024, 1100, 1172])
def test_a_damaged_header_of_a_tar_is_not_its_end(byte: int) -> None:
    data = bytearray(_tar("a", "b", "c"))
    data[byte] ^= 1
    with pytest.raises(MalformedError, match="damaged"):
        _members(bytes(data))


@pytest.mark.parametrize("harm", [lambda data: data[:-8] + bytes(8), lambda data: data[:-6]], ids=["other", "cut"])
def test_the_checksum_at_the_end_of_a_gzip_stream_counts(harm: Callable[[bytes], bytes]) -> None:
    packed = gzip.compress(_tar("a", "b"))
    assert len(_members(packed)) == 2
    with pytest.raises(MalformedError):
        _members(harm(packed))


@pytest.mark.parametrize(
    ("time", "mtime_ns"), [("-1.5", -1_500_000_000), ("-0.5", -500_000_000), ("1.25", 1_250_000_000)]
)
def test_a_time_before_1970_is_kept(time: str, mtime_ns: int) -> None:
    assert _members(_tar("a", mtime=time))[0].mtime_ns == mtime_ns


@pytest.mark.parametrize("time", ["nan", "1e400", "1e999999999", "inf", "x"])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    with pytest.raises(MalformedError):
        _members(_tar("a", mtime=time))


def test_a_sparse_member_of_any_declared_size_is_refused_before_it_is_read() -> None:
    details = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "a"}
    size = str(1 << 50)
    sparse = {**details, "GNU.sparse.size": size, "GNU.sparse.realsize": size, "GNU.sparse.map": "0,512"}
    with pytest.raises(TooLargeError):
        _members(_tar("a", **sparse))
