"""Labelled tapes: every byte of the labels, every file read back from any reel, and every damage named."""

from __future__ import annotations

import hashlib
import io
import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_drive import MemoryDrive

from formats.errors import (
    DigestMismatchError,
    FormatError,
    IllegalNameError,
    MalformedError,
    NoRoomError,
    TooLargeError,
    UnexpectedError,
    UnknownFormatError,
    UnreadableError,
)
from formats.tape import (
    BLOCK,
    Drive,
    EndOfTapeError,
    IndexEntry,
    LostBytesError,
    TapeFile,
    TapeIndex,
    TapeReader,
    TapeStream,
    VolumeLabel,
    read_volume_label,
    reel_id,
    scan_volume,
    tape_size,
    walk_volume,
    write_volume,
)
from formats.tape.labels import (
    FileLabel,
    check_tape_path,
    file_records,
    find_file_label,
    find_volume_label,
    label_date,
    volume_records,
)
from formats.tape.records import COLUMNS, RECORD, a_characters

LABEL = "HQ1_000042_V003"
MADE = 1_795_512_600_000_000_000  # 2026-11-24T09:30:00Z, day 328
FILES = {
    "bagit.txt": b"BagIt-Version: 1.0\n",
    "courier/packing-list.json": bytes(range(256)) * 5,
    "data/archives/000001.7z": random.Random(1).randbytes(10_000),
    "data/empty": b"",
    "data/whole blocks": b"ab" * 1024,
    "data/archives/000002.7z": random.Random(2).randbytes(3_333),
}


def tape_files(content: dict[str, bytes], *, digests: bool = False) -> list[TapeFile]:
    def opener(data: bytes) -> Callable[[], BinaryIO]:
        return lambda: io.BytesIO(data)

    return [
        TapeFile(
            path=path,
            size=len(data),
            open=opener(data),
            sha256=hashlib.sha256(data).hexdigest() if digests else None,
        )
        for path, data in content.items()
    ]


def write(
    drive: Drive,
    content: dict[str, bytes],
    *,
    block_size: int = 1024,
    next_reel: Callable[[int], Drive] | None = None,
) -> TapeIndex:
    return write_volume(
        drive,
        tape_files(content),
        label=LABEL,
        owner="Headquarters",
        created_ns=MADE,
        block_size=block_size,
        next_reel=next_reel,
    )


def written(content: dict[str, bytes] = FILES, *, block_size: int = 1024) -> MemoryDrive:
    drive = MemoryDrive()
    write(drive, content, block_size=block_size)
    return drive


def salvage(stream: BinaryIO, size: int) -> tuple[bytearray, list[tuple[int, int]]]:
    """The bytes of a file that can be read, with 0xFF in place of the others, and the ranges lost."""
    data = bytearray(b"\xff" * size)
    lost = []
    at = 0
    while at < size:
        try:
            piece = stream.read(700)
            assert piece
        except LostBytesError as error:
            assert error.start >= at, "nothing that is lost has been handed out"
            piece = stream.read(error.start - at)
            data[at : at + len(piece)] = piece
            lost.append((error.start, error.end))
            at = stream.seek(error.end)
            continue
        data[at : at + len(piece)] = piece
        at += len(piece)
    assert stream.read(10) == b""
    return data, lost


def read_all(drive: Drive, **options: object) -> dict[str, bytes]:
    return {path: stream.read(size) for path, size, stream in walk_volume(drive, **options)}  # type: ignore[arg-type]


def runs(tape: Sequence[bytes | None]) -> Iterator[list[bytes]]:
    """The runs of blocks between marks; what follows the last mark does not count."""
    run: list[bytes] = []
    for item in tape:
        if item is None:
            yield run
            run = []
        else:
            run.append(item)


def start_of_run(tape: Sequence[bytes | None], number: int) -> int:
    """The place of the first block of a run."""
    marks = [at for at, item in enumerate(tape) if item is None]
    return marks[number - 1] + 1 if number else 0


# The labels, byte by byte.


def crc(records: Sequence[str]) -> str:
    return f"{zlib.crc32(''.join(records).encode()):08X}"


