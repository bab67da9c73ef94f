"""Archives and encrypted files made while they are read have the bytes of those that are written, from any byte on."""

from __future__ import annotations

import io
import random
import tracemalloc
import zlib
from functools import partial
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.age import CHUNK, EncryptedView, EncryptingWriter, Identity, encrypted_size, open_encrypted
from formats.archive import Member, archive_size, write_archive
from formats.archive.header import Columns
from formats.archive.view import ArchiveView, Span
from formats.errors import MalformedError, UnreadableError

SEED = bytes(range(32))
RECIPIENTS = [Identity(bytes([n]) * 32).recipient for n in (1, 2)]
SIZES = st.sampled_from([0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 5 * CHUNK + 7, 9 * CHUNK, 70 * CHUNK + 1])


def written(contents: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    write_archive(
        out,
        [(Member(name=name, size=len(data), mtime_ns=0), partial(io.BytesIO, data)) for name, data in contents.items()],
    )
    return out.getvalue()


def _opened(data: bytes, _number: int) -> BinaryIO:
    return io.BytesIO(data)


def view_of(contents: dict[str, bytes], *, offset: int = 0) -> ArchiveView:
    return ArchiveView(
        [
            Span(
                member=Member(name=name, size=len(data), mtime_ns=0),
                crc32=zlib.crc32(data),
                open=partial(_opened, b"x" * offset + data + b"y"),
                offset=offset,
            )
            for name, data in contents.items()
        ]
    )


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6), st.integers(0, 9), st.randoms())
def test_a_view_of_an_archive_is_the_archive(datas: list[bytes], offset: int, rng: random.Random) -> None:
    contents = {f"m{n}": data for n, data in enumerate(datas)}
    whole = written(contents)
    view = view_of(contents, offset=offset)
    assert view.size == len(whole) == archive_size(Member(name=n, size=len(d), mtime_ns=0) for n, d in contents.items())
    assert view.read() == whole
    for _ in range(10):
        at, count = rng.randrange(len(whole) + 2), rng.randrange(len(whole) + 2)
        view.seek(at)
        assert view.read(count) == whole[at : at + count]


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.sampled_from(["whole", "opened", "wrong"])), min_size=1),
    st.integers(1, 400),
    st.randoms(),
)
def test_members_that_are_had_at_once_make_the_same_archive(
    members: list[tuple[bytes, str]], piece: int, rng: random.Random
) -> None:
    contents = {f"m{n}": data for n, (data, _) in enumerate(members)}
    whole, asked = written(contents), list[int]()

    def at_once(number: int) -> bytes | None:
        asked.append(number)
        data, way = members[number]
        return {"whole": data, "opened": None, "wrong": data + b"!"}[way]

    def view() -> ArchiveView:
        return ArchiveView.of_columns(
            Columns(
                names=list(contents),
                sizes=[len(data) for data in contents.values()],
                times_ns=[0] * len(members),
                crc32s=[zlib.crc32(data) for data in contents.values()],
            ),
            offsets=[0] * len(members),
            opener=lambda number: io.BytesIO(members[number][0]),
            at_once=at_once,
        )

    source, found = view(), b""
    while data := source.read(piece):
        found += data
    assert found == whole
    # Read from start to end, each of them is asked for once: a store reads those ahead that follow.
    at_once_only = [n for n, (_, way) in enumerate(members) if way == "whole"]
    assert [n for n in asked if n in set(at_once_only)] == at_once_only
    at = rng.randrange(len(whole))
    source.seek(at)
    assert source.read(piece) == whole[at : at + piece]


def test_archives_that_are_open_side_by_side_keep_little_of_each_member() -> None:
    count, members = 20, 2000
    names = [f"HQ100001-1/folder-{n // 100:04}/document-{n:07}.txt" for n in range(members)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        views = []
        for number in range(count):
            columns = Columns(
                names=names,
                sizes=[1] * members,
                times_ns=[n * 1_000_003 for n in range(members)],
                crc32s=[zlib.crc32(b"%d" % n) for n in range(members)],
            )
            views.append(
                ArchiveView.of_columns(
                    columns, offsets=[0] * members, opener=lambda _: io.BytesIO(), at_once=lambda _: b"x"
                )
            )
            del columns
            while views[number].read(1 << 16):
                pass
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / (count * members) < 60


def test_a_view_of_content_that_became_shorter_is_unreadable() -> None:
    short = Span(member=Member(name="a", size=10, mtime_ns=0), crc32=0, open=lambda _: io.BytesIO(b"12345"))
    with pytest.raises(UnreadableError) as caught:
        ArchiveView([short]).read()
    assert caught.value.place == "a"
    with pytest.raises(MalformedError):
        ArchiveView([])


@given(SIZES, st.integers(0, 1 << 32))
def test_a_view_of_an_encrypted_file_is_the_encrypted_file(size: int, seed: int) -> None:
    rng = random.Random(seed)
    plain = rng.randbytes(size)
    out = io.BytesIO()
    with EncryptingWriter(out, RECIPIENTS, seed=SEED, context=b"test") as writer:
        writer.write(plain)
    whole = out.getvalue()
    view = EncryptedView(io.BytesIO(plain), size, RECIPIENTS, seed=SEED, context=b"test")
    assert view.size == len(whole) == encrypted_size(size, len(RECIPIENTS))
    assert view.read() == whole
    for _ in range(10):
        at, count = rng.randrange(len(whole) + 2), rng.randrange(len(whole) + 2)
        view.seek(at)
        assert view.read(count) == whole[at : at + count]
    view.seek(0)
    opened = open_encrypted(io.BytesIO(view.read()), [Identity(bytes([2]) * 32)])
    assert opened.read() == plain


def test_an_encrypted_view_of_content_that_became_shorter_is_unreadable() -> None:
    view = EncryptedView(io.BytesIO(b"123"), CHUNK + 5, RECIPIENTS, seed=SEED, context=b"test")
    with pytest.raises(UnreadableError):
        view.read()
