"""Not one byte of a payload file leaves this computer unless its block is the one that was signed."""

from __future__ import annotations

import hashlib
import io
import random
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.errors import DamagedError
from courier.media.checked_stream import SourceFile, checked
from courier.media.written_tags import WrittenTags
from formats.blocks import BlockHasher, BlockTable

UNIT = 1000


def payload(signed: bytes, now: bytes | None = None) -> SourceFile:
    """A payload file that was signed as ``signed`` and holds ``now``."""
    hasher = BlockHasher(UNIT)
    hasher.update(signed)
    sha256, digests = hasher.finish()
    table = BlockTable(digests, [len(signed)], UNIT)
    opened = partial(io.BytesIO, signed if now is None else now)
    return SourceFile(path="data/a", size=len(signed), sha256=sha256, open=opened, is_good=partial(table.is_good, 0))


@pytest.mark.parametrize("bad", [0, 1, 999, 1000, 4321, 9999])
def test_nothing_of_a_block_that_changed_is_handed_on(bad: int) -> None:
    data = random.Random(bad).randbytes(10_000)
    changed = bytes([*data[:bad], data[bad] ^ 1, *data[bad + 1 :]])
    taken = bytearray()
    with checked(payload(data, changed), UNIT, lambda _: None)() as stream, pytest.raises(DamagedError) as caught:
        while piece := stream.read(333):
            taken += piece
    assert caught.value.code == "build-damaged"
    assert taken == data[: len(taken)]
    assert len(taken) <= bad // UNIT * UNIT


@pytest.mark.parametrize("now", [b"", b"x" * 2500, b"x" * 3500])
def test_a_file_that_is_shorter_or_longer_than_was_signed_is_not_taken_for_it(now: bytes) -> None:
    signed = b"x" * 3000
    with checked(payload(signed, now), UNIT, lambda _: None)() as stream:
        if len(now) > len(signed):
            assert stream.read() == signed
        else:
            with pytest.raises(DamagedError):
                stream.read()


@given(size=st.integers(1, 12_000), steps=st.lists(st.tuples(st.integers(0, 12_000), st.integers(0, 5000)), max_size=8))
def test_it_reads_as_any_file_does_from_wherever_it_is_sought(size: int, steps: list[tuple[int, int]]) -> None:
    data = random.Random(size).randbytes(size)
    told: list[int] = []
    with checked(payload(data), UNIT, told.append)() as stream:
        assert stream.read() == data
        for offset, length in steps:
            stream.seek(min(offset, size))
            assert stream.tell() == min(offset, size)
            assert stream.read(length) == data[min(offset, size) :][:length]
    assert sum(told) >= size


def test_a_file_without_a_block_table_is_compared_as_a_whole() -> None:
    data = b"document" * 500
    file = SourceFile(
        path="d", size=len(data), sha256=hashlib.sha256(data).hexdigest(), open=partial(io.BytesIO, data[:-1] + b"?")
    )
    with checked(file, UNIT, lambda _: None)() as stream, pytest.raises(DamagedError):
        while stream.read(1000):
            pass


@pytest.mark.parametrize("size", [1, UNIT, 5 * UNIT + 3])
def test_a_payload_file_is_tagged_as_it_is_handed_on(size: int) -> None:
    data, tags = bytes(range(256)) * (size // 256 + 1), WrittenTags()
    file = payload(data[:size])
    with checked(file, UNIT, lambda _: None, tags)() as stream:
        while stream.read(7):
            pass
    for read, same in ((data[:size], True), (data[: size - 1] + b"?", False), (data[: size - 1], False)):
        take, is_same = tags.comparing(file.path)
        for at in range(0, len(read), 100):
            take(read[at : at + 100])
        assert is_same() == same


def test_a_file_that_is_not_read_straight_has_no_tag() -> None:
    tags = WrittenTags()
    file = payload(bytes(5 * UNIT))
    with checked(file, UNIT, lambda _: None, tags)() as stream:
        stream.read(UNIT)
        stream.seek(0)
        assert len(stream.read()) == 5 * UNIT
    assert file.path not in tags
