"""Listings: every entry of a package, judged line by line and as a whole, in bounded memory."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listing_trees import SHA, TABLE, file, folder, hard_link, lines, link, trees
from memory import at_most

import formats.documents.listing
from formats.blocks import BLOCK
from formats.digest import sha256_hex
from formats.documents.listing import (
    EMPTY,
    FIRST_TIME,
    LAST_TIME,
    MAX_LINE,
    Entry,
    FileEntry,
    FolderEntry,
    HardLinkEntry,
    ListingSummary,
    entry_line,
    path_key,
    read_listing,
    without_hard_links,
    write_listing,
)
from formats.errors import FormatError, IllegalNameError, MalformedError, TooLargeError, UnknownFormatError
from formats.holes import MAX_HOLES, hole_bytes
from formats.records import MAX_INT, changed, encode


def read(data: bytes, expected: ListingSummary | None = None) -> list[Entry]:
    return list(read_listing(io.BytesIO(data), expected=expected))


@given(trees())
def test_a_listing_comes_out_of_its_lines_as_it_went_in(entries: list[Entry]) -> None:
    out = io.BytesIO()
    summary = write_listing(entries, out)
    assert out.getvalue() == lines(entries)
    assert read(out.getvalue(), summary) == read(out.getvalue()) == entries
    files = [entry for entry in entries if isinstance(entry, FileEntry)]
    assert summary == ListingSummary(
        sha256=sha256_hex(out.getvalue()),
        entries=len(entries),
        files=len(files),
        bytes=sum(file.size for file in files),
        holes=sum(hole_bytes(file.holes) for file in files),
    )
    assert summary.allocated == summary.bytes - summary.holes >= 0


@given(trees())
def test_for_what_knows_no_hard_links_each_name_is_a_file(entries: list[Entry]) -> None:
    plain = list(without_hard_links(entries))
    assert [entry.path for entry in plain] == [entry.path for entry in entries]
    write_listing(plain, io.BytesIO())
    files = {entry.path: entry for entry in plain if isinstance(entry, FileEntry)}
    for entry in entries:
        if isinstance(entry, HardLinkEntry):
            assert changed(files[entry.path], path="") == changed(files[entry.first], path="")


@given(trees(), st.data())
def test_entries_swapped_doubled_or_taken_out_are_refused(entries: list[Entry], data: st.DataObject) -> None:
    if not entries:
        return
    summary = write_listing(entries, io.BytesIO())
    at = data.draw(st.integers(0, len(entries) - 1))
    other = data.draw(st.integers(0, len(entries) - 1))
    doubled = [*entries[: at + 1], *entries[at:]]
    taken = [*entries[:at], *entries[at + 1 :]]
    swapped = list(entries)
    swapped[at], swapped[other] = swapped[other], swapped[at]
    for bad in (doubled, taken, *([swapped] if at != other else [])):
        with pytest.raises(MalformedError):
            read(lines(bad), summary)
    with pytest.raises(MalformedError):
        read(lines(doubled))


@pytest.mark.parametrize(
    "entries",
    [
        [file("a/b")],
        [file("a"), file("a/b")],
        [link("a"), file("a/b")],
        [file("a", further_names=1), hard_link("b", "a"), file("b/c")],
        [folder("a"), folder("a/b"), file("a/c/d")],
        [folder("a"), file("b"), file("a/c")],
        [folder("a"), folder("a/b"), folder("c"), file("a/b/d")],
        [file("b"), file("a")],
        [folder("a"), file("a!"), file("a/b")],
    ],
)
def test_a_listing_has_every_folder_before_what_is_in_it(entries: list[Entry]) -> None:
    _refused(entries)


def _refused(entries: list[Entry]) -> str:
    """The place where both the writer and the reader refuse these entries."""
    with pytest.raises(MalformedError) as caught:
        write_listing(entries, io.BytesIO())
    place = caught.value.place
    with pytest.raises(MalformedError) as caught:
        read(lines(entries))
    assert caught.value.place == place
    return place


def test_order_is_by_component_so_that_a_folder_is_followed_by_what_is_in_it() -> None:
    entries: list[Entry] = [folder("a"), file("a/b"), file("a!"), file("a.b"), file("aa"), file("\u00e9")]
    write_listing(entries, io.BytesIO())
    assert sorted(entries, key=lambda entry: path_key(entry.path)) == entries


def test_further_names_are_of_a_file_before_them_and_as_many_as_it_says() -> None:
    good: list[Entry] = [
        folder("a"),
        file("a/b", further_names=2),
        hard_link("a/c", "a/b"),
        file("b"),
        hard_link("c", "a/b"),
    ]
    write_listing(good, io.BytesIO())
    empty = file("a", 0, EMPTY, further_names=1)
    write_listing([empty, hard_link("b", "a")], io.BytesIO())
    for entries, place in (
        ([file("a", further_names=1)], "a"),
        ([file("a", further_names=2), hard_link("b", "a")], "a"),
        ([file("a"), hard_link("b", "a")], "b"),
        ([file("a", further_names=1), hard_link("b", "a"), hard_link("c", "a")], "c"),
        ([file("a", further_names=2), hard_link("b", "a"), hard_link("c", "b")], "c"),
        ([hard_link("a", "b"), file("b", further_names=1)], "a"),
        ([hard_link("a", "a")], "a"),
        ([file("a", further_names=1), hard_link("b", "A")], "b"),
        ([folder("a"), hard_link("b", "a")], "b"),
        ([link("a", "c"), hard_link("b", "a"), file("c", further_names=1)], "b"),
        ([folder("a"), file("a/c", further_names=1), link("b", "a"), hard_link("d", "b/c")], "d"),
        ([file("a", further_names=1), file("b"), hard_link("b", "a")], "b"),
    ):
        assert _refused(list(entries)) == place  # type: ignore[arg-type]
    for first in ("/a", "../a", "./a", "a/../a", "a//b", "", "a\0b"):
        with pytest.raises(IllegalNameError):
            write_listing([file("a", further_names=1), hard_link("b", first)], io.BytesIO())
        with pytest.raises(IllegalNameError) as caught:
            read(encode(["h", "b", first]) + b"\n")
        assert caught.value.place == "listing:1.first"


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "../../x", "a/../..", ".", "a//b/", "C:\\x", " ", "\n"])
def test_a_link_leads_wherever_it_did(target: str) -> None:
    out = io.BytesIO()
    write_listing([link("a", target)], out)
    assert read(out.getvalue()) == [link("a", target)]


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (file("../a"), IllegalNameError),
        (file("/a"), IllegalNameError),
        (file("\udcff"), IllegalNameError),
        (file("a\0"), IllegalNameError),
        (link("a", ""), IllegalNameError),
        (link("a", "b\0"), IllegalNameError),
        (link("a", "x" * 4096), IllegalNameError),
        (link("a", "\udcff"), IllegalNameError),
        (hard_link("a", "../b"), IllegalNameError),
        (hard_link("a", "\udcff"), IllegalNameError),
        (FolderEntry(path="a", mtime_ns=LAST_TIME + 1, mode=0), MalformedError),
        (FolderEntry(path="a", mtime_ns=FIRST_TIME - 1, mode=0), MalformedError),
        (file("a", holes=(0, 1, 0, 1)), MalformedError),
        (file("a", BLOCK + 1, blocks=""), MalformedError),
        (file("a", BLOCK, blocks=TABLE), MalformedError),
    ],
)
def test_what_a_listing_cannot_hold_is_not_written(entry: Entry, error: type[FormatError]) -> None:
    out = io.BytesIO()
    with pytest.raises(error) as caught:
        write_listing([entry], out)
    assert caught.value.place
    assert out.getvalue() == b""


def test_all_bytes_together_are_a_number_that_a_summary_can_have() -> None:
    entries: list[Entry] = [file("a", MAX_INT - 1), file("b")]
    assert write_listing(entries, io.BytesIO()).bytes == MAX_INT
    with pytest.raises(TooLargeError) as caught:
        write_listing([*entries, file("c")], io.BytesIO())
    assert caught.value.place == "c"


def test_the_longest_names_and_hole_maps_fit_in_a_line() -> None:
    """Control characters take six bytes each in JSON; of 64 PiB, each run in a full map has 12 digits."""
    path = "/".join(["\x01" * 249] * 16)
    holes = ((1 << 56) // (2 * MAX_HOLES) // 4096 * 4096,) * (2 * MAX_HOLES)
    for entry in (link(path, "\x01" * 4095), file(path, sum(holes), holes=holes), hard_link(path, path)):
        line = entry_line(entry)
        assert len(line) <= MAX_LINE
        with pytest.raises(MalformedError, match="its folder is not listed"):
            read(line)


def test_a_longer_line_is_neither_written_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    holes = ((1 << 46) - 4096,) * (2 * MAX_HOLES)
    long = file("\x01" * 255, sum(holes), holes=holes)
    assert len(entry_line(long)) < MAX_LINE  # the largest file there can be
    with monkeypatch.context() as patch:
        patch.setattr(formats.documents.listing, "MAX_LINE", 1000)
        with pytest.raises(TooLargeError) as caught:
            write_listing([long], io.BytesIO())
    assert caught.value.place == long.path
    with pytest.raises(TooLargeError) as caught:
        read(b"[" + b" " * MAX_LINE + b"]\n")
    assert caught.value.place == "listing:1"


RECORD: dict[str, Any] = {
    "kind": "f",
    "path": "a",
    "mtime_ns": 0,
    "mode": 0o644,
    "size": 1,
    "sha256": SHA,
    "blocks": "",
    "holes": [],
    "further_names": 0,
}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"kind": "b"}, ""),
        ({"kind": "F"}, ""),
        ({"kind": "file"}, ""),
        ({"kind": None}, ""),
        ({"kind": "d"}, ""),
        ({"kind": "l"}, ".target"),
        ({"kind": "h"}, ".first"),
        ({"kind": "a"}, ""),
        ({"more": 1}, ""),
        ({"path": "a/../b"}, ".path"),
        ({"path": 1}, ".path"),
        ({"mtime_ns": "1970-01-01T00:00:00.000000000Z"}, ".mtime_ns"),
        ({"mtime_ns": None}, ".mtime_ns"),
        ({"mtime_ns": LAST_TIME + 1}, ".mtime_ns"),
        ({"mtime_ns": FIRST_TIME - 1}, ".mtime_ns"),
        ({"mode": -1}, ".mode"),
        ({"mode": 0o10000}, ".mode"),
        ({"mode": "0644"}, ".mode"),
        ({"mode": False}, ".mode"),
        ({"size": -1}, ".size"),
        ({"size": True}, ".size"),
        ({"size": 2**63}, ".size"),
        ({"size": 0}, ".sha256"),
        ({"size": BLOCK + 1}, ".blocks"),
        ({"sha256": EMPTY}, ".sha256"),
        ({"sha256": "A" * 64}, ".sha256"),
        ({"sha256": ""}, ".sha256"),
        ({"blocks": SHA}, ".blocks"),
        ({"blocks": "0"}, ".blocks"),
        ({"blocks": None}, ".blocks"),
        ({"holes": [0]}, ".holes"),
        ({"holes": [0, 2]}, ".holes[1]"),
        ({"holes": [0, -1]}, ".holes[1]"),
        ({"holes": [[0, 1]]}, ".holes[0]"),
        ({"holes": None}, ".holes"),
        ({"further_names": -1}, ".further_names"),
        ({"further_names": "b"}, ".further_names"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_place(changes: dict[str, Any], place: str) -> None:
    good = b"".join(encode([*{**RECORD, "path": f"{n}"}.values()]) + b"\n" for n in range(1, 7))
    with pytest.raises(FormatError) as caught:
        read(good + encode([*{**RECORD, **changes}.values()]) + b"\n")
    assert caught.value.place == f"listing:7{place}"
    read(good + encode([*RECORD.values()]) + b"\n")


def test_an_unknown_kind_is_refused_by_its_name() -> None:
    with pytest.raises(UnknownFormatError, match="a line of the kind 'b'"):
        read(b'["b","dev/sda",0,432,8,0]\n')


@given(st.binary(max_size=300))
def test_any_bytes_as_a_listing_raise_only_our_errors(data: bytes) -> None:
    if data:
        with pytest.raises(FormatError):
            read(data)


@given(trees(), st.data())
def test_a_listing_with_one_byte_changed_is_refused(entries: list[Entry], data: st.DataObject) -> None:
    good = lines(entries)
    if not good:
        return
    summary = write_listing(entries, io.BytesIO())
    at = data.draw(st.integers(0, len(good) - 1))
    mask = data.draw(st.integers(1, 255))
    bad = good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :]
    for damaged in (bad, good[:-1], good[:at], good + b"\n"):
        with pytest.raises(FormatError):
            read(damaged, summary)


def test_files_that_wait_for_further_names_are_held_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting() -> Any:
        for n in range(20_000):
            yield folder(f"{n:06d}")
            yield file(f"{n:06d}/" + "x" * 250, further_names=1)

    monkeypatch.setattr(formats.documents.listing, "MAX_AWAITED", 1 << 20)
    with at_most(4 << 20), pytest.raises(TooLargeError, match="further names"):
        write_listing(waiting(), io.BytesIO())
    # Names that came make room for others.
    pairs: list[Entry] = []
    for n in range(20_000):
        pairs += [file(f"{n:06d}", further_names=1), hard_link(f"{n:06d}!", f"{n:06d}")]
    assert write_listing(pairs, io.BytesIO()).files == 20_000


@pytest.mark.slow
def test_a_listing_of_hole_maps_is_read_in_bounded_memory() -> None:
    holes = (4096,) * (2 * MAX_HOLES)
    entries: list[Entry] = [file(f"{n:06d}", sum(holes), holes=holes) for n in range(12)]
    data = lines(entries)
    del entries
    # Each map takes 5 MiB; two batches of two stand in memory at a time.
    with at_most(32 << 20):
        assert sum(1 for _ in read_listing(io.BytesIO(data))) == 12
