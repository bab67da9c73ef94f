"""Images that we write have the exact size, the given order, the same bytes every time, and are read by stock tools."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iso_images import (
    BLOCK,
    CREATED,
    PATHS_AND_SIZES,
    VOLUME,
    SparseOut,
    files_in,
    image,
    iso_file,
    read_all,
    tree,
    zeros_file,
)
from stock import stock_tool

from formats.errors import DigestMismatchError, IllegalNameError, TooLargeError
from formats.iso import MAX_FILE, IsoFile, IsoReader, iso_size, write_iso
from formats.iso.disc import Disc
from formats.iso.layout import tree_of
from formats.iso.udf import udf_files

SIZES = st.sampled_from([0, 1, 2047, 2048, 2049, 5000])
NAMES = st.text(alphabet="abAB01-_.+ ", min_size=1, max_size=64) | st.integers(1, 999_999).map("{:06d}.7z".format)
PATHS = st.lists(st.sampled_from(["data", "archives", "parity"]) | NAMES, min_size=1, max_size=8).map("/".join)


def legal(listing: dict[str, int]) -> list[tuple[str, int]]:
    """The files of a listing that fit into one image together, taken in order."""
    kept: list[tuple[str, int]] = []
    for item in listing.items():
        try:
            tree_of([*kept, item])
        except IllegalNameError:
            continue
        kept.append(item)
    return kept


def write(out: BinaryIO, files: list[IsoFile], **changed: object) -> None:
    given = {"volume_id": VOLUME, "publisher": "Headquarters", "application": "courier", "created_ns": CREATED}
    write_iso(out, files, **(given | changed))  # type: ignore[arg-type]


def run(*command: str | Path) -> str:
    """What a stock tool prints; a failing tool fails the test."""
    done = subprocess.run(
        command,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TZ": "UTC"},
    )
    return done.stdout


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iso") / "ours.iso"
    path.write_bytes(image(tree()))
    return path


@settings(max_examples=60)
@given(st.dictionaries(PATHS, SIZES, max_size=40))
def test_an_image_has_the_size_that_was_reckoned_and_gives_back_its_files(listing: dict[str, int]) -> None:
    content = tree(dict(legal(listing)))
    written = image(content)
    assert len(written) == iso_size([(path, len(data)) for path, data in content.items()])
    assert read_all(written) == content


@pytest.mark.parametrize("count", [0, 1, 12, 13, 40, 41, 120, 300])
def test_the_size_is_exact_for_any_number_of_files(count: int) -> None:
    content = tree({f"data/{'archives' if n % 3 else 'parity'}/{n:06d}.7z": n % 5 for n in range(count)})
    assert len(image(content)) == iso_size([(path, len(data)) for path, data in content.items()])


def test_the_size_is_exact_for_many_folders() -> None:
    content = tree({f"folder-with-some-name-{n:04d}/x": 1 for n in range(300)})
    assert len(image(content)) == iso_size([(path, 1) for path in content])


def test_the_size_does_not_depend_on_the_order() -> None:
    listing = [(f"data/{'same-beginning-' * 3}{n}.7z", n) for n in range(200)]
    assert iso_size(listing) == iso_size(listing[::-1])


@pytest.mark.parametrize(("medium", "files"), [(25_025_314_816, 6), (50_050_629_632, 12), (100_103_356_416, 24)])
def test_the_size_of_a_full_disc_is_reckoned_without_data(medium: int, files: int) -> None:
    listing = [(f"data/archives/{n:06d}.7z", 4_000_000_000) for n in range(files)]
    room = medium - iso_size([*listing, ("data/archives/999999.7z", 0)])
    listing.append(("data/archives/999999.7z", room))
    assert iso_size(listing) == medium
    listing[-1] = ("data/archives/999999.7z", room + 1)
    assert iso_size(listing) == medium + BLOCK


def test_two_thousand_files_of_a_hundred_gigabytes_are_reckoned() -> None:
    listing = [(f"data/archives/{n:06d}.7z", 50_000_000) for n in range(2000)]
    assert 100e9 < iso_size(listing) < 100.02e9


def test_the_data_lie_in_the_order_given() -> None:
    content = dict(reversed(tree().items()))
    with IsoReader(io.BytesIO(image(content))) as reader:
        paths = [path for path, size in reader.files() if size]
    assert paths == [path for path, data in content.items() if data]


def test_the_udf_tree_names_the_same_extents_as_iso_9660() -> None:
    written = image(tree())
    name, udf = udf_files(Disc(io.BytesIO(written)))
    assert name == VOLUME
    found = {file.path: written[file.extents[0][0] :][: file.size] if file.size else b"" for file in udf}
    assert found == tree()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="elsewhere: the zone of a process cannot be changed here")
def test_the_same_input_gives_the_same_bytes_whatever_the_clock_and_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    first = image(tree())
    clock = time.time
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        monkeypatch.setattr(time, "time", lambda: clock() + 400 * 86400)
        second = image(tree())
    finally:
        monkeypatch.undo()
        time.tzset()
    assert first == second


def test_threads_write_the_same_bytes_at_the_same_time() -> None:
    contents = [tree({f"data/{n}/{name}": 3000 for name in range(30)}) for n in range(4)] * 2
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(image, contents)) == [image(content) for content in contents]


def test_every_date_is_the_one_given(ours: Path) -> None:
    for kind, count in (("-tiso", 10), ("-tudf", 10)):
        dates = re.findall(r"^Modified = (.*)$", run(stock_tool("7z"), "l", "-slt", kind, ours), re.M)
        assert len(dates) >= count
        assert {date[:19] for date in dates} == {"2026-11-24 09:30:00"}
    fields = run(stock_tool("xorriso"), "-indev", f"stdio:{ours}", "-pvd_info")
    assert re.findall(r"(?:Creation|Modif\.) Time *: *(\d+)", fields) == ["2026112409300000"] * 2


@pytest.mark.parametrize("created_ns", [-1, 0, 5_869_583_999_999_999_999])
def test_dates_from_before_1970_to_2155_are_written(created_ns: int) -> None:
    assert read_all(image({"a": b"1"}, created_ns=created_ns)) == {"a": b"1"}


@pytest.mark.parametrize("created_ns", [-(10**20), -2_208_988_800_000_000_001, 5_869_584_000_000_000_000, 10**30])
def test_dates_that_iso_9660_does_not_know_are_refused(created_ns: int) -> None:
    with pytest.raises(TooLargeError):
        image({"a": b"1"}, created_ns=created_ns)


@pytest.mark.parametrize(("size", "held"), [(10, 9), (10, 11), (10, 0), (0, 1), (3 << 20, (3 << 20) - 1), (2048, 4096)])
def test_a_file_shorter_or_longer_than_its_size_is_refused_and_closed(size: int, held: int) -> None:
    stream = io.BytesIO(bytes(held))
    with pytest.raises(DigestMismatchError, match=r"data/x: (ended|goes on) after"):
        write(io.BytesIO(), [iso_file("a", b"a"), IsoFile(path="data/x", size=size, open=lambda: stream)])
    assert stream.closed


def test_a_file_that_gives_a_little_at_a_time_is_written_whole() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 700))

    out = io.BytesIO()
    write(out, [IsoFile(path="x", size=5000, open=lambda: Slow(bytes(range(250)) * 20))])
    assert read_all(out.getvalue()) == {"x": bytes(range(250)) * 20}


def test_every_file_is_opened_once_closed_and_reported() -> None:
    opened: list[io.BytesIO] = []

    def opener(data: bytes) -> Callable[[], BinaryIO]:
        def opens() -> BinaryIO:
            opened.append(io.BytesIO(data))
            return opened[-1]

        return opens

    told: list[int] = []
    files = [IsoFile(path=path, size=len(data), open=opener(data)) for path, data in tree().items()]
    write(io.BytesIO(), files, progress=told.append)
    assert len(opened) == len(files)
    assert all(stream.closed for stream in opened)
    assert sum(told) == sum(PATHS_AND_SIZES.values())


def test_what_the_file_held_before_is_gone() -> None:
    out = io.BytesIO(b"\xff" * 5_000_000)
    write(out, [iso_file("a", b"1")])
    assert out.getvalue() == image({"a": b"1"})


def test_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    with (tmp_path / "big.iso").open("w+b") as out:
        tracemalloc.start()
        try:
            write(cast(BinaryIO, SparseOut(out)), [zeros_file("data/x", 1 << 30)])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize(
    "path",
    ["", "/a", "a/", "a//b", "../a", "a/..", "a;1", "a:b", "é", "aux", "a.", "x" * 65, "/".join("abcdefghi"), "a\\b"],
)
def test_paths_that_some_system_cannot_hold_are_refused(path: str) -> None:
    with pytest.raises(IllegalNameError):
        iso_size([(path, 1)])


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "A"], ["a", "a/b"], ["A/b", "a"], ["A/x", "a/y"], ["a/b", "a/B"]])
def test_paths_that_are_one_name_to_some_system_are_refused(paths: list[str]) -> None:
    for order in (paths, paths[::-1]):
        with pytest.raises(IllegalNameError):
            iso_size([(path, 1) for path in order])


@pytest.mark.parametrize("size", [-1, MAX_FILE + 1])
def test_a_file_of_more_than_an_extent_is_refused(size: int) -> None:
    with pytest.raises(TooLargeError):
        iso_size([("a", size)])


def test_more_than_an_image_can_address_is_refused() -> None:
    with pytest.raises(TooLargeError):
        iso_size([(f"{n:06d}", MAX_FILE) for n in range(2050)])


@pytest.mark.parametrize("volume_id", ["", "hq1", "HQ1-000042", "HQ1_000042_V003X7", "Ä"])
def test_a_volume_id_that_a_view_cannot_hold_is_refused(volume_id: str) -> None:
    with pytest.raises(IllegalNameError):
        write(io.BytesIO(), [], volume_id=volume_id)


@given(publisher=st.text(max_size=200), application=st.text(max_size=200))
@settings(max_examples=40)
def test_any_publisher_and_application_can_be_written(publisher: str, application: str) -> None:
    out = io.BytesIO()
    write(out, [], publisher=publisher, application=application)
    assert len(out.getvalue()) == iso_size([])


def test_names_of_people_lose_their_accents_and_no_more(ours: Path) -> None:
    out = io.BytesIO()
    write(out, [], publisher="_Zürich → Łódź", application="")
    descriptor = out.getvalue()[16 * BLOCK :]
    assert descriptor[318:446].decode().rstrip() == "Zurich ? ?odz"
    assert descriptor[574:702].decode().strip() == ""


def test_names_that_iso_9660_shortens_to_the_same_stay_apart(tmp_path: Path) -> None:
    content = tree({f"data/{'a-name-of-more-than-thirty-' * 2}{n}.7z": n for n in range(30)} | {"a-b/x": 1, "a_b": 2})
    path = tmp_path / "same.iso"
    path.write_bytes(image(content))
    plain = re.findall(r"\s(\S+);1", run(stock_tool("isoinfo"), "-l", "-i", path))
    assert len(plain) == len(set(plain)) == len(content)
    assert all(re.fullmatch(r"[A-Z0-9_]{1,30}\.[A-Z0-9_]{0,8}", name) and len(name) <= 31 for name in plain)


def test_xorriso_finds_the_medium_good_and_extracts_the_tree(ours: Path, tmp_path: Path) -> None:
    checked = run(stock_tool("xorriso"), "-indev", f"stdio:{ours}", "-check_media")
    assert VOLUME in checked
    assert re.findall(r"Media region.*, . (\w+)", checked) == ["good"]
    run(stock_tool("xorriso"), "-osirrox", "on", "-indev", f"stdio:{ours}", "-extract", "/", tmp_path / "out")
    run("chmod", "-R", "u+w", tmp_path / "out")
    assert files_in(tmp_path / "out") == tree()


@pytest.mark.parametrize("view", ["-R", "-J"])
def test_isoinfo_lists_and_extracts_every_file(ours: Path, view: str) -> None:
    isoinfo = stock_tool("isoinfo")
    listed = run(isoinfo, "-f", view, "-i", ours).split("\n")
    assert {path[1:] for path in listed} >= set(PATHS_AND_SIZES)
    sizes = re.findall(r"^-\S+(?:\s+\d+){3}\s+(\d+) ", run(isoinfo, "-l", view, "-i", ours), re.M)
    assert sorted(map(int, sizes)) == sorted(PATHS_AND_SIZES.values())
    for path, data in tree().items():
        got = subprocess.run([isoinfo, view, "-i", ours, "-x", f"/{path}"], check=True, capture_output=True).stdout
        assert got == data


@pytest.mark.parametrize("view", ["-tiso", "-tudf"])
def test_7z_tests_and_extracts_both_views(ours: Path, tmp_path: Path, view: str) -> None:
    assert "Everything is Ok" in run(stock_tool("7z"), "t", view, ours)
    run(stock_tool("7z"), "x", view, f"-o{tmp_path}", ours)
    assert files_in(tmp_path) == tree()


def test_bsdtar_sees_the_sizes(ours: Path, tmp_path: Path) -> None:
    run(stock_tool("bsdtar"), "-C", tmp_path, "-xf", ours)
    run("chmod", "-R", "u+w", tmp_path)
    assert files_in(tmp_path) == tree()


def test_udfinfo_finds_the_udf_volume_closed_and_complete(ours: Path) -> None:
    udfinfo = shutil.which("udfinfo", path="/usr/sbin:/usr/bin:/sbin")
    if udfinfo is None:
        pytest.skip("elsewhere: udfinfo is not on this machine (Debian: apt-get install udftools)")
    found = dict(re.findall(r"^(\w+)=(.*)$", run(udfinfo, ours), re.M))
    blocks = ours.stat().st_size // BLOCK
    assert found["lvid"] == found["vid"] == found["fsid"] == VOLUME
    assert (found["integrity"], found["numfiles"]) == ("closed", str(len(PATHS_AND_SIZES)))
    assert (found["blocks"], found["usedblocks"]) == (str(blocks), str(blocks - 257 - 1))


@pytest.mark.slow
def test_a_file_of_almost_4_gib_is_read_right_in_every_view(tmp_path: Path) -> None:
    files = [
        iso_file("bagit.txt", b"first"),
        zeros_file("data/archives/000001.7z", MAX_FILE - 1),
        iso_file("z", b"last"),
    ]
    path = tmp_path / "large.iso"
    with path.open("w+b") as out:
        write(cast(BinaryIO, SparseOut(out)), files)
    assert path.stat().st_size == iso_size([(file.path, file.size) for file in files])
    large = "data/archives/000001.7z"
    with path.open("rb") as medium, IsoReader(medium) as reader:
        assert dict(reader.files())[large] == MAX_FILE - 1
        stream = reader.open(large)
        assert stream.read(8) == b"\xa5" * 4 + bytes(4)
        assert stream.seek(-8, io.SEEK_END) == MAX_FILE - 9
        assert stream.read(100) == bytes(4) + b"\xa5" * 4
        assert reader.open("z").read() == b"last"
    for view in ("-R", "-J"):  # isoinfo gives sizes right, but extracts nothing beyond 2 GiB
        assert str(MAX_FILE - 1) in run(stock_tool("isoinfo"), "-l", view, "-i", path)
    commands: list[list[str | Path]] = [
        [stock_tool("7z"), "e", "-so", "-tiso", path, large],  # by Joliet
        [stock_tool("7z"), "e", "-so", "-tudf", path, large],
        [stock_tool("bsdtar"), "--options", "!joliet", "-xOf", path, large],
    ]
    for command in commands:
        with subprocess.Popen(command, stdout=subprocess.PIPE) as tool:
            assert tool.stdout is not None
            first, last = tool.stdout.read(8), b""
            size = len(first)
            while data := tool.stdout.read(1 << 20):
                size += len(data)
                last = (last + data)[-8:]
        assert (size, first, last) == (MAX_FILE - 1, b"\xa5" * 4 + bytes(4), bytes(4) + b"\xa5" * 4)
