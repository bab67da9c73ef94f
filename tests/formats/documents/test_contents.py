"""Contents: a stream of packages and archives that is judged line by line, in bounded memory."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listing_trees import SHA, file, folder, hard_link, link, trees
from memory import at_most

from formats.documents.contents import (
    APART,
    MAX_DEFINITION,
    MAX_MEMBERS,
    MAX_PACKAGES,
    ContentsGauge,
    ContentsReader,
    ContentsWriter,
    KeptRuns,
    MemberRecord,
    PackageHeader,
)
from formats.documents.listing import EMPTY, MAX_LINE, Entry, entry_line, write_listing
from formats.errors import (
    FormatError,
    IllegalNameError,
    MalformedError,
    TooLargeError,
    UnexpectedError,
    UnknownFormatError,
)
from formats.records import changed, encode

PARCEL = "HQ1-000042"
DEFINITIONS = {1: b'{"signed":"by the source"}', 7: bytes(MAX_DEFINITION // 4 * 3)}
"""What the headers of packages of these versions have for the definition of the source site."""


def member(name: str = "HQ100001-1/a", **changes: Any) -> MemberRecord:
    plain = MemberRecord(name=name, size=10, sha256=SHA, of=100, offset=0, length=10, coding="store")
    return changed(plain, **changes)


def make(
    packages: list[tuple[str, int, str, list[Entry]]], archives: list[list[MemberRecord]], parcel: str = PARCEL
) -> bytes:
    out = io.BytesIO()
    writer = ContentsWriter(out, parcel=parcel, packages=len(packages), archives=len(archives))
    for package, version, name, entries in packages:
        summary = write_listing(entries, io.BytesIO())
        header = PackageHeader(
            package=package, version=version, name=name, listing=summary, definition=DEFINITIONS.get(version, b"")
        )
        writer.package(header, map(entry_line, entries))
    for number, members in enumerate(archives, 1):
        writer.archive(number, members)
    writer.close()
    return out.getvalue()


def read(data: bytes, archives: int, parcel: str = PARCEL) -> tuple[list[Any], list[Any]]:
    reader = ContentsReader(io.BytesIO(data), parcel=parcel, archives=archives)
    packages = [(h.package, h.version, h.name, list(entries)) for h, entries in reader.packages()]
    found = [members for _, members in reader.archives()]
    assert reader.delta() is None
    return packages, found


ENTRIES: list[Entry] = [
    folder("d"),
    file("d/a", 9000, further_names=1, holes=(4096, 4096)),
    hard_link("d/b", "d/a"),
    link("d/l", "/a"),
    file("e", 0, EMPTY),
]
GOOD = make(
    [("HQ100001", 1, "One", ENTRIES), ("HQ100002", 7, "Two", [file("b")])], [[member()], [member("x"), member("y")]]
)
TEXT = gzip.decompress(GOOD)


def squeeze(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


numbers = st.tuples(st.integers(0, 0xFFFFF), st.just(1) | st.integers(1, 10**18))
versions = st.lists(numbers, min_size=1, max_size=3, unique=True)


@settings(max_examples=50)
@given(versions, st.data())
def test_contents_come_out_as_they_went_in(chosen: list[tuple[int, int]], data: st.DataObject) -> None:
    packages = [(f"HQ1{number:05X}", version, "Name \u2028\n", data.draw(trees())) for number, version in chosen]
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


def test_a_gzip_bomb_is_refused_in_bounded_memory() -> None:
    bomb = zeros(10)
    source = io.BytesIO(bomb)
    # The longest line, once in pieces and once joined.
    with at_most(2 * MAX_LINE + (1 << 20)):
        reader = ContentsReader(source, parcel=PARCEL, archives=2)
        with pytest.raises(TooLargeError):
            list(reader.packages())
    assert source.tell() < 1 << 20


def test_a_gzip_header_without_end_is_refused_in_bounded_memory() -> None:
    named = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (32 << 20)
    with at_most(4 << 20), pytest.raises(MalformedError):
        ContentsReader(io.BytesIO(named), parcel=PARCEL, archives=2)


@pytest.mark.parametrize("path", ["{n:06d}", "{n:06d}/" + "x" * 248])
def test_a_package_of_many_entries_is_read_in_bounded_memory(path: str) -> None:
    """Only one batch of lines and one archive's members stand in memory, however long the listing."""
    many: list[Entry] = []
    for n in range(40_000 if "x" not in path else 5_000):
        many += [folder(f"{n:06d}")] if "x" in path else []
        many.append(file(path.format(n=n)))
    data = make([("HQ100001", 1, "Many", many)], [[member()]])
    reader = ContentsReader(io.BytesIO(data), parcel=PARCEL, archives=1)
    number = len(many)
    del many
    with at_most(4 << 20):
        for _, entries in reader.packages():
            assert sum(1 for _ in entries) == number


