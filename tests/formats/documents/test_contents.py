"""Listings and contents: streams of a million lines that are judged line by line, in bounded memory."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.digest import sha256_hex
from formats.documents.contents import (
    MAX_MEMBERS,
    MAX_PACKAGES,
    ContentsReader,
    ContentsWriter,
    MemberRecord,
    PackageHeader,
)
from formats.documents.listing import (
    EMPTY,
    Entry,
    FileEntry,
    FolderEntry,
    LinkEntry,
    ListingSummary,
    entry_line,
    parse_entry,
    path_key,
    read_lines,
    read_listing,
    write_listing,
)
from formats.errors import (
    FormatError,
    IllegalNameError,
    MalformedError,
    TooLargeError,
    UnexpectedError,
    UnknownFormatError,
)
from formats.records import encode

FIRST_NS, LAST_NS = -62_135_596_800_000_000_000, 253_402_300_799_999_999_999
SHA = sha256_hex(b"x")

times = st.integers(FIRST_NS, LAST_NS)
components = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """Entries of a package, in listing order."""
    node = st.recursive(
        st.sampled_from(["file", "empty", "link"]),
        lambda inner: st.dictionaries(components, inner, max_size=4),
        max_leaves=12,
    )
    entries: list[Entry] = []

    def walk(folder: dict[str, Any], prefix: str) -> None:
        for name in sorted(folder, key=str.encode):
            path, kind = f"{prefix}{name}", folder[name]
            if isinstance(kind, dict):
                entries.append(FolderEntry(path=path, mtime_ns=draw(times)))
                walk(kind, f"{path}/")
            elif kind == "link":
                entries.append(LinkEntry(path=path, target=draw(components), mtime_ns=draw(times)))
            else:
                sha256, size = (EMPTY, 0) if kind == "empty" else (SHA, draw(st.integers(1, 2**40)))
                executable = draw(st.booleans())
                entries.append(
                    FileEntry(path=path, size=size, sha256=sha256, mtime_ns=draw(times), executable=executable)
                )

    walk(draw(st.dictionaries(components, node, max_size=4)), "")
    return entries


def lines(entries: list[Entry]) -> bytes:
    return b"".join(map(entry_line, entries))


@given(trees())
def test_a_listing_comes_out_of_its_lines_as_it_went_in(entries: list[Entry]) -> None:
    out = io.BytesIO()
    summary = write_listing(entries, out)
    assert out.getvalue() == lines(entries)
    assert list(read_listing(io.BytesIO(out.getvalue()), expected=summary)) == entries
    files = [entry for entry in entries if isinstance(entry, FileEntry)]
    assert summary == ListingSummary(
        sha256=sha256_hex(out.getvalue()),
        entries=len(entries),
        files=len(files),
        bytes=sum(file.size for file in files),
    )


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
            list(read_listing(io.BytesIO(lines(bad)), expected=summary))
    with pytest.raises(MalformedError):
        list(read_listing(io.BytesIO(lines(doubled))))


def file(path: str, size: int = 1, sha256: str = SHA) -> FileEntry:
    return FileEntry(path=path, size=size, sha256=sha256, mtime_ns=0, executable=False)


def folder(path: str) -> FolderEntry:
    return FolderEntry(path=path, mtime_ns=0)


def link(path: str, target: str = "x") -> LinkEntry:
    return LinkEntry(path=path, target=target, mtime_ns=0)


@pytest.mark.parametrize(
    "entries",
    [
        [file("a/b")],
        [file("a"), file("a/b")],
        [link("a"), file("a/b")],
        [folder("a"), folder("a/b"), file("a/c/d")],
        [folder("a"), file("b"), file("a/c")],
        [folder("a"), folder("a/b"), folder("c"), file("a/b/d")],
        [file("b"), file("a")],
        [folder("a"), file("a!"), file("a/b")],
    ],
)
def test_a_listing_has_every_folder_before_what_is_in_it(entries: list[Entry]) -> None:
    with pytest.raises(MalformedError):
        write_listing(entries, io.BytesIO())
    with pytest.raises(MalformedError):
        list(read_listing(io.BytesIO(lines(entries))))


def test_order_is_by_component_so_that_a_folder_is_followed_by_what_is_in_it() -> None:
    entries: list[Entry] = [folder("a"), file("a/b"), file("a!"), file("a.b"), file("aa"), file("\u00e9")]
    write_listing(entries, io.BytesIO())
    assert sorted(entries, key=lambda entry: path_key(entry.path)) == entries


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (file("../a"), IllegalNameError),
        (file("/a"), IllegalNameError),
        (file("\udcff"), IllegalNameError),
        (link("a", "../b"), IllegalNameError),
        (link("a", "/b"), IllegalNameError),
        (link("a", "\udcff"), IllegalNameError),
        (FolderEntry(path="a", mtime_ns=LAST_NS + 1), MalformedError),
    ],
)
def test_what_a_listing_cannot_hold_is_not_written(entry: Entry, error: type[FormatError]) -> None:
    out = io.BytesIO()
    with pytest.raises(error) as caught:
        write_listing([entry], out)
    assert caught.value.place
    assert out.getvalue() == b""


def test_the_longest_names_fit_in_a_line() -> None:
    """Control characters take six bytes each in JSON."""
    path = "/".join(["\x01" * 249] * 128)
    for entry in (link(path, "\x01" * 4095), file(path)):
        line = entry_line(entry)
        assert parse_entry(line[:-1]) == entry
        assert list(read_lines(io.BytesIO(line), place="x")) == [line[:-1]]


RECORD: dict[str, Any] = {
    "path": "a",
    "mtime": "1970-01-01T00:00:00.000000000Z",
    "kind": "file",
    "size": 1,
    "sha256": SHA,
    "executable": False,
}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"path": "a/../b"}, "path"),
        ({"path": 1}, "path"),
        ({"mtime": "2026-01-01T00:00:00Z"}, "mtime"),
        ({"kind": "device"}, "kind"),
        ({"kind": None}, "kind"),
        ({"size": -1}, "size"),
        ({"size": True}, "size"),
        ({"size": 2**63}, "size"),
        ({"size": 0}, "sha256"),
        ({"sha256": EMPTY}, "sha256"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"executable": 1}, "executable"),
        ({"kind": "link"}, "target"),
        ({"kind": "link", "target": ".."}, "target"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_place(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_entry(encode({**RECORD, **changes}), place="listing:7")
    assert caught.value.place == f"listing:7.{place}"


@given(st.binary(max_size=300))
def test_any_bytes_as_a_listing_raise_only_our_errors(data: bytes) -> None:
    if data:
        with pytest.raises(FormatError):
            list(read_listing(io.BytesIO(data)))


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
            list(read_listing(io.BytesIO(damaged), expected=summary))


# --- contents -------------------------------------------------------------------------------------------------------

PARCEL = "HQ1-000042"


def member(name: str = "HQ100001-1/a", **changes: Any) -> MemberRecord:
    plain = MemberRecord(name=name, size=10, sha256=SHA, of=100, offset=0, length=10, coding="store")
    return dataclasses.replace(plain, **changes)


def make(
    packages: list[tuple[str, int, str, list[Entry]]], archives: list[list[MemberRecord]], parcel: str = PARCEL
) -> bytes:
    out = io.BytesIO()
    writer = ContentsWriter(out, parcel=parcel, packages=len(packages), archives=len(archives))
    for package, version, name, entries in packages:
        summary = write_listing(entries, io.BytesIO())
        writer.package(PackageHeader(package=package, version=version, name=name, listing=summary), entries)
    for number, members in enumerate(archives, 1):
        writer.archive(number, members)
    writer.close()
    return out.getvalue()


def read(data: bytes, archives: int, parcel: str = PARCEL) -> tuple[list[Any], list[Any]]:
    reader = ContentsReader(io.BytesIO(data), parcel=parcel, archives=archives)
    packages = [(h.package, h.version, h.name, list(entries)) for h, entries in reader.packages()]
    return packages, [members for _, members in reader.archives()]


ENTRIES: list[Entry] = [folder("d"), file("d/a"), link("d/l", "a"), file("e", 0, EMPTY)]
GOOD = make(
    [("HQ100001", 1, "One", ENTRIES), ("HQ100002", 7, "Two", [file("b")])], [[member()], [member("x"), member("y")]]
)
TEXT = gzip.decompress(GOOD)


def squeeze(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


versions = st.lists(st.tuples(st.integers(0, 0xFFFFF), st.integers(1, 10**18)), min_size=1, max_size=3, unique=True)


@settings(max_examples=50)
@given(versions, st.data())
def test_contents_come_out_as_they_went_in(numbers: list[tuple[int, int]], data: st.DataObject) -> None:
    packages = [(f"HQ1{number:05X}", version, "Name \u2028\n", data.draw(trees())) for number, version in numbers]
    archives = []
    for _ in range(data.draw(st.integers(0, 3))):
        names = data.draw(st.lists(st.sampled_from(["a", "b", "c/d", "日本"]), min_size=1, unique=True))
        of = data.draw(st.integers(1, 2**63 - 1))
        length = data.draw(st.integers(1, of))
        offset = data.draw(st.integers(0, of - length))
        run = {"of": of, "offset": offset, "length": length}
        archives.append([member(name, **run, size=length) for name in names])
        archives.append([member(f"{name}.zst", **run, size=5, coding="zstd") for name in names])
    made = make(packages, archives)
    assert read(made, len(archives)) == (packages, archives)
    assert make(packages, archives) == made


def test_contents_are_one_plain_gzip_stream() -> None:
    assert GOOD[:10] == b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    assert TEXT.splitlines()[0] == (b'{"archives":2,"format":"courier-contents/1","packages":2,"parcel":"HQ1-000042"}')
    read(GOOD, 2)


def test_gzip_that_is_cut_altered_or_goes_on_is_refused() -> None:
    for at in range(len(GOOD)):
        with pytest.raises(FormatError):
            read(GOOD[:at], 2)
    whole = read(GOOD, 2)
    for at in range(10, len(GOOD)):
        with contextlib.suppress(FormatError):
            # The bits that fill the last byte of a deflate stream mean nothing.
            assert read(GOOD[:at] + bytes([GOOD[at] ^ 0x10]) + GOOD[at + 1 :], 2) == whole
    for more in (b"\0", b"\0" * 1000, b"x", GOOD, squeeze(b""), squeeze(b"{}\n")):
        with pytest.raises(MalformedError):
            read(GOOD + more, 2)
    for other in (b"", TEXT, zlib.compress(TEXT)):
        with pytest.raises(MalformedError):
            read(other, 2)


@given(st.binary(max_size=300))
def test_any_bytes_as_contents_raise_only_our_errors(data: bytes) -> None:
    for bad in (data, squeeze(data), squeeze(TEXT + data + b"\n"), GOOD[:10] + data):
        with pytest.raises(FormatError):
            read(bad, 2)


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_contents_with_one_byte_changed_raise_only_our_errors(at: int, byte: int) -> None:
    with contextlib.suppress(FormatError):
        read(squeeze(TEXT[:at] + bytes([byte]) + TEXT[at + 1 :]), 2)


def zeros(gigabytes: int) -> bytes:
    """A gzip stream that begins well and goes on with that many GiB of zeros, made without making them."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = squeezer.compress(TEXT[: TEXT.index(b"\n") + 1]) + squeezer.flush(zlib.Z_FULL_FLUSH)
    squeezer.compress(bytes(1 << 20))
    squeezer.flush(zlib.Z_FULL_FLUSH)
    block = squeezer.compress(bytes(1 << 20)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    return start + block * (gigabytes << 10)


@contextlib.contextmanager
def at_most(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_refused_in_bounded_memory() -> None:
    bomb = zeros(10)
    source = io.BytesIO(bomb)
    with at_most(4 << 20):
        reader = ContentsReader(source, parcel=PARCEL, archives=2)
        with pytest.raises(TooLargeError):
            list(reader.packages())
    assert source.tell() < 1 << 20


def test_a_gzip_header_without_end_is_refused_in_bounded_memory() -> None:
    named = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (32 << 20)
    with at_most(4 << 20), pytest.raises(MalformedError):
        ContentsReader(io.BytesIO(named), parcel=PARCEL, archives=2)


def test_many_packages_and_members_are_read_in_bounded_memory() -> None:
    """Only one line and one archive's members stand in memory, however long the listing."""
    many: list[Entry] = [file(f"{n:06d}") for n in range(5_000)]
    data = make([("HQ100001", 1, "Many", many)], [[member()]])
    reader = ContentsReader(io.BytesIO(data), parcel=PARCEL, archives=1)
    with at_most(4 << 20):
        for _, entries in reader.packages():
            assert sum(1 for _ in entries) == 5_000


HEADER: dict[str, Any] = {"format": "courier-contents/1", "parcel": PARCEL, "packages": 1, "archives": 1}
SUMMARY = write_listing([file("a")], io.BytesIO()).record()
PACKAGE: dict[str, Any] = {"package": "HQ100001", "version": 1, "name": "One", "listing": SUMMARY}
MEMBERS: dict[str, Any] = {"archive": 1, "members": 1}
MEMBER: dict[str, Any] = {"name": "a", "size": 1, "sha256": SHA, "of": 1, "offset": 0, "length": 1, "coding": "store"}


def records(**changes: dict[str, Any]) -> bytes:
    all_lines = {"header": HEADER, "package": PACKAGE, "entry": RECORD, "archive": MEMBERS, "member": MEMBER}
    return b"".join(encode({**line, **changes.get(name, {})}) + b"\n" for name, line in all_lines.items())


@pytest.mark.parametrize(
    ("changes", "error", "place"),
    [
        ({"header": {"format": "courier-contents/2"}}, UnknownFormatError, "contents.format"),
        ({"header": {"format": 1}}, MalformedError, "contents.format"),
        ({"header": {"parcel": "HQ1-000043"}}, UnexpectedError, "contents.parcel"),
        ({"header": {"parcel": "x"}}, MalformedError, "contents.parcel"),
        ({"header": {"packages": 0}}, MalformedError, "contents.packages"),
        ({"header": {"packages": MAX_PACKAGES + 1}}, MalformedError, "contents.packages"),
        ({"header": {"archives": 0}}, MalformedError, "contents.archives"),
        ({"header": {"archives": 2}}, MalformedError, "contents.archives"),
        ({"header": {"packages": 2}}, MalformedError, "contents.packages[1].package"),
        ({"package": {"package": "HQ1"}}, MalformedError, "contents.packages[0].package"),
        ({"package": {"version": 0}}, MalformedError, "contents.packages[0].version"),
        ({"package": {"name": "x" * 1001}}, MalformedError, "contents.packages[0].name"),
        ({"package": {"listing": {**SUMMARY, "entries": 0}}}, MalformedError, "HQ100001:1"),
        ({"package": {"listing": {**SUMMARY, "entries": 2}}}, MalformedError, "HQ100001:1[1].kind"),
        ({"package": {"listing": {**SUMMARY, "bytes": 2}}}, MalformedError, "HQ100001:1"),
        ({"package": {"listing": {**SUMMARY, "sha256": SHA}}}, MalformedError, "HQ100001:1"),
        ({"entry": {"path": "../a"}}, IllegalNameError, "HQ100001:1[0].path"),
        ({"archive": {"archive": 2}}, MalformedError, "contents.archives[1].archive"),
        ({"archive": {"members": 0}}, MalformedError, "contents.archives[1].members"),
        ({"archive": {"members": 2}}, MalformedError, "contents"),
        ({"archive": {"members": MAX_MEMBERS + 1}}, TooLargeError, "contents.archives[1]"),
        ({"member": {"name": "a\\b"}}, IllegalNameError, "contents.archives[1][0].name"),
        ({"member": {"size": 0}}, MalformedError, "contents.archives[1][0].size"),
        ({"member": {"size": 0, "coding": "zstd"}}, MalformedError, "contents.archives[1][0].size"),
        ({"member": {"size": -1, "coding": "lzma2"}}, MalformedError, "contents.archives[1][0].size"),
        ({"member": {"size": 2}}, MalformedError, "contents.archives[1][0].size"),
        ({"member": {"offset": 1}}, MalformedError, "contents.archives[1][0].length"),
        ({"member": {"length": 2}}, MalformedError, "contents.archives[1][0].length"),
        ({"member": {"length": 0}}, MalformedError, "contents.archives[1][0].length"),
        ({"member": {"coding": "lzma"}}, MalformedError, "contents.archives[1][0].coding"),
        ({"member": {"sha256": ""}}, MalformedError, "contents.archives[1][0].sha256"),
    ],
)
def test_a_wrong_count_or_field_is_refused_by_its_place(
    changes: dict[str, Any], error: type[FormatError], place: str
) -> None:
    assert read(squeeze(records()), 1)[1] == [[member("a", size=1, of=1, length=1)]]
    with pytest.raises(error) as caught:
        read(squeeze(records(**changes)), 1)
    assert (type(caught.value), caught.value.place) == (error, place)


def test_further_members_of_a_solid_group_take_no_bytes() -> None:
    group = [member("a", size=5, coding="lzma2"), member("b", size=0, coding="lzma2")]
    data = make([("HQ100001", 1, "One", [file("a")])], [group])
    assert read(data, 1)[1] == [group]


def test_lines_left_out_doubled_or_out_of_order_are_refused() -> None:
    text = TEXT.splitlines(keepends=True)
    for at in range(len(text)):
        for bad in (
            [*text[:at], *text[at + 1 :]],
            [*text[: at + 1], *text[at:]],
            [*text[:at], *text[at + 1 : at + 2], text[at], *text[at + 2 :]],
        ):
            # Members have no order of their own: stored order is what the packing list's digest binds.
            members_swapped = bad == [*text[:-2], text[-1], text[-2]]
            if bad != text and not members_swapped:
                with pytest.raises(FormatError):
                    read(squeeze(b"".join(bad)), 2)
    for tail in (b"\n", b"{}\n", b"x"):
        with pytest.raises(FormatError):
            read(squeeze(TEXT + tail), 2)


@pytest.mark.parametrize("pair", [("a", "a"), ("a", "A"), ("straße", "STRASSE"), ("\u00e9", "\u00c9"), ("ﬁ", "fi")])
def test_two_members_that_one_file_system_takes_for_one_are_refused(pair: tuple[str, str]) -> None:
    data = make([("HQ100001", 1, "One", [file("a")])], [[member(name) for name in pair]])
    with pytest.raises(MalformedError):
        read(data, 1)
    with pytest.raises(IllegalNameError):
        read(make([("HQ100001", 1, "One", [file("a")])], [[member("e\u0301")]]), 1)


def test_a_package_stands_once() -> None:
    twice: tuple[str, int, str, list[Entry]] = ("HQ100001", 1, "One", [file("a")])
    with pytest.raises(MalformedError) as caught:
        read(make([twice, twice], []), 0)
    assert caught.value.place == "contents.packages[1]"
    read(make([twice, ("HQ100001", 2, *twice[2:])], []), 0)


def test_an_error_of_the_medium_passes_through() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 50:
                raise OSError(5, "Input/output error")
            return super().read(min(size or 20, 20))

    with pytest.raises(OSError, match="Input/output"):
        list(ContentsReader(Broken(GOOD), parcel=PARCEL, archives=2).packages())