def test_the_labels_of_a_tape_stand_as_the_standard_and_our_page_say() -> None:
    content = {"data/archives/000001.7z": b"x" * 2500}
    found = [[block.decode("latin-1") for block in run] for run in runs(written(content).tape)]
    vol1 = "VOL1420031" + " " * 14 + "COURIER TAPE1" + "HEADQUARTERS  " + " " * 28 + "4"
    uvl1 = "UVL1CPT1HQ1_000042_V003" + " " * 17 + "0001" + "420031" + "1795512600000000000" + "   "
    assert found[0][:2] == [vol1, uvl1 + crc([vol1, uvl1 + " " * 8])]
    one = "1000001.7Z        420031" + "0001" + "0002" + "0001" + "00" + "026328" + "026328" + " "
    tail = "COURIER TAPE1" + " " * 7
    two = "2F" + "01024" + "00001" + " " * 35 + "00" + " " * 28
    own = (
        "1" + "0000000002" + "0000001024" + "0000000001" + "000000000002500" + "000000000000000" + "D" + "023" + "CPT1"
    )
    path = "data/archives/000001.7z" + " " * 53
    digest = hashlib.sha256(b"x" * 2500).hexdigest()
    header = ["HDR" + one + "000000" + tail, "HDR" + two, "UHL" + own, "UHL2" + path]
    trailer = ["EOF" + one + "000003" + tail, "EOF" + two, "UTL" + own, "UTL2" + digest + "000000000003", "UTL3" + path]
    for number, group in ((3, header), (5, trailer)):
        group[2] += crc([*group[:2], group[2] + " " * 8, *group[3:]])
        assert all(len(record) == RECORD for record in group)
        assert found[number] == group
    assert [len(block) for block in found[4]] == [1024, 1024, 452]


def test_a_tape_is_three_runs_a_file_and_ends_in_two_marks() -> None:
    tape = written().tape
    found = list(runs(tape))
    assert len(found) == 3 * (len(FILES) + 2) + 1
    assert tape[-2:] == [None, None]
    assert b"".join(found[1]) == TapeIndex.parse(b"".join(found[1])).encode()
    for number, data in enumerate(FILES.values(), 1):
        assert b"".join(found[3 * number + 1]) == data
        assert found[3 * number][0].startswith(b"HDR1")
        assert found[3 * number + 2][0].startswith(b"EOF1")


def test_the_columns_fill_each_label_without_a_gap() -> None:
    for columns in COLUMNS.values():
        places = [at for column in columns for at in range(column.first, column.last + 1)]
        assert places == list(range(5, RECORD + 1))


def test_the_page_has_the_columns_of_the_code() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tape.md").read_text("utf-8")
    for name, columns in COLUMNS.items():
        section = next(part for part in page.split("\n### ")[1:] if name in part.partition("\n")[0].split(", "))
        rows = re.findall(r"^\| (\d+)(?:-(\d+))? \| ([a-z0-9 ]+?) \|", section, re.MULTILINE)
        assert [(int(a), int(b or a), c) for a, b, c in rows] == [(c.first, c.last, c.name) for c in columns], name


def test_the_example_of_the_page_is_a_good_label() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tape.md").read_text("utf-8")
    records = re.findall("^(EOF.*|UTL.*)$", page.partition("\n### Example")[2], re.MULTILINE)[:5]
    label = find_file_label([record.replace("·", " ").encode() for record in records])
    assert (label.path, label.size, label.number, label.blocks) == ("data/archives/000001.7z", 1_000_000, 3, 4)


def test_a_block_length_of_six_digits_stands_in_the_user_label_alone() -> None:
    records = file_records(file_label(block_size=BLOCK))
    assert records[1][5:10] == b"00000"
    assert records[2][14:24] == b"0000262144"
    assert find_file_label(records).block_size == BLOCK


@pytest.mark.parametrize(("seconds", "date"), [(0, " 70001"), (951_782_400, "000060"), (4_102_444_799, "099365")])
def test_dates_count_days_and_name_their_century(seconds: int, date: str) -> None:
    assert label_date(seconds * 10**9) == date


@pytest.mark.parametrize("moment", [4_102_444_800 * 10**9, -3_000_000_000 * 10**9, 2**63 - 1, -(2**70)])
def test_a_date_that_labels_cannot_hold_is_refused(moment: int) -> None:
    with pytest.raises(MalformedError):
        label_date(moment)


def test_volume_identifiers_name_parcel_volume_and_reel() -> None:
    assert [reel_id(LABEL, reel) for reel in (1, 9, 10, 35)] == ["420031", "420039", "42003A", "42003Z"]
    assert reel_id("HQ1_123456_V1234", 1) == "562341"
    assert reel_id("SOMETHING", 1)[:5] == reel_id("SOMETHING", 2)[:5] != reel_id("OTHER", 1)[:5]
    with pytest.raises(TooLargeError):
        reel_id(LABEL, 36)