HEADER: dict[str, Any] = {"format": "courier-contents/1", "parcel": PARCEL, "packages": 1, "archives": 1}
SUMMARY = write_listing([file("a")], io.BytesIO()).record()
PACKAGE: dict[str, Any] = {"package": "HQ100001", "version": 2, "name": "One", "listing": SUMMARY}
ENTRY: dict[str, Any] = {
    "kind": "f",
    "path": "a",
    "mtime": 0,
    "mode": 0o644,
    "size": 1,
    "sha256": SHA,
    "blocks": "",
    "holes": [],
    "further_names": 0,
}
MEMBERS: dict[str, Any] = {"kind": "a", "archive": 1, "members": 1}
MEMBER: dict[str, Any] = {
    "kind": "m",
    "name": "a",
    "size": 1,
    "sha256": SHA,
    "of": 1,
    "offset": 0,
    "length": 1,
    "coding": "store",
}


def records(**changes: dict[str, Any]) -> bytes:
    """The lines of contents, with other values for some fields of each: the first two are objects, the rest rows."""
    objects, rows = {"header": HEADER, "package": PACKAGE}, {"entry": ENTRY, "archive": MEMBERS, "member": MEMBER}
    made: list[Any] = [{**line, **changes.get(name, {})} for name, line in objects.items()]
    made += [[*{**line, **changes.get(name, {})}.values()] for name, line in rows.items()]
    return b"".join(encode(line) + b"\n" for line in made)


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
        ({"header": {"packages": 2}}, MalformedError, "contents.packages[1]"),
        ({"package": {"package": "HQ1"}}, MalformedError, "contents.packages[0].package"),
        ({"package": {"version": 0}}, MalformedError, "contents.packages[0].version"),
        ({"package": {"name": "x" * 1001}}, MalformedError, "contents.packages[0].name"),
        ({"package": {"listing": {**SUMMARY, "entries": 0}}}, MalformedError, "HQ100001:2"),
        ({"package": {"listing": {**SUMMARY, "entries": 2}}}, UnknownFormatError, "HQ100001:2[1]"),
        ({"package": {"listing": {**SUMMARY, "bytes": 2}}}, MalformedError, "HQ100001:2"),
        ({"package": {"listing": {**SUMMARY, "sha256": SHA}}}, MalformedError, "HQ100001:2"),
        ({"package": {"definition": ""}}, MalformedError, "contents.packages[0].definition"),
        ({"package": {"definition": "?"}}, MalformedError, "contents.packages[0].definition"),
        ({"package": {"definition": "QQ="}}, MalformedError, "contents.packages[0].definition"),
        ({"package": {"definition": "QR=="}}, MalformedError, "contents.packages[0].definition"),
        ({"package": {"definition": "A" * (MAX_DEFINITION + 4)}}, MalformedError, "contents.packages[0].definition"),
        ({"package": {"listing": {**SUMMARY, "holes": 1}}}, MalformedError, "HQ100001:2"),
        ({"package": {"listing": {**SUMMARY, "holes": 2}}}, MalformedError, "contents.packages[0].listing.holes"),
        ({"entry": {"kind": "b"}}, UnknownFormatError, "HQ100001:2[0]"),
        ({"entry": {"mode": 0o10000}}, MalformedError, "HQ100001:2[0].mode"),
        ({"entry": {"further_names": 1}}, MalformedError, "a"),
        ({"entry": {"path": "../a"}}, IllegalNameError, "HQ100001:2[0].path"),
        ({"archive": {"archive": 2}}, MalformedError, "contents.archives[1].archive"),
        ({"archive": {"members": 0}}, MalformedError, "contents.archives[1].members"),
        ({"archive": {"members": 2}}, MalformedError, "contents"),
        ({"archive": {"members": MAX_MEMBERS + 1}}, MalformedError, "contents.archives[1].members"),
        ({"archive": {"kind": "s"}}, MalformedError, "contents.archives[1].kind"),
        ({"archive": {"kind": "m"}}, UnknownFormatError, "contents.archives[1]"),
        ({"archive": {"more": 1}}, MalformedError, "contents.archives[1]"),
        ({"member": {"kind": "a"}}, UnknownFormatError, "contents.archives[1][0]"),
        ({"member": {"more": 1}}, MalformedError, "contents.archives[1][0]"),
        ({"member": {"of": 1 << 63}}, MalformedError, "contents.archives[1][0].of"),
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
    for tail in (b"\n", b"{}\n", b"x", text[-1], b'["a",3,1]\n', b'["z",1]\n'):
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
    twice: tuple[str, int, str, list[Entry]] = ("HQ100001", 3, "One", [file("a")])
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


