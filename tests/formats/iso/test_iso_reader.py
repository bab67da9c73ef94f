"""Images of ours and of other tools are read, damaged ones too; bad structures raise nothing but `FormatError`."""

from __future__ import annotations

import errno
import io
import struct
import subprocess
from binascii import crc_hqx
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iso_images import (
    BLOCK,
    PATHS_AND_SIZES,
    VOLUME,
    Scratched,
    SparseOut,
    Zeros,
    folder_of,
    image,
    read_all,
    tree,
)
from pycdlib import PyCdlib
from stock import stock_tool

from formats.errors import FormatError, MalformedError, TooLargeError, UnreadableError
from formats.iso import IsoReader

OURS = image(tree())
BLOCKS = len(OURS) // BLOCK
PRIMARY, JOLIET, ANCHOR, PARTITION = 16, 17, 256, 257
ROOT = 158  # where a volume descriptor says where the root lies


def number(value: int) -> bytes:
    """A number in both byte orders."""
    return struct.pack("<I", value) + struct.pack(">I", value)


def patched(data: bytes, *patches: tuple[int, bytes]) -> bytes:
    """``data`` with bytes replaced at offsets."""
    changed = bytearray(data)
    for offset, piece in patches:
        changed[offset : offset + len(piece)] = piece
    return bytes(changed)


def wiped(*blocks: int) -> bytes:
    """Our image with blocks of zeros."""
    return patched(OURS, *((block * BLOCK, bytes(BLOCK)) for block in blocks))


def root_of(data: bytes, descriptor: int = PRIMARY) -> int:
    """The block of a tree's root folder."""
    return int.from_bytes(data[descriptor * BLOCK + ROOT :][:4], "little")


def record_of(identifier: bytes, data: bytes = OURS, start: int = 0) -> int:
    """The offset of the directory record with this identifier."""
    at = data.index(bytes([len(identifier)]) + identifier, start)
    return at - 32


def mastered(folder: Path, *options: str, tool: str = "xorriso") -> bytes:
    """The image another tool makes of a folder."""
    if tool == "xorriso":
        command = [stock_tool("xorriso"), "-as", "mkisofs"]
    else:  # the package that brings isoinfo
        command = [str(Path(stock_tool("isoinfo")).with_name("genisoimage"))]
    target = folder.parent / "other.iso"
    subprocess.run([*command, "-quiet", "-V", VOLUME, *options, "-o", target, folder], check=True, capture_output=True)
    return target.read_bytes()


@pytest.mark.parametrize(
    ("tool", "options"),
    [
        ("xorriso", ["-R"]),
        ("xorriso", ["-J"]),
        ("xorriso", ["-R", "-J"]),
        ("xorriso", ["-iso-level", "3", "-R", "-J"]),
        ("genisoimage", ["-R"]),
        ("genisoimage", ["-J", "-D"]),  # without -D it leaves out folders below the sixth
        ("genisoimage", ["-r", "-J"]),
        ("genisoimage", ["-R", "-J", "-udf"]),
    ],
)
def test_a_disc_mastered_again_by_another_tool_is_read(tmp_path: Path, tool: str, options: list[str]) -> None:
    written = mastered(folder_of(tree(), tmp_path / "tree"), *options, tool=tool)
    assert read_all(written) == tree()
    with IsoReader(io.BytesIO(written)) as reader:
        assert reader.volume_id == VOLUME


def test_folders_that_genisoimage_moves_because_they_lie_deep_are_found(tmp_path: Path) -> None:
    content = tree({"/".join("abcdefghijkl"[:depth]) + "/file": 10 * depth for depth in range(1, 12)})
    assert read_all(mastered(folder_of(content, tmp_path / "tree"), "-R", tool="genisoimage")) == content


def test_names_continued_beyond_a_record_are_read(tmp_path: Path) -> None:
    content = tree({f"{'n' * 250}{end}": 5 for end in ("", "ä", "12345")})
    assert read_all(mastered(folder_of(content, tmp_path / "tree"), "-R")) == content


def test_links_and_devices_are_passed_over(tmp_path: Path) -> None:
    folder = folder_of({"a": b"1"}, tmp_path / "tree")
    (folder / "link").symlink_to("a")
    assert read_all(mastered(folder, "-R")) == {"a": b"1"}


