"""Every codec of the registry gives content back, keeps its bounds, and refuses what it did not make.

A new codec needs no line here: the tests run over the registry.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from solid_archives import Part, archive_of
from stock import stock_tool

from formats.codecs import CODECS, COMPRESSIONS, STORE, Codec, SolidCodec
from formats.digest import CHUNK
from formats.errors import FormatError, MalformedError, TooLargeError

ROOT = Path(__file__).resolve().parents[2]
SOLID = {name: codec for name, codec in CODECS.items() if isinstance(codec, SolidCodec)}
every_solid_codec = pytest.mark.parametrize("codec", SOLID.values(), ids=SOLID)
every_codec = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)

contents = st.binary(max_size=300) | st.builds(
    lambda seed, count: hashlib.shake_128(b"%d" % seed).digest(count // 2) + bytes(count // 2),
    st.integers(0, 99),
    st.integers(0, 1 << 17),
)


def levels(codec: Codec) -> list[int]:
    """All levels that this codec is used with, and its default."""
    return sorted({0, *(way.level for way in COMPRESSIONS.values() if way.codec is codec)})


def encoded(codec: Codec, data: bytes, *, level: int = 0, piece: int = 1 << 20) -> bytes:
    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    return b"".join(codec.encode(pieces, length=len(data), level=level))


def decoded(codec: Codec, member: bytes, length: int) -> bytes:
    """What a member holds; the decoder never gives more than ``length`` bytes, whatever is wrong with the member."""
    result = b""
    try:
        for data in codec.decode(io.BytesIO(member), length, place="here"):
            result += data
            assert len(data) <= CHUNK
    finally:
        assert len(result) <= length
    assert len(result) == length
    return result


class Endless:
    """What an iterator of bytes yields, to be read; counts what is taken."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._pending = b""
        self.count = 0

    def read(self, size: int) -> bytes:
        while not self._pending:
            self._pending = next(self._pieces)
        data, self._pending = self._pending[:size], self._pending[size:]
        self.count += len(data)
        return data


# --- round trip and bound -------------------------------------------------------------------------------------------


@every_codec
@given(contents, st.integers(1, 1 << 16))
def test_content_comes_back_and_keeps_the_bound(codec: Codec, data: bytes, piece: int) -> None:
    for level in levels(codec) if len(data) < 300 else (0,):
        member = encoded(codec, data, level=level, piece=piece)
        assert decoded(codec, member, len(data)) == data
        assert len(member) <= codec.bound(len(data))


@every_codec
@pytest.mark.parametrize("piece", [70_001, CHUNK])
def test_a_large_content_that_does_not_shrink_keeps_the_bound(codec: Codec, piece: int) -> None:
    data = hashlib.shake_128(b"noise").digest(9 << 20)
    member = encoded(codec, data, level=3, piece=piece)
    assert len(member) <= codec.bound(len(data))
    assert decoded(codec, member, len(data)) == data
    assert encoded(codec, data, level=3, piece=piece) == member


@every_codec
@given(st.integers(1 << 12, 1 << 32))
def test_what_fits_into_a_room_fits_at_its_worst(codec: Codec, room: int) -> None:
    assert room * 0.9 - 512 < codec.fits(room) <= room
    assert codec.bound(codec.fits(room)) <= room


@every_codec
def test_a_member_that_is_the_content_is_so_to_the_byte(codec: Codec) -> None:
    data = b"a line that shrinks\n" * 1000
    assert (encoded(codec, data) == data) == codec.as_is
    assert (codec.bound(len(data)) == len(data)) == codec.as_is


# --- refusals -------------------------------------------------------------------------------------------------------


@every_codec
@given(st.binary(min_size=1, max_size=3000), st.data())
def test_a_truncated_member_is_refused(codec: Codec, content: bytes, choice: st.DataObject) -> None:
    member = encoded(codec, content)
    cut = choice.draw(st.integers(0, len(member) - 1))
    with pytest.raises(FormatError) as caught:
        decoded(codec, member[:cut], len(content))
    assert caught.value.place == "here"


@every_codec
@given(st.binary(min_size=1, max_size=3000), st.data())
def test_a_corrupted_member_is_refused_or_as_long_as_listed(
    codec: Codec, content: bytes, choice: st.DataObject
) -> None:
    member = bytearray(encoded(codec, content))
    member[choice.draw(st.integers(0, len(member) - 1))] ^= 1 << choice.draw(st.integers(0, 7))
    try:
        decoded(codec, bytes(member), len(content))
    except FormatError as error:
        assert error.place == "here"


