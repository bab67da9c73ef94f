"""Encrypted files are read from any byte, in little memory; a failing medium is told from a forged file."""

from __future__ import annotations

import gc
import io
import os
import threading
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from age_files import ENCRYPTED_CHUNK, HEADER, LONG, LONG_ENCRYPTED, OURS, SEED
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.age import CHUNK, EncryptedView, EncryptingWriter, open_encrypted
from formats.errors import UnreadableError


@st.composite
def readings(draw: st.DrawFn) -> list[tuple[int, int, bool]]:
    """(where, how much, into a buffer); a place below 0 stands for going on."""
    near = st.integers(0, 71).flatmap(lambda n: st.integers(max(0, n * CHUNK - 2), n * CHUNK + 2))
    sizes = st.sampled_from([0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 16 * CHUNK, 40 * CHUNK])
    return draw(st.lists(st.tuples(st.one_of(st.just(-1), near), sizes, st.booleans()), max_size=12))


@settings(max_examples=80)
@given(readings())
def test_an_encrypted_file_is_read_from_anywhere(steps: Sequence[tuple[int, int, bool]]) -> None:
    model = io.BytesIO(LONG)
    with open_encrypted(io.BytesIO(LONG_ENCRYPTED), [OURS]) as reader:
        assert reader.size == len(LONG)
        for place, size, into in steps:
            if place >= 0:
                assert reader.seek(place) == model.seek(place)
            if into:
                buffer = bytearray(size)
                assert buffer[: reader.readinto(buffer)] == model.read(size)
            else:
                assert reader.read(size) == model.read(size)
            assert reader.tell() == model.tell()


@pytest.mark.parametrize("piece", [4_000, CHUNK, 1 << 20, (4 << 20) + 1, -1])
def test_an_encrypted_file_is_read_to_its_end(piece: int) -> None:
    with open_encrypted(io.BytesIO(LONG_ENCRYPTED), [OURS]) as reader:
        assert b"".join(iter(lambda: reader.read(piece), b"")) == LONG
        assert reader.read() == b""
        assert reader.seek(-5, os.SEEK_END) == len(LONG) - 5
        assert reader.read(10) == LONG[-5:]
        reader.seek(len(LONG) + 100)
        assert (reader.read(1), reader.readinto(bytearray(1)), reader.readall()) == (b"", 0, b"")
        with pytest.raises(ValueError, match="negative"):
            reader.seek(-1)
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_a_forgotten_reader_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    for _ in range(5):
        source = io.BytesIO(LONG_ENCRYPTED)
        reader = open_encrypted(source, [OURS])
        reader.read(40 * CHUNK)
        del reader
        source.close()
        gc.collect()
    assert threading.active_count() == before


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path, plain = tmp_path / "encrypted", tmp_path / "plain"
    with plain.open("wb") as file:
        file.truncate(64 << 20)
    buffer = bytearray(4 << 20)
    tracemalloc.start()
    try:
        with path.open("wb") as out, EncryptingWriter(out, [OURS.recipient]) as writer:
            for _ in range(64):
                writer.write(bytes(1 << 20))
        with EncryptedView(plain.open("rb"), 64 << 20, [OURS.recipient], seed=SEED, context=b"a") as view:
            while view.readinto(buffer):
                pass
        with path.open("rb") as source, open_encrypted(source, [OURS]) as reader:
            while reader.readinto(buffer):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


class Failing(io.BytesIO):
    """A medium that cannot be read from some byte on."""

    def __init__(self, data: bytes, bad: int) -> None:
        super().__init__(data)
        self.bad = bad

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() <= self.bad < self.tell() + (size or 0):
            raise OSError(5, "Input/output error")
        return super().read(size)


def test_a_medium_that_fails_is_told_as_unreadable() -> None:
    for bad in (0, HEADER + 16 + 30 * ENCRYPTED_CHUNK, len(LONG_ENCRYPTED) - 1):
        with pytest.raises(UnreadableError), open_encrypted(Failing(LONG_ENCRYPTED, bad), [OURS]) as reader:
            reader.read()


def test_a_source_that_becomes_shorter_is_told_as_unreadable() -> None:
    source = io.BytesIO(LONG_ENCRYPTED)
    with open_encrypted(source, [OURS]) as reader:
        source.truncate(40 * ENCRYPTED_CHUNK)
        with pytest.raises(UnreadableError, match="shorter"):
            reader.read()


def test_a_source_that_gives_less_than_it_is_asked_for_is_read_on() -> None:
    class Dribbling(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size, 10_007) if size and size > 0 else size)

    with open_encrypted(Dribbling(LONG_ENCRYPTED), [OURS]) as reader:
        assert reader.read() == LONG


class _Failing(io.RawIOBase):
    """Fails at one place, and notes what is asked for behind it afterwards."""

    def __init__(self, place: int) -> None:
        self.place, self.at, self.has_failed, self.after = place, 0, False, list[int]()

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset
        if self.has_failed:
            self.after.append(offset)
        return offset

    def readinto(self, buffer: Any) -> int:
        if self.at <= self.place < self.at + len(buffer):
            self.has_failed = True
            raise UnreadableError("bad here", place="big.img")
        self.at += len(buffer)
        return len(buffer)


@pytest.mark.parametrize("place", [0, 1 << 20, 5 << 20, (8 << 20) - 1])
def test_where_reading_fails_no_thread_reads_on_and_the_error_is_the_first(place: int) -> None:
    for _ in range(20):
        plain = _Failing(place)
        with EncryptedView(plain, 8 << 20, [OURS.recipient], seed=SEED, context=b"a") as view:  # type: ignore[arg-type]
            with pytest.raises(UnreadableError, match="bad here"):
                while view.read(4 << 20):
                    pass
            assert plain.after == []