def test_a_disc_with_neither_extension_gives_its_short_names(tmp_path: Path) -> None:
    folder = folder_of({"data/000001.7z": b"1", "README": b"2"}, tmp_path / "tree")
    assert read_all(mastered(folder, tool="genisoimage")) == {"DATA/000001.7Z": b"1", "README": b"2"}


def test_the_operators_boot_image_is_read() -> None:
    path = Path(__file__).resolve().parents[3] / "fixtures" / "bootable.iso"
    with path.open("rb") as source, IsoReader(source) as reader:
        assert reader.files()


def test_a_file_of_several_extents_is_read_across_them(tmp_path: Path) -> None:
    size = (9 << 30) + 5
    with (tmp_path / "large.iso").open("w+b") as out:
        maker = PyCdlib()
        maker.new(interchange_level=3, rock_ridge="1.09", udf="2.60")
        source = cast(BinaryIO, SeekableZeros(size))
        maker.add_fp(source, size, "/LARGE.;1", rr_name="large", udf_path="/large", file_mode=0o100444)
        maker.write_fp(cast(BinaryIO, SparseOut(out)), blocksize=1 << 20)
        maker.close()
        for scratch in ((), (PRIMARY,)):  # by ISO 9660, then by UDF
            for block in scratch:
                out.seek(block * BLOCK)
                out.write(bytes(BLOCK))
            with IsoReader(out) as reader:
                assert reader.files() == [("large", size)]
                stream = reader.open("large")
                assert stream.read(6) == b"\xa5" * 4 + b"\0\0"
                for edge in (0xFFFFF800, 2 * 0xFFFFF800, 0x3FFFF800):
                    assert stream.seek(edge - 3) == edge - 3
                    assert stream.read(6) == bytes(6)
                assert stream.seek(-6, io.SEEK_END) == size - 6
                assert stream.read() == b"\0\0" + b"\xa5" * 4
                assert stream.read(1) == b""