@every_codec
@given(st.binary(max_size=3000), st.integers(0, 3000))
@example(b"", 1)
@example(bytes(4), 0)
def test_garbage_is_refused_or_as_long_as_listed(codec: Codec, garbage: bytes, length: int) -> None:
    try:
        decoded(codec, garbage, length)
    except FormatError as error:
        assert error.place == "here"


@every_codec
@pytest.mark.parametrize("more", [b"\0", b"\x50\x2a\x4d\x18\0\0\0\0", None], ids=["a byte", "skippable", "a member"])
def test_bytes_after_the_end_are_refused(codec: Codec, more: bytes | None) -> None:
    content = b"content" * 99
    member = encoded(codec, content)
    with pytest.raises(FormatError):
        decoded(codec, member + (member if more is None else more), len(content))


@every_codec
def test_a_member_that_holds_more_or_less_than_listed_is_refused(codec: Codec) -> None:
    content = b"content" * 99
    for length in (0, 1, len(content) - 1, len(content) + 1, 1 << 40):
        with pytest.raises(FormatError) as caught:
            decoded(codec, encoded(codec, content), length)
        assert isinstance(caught.value, TooLargeError) == (length < len(content))


@every_codec
def test_an_endless_member_is_read_only_as_far_as_its_content_is_listed(codec: Codec) -> None:
    source = Endless(codec.encode(repeat(bytes(CHUNK)), length=1 << 50, level=1))
    taken = 0
    with pytest.raises(TooLargeError):
        for data in codec.decode(cast(BinaryIO, source), 10 << 20, place="here"):
            taken += len(data)
    assert taken <= 10 << 20
    assert source.count <= (10 << 20) + CHUNK


PEAK = """
import sys
from pathlib import Path
from formats.codecs import CODECS

class Source:
    def __init__(self, pieces):
        self.pieces, self.pending = pieces, b""

    def read(self, size):
        while not self.pending and (data := next(self.pieces, None)) is not None:
            self.pending = data
        data, self.pending = self.pending[:size], self.pending[size:]
        return data

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

def content():
    block = bytes(range(256)) * 4096
    for n in range(512):
        yield n.to_bytes(4, "big") + block[4:]

codec = CODECS[sys.argv[1]]
path = Path(sys.argv[2])
if sys.argv[3:]:
    with path.open("wb") as out:
        for data in codec.encode(content(), length=512 << 20, level=int(sys.argv[3])):
            out.write(data)
else:
    for data in codec.decode(path.open("rb"), 512 << 20, place=""):
        break
    before = status("VmRSS")
    for data in codec.decode(path.open("rb"), 512 << 20, place=""):
        pass
    print(status("VmHWM") - before)
"""


@every_codec
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_decoding_half_a_gigabyte_keeps_the_memory_bound(codec: Codec, tmp_path: Path) -> None:
    def run(*arguments: object) -> bytes:
        command = [sys.executable, "-c", PEAK, codec.name, tmp_path / "member", *arguments]
        return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, check=True).stdout

    run(max(levels(codec)))
    assert int(run()) <= codec.memory + 4 * CHUNK


def test_a_zstd_frame_that_asks_for_a_larger_window_is_refused() -> None:
    stock = [stock_tool("zstd"), "-cq", "--ultra", "--long=28", "-"]
    content = bytes(1000)
    # Content of unknown size, so that the frame's header names the window.
    member = subprocess.run(stock, input=content, capture_output=True, check=True).stdout
    with pytest.raises(MalformedError):
        decoded(CODECS["zstd"], member, len(content))


# --- worth ----------------------------------------------------------------------------------------------------------


@every_codec
def test_only_what_makes_content_smaller_is_worth_it(codec: Codec) -> None:
    def saves(data: bytes) -> bool:
        return codec.saves(io.BytesIO(data), len(data))

    noise = hashlib.shake_128(b"noise").digest(1 << 20)
    assert not saves(noise)
    assert saves(b"a line that shrinks\n" * 10_000) is not codec.as_is
    # Its samples lie across the content, not at its beginning alone.
    assert saves(noise[: 128 << 10] + bytes(4 << 20)) is not codec.as_is
    # In a solid group what is small costs nothing, and shrinks together with what is around it.
    assert saves(b"small") is codec.solid
    assert not saves(b"")


# --- solid codecs ---------------------------------------------------------------------------------------------------


def short_runs(codec: SolidCodec, run: int) -> SolidCodec:
    """The codec with runs of ``run`` bytes."""
    made: SolidCodec = type("Short", (type(codec),), {"run": run})()
    return made


