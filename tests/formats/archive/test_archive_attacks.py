"""Hostile archives with one fault each (``tests/vectors/archives``), archives that expand, and damaged ones."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Sequence

import make_archives
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_archives import (
    CONTENT,
    FILE,
    GOOD,
    HEADER,
    NAMES,
    PLAIN_FILE,
    SOLID_GOOD,
    TIMES,
    archive,
    attributes,
    files,
    number,
    packed,
    start,
    streams,
)

from formats.archive import ARCHIVE_LIMIT, MAX_MEMBERS, ArchiveReader, Member
from formats.archive.header import MAX_HEADER, Stored, header_bytes
from formats.errors import DigestMismatchError, FormatError, MalformedError, TooLargeError, UnknownFormatError

MIB = 1 << 20
VECTORS = make_archives.vectors()
COMMITTED = {
    path.relative_to(make_archives.FOLDER).as_posix(): path.read_bytes() for path in make_archives.FOLDER.rglob("*.7z")
}
ERRORS = {error.code: error for _, error in make_archives.ATTACKS.values()}


def test_the_committed_vectors_are_those_the_generator_makes() -> None:
    """Packed headers are an exception: liblzma does not promise the same bytes in every release."""
    assert len(VECTORS) == len(make_archives.ATTACKS) + len(make_archives.GOODS)
    assert COMMITTED.keys() == VECTORS.keys()
    assert [name for name in VECTORS if "packed-header" not in name and VECTORS[name] != COMMITTED[name]] == []


@pytest.mark.parametrize("name", [name for name in COMMITTED if name.startswith("good/")])
def test_without_a_fault_they_are_read(name: str) -> None:
    for data in (COMMITTED[name], VECTORS[name]):
        reader = ArchiveReader(io.BytesIO(data))
        assert {member.name: reader.open(member.name).read() for member in reader.members()} == CONTENT


@pytest.mark.parametrize("made", [COMMITTED, VECTORS], ids=["committed", "made"])
@pytest.mark.parametrize("name", [name for name in COMMITTED if not name.startswith("good/")])
def test_each_attack_is_refused_in_little_memory(name: str, made: dict[str, bytes]) -> None:
    data, error = made[name], ERRORS[name.split("/", maxsplit=1)[0]]
    tracemalloc.start()
    try:
        with pytest.raises(error) as caught:
            ArchiveReader(io.BytesIO(data))
        assert tracemalloc.get_traced_memory()[1] < MIB // 4
    finally:
        tracemalloc.stop()
    assert type(caught.value) is error
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [0x20, 0, 0x80, 0x27, 0x2020, PLAIN_FILE, 0o100400 << 16 | 0x8001])
def test_plain_files_of_all_permissions_are_taken(value: int) -> None:
    ArchiveReader(io.BytesIO(archive(files=files(NAMES, TIMES, attributes(FILE, value)))))


class Long(io.BytesIO):
    """An archive that says it is longer than it is."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(offset, whence) if whence == 0 else ARCHIVE_LIMIT + 1


def test_an_archive_past_the_limit_is_refused() -> None:
    with pytest.raises(TooLargeError):
        ArchiveReader(Long(GOOD))


@pytest.mark.parametrize(
    ("header", "unpacked"),
    [
        (b"\1\5" + number(8_000_000) + bytes(8_000_000), None),
        (b"\1" + streams() + b"\5" + number(MAX_MEMBERS) + b"\x11" + number(60 * MIB) + bytes(60 * MIB), None),
        (bytes(MAX_HEADER), None),
        (bytes(MAX_HEADER + 1), None),
        (bytes(1000), MAX_HEADER),
    ],
    ids=["8 million members", "30 million names", "largest header", "header too large", "claims the largest header"],
)
def test_a_header_that_unpacks_to_much_takes_bounded_memory(header: bytes, unpacked: int | None) -> None:
    data = packed(header, unpacked=unpacked)
    assert len(data) < MIB
    tracemalloc.start()
    try:
        with pytest.raises((MalformedError, TooLargeError)):
            ArchiveReader(io.BytesIO(data))
        assert tracemalloc.get_traced_memory()[1] < 256 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_as_many_members_of_the_longest_names_as_may_be_take_bounded_memory() -> None:
    stem = "𝄞" * 48 + "/" + "𝄞" * 48 + "/" + "𝄞" * 48 + "/" + "𝄞" * 40
    many = [Member(name=f"{stem}{n:05}", size=1, mtime_ns=0) for n in range(MAX_MEMBERS)]
    header = header_bytes([Stored(member=member, offset=0, crc32=0) for member in many])
    source = io.BytesIO(start(bytes(MAX_MEMBERS), header))
    del header
    tracemalloc.start()
    try:
        found = ArchiveReader(source).members()
        assert tracemalloc.get_traced_memory()[1] < 256 * MIB
    finally:
        tracemalloc.stop()
    assert found == many


def check_harmless(data: bytes) -> None:
    """Refused by an error of ours, or the bytes that were put in."""
    try:
        reader = ArchiveReader(io.BytesIO(data))
        found = {member.name: reader.open(member.name).read() for member in reader.members()}
    except FormatError:
        return
    assert found == CONTENT


DAMAGES = st.one_of(
    st.tuples(st.just("flip"), st.floats(0, 1, exclude_max=True), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.floats(0, 1, exclude_max=True), st.integers(1, 99)),
    st.tuples(st.just("add"), st.floats(0, 1, exclude_max=True), st.integers(0, 255)),
)


def damaged(data: bytes, damages: Sequence[tuple[str, float, int]]) -> bytes:
    for kind, where, value in damages:
        at = int(where * len(data))
        if kind == "flip":
            data = data[:at] + bytes([data[at] ^ value]) + data[at + 1 :] if data else data
        elif kind == "cut":
            data = data[:at] + data[at + value :]
        else:
            data = data[:at] + bytes([value]) + data[at:]
    return data


@settings(max_examples=500)
@given(st.sampled_from([GOOD, packed(HEADER), SOLID_GOOD]), st.lists(DAMAGES, min_size=1, max_size=4))
def test_damage_anywhere_is_found(data: bytes, damages: list[tuple[str, float, int]]) -> None:
    check_harmless(damaged(data, damages))


@pytest.mark.parametrize("good", [GOOD, SOLID_GOOD], ids=["stored", "solid"])
def test_every_single_bit_counts(good: bytes) -> None:
    for at in range(8 * len(good)):
        data = bytearray(good)
        data[at // 8] ^= 1 << at % 8
        with pytest.raises((MalformedError, UnknownFormatError, DigestMismatchError, TooLargeError)):
            reader = ArchiveReader(io.BytesIO(data))
            for n in range(2):
                reader.open(n).read()


@settings(max_examples=1000)
@given(st.booleans(), st.lists(DAMAGES, min_size=1, max_size=4))
def test_a_damaged_header_with_the_right_crc_raises_only_our_errors(
    pack: bool, damages: list[tuple[str, float, int]]
) -> None:
    header = damaged(HEADER, damages)
    try:
        reader = ArchiveReader(io.BytesIO(packed(header) if pack else start(b"onefour", header)))
        for n in range(len(reader.members())):
            reader.open(n).read()
    except FormatError:
        pass


@settings(max_examples=300)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\1", b"\1\4", b"\x17", b"\x17\6\0\1\x09"]))
def test_any_header_raises_only_our_errors(body: bytes, before: bytes) -> None:
    for data in (start(b"onefour", before + body), packed(before + body), before + body):
        with pytest.raises(FormatError):
            ArchiveReader(io.BytesIO(data))