class SeekableZeros(Zeros):
    """A source of the kind that pycdlib takes."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        assert (offset, whence) == (0, io.SEEK_SET)
        return 0


def test_a_stream_seeks_and_tells_as_files_do() -> None:
    with IsoReader(io.BytesIO(OURS)) as reader:
        data = tree()["data/archives/000001.7z"]
        stream = reader.open("data/archives/000001.7z")
        assert stream.seekable()
        assert stream.readable()
        assert (stream.read(10), stream.tell()) == (data[:10], 10)
        assert stream.seek(5, io.SEEK_CUR) == 15
        assert stream.read(2047) == data[15:2062]
        assert stream.seek(-3, io.SEEK_END) == len(data) - 3
        assert stream.read() == data[-3:]
        assert stream.seek(10**12) == 10**12
        assert stream.read(5) == b""
        with pytest.raises(ValueError, match="seek"):
            stream.seek(-1)
        stream.seek(0)
        buffer = bytearray(100)
        assert cast(io.BufferedIOBase, stream).readinto(buffer) == 100
        assert buffer == data[:100]
        stream.close()
        with pytest.raises(ValueError, match="closed"):
            stream.read()


def test_streams_of_one_reader_are_read_by_threads() -> None:
    with IsoReader(io.BytesIO(OURS)) as reader, ThreadPoolExecutor(4) as pool:

        def slowly(path: str) -> bytes:
            stream = reader.open(path)
            return b"".join(iter(lambda: stream.read(101), b""))

        paths = list(tree()) * 3
        assert list(pool.map(slowly, paths)) == [tree()[path] for path in paths]


def test_the_source_stays_the_callers_and_streams_end_with_the_reader() -> None:
    source = io.BytesIO(OURS)
    with IsoReader(source) as reader:
        stream = reader.open("bagit.txt")
    assert not source.closed
    with pytest.raises(ValueError, match="closed"):
        stream.read()
    with pytest.raises(KeyError), IsoReader(source) as reader:
        reader.open("no such file")


@pytest.mark.parametrize(
    "lost", [[PRIMARY], [JOLIET], [PRIMARY, JOLIET], [18, 19, 20, 21], list(range(16, 32)), [ANCHOR]]
)
def test_a_scratch_over_the_volume_descriptors_leaves_a_tree_to_read_by(lost: list[int]) -> None:
    for medium in (io.BytesIO(wiped(*lost)), Scratched(OURS, lost)):
        with IsoReader(medium) as reader:
            assert reader.volume_id == VOLUME
            assert dict(reader.files()) == PATHS_AND_SIZES


@pytest.mark.parametrize("lost", [[32, 33, 34, 35, 36, 37], [ANCHOR], [BLOCKS - 1]])
def test_udf_stands_by_its_reserve(lost: list[int]) -> None:
    assert read_all(wiped(PRIMARY, JOLIET, *lost)) == tree()


@pytest.mark.parametrize("descriptor", [PRIMARY, JOLIET])
def test_a_scratch_over_the_folders_of_one_tree_leaves_the_others(descriptor: int) -> None:
    folder = root_of(OURS, descriptor)
    assert read_all(wiped(folder)) == tree()
    assert read_all(wiped(folder + 1)) == tree()
    with IsoReader(Scratched(OURS, [folder])) as reader:
        assert dict(reader.files()) == PATHS_AND_SIZES


def test_a_disc_without_any_tree_is_unreadable_or_malformed() -> None:
    lost = [root_of(OURS), root_of(OURS, JOLIET), PARTITION]
    with pytest.raises(UnreadableError):
        IsoReader(Scratched(OURS, lost))
    with pytest.raises(MalformedError):
        IsoReader(io.BytesIO(wiped(*lost)))


def test_a_bad_sector_in_a_file_is_an_error_of_that_place_only() -> None:
    data = tree()["data/archives/000001.7z"]
    with IsoReader(io.BytesIO(OURS)) as reader:
        assert reader.open("data/archives/000001.7z").read() == data
    start = OURS.index(data[:64]) // BLOCK
    with IsoReader(Scratched(OURS, [start + 10])) as reader:
        stream = reader.open("data/archives/000001.7z")
        assert stream.read(10 * BLOCK) == data[: 10 * BLOCK]
        with pytest.raises(OSError, match="bad sector") as caught:
            stream.read(BLOCK)
        assert caught.value.errno == errno.EIO
        assert stream.tell() == 10 * BLOCK
        stream.seek(11 * BLOCK)
        assert stream.read() == data[11 * BLOCK :]
        assert reader.open("bagit.txt").read() == tree()["bagit.txt"]


def test_a_disc_cut_short_gives_what_is_left_and_an_error_for_the_rest() -> None:
    data = tree()["data/archives/000001.7z"]
    at = OURS.index(data[:64])
    with IsoReader(io.BytesIO(OURS[: at + 5000])) as reader:
        assert dict(reader.files()) == PATHS_AND_SIZES
        assert reader.open("bagit.txt").read() == tree()["bagit.txt"]
        stream = reader.open("data/archives/000001.7z")
        assert stream.read(5000) == data[:5000]
        with pytest.raises(OSError, match="ends"):
            stream.read(1)


@pytest.mark.parametrize("length", [0, 1, 32768, 32769, 34816, 36864, 100_000, 527_000, 530_000, 600_000])
def test_a_disc_cut_in_its_structures_is_refused_or_read(length: int) -> None:
    try:
        with IsoReader(io.BytesIO(OURS[:length])) as reader:
            assert dict(reader.files()) == PATHS_AND_SIZES
    except FormatError:
        assert length < root_of(OURS, JOLIET) * BLOCK + 20 * BLOCK


@pytest.mark.parametrize("blank", [b"", bytes(1 << 20), b"\xff" * (1 << 20), bytes(range(256)) * 4096])
def test_what_is_no_image_is_refused(blank: bytes) -> None:
    with pytest.raises(FormatError):
        IsoReader(io.BytesIO(blank))


@settings(max_examples=150)
@given(st.binary(max_size=4096), st.sampled_from([b"\1CD001\1", b"\2CD001\1", b"\0BEA01\1"]))
def test_garbage_behind_the_right_beginning_is_refused(garbage: bytes, magic: bytes) -> None:
    with pytest.raises(FormatError):
        IsoReader(io.BytesIO(bytes(16 * BLOCK) + magic + garbage + bytes(300 * BLOCK)))


def read_or_refuse(data: bytes) -> None:
    """Open, list and read everything; only what the contract names may be raised."""
    try:
        reader = IsoReader(io.BytesIO(data))
    except FormatError:
        return
    with reader:
        for path, size in reader.files():
            assert not path.startswith("/")
            assert ".." not in path.split("/")
            try:
                assert len(reader.open(path).read(70_000)) == min(size, 70_000)
            except OSError:
                continue


SPOTS = st.sampled_from([*range(16, 22), *range(32, 38), 64, *range(256, BLOCKS)]).flatmap(
    lambda block: st.integers(0, 300).map(lambda inside: block * BLOCK + inside)
)


@settings(max_examples=400)
@given(st.lists(st.tuples(SPOTS, st.binary(min_size=1, max_size=4)), min_size=1, max_size=6), st.booleans())
def test_random_damage_of_the_structures_is_refused_or_harmless(spots: list[tuple[int, bytes]], alone: bool) -> None:
    base = OURS if not alone else wiped(JOLIET, ANCHOR, BLOCKS - 1)
    read_or_refuse(patched(base, *((at, piece) for at, piece in spots if at + len(piece) <= len(base))))


@settings(max_examples=200)
@given(st.lists(st.tuples(SPOTS, st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_random_damage_of_udf_alone_is_refused_or_harmless(spots: list[tuple[int, bytes]]) -> None:
    base = wiped(PRIMARY, JOLIET)
    read_or_refuse(patched(base, *((at, piece) for at, piece in spots if at + len(piece) <= len(base))))


def only_rock_ridge(*patches: tuple[int, bytes]) -> bytes:
    return patched(wiped(JOLIET, *range(32, 64)), *patches)


def test_a_folder_that_holds_itself_is_refused() -> None:
    at = record_of(b"ARCHIVES")
    loop = only_rock_ridge((at + 2, number(root_of(OURS))))
    with pytest.raises(MalformedError, match="twice"):
        IsoReader(io.BytesIO(loop))


def test_a_folder_of_gigabytes_is_refused_unread() -> None:
    at = record_of(b"ARCHIVES")
    with pytest.raises(TooLargeError):
        IsoReader(io.BytesIO(only_rock_ridge((at + 10, number(0xFFFFF800)))))


def test_a_record_continued_into_itself_is_refused() -> None:
    use = OURS.index(b"PX", record_of(b"DATA"))
    free = BLOCKS - 2
    endless = b"CE\x1c\x01" + number(free) + number(0) + number(28)
    filler = b"ZZ\x08\x01" + bytes(4)
    with pytest.raises(TooLargeError, match="continued"):
        IsoReader(io.BytesIO(only_rock_ridge((use, endless + filler), (free * BLOCK, endless))))


NAME = OURS.index(b"NM\x10\x01\0RESTORE.txt")


@pytest.mark.parametrize(
    "patch",
    [
        (NAME + 5, b"../../x.txt"),
        (NAME + 5, b"/etc/passwd"),
        (NAME + 5, b"RESTORE/txt"),
        (NAME + 5, b"RESTO\0E.txt"),
        (NAME + 5, b"\xff\xfeSTORE.tx"),
        (NAME + 2, b"\x07\x01\0..ZZ\x09\x01" + bytes(5)),  # ".."
        (NAME + 2, b"\x05\x01\0ZZ\x0b\x01" + bytes(7)),  # empty
        (NAME + 5, b"bagit.txt\0\0"),
        (NAME + 2, b"\x03"),
    ],
)
def test_names_that_climb_out_or_cannot_be_are_refused(patch: tuple[int, bytes]) -> None:
    with pytest.raises(MalformedError):
        IsoReader(io.BytesIO(only_rock_ridge(patch)))


def test_two_files_of_one_path_are_refused() -> None:
    manifest = OURS.index(b"NM\x18\x01\0manifest-sha256.txt")
    patch = (manifest, OURS[NAME : NAME + 16] + b"ZZ\x08\x01" + bytes(4))
    with pytest.raises(MalformedError, match="two files"):
        IsoReader(io.BytesIO(only_rock_ridge(patch)))


def test_numbers_that_differ_in_their_byte_orders_are_not_believed() -> None:
    at = record_of(b"RESTORE.TXT;1")
    with pytest.raises(MalformedError, match="two byte orders"):
        IsoReader(io.BytesIO(only_rock_ridge((at + 2, b"\x01"))))
    assert read_all(patched(OURS, (at + 2, b"\x01"))) == tree()  # by Joliet


def retagged(data: bytes, block: int, change: Callable[[bytearray], None]) -> bytes:
    """An image with a UDF descriptor changed and its CRC and checksum made right."""
    descriptor = bytearray(data[block * BLOCK : (block + 1) * BLOCK])
    change(descriptor)
    length = struct.unpack_from("<H", descriptor, 10)[0]
    struct.pack_into("<H", descriptor, 8, crc_hqx(bytes(descriptor[16 : 16 + length]), 0))
    descriptor[4] = 0
    descriptor[4] = sum(descriptor[:16]) & 0xFF
    return patched(data, (block * BLOCK, bytes(descriptor)))


def udf_entries() -> list[int]:
    """The blocks of the UDF entries of files."""
    blocks = range(PARTITION + 2, root_of(OURS))
    return [b for b in blocks if OURS[b * BLOCK :][:2] == b"\x05\x01" and OURS[b * BLOCK + 27] == 5]


def test_a_udf_file_that_stands_in_its_own_entry_is_read() -> None:
    def inline(entry: bytearray) -> None:
        entry[34] = entry[34] & ~7 | 3
        struct.pack_into("<Q", entry, 56, 5)
        struct.pack_into("<I", entry, 172, 5)
        entry[176:181] = b"hello"
        struct.pack_into("<H", entry, 10, 165)

    assert b"hello" in read_all(retagged(wiped(PRIMARY, JOLIET), udf_entries()[0], inline)).values()


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (56, b"\xff" * 8),  # a size its extents do not have
        (168, b"\xff" * 4),  # longer than its block
        (176, b"\x00\x00\x00\x40"),  # an extent that is allocated but not recorded
        (180, b"\xff\xff\xff\x00"),  # an extent outside the partition
        (34, b"\x34"),  # addresses of an unknown kind
    ],
)
def test_udf_entries_that_cannot_be_are_refused(offset: int, value: bytes) -> None:
    def change(entry: bytearray) -> None:
        entry[offset : offset + len(value)] = value

    with pytest.raises(MalformedError):
        IsoReader(io.BytesIO(retagged(wiped(PRIMARY, JOLIET), udf_entries()[-1], change)))


def test_a_udf_folder_that_holds_itself_is_refused() -> None:
    data = wiped(PRIMARY, JOLIET)
    root = PARTITION + 2

    def loop(names: bytearray) -> None:
        at = names.index(b"\x08data") - 38
        struct.pack_into("<I", names, at + 24, 2)
        struct.pack_into(
            "<H", names, at + 8, crc_hqx(bytes(names[at + 16 :][: struct.unpack_from("<H", names, at + 10)[0]]), 0)
        )
        names[at + 4] = 0
        names[at + 4] = sum(names[at : at + 16]) & 0xFF

    folder = bytearray(data[(root + 1) * BLOCK : (root + 2) * BLOCK])
    loop(folder)
    with pytest.raises(MalformedError, match="twice"):
        IsoReader(io.BytesIO(patched(data, ((root + 1) * BLOCK, bytes(folder)))))


def test_long_udf_entries_are_read() -> None:
    out = io.BytesIO()
    maker = PyCdlib()
    maker.new(interchange_level=3, udf="2.60", vol_ident=VOLUME)
    maker.add_directory("/DATA", udf_path="/data", creation_time=1.0)
    maker.add_fp(io.BytesIO(b"content"), 7, "/DATA/A.;1", udf_path="/data/a", creation_time=1.0)
    maker.write_fp(out)
    maker.close()
    assert b"\x0a\x01" in {out.getvalue()[at : at + 2] for at in range(0, len(out.getvalue()), BLOCK)}
    assert read_all(out.getvalue()) == {"data/a": b"content"}


@pytest.mark.parametrize("base", [OURS, wiped(PRIMARY), wiped(PRIMARY, JOLIET)], ids=["rock ridge", "joliet", "udf"])
@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_ENTRIES", 12), ("MAX_STRUCTURE", 500), ("MAX_DEPTH", 5), ("MAX_PATH", 40)]
)
def test_no_tree_is_read_beyond_the_limits(
    monkeypatch: pytest.MonkeyPatch, base: bytes, limit: str, value: int
) -> None:
    monkeypatch.setattr(f"formats.iso.disc.{limit}", value)
    with pytest.raises((TooLargeError, MalformedError)):
        IsoReader(io.BytesIO(base))