def test_names_come_down_to_the_characters_of_the_standard() -> None:
    assert a_characters("Größe_é Ünits (1)") == "GROSSE E UNITS (1)"


PATHS = (
    st.lists(st.text(st.sampled_from("abcXYZ019 ._+%&-~"), min_size=1, max_size=120), min_size=1, max_size=5)
    .map("/".join)
    .filter(lambda path: len(path) <= 500 and not set(path.split("/")) & {".", ".."})
)


def file_label(**values: object) -> FileLabel:
    usual: dict[str, object] = {
        "kind": "HDR",
        "number": 7,
        "path": "data/archives/000001.7z",
        "size": 10_000,
        "block_size": 1024,
        "set_id": "420031",
        "date": "026328",
    }
    return FileLabel(**(usual | values))  # type: ignore[arg-type]


@st.composite
def file_labels(draw: st.DrawFn) -> FileLabel:
    kind = draw(st.sampled_from(["HDR", "EOF", "EOV"]))
    size = draw(st.integers(0, 10**15 - 1))
    return file_label(
        kind=kind,
        number=draw(st.integers(1, 9999)),
        path=draw(PATHS),
        size=size,
        block_size=draw(st.integers(1, 4 << 20)),
        is_index=draw(st.booleans()),
        section=draw(st.integers(1, 9999)),
        offset=draw(st.integers(0, size)),
        blocks=0 if kind == "HDR" else draw(st.integers(0, 10**12 - 1)),
        sha256="" if kind == "HDR" else draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
    )


@given(file_labels())
def test_file_labels_read_as_they_were_written(label: FileLabel) -> None:
    records = file_records(label)
    assert all(len(record) == RECORD and record.isascii() for record in records)
    assert find_file_label(records) == label
    assert find_file_label([b"VOL1" + b"?" * 76, *records]) == label


@given(
    st.text(st.sampled_from("ABC 019-é"), max_size=14).map(a_characters), st.integers(1, 9999), st.integers(0, 2**62)
)
def test_volume_labels_read_as_they_were_written(owner: str, reel: int, created_ns: int) -> None:
    label = VolumeLabel(volume_id="ABC123", owner=owner, label=LABEL, reel=reel, set_id="XYZ789", created_ns=created_ns)
    assert find_volume_label(volume_records(label)) == label


@given(file_labels(), st.data())
def test_any_garbled_byte_of_a_label_group_is_found(label: FileLabel, data: st.DataObject) -> None:
    records = [
        *volume_records(VolumeLabel(volume_id="A23456", owner="X", label=LABEL, reel=1, set_id="A23456", created_ns=5)),
        *file_records(label),
    ]
    number = data.draw(st.integers(0, len(records) - 1))
    at = data.draw(st.integers(0, RECORD - 1))
    change = data.draw(st.integers(1, 255))
    garbled = bytearray(records[number])
    garbled[at] ^= change
    records[number] = bytes(garbled)
    with pytest.raises(MalformedError):
        if number < 2:
            find_volume_label(records)
        else:
            find_file_label(records)


@given(st.lists(st.binary(max_size=90) | st.binary(min_size=76, max_size=76).map(lambda b: b"HDR1" + b), max_size=6))
def test_no_records_raise_anything_but_our_errors(records: list[bytes]) -> None:
    for find in (find_volume_label, find_file_label):
        with pytest.raises(FormatError):
            find(records)


@given(st.binary(max_size=RECORD * 5), st.sampled_from(["HDR", "EOF"]), st.booleans())
def test_labels_with_a_good_checksum_and_nonsense_fields_are_refused(noise: bytes, kind: str, tail: bool) -> None:
    records = file_records(file_label(kind=kind, sha256="" if kind == "HDR" else "0" * 64))
    body = b"".join(records)
    start = len(body) - len(noise) if tail else 300
    body = (body[: max(0, start)] + noise + body[max(0, start) + len(noise) :])[: len(body)]
    group = [body[at : at + RECORD] for at in range(0, len(body), RECORD)]
    blank = [*group[:2], group[2][:72] + b" " * 8, *group[3:]]
    group[2] = group[2][:72] + f"{zlib.crc32(b''.join(blank)):08X}".encode()
    try:
        label = find_file_label(group)
    except MalformedError:
        return
    assert file_records(label) == group, "what is taken has one form only"