@pytest.mark.parametrize("kind", ["chunks", "", "no such thing \n"])
def test_a_section_after_the_archives_is_refused_by_its_name(kind: str) -> None:
    """A later release may put one there, and what it means must not be passed over."""
    section = json.dumps(["s", kind, 1], separators=(",", ":")).encode() + b'\n["c",1]\n'
    with pytest.raises(UnknownFormatError) as caught:
        read(squeeze(TEXT + section), 2)
    assert ascii(kind) in caught.value.message
    assert "\n" not in caught.value.message
    before = TEXT.splitlines(keepends=True)
    with pytest.raises(MalformedError):
        read(squeeze(b"".join(before[:-3]) + section + b"".join(before[-3:])), 2)


def test_more_members_than_a_batch_holds_are_read_in_order() -> None:
    members = [member(f"{n:05d}") for n in range(MAX_MEMBERS)]
    data = make([("HQ100001", 1, "One", [file("a")])], [members, members[:3000]])
    assert read(data, 2)[1] == [members, members[:3000]]


def test_the_definition_by_the_source_comes_out_as_it_went_in() -> None:
    found = {}
    for header, entries in ContentsReader(io.BytesIO(GOOD), parcel=PARCEL, archives=2).packages():
        found[header.version] = header.definition
        list(entries)
    assert found == DEFINITIONS


def test_the_definition_by_the_source_stands_in_base64_or_not_at_all() -> None:
    line = json.loads(TEXT.splitlines()[1])
    assert base64.b64decode(line["definition"]) == DEFINITIONS[1]
    assert "definition" not in json.loads(records().splitlines()[1])


def test_a_gauge_knows_the_size_of_contents_that_are_not_written() -> None:
    entries = [file(f"document-{n:05}") for n in range(3000)]
    listed = [entry_line(entry) for entry in entries]
    summary = write_listing(entries, io.BytesIO())
    header = PackageHeader(package="HQ100001", version=1, name="Office", listing=summary, definition=b"x" * 700)
    gauge = ContentsGauge(parcel=PARCEL, packages=1, archives=3)
    gauge.package(header, listed)
    for archives in (3, 1, 0):
        other = gauge.copy()
        out = io.BytesIO()
        writer = ContentsWriter(out, parcel=PARCEL, packages=1, archives=3)
        writer.package(header, listed)
        for number in range(1, archives + 1):
            members = [member(f"{number}-{n}") for n in range(500)]
            other.archive(number, members)
            writer.archive(number, members)
        writer.close()
        assert other.size == other.size == len(out.getvalue())


def test_lines_that_a_gauge_compressed_make_the_same_contents_as_lines_that_are_compressed_anew() -> None:
    entries = [file(f"document-{n:05}") for n in range(APART)]
    listed, summary = [entry_line(entry) for entry in entries], write_listing(entries, io.BytesIO())
    headers = [PackageHeader(package="HQ100001", version=n, name="Office", listing=summary) for n in (1, 2)]
    short = [file("a")]
    few = PackageHeader(package="HQ100002", version=1, name="Few", listing=write_listing(short, io.BytesIO()))
    members = {
        1: [member(f"1-{n}") for n in range(3 * APART)],
        2: [member("2")],
        3: [member(f"3-{n}") for n in range(APART)],
    }
    gauge = ContentsGauge(parcel=PARCEL, packages=3, archives=3, keep=io.BytesIO())
    for header in headers:
        gauge.package(header, listed)
    gauge.package(few, map(entry_line, short))
    first, second = gauge.copy(), gauge.copy()
    for number, rows in members.items():
        second.archive(number, rows)

    def written(kept: KeptRuns | None) -> tuple[bytes, list[int]]:
        out, again = io.BytesIO(), list[int]()
        writer = ContentsWriter(out, parcel=PARCEL, packages=3, archives=3, kept=kept)
        for header in headers:
            writer.package(header, iter(listed) if kept is None else iter(()))
        writer.package(few, map(entry_line, short))
        for number, rows in members.items():
            if writer.kept_archive(number):
                again.append(number)
            else:
                writer.archive(number, rows)
        writer.close()
        return out.getvalue(), again

    whole, none = written(None)
    assert none == []
    assert second.kept is not None
    assert written(second.kept) == (whole, [1, 3])
    assert second.size == len(whole)
    reader = ContentsReader(io.BytesIO(whole), parcel=PARCEL, archives=3)
    assert [list(found) for _, found in reader.packages()] == [entries, entries, short]
    assert dict(reader.archives()) == members
    # Whoever tries other archives takes the room of those before, which are then made anew.
    assert first.kept is not None
    assert first.kept.archives == {}
    gauge.copy().archive(1, members[3])
    assert written(second.kept) == (whole, [])


def test_lines_that_are_not_kept_any_more_are_an_error() -> None:
    keep = io.BytesIO()
    gauge = ContentsGauge(parcel=PARCEL, packages=0, archives=1, keep=keep)
    gauge.archive(1, [member(f"{n}") for n in range(APART)])
    keep.truncate(100)
    writer = ContentsWriter(io.BytesIO(), parcel=PARCEL, packages=0, archives=1, kept=gauge.kept)
    with pytest.raises(EOFError):
        writer.kept_archive(1)