@every_solid_codec
@given(st.integers(1, 3000), st.sampled_from([-1, 0, 1]), st.integers(1, 4), st.booleans(), st.integers(1, 1 << 14))
def test_runs_packed_apart_are_the_stream(
    codec: SolidCodec, run: int, beside: int, count: int, noise: bool, piece: int
) -> None:
    size = max(1, run * count + beside)
    data = hashlib.shake_128(b"noise").digest(size) if noise else bytes(range(7)) * size
    data = data[:size]
    short = short_runs(codec, run)
    runs = [b"".join(short.encode_run([data[at : at + run]], level=0)) for at in range(0, size, run)]
    assert b"".join(runs) + codec.ending == encoded(short, data, piece=piece)
    assert decoded(short, b"".join(runs) + codec.ending, size) == data
    # Each can be read without what was before it.
    for n, packed in enumerate(runs):
        assert decoded(codec, packed + codec.ending, len(data[n * run : n * run + run])) == data[n * run :][:run]


@every_solid_codec
def test_a_damaged_run_in_the_middle_is_refused(codec: SolidCodec) -> None:
    data = b"a line that shrinks\n" * 1000
    short = short_runs(codec, 5000)
    runs = [b"".join(short.encode_run([data[at : at + 5000]], level=0)) for at in range(0, len(data), 5000)]
    for wrong in (b"", runs[1][:-1], runs[1] + b"\0", runs[1][1:], runs[1] * 2):
        with pytest.raises(FormatError):
            decoded(codec, b"".join([runs[0], wrong, *runs[2:]]) + codec.ending, len(data))


# --- the registry ---------------------------------------------------------------------------------------------------


def test_a_solid_codec_says_that_it_is_one() -> None:
    assert {name for name, codec in CODECS.items() if codec.solid} == set(SOLID)


def test_a_name_and_a_suffix_is_one_codecs() -> None:
    assert list(CODECS) == [codec.name for codec in CODECS.values()]
    suffixes = [codec.suffix for codec in CODECS.values() if codec.suffix]
    assert len(set(suffixes)) == len(suffixes)
    assert all(re.fullmatch("[a-z0-9]+", name) for name in CODECS)
    assert all(re.fullmatch(r"\.[a-z0-9]+", suffix) for suffix in suffixes)


def test_the_operators_words_name_codecs_of_the_registry() -> None:
    assert list(COMPRESSIONS) == ["auto", "none", "fast", "best"]
    assert COMPRESSIONS["best"].codec.solid
    assert all(way.codec in CODECS.values() for way in COMPRESSIONS.values())
    assert COMPRESSIONS["none"].codec is STORE


@every_codec
def test_the_stock_command_decodes_members_that_follow_each_other(codec: Codec, tmp_path: Path) -> None:
    members = b"".join(encoded(codec, data) for data in (b"first" * 99, b"second" * 999))
    if codec.solid:
        members = subprocess.run(
            [stock_tool("7z"), "x", "-so", _archive(tmp_path)], capture_output=True, check=True
        ).stdout
    if codec.command:
        command = [stock_tool(codec.command[0]), *codec.command[1:]]
        members = subprocess.run(command, input=members, capture_output=True, check=True).stdout
    assert members == b"first" * 99 + b"second" * 999
    assert bool(codec.command) == bool(codec.by_hand)
    assert all(word in codec.by_hand for word in (codec.suffix, *codec.command[:1]))


def _archive(folder: Path) -> Path:
    """An archive of two solid groups; there is one method of them, so far."""
    path = folder / "a.7z"
    path.write_bytes(archive_of(Part(members={"a": b"first" * 99}), Part(members={"b": b"second" * 999})))
    return path


def test_nothing_else_names_a_codec() -> None:
    """The script on every volume is an exception: it travels alone; `test_restore` tries every codec with it.

    So are the readers and writers of archives that other tools make, and what tells such a file from a medium: what it
    was compressed with is a matter of its own format.
    """
    words = {word for codec in CODECS.values() if not codec.as_is for word in (codec.name, codec.suffix) if word}
    named = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(words)))
    allowed = {ROOT / "formats" / "restore.py", *(ROOT / "formats" / "codecs").iterdir()}
    allowed |= set((ROOT / "formats" / "archive").glob("foreign_*.py"))
    allowed |= {ROOT / "courier" / "packages" / "expand.py", ROOT / "courier" / "media" / "finding.py"}
    paths = [path for package in ("courier", "formats") for path in (ROOT / package).rglob("*.py")]
    assert [path for path in paths if path not in allowed and named.search(path.read_text("utf-8"))] == []
    compared = re.compile(r"""coding *[=!]= *["']|["']coding["']\] *[=!]=""")
    assert [path for path in paths if path not in allowed and compared.search(path.read_text("utf-8"))] == []