@pytest.mark.parametrize("path", ["", "/abs", "a/../b", "a//b", "ä", "a\n", "x" * 256, "a/" * 300 + "b", "a\x7f"])
def test_paths_that_labels_cannot_hold_are_refused_before_anything_is_written(path: str) -> None:
    with pytest.raises(IllegalNameError):
        check_tape_path(path)
    drive = MemoryDrive()
    with pytest.raises(IllegalNameError):
        write(drive, {path: b""})
    assert not drive.tape


# The index.


def test_both_indexes_list_all_files_and_the_last_has_every_digest() -> None:
    drive = MemoryDrive()
    index = write(drive, FILES)
    found = list(runs(drive.tape))
    first, last = (TapeIndex.parse(b"".join(found[number])) for number in (1, -3))
    assert last == index
    assert [(file.path, file.size, file.blocks) for file in first.files] == [
        (path, len(data), -(-len(data) // 1024)) for path, data in FILES.items()
    ]
    assert {file.sha256 for file in first.files} == {None}
    assert [file.sha256 for file in last.files] == [hashlib.sha256(data).hexdigest() for data in FILES.values()]


def test_digests_that_are_known_stand_in_the_first_index_too() -> None:
    drive = MemoryDrive()
    files = tape_files(FILES, digests=True)
    index = write_volume(drive, files, label=LABEL, owner="", created_ns=MADE)
    assert TapeIndex.parse(b"".join(list(runs(drive.tape))[1])) == index


@given(st.binary(max_size=200))
def test_no_bytes_make_an_index_raise_anything_but_our_errors(data: bytes) -> None:
    with pytest.raises(FormatError):
        TapeIndex.parse(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"number":2', b'"number":3'),
        (b'"blocks":1', b'"blocks":2'),
        (b'"set":"420031"', b'"set":"42003"'),
        (b"bagit.txt", b"../ag.txt"),
        (b"bagit.txt", b"data/empty"),
        (b"courier-tape-index/1", b"courier-tape-index/2"),
        (b"--", b"zz"),
        (b'"size":19', b'"size":-9'),
    ],
)
def test_an_index_with_one_fault_is_refused(old: bytes, new: bytes) -> None:
    data = b"".join(list(runs(written().tape))[1])
    assert old in data
    with pytest.raises(FormatError):
        TapeIndex.parse(data.replace(old, new, 1))


# Writing and reading.

CONTENT = st.dictionaries(PATHS, st.binary(max_size=300) | st.integers(0, 5000).map(lambda n: b"z" * n), max_size=6)


@given(CONTENT, st.sampled_from([1, 7, 80, 100, 512, 4096]))
@settings(max_examples=60)
def test_what_is_written_is_read_and_its_size_was_known(content: dict[str, bytes], block_size: int) -> None:
    drive = written(content, block_size=block_size)
    assert drive.used == tape_size([(path, len(data)) for path, data in content.items()], block_size=block_size)
    assert list(read_all(drive).items()) == list(content.items())


@given(CONTENT, st.integers(2_500, 12_000), st.integers(1, 1_000))
@settings(max_examples=60)
def test_reels_chain_and_each_is_of_use_alone(content: dict[str, bytes], capacity: int, block_size: int) -> None:
    reels: list[MemoryDrive] = []

    def reel(_: int) -> MemoryDrive:
        reels.append(MemoryDrive(capacity=capacity + 6_000, warning=6_000))
        return reels[-1]

    write(reel(1), content, block_size=block_size, next_reel=reel)
    assert read_all(reels[0], next_reel=lambda number: reels[number - 1]) == content
    for number, drive in enumerate(reels, 1):
        found = list(runs(drive.tape))
        assert found[-2][0][:4] == (b"EOF1" if number == len(reels) else b"EOV1")
        label = read_volume_label(drive)
        assert (label.reel, label.volume_id, label.set_id) == (number, reel_id(LABEL, number), "420031")
        assert scan_volume(drive).continues == (number < len(reels))
    held: dict[str, bytearray] = {path: bytearray(b"\xff" * len(data)) for path, data in content.items()}
    for drive in random.Random(0).sample(reels, len(reels)):
        for path, size, stream in walk_volume(drive):
            data, lost = salvage(stream, size)
            at = 0
            for start, end in [*lost, (size, size)]:
                held[path][at:start] = data[at:start]
                at = end
    assert held == content


def test_a_file_larger_than_a_reel_goes_over_three() -> None:
    content = {"a": b"first", "large": random.Random(3).randbytes(50_000), "z": b"last"}
    reels = [MemoryDrive(capacity=28_000, warning=5_000) for _ in range(4)]
    given_out = []

    def next_reel(number: int) -> MemoryDrive:
        given_out.append(number)
        return reels[number - 1]

    write(reels[0], content, next_reel=next_reel)
    assert given_out == [2, 3]
    assert all(drive.rewinds >= 1 for drive in reels[:3])
    assert read_all(reels[0], next_reel=lambda number: reels[number - 1]) == content
    middle = [find_file_label(run) for run in runs(reels[1].tape) if run and run[0][:3] in (b"VOL", b"HDR", b"EOV")]
    assert [(label.kind, label.path, label.section, label.number) for label in middle] == [
        ("HDR", "large", 2, 3),
        ("EOV", "large", 2, 3),
    ]
    assert middle[0].offset % 1024 == 0
    assert (
        middle[1].sha256 == hashlib.sha256(content["large"][: middle[0].offset + middle[1].blocks * 1024]).hexdigest()
    )


def test_a_chain_whose_files_are_not_read_is_passed_all_the_same() -> None:
    content = {f"f{n}": bytes(7000) for n in range(8)}
    reels = [MemoryDrive(capacity=28_000, warning=5_000) for _ in range(9)]
    write(reels[0], content, next_reel=lambda number: reels[number - 1])
    walk = walk_volume(reels[0], next_reel=lambda number: reels[number - 1])
    assert [path for path, _, _ in walk] == list(content)


def test_without_a_next_reel_writing_goes_on_past_the_warning() -> None:
    drive = MemoryDrive(capacity=tape_size([(path, len(data)) for path, data in FILES.items()]), warning=20_000)
    write(drive, FILES)
    assert read_all(drive) == FILES


def test_a_tape_one_byte_too_short_is_no_room() -> None:
    needed = tape_size([(path, len(data)) for path, data in FILES.items()], block_size=1024)
    with pytest.raises(NoRoomError):
        write(MemoryDrive(capacity=needed - 1), FILES)


def test_reels_with_room_for_labels_alone_are_refused_instead_of_going_on_for_ever() -> None:
    with pytest.raises(NoRoomError, match="no room for anything but labels"):
        write(MemoryDrive(capacity=9_000, warning=9_000), FILES, next_reel=lambda _: MemoryDrive())


def test_a_thousand_files() -> None:
    content = {f"data/archives/{n:06d}.7z": b"%d" % n for n in range(1000)}
    drive = written(content)
    assert drive.used == tape_size([(path, len(data)) for path, data in content.items()], block_size=1024)
    assert read_all(drive) == content
    scan = scan_volume(drive)
    assert [entry.path for entry in scan.files] == list(content)
    assert not scan.findings


def test_more_files_than_labels_can_number_are_refused() -> None:
    with pytest.raises(TooLargeError):
        tape_size([(f"{n}", 0) for n in range(9_998)])


@pytest.mark.parametrize(("size", "data"), [(5, b"four"), (3, b"four"), (1, b""), (0, b"x")])
def test_a_source_of_another_size_is_refused(size: int, data: bytes) -> None:
    file = TapeFile(path="a", size=size, open=lambda: io.BytesIO(data))
    with pytest.raises(DigestMismatchError):
        write_volume(MemoryDrive(), [file], label=LABEL, owner="", created_ns=MADE)


def test_a_source_with_another_digest_is_refused() -> None:
    file = TapeFile(path="a", size=4, open=lambda: io.BytesIO(b"four"), sha256=hashlib.sha256(b"five").hexdigest())
    with pytest.raises(DigestMismatchError):
        write_volume(MemoryDrive(), [file], label=LABEL, owner="", created_ns=MADE)


def test_two_files_of_one_path_are_refused() -> None:
    with pytest.raises(MalformedError):
        write_volume(MemoryDrive(), tape_files({"a": b""}) * 2, label=LABEL, owner="", created_ns=MADE)


def test_a_source_that_gives_its_bytes_piecemeal_is_read_whole() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    drive = MemoryDrive()
    file = TapeFile(path="a", size=5000, open=lambda: Slow(bytes(5000)))
    write_volume(drive, [file], label=LABEL, owner="", created_ns=MADE, block_size=1024)
    assert read_all(drive) == {"a": bytes(5000)}


def test_the_operators_own_volume_identifiers_are_used() -> None:
    drive = MemoryDrive()
    write_volume(drive, [], label=LABEL, owner="", created_ns=MADE, volume_id=lambda reel: f"LTO{reel:03d}")
    assert read_volume_label(drive).volume_id == "LTO001"
    with pytest.raises(IllegalNameError):
        write_volume(drive, [], label=LABEL, owner="", created_ns=MADE, volume_id=lambda _: "lto-1")


def test_a_new_volume_replaces_what_was_on_the_tape() -> None:
    drive = written()
    write(drive, {"new": b"tape"})
    assert read_all(drive) == {"new": b"tape"}


# A stream.


def test_a_stream_goes_forward_only() -> None:
    for path, _, stream in walk_volume(written()):
        if path == "data/archives/000001.7z":
            data = FILES[path]
            assert stream.read(10) == data[:10]
            assert stream.seek(5000) == 5000
            assert stream.read(3000) == data[5000:8000]
            assert stream.seek(-100, io.SEEK_END) == 9900
            with pytest.raises(io.UnsupportedOperation):
                stream.seek(0)
            assert stream.read() == data[9900:]
            assert stream.seek(20_000) == 20_000
            assert stream.read(5) == b""
            kept = stream
    with pytest.raises(ValueError, match="passed"):
        kept.read(1)


def test_a_lost_block_raises_until_it_is_passed() -> None:
    drive = written()
    drive.bad = {start_of_run(drive.tape, 10) + 2}
    for path, _, stream in walk_volume(drive):
        if path != "data/archives/000001.7z":
            continue
        assert isinstance(stream, TapeStream)
        for _ in range(2):
            with pytest.raises(LostBytesError) as caught:
                stream.read(4096)
            assert (caught.value.start, caught.value.end, caught.value.place) == (2048, 3072, path)
            assert isinstance(caught.value, UnreadableError)
            assert stream.tell() == 0
        assert stream.read(2048) == FILES[path][:2048]
        stream.seek(2100)
        with pytest.raises(LostBytesError) as caught:
            stream.read(1)
        assert (caught.value.start, caught.value.end) == (2100, 3072)
        stream.seek(3072)
        assert stream.read() == FILES[path][3072:]
        assert stream.lost == [(2048, 3072)]


# Damage.


@given(st.sets(st.integers(0, 70), max_size=12))
@settings(max_examples=150)
def test_bad_blocks_lose_their_own_bytes_and_nothing_else(bad: set[int]) -> None:
    drive = written()
    drive.bad = {at for at in bad if at < len(drive.tape) and drive.tape[at] is not None}
    found = list(runs(drive.tape))
    reader = TapeReader(drive)
    got = {}
    for path, size, stream in reader.walk():
        data, lost = salvage(stream, size)
        got[path] = lost
        expected = bytearray(FILES[path])
        for start, end in lost:
            expected[start:end] = b"\xff" * (end - start)
        assert data == expected
    at = 0
    damaged_runs = set()
    for number, run in enumerate(found):
        for n in range(len(run)):
            if at + n in drive.bad:
                damaged_runs.add(number)
                if number % 3 == 1 and 1 <= number // 3 <= len(FILES):
                    path = list(FILES)[number // 3 - 1]
                    if path in got:
                        assert any(start <= n * 1024 < end for start, end in got[path])
        at += len(run) + 1
    front_index_lost = bool(damaged_runs & {0, 1}) and bool(damaged_runs & {1})
    for number, path in enumerate(FILES, 1):
        named = 3 * number not in damaged_runs or not front_index_lost
        assert (path in got and (not got[path] or 3 * number + 1 in damaged_runs)) or not named, path
    if damaged_runs - {n for n in damaged_runs if n % 3 == 1}:
        assert reader.findings


@given(st.data())
@settings(max_examples=150)
def test_whatever_is_garbled_reading_ends_and_raises_our_errors_only(data: st.DataObject) -> None:
    drive = written({"a": b"x" * 3000, "b": b"", "c": b"y" * 10})
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(drive.tape) - 1))
        item = drive.tape[at]
        match data.draw(st.sampled_from(["drop", "garble", "cut", "mark", "noise", "double"])):
            case "drop":
                del drive.tape[at]
            case "garble" if item:
                place = data.draw(st.integers(0, len(item) - 1))
                drive.tape[at] = item[:place] + bytes([item[place] ^ 0x11]) + item[place + 1 :]
            case "cut":
                del drive.tape[at:]
            case "mark":
                drive.tape.insert(at, None)
            case "noise":
                drive.tape.insert(at, data.draw(st.binary(min_size=1, max_size=100)))
            case "double":
                drive.tape[at:at] = drive.tape[: at // 2]
        if not drive.tape:
            break
    try:
        for _, size, stream in walk_volume(drive):
            salvage(stream, size)
        scan_volume(drive)
        read_volume_label(drive)
    except FormatError:
        pass


def test_a_garbled_header_is_made_good_from_the_index() -> None:
    drive = written()
    for number in range(3, 3 * len(FILES) + 3, 3):
        drive.tape[start_of_run(drive.tape, number) + 2] = b"garbage".ljust(80)
    reader = TapeReader(drive)
    assert {path: stream.read() for path, _, stream in reader.walk()} == FILES
    assert len(reader.findings) == len(FILES)


def test_a_lost_index_and_a_garbled_header_are_rebuilt_from_the_labels_behind() -> None:
    drive = written()
    drive.bad = {start_of_run(drive.tape, 1), start_of_run(drive.tape, 9)}
    name = "data/archives/000001.7z"
    walk = TapeReader(drive)
    first = {path: salvage(stream, size) for path, size, stream in walk.walk()}
    assert first.pop(name)[1] == [(0, 10_000)], "it is named, and its loss too"
    assert any(name in finding and "was passed" in finding for finding in walk.findings)
    scan = scan_volume(drive)
    assert [entry.path for entry in scan.files] == list(FILES)
    assert [entry.sha256 for entry in scan.files] == [hashlib.sha256(data).hexdigest() for data in FILES.values()]
    assert read_all(drive, known=scan.files) == FILES


def test_both_indexes_lost_do_no_harm_at_all() -> None:
    drive = written()
    count = len(list(runs(drive.tape)))
    drive.bad = {start_of_run(drive.tape, 1), start_of_run(drive.tape, count - 3)}
    reader = TapeReader(drive)
    assert {path: stream.read() for path, _, stream in reader.walk()} == FILES
    assert reader.index is None
    scan = scan_volume(drive)
    assert [(entry.number, entry.path, entry.size, entry.blocks) for entry in scan.files] == [
        (number, path, len(data), -(-len(data) // 1024)) for number, (path, data) in enumerate(FILES.items(), 2)
    ]


def test_an_index_altered_in_one_digit_is_not_believed() -> None:
    drive = written()
    at = start_of_run(drive.tape, 1)
    drive.tape[at] = (drive.tape[at] or b"").replace(b"000001.7z", b"000009.7z")
    drive.bad = {start_of_run(drive.tape, 9)}
    paths = [path for path, _, _ in walk_volume(drive)]
    assert "data/archives/000009.7z" not in paths


def test_labels_behind_the_data_that_are_garbled_are_a_finding_only() -> None:
    drive = written()
    drive.tape[start_of_run(drive.tape, 11)] = b"?" * 80
    reader = TapeReader(drive)
    assert {path: stream.read() for path, _, stream in reader.walk()} == FILES
    assert len(reader.findings) == 1


def test_a_tape_that_ends_early_names_what_is_not_on_it() -> None:
    whole = written()
    at = start_of_run(whole.tape, 10) + 4
    drive = MemoryDrive()
    drive.tape = whole.tape[:at]
    reader = TapeReader(drive)
    lost = {path: salvage(stream, size)[1] for path, size, stream in reader.walk()}
    assert lost == {
        "bagit.txt": [],
        "courier/packing-list.json": [],
        "data/archives/000001.7z": [(4096, 10_000)],
        "data/empty": [],
        "data/whole blocks": [(0, 2048)],
        "data/archives/000002.7z": [(0, 3333)],
    }
    assert any("data/empty" in finding for finding in reader.findings)


def test_a_short_block_loses_its_own_end_only() -> None:
    drive = written()
    at = start_of_run(drive.tape, 10) + 1
    drive.tape[at] = (drive.tape[at] or b"")[:100]
    for path, size, stream in walk_volume(drive):
        data, lost = salvage(stream, size)
        if path == "data/archives/000001.7z":
            assert lost == [(1124, 2048)]
            assert data[2048:] == FILES[path][2048:]


def test_a_block_longer_than_its_label_says_is_lost_alone() -> None:
    drive = written()
    at = start_of_run(drive.tape, 10) + 1
    drive.tape[at] = bytes(1025)
    lost = {path: salvage(stream, size)[1] for path, size, stream in walk_volume(drive)}
    assert lost["data/archives/000001.7z"] == [(1024, 2048)]


def test_blocks_that_vanished_without_an_error_are_a_finding() -> None:
    drive = written()
    del drive.tape[start_of_run(drive.tape, 10) + 3]
    reader = TapeReader(drive)
    lost = {path: salvage(stream, size)[1] for path, size, stream in reader.walk()}
    assert lost["data/archives/000001.7z"]
    assert any("9 blocks were read, 10 were written" in finding for finding in reader.findings)


def test_a_tape_without_its_second_mark_is_read_with_a_finding() -> None:
    drive = written()
    drive.tape.pop()
    reader = TapeReader(drive)
    assert {path: stream.read() for path, _, stream in reader.walk()} == FILES
    assert len(reader.findings) == 1


def test_data_after_the_double_mark_are_not_looked_at() -> None:
    drive = written()
    drive.tape += [b"an older and longer recording", None]
    assert read_all(drive) == FILES


# Other tapes.


def foreign(*blocks: bytes | None) -> MemoryDrive:
    drive = MemoryDrive()
    drive.tape = list(blocks)
    return drive


def test_a_blank_tape_says_so() -> None:
    for look in (scan_volume, read_volume_label, read_all):
        with pytest.raises(EndOfTapeError, match="blank"):
            look(MemoryDrive())


@pytest.mark.parametrize(
    "blocks",
    [
        (b"ustar" * 2048, b"ustar" * 2048),
        (bytes(512 << 10),) * 40,
        (None, None),
        (b"short", None),
        (b"x" * 80, b"y" * 80, None),
    ],
)
def test_a_tape_that_is_not_labelled_says_so_at_its_start(blocks: tuple[bytes | None, ...]) -> None:
    drive = foreign(*blocks, *(bytes(100_000) for _ in range(100)), None, None)
    for look in (read_volume_label, scan_volume, read_all):
        with pytest.raises((MalformedError, UnreadableError)):
            look(drive)
        drive.skip_run()  # which it could not, had it been read to its end


def test_a_labelled_tape_of_another_program_is_named() -> None:
    vol1 = b"VOL1AB1234" + b" " * 69 + b"3"
    drive = foreign(vol1, b"HDR1PRELABEL".ljust(80), None)
    for look in (read_volume_label, scan_volume, read_all):
        with pytest.raises(UnknownFormatError, match="AB1234"):
            look(drive)


def test_a_garbled_volume_label_does_not_keep_the_files_away() -> None:
    drive = written()
    drive.tape[0] = b"V0L1" + (drive.tape[0] or b"")[4:]
    reader = TapeReader(drive)
    assert {path: stream.read() for path, _, stream in reader.walk()} == FILES
    assert reader.volume is None
    with pytest.raises(MalformedError):
        read_volume_label(drive)


def test_an_unreadable_start_does_not_keep_the_files_away() -> None:
    drive = written()
    drive.bad = set(range(start_of_run(drive.tape, 1) - 1))
    reader = TapeReader(drive)
    assert {path: stream.read() for path, _, stream in reader.walk()} == FILES
    with pytest.raises(UnreadableError):
        read_volume_label(drive)


def chain() -> tuple[dict[str, bytes], list[MemoryDrive]]:
    content = {"a": bytes(20_000), "b": bytes(20_000)}
    reels = [MemoryDrive(capacity=28_000, warning=5_000) for _ in range(4)]
    write(reels[0], content, next_reel=lambda number: reels[number - 1])
    return content, [drive for drive in reels if drive.tape]


@pytest.mark.parametrize("which", ["other set", "other reel", "blank", "tar"])
def test_a_wrong_reel_in_a_chain_is_refused(which: str) -> None:
    _, reels = chain()
    wrong = {
        "other set": written(),
        "other reel": reels[0],
        "blank": MemoryDrive(),
        "tar": foreign(b"ustar" * 100, None),
    }[which]
    with pytest.raises((UnexpectedError, MalformedError)):
        read_all(reels[0], next_reel=lambda _: wrong)


def test_a_chain_goes_on_over_a_garbled_start_of_a_reel() -> None:
    content, reels = chain()
    reels[1].bad = set(range(6))
    reader = TapeReader(reels[0], next_reel=lambda number: reels[number - 1])
    assert {path: stream.read() for path, _, stream in reader.walk()} == content
    assert reader.findings


def test_one_reel_alone_says_that_others_hold_the_rest() -> None:
    _, reels = chain()
    reader = TapeReader(reels[0])
    lost = {path: salvage(stream, size)[1] for path, size, stream in reader.walk()}
    assert reader.continues
    assert [size for path, ranges in lost.items() for _, size in ranges] == [20_000]
    with pytest.raises(LostBytesError, match="another reel"):
        for _, _, stream in walk_volume(reels[0]):
            stream.read()


def test_known_entries_are_no_more_than_a_fallback() -> None:
    wrong = [IndexEntry(number=2, path="wrong", size=1, blocks=1)]
    assert read_all(written(), known=wrong) == FILES
