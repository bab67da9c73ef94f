"""Packing runs side by side: the bytes are the same whoever packs them, and nothing is left behind."""

from __future__ import annotations

import hashlib
import io
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.parcel.archive_plan import ARCHIVE_LIMIT, Content, PlannedMember, packed_together, plan_archives
from courier.sending.member_source import MemberSource
from courier.sending.solid_packing import Run, SolidPacking, joined, runs_of
from formats.codecs import LZMA2, SolidCodec
from formats.errors import DigestMismatchError

RUN = 50_000
SHORT: SolidCodec = type("Short", (type(LZMA2),), {"run": RUN})()
STORE = {
    hashlib.sha256(data).hexdigest(): data
    for data in (random.Random(n).randbytes(size // 4) * 4 for n, size in enumerate([8, 30_000, 19_000, 444_444, 20]))
}


def open_content(sha256: str) -> BinaryIO:
    return io.BytesIO(STORE[sha256])


def pieces(source: MemberSource) -> Iterator[bytes]:
    while data := source.read(7000):
        yield data


def planned() -> list[tuple[PlannedMember, ...]]:
    contents = [
        Content(sha256=sha256, size=len(data), mtime_ns=0, folder="HQ100001-1", path=f"{n}", coding=LZMA2.name)
        for n, (sha256, data) in enumerate(STORE.items())
    ]
    (archive,) = plan_archives(contents, ARCHIVE_LIMIT)
    # All are one group where a run has 64 MiB.
    (members,) = packed_together(archive.members)
    return [members[:3], members[3:4], members[4:]]


def all_runs() -> list[tuple[SolidCodec, Run]]:
    return [(SHORT, run) for group in planned() for run in runs_of(group, SHORT)]


def packing(folder: Path, threads: int) -> SolidPacking:
    return SolidPacking(open_content, level=0, folder=folder, pieces=pieces, threads=threads)


def packed(folder: Path, threads: int) -> list[tuple[bytes, tuple[int, ...]]]:
    found = []
    with packing(folder, threads) as pool:
        for run in pool.pack(all_runs()):
            with run.data as source:
                found.append((source.read(), run.crc32s))
    return found


def test_the_bytes_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    one = packed(tmp_path, 1)
    assert one == packed(tmp_path, 3) == packed(tmp_path, 16)
    assert list(tmp_path.iterdir()) == []
    crcs = [crc for _, crcs in one for crc in crcs]
    large = STORE[planned()[1][0].content.sha256]
    parts = [zlib.crc32(large[at : at + RUN]) for at in range(0, len(large), RUN)]
    datas = list(STORE.values())
    assert crcs == [*(zlib.crc32(data) for data in datas[:3]), *parts, zlib.crc32(datas[4])]
    assert joined(parts, RUN, len(large)) == zlib.crc32(large)
    stream = b"".join(data for data, _ in one[1:-1]) + SHORT.ending
    assert b"".join(SHORT.decode(io.BytesIO(stream), len(large), place="")) == large


@given(st.integers(1, 3 * RUN))
def test_a_long_member_is_cut_into_runs_and_others_stay_together(length: int) -> None:
    content = Content(sha256="0" * 64, size=1 << 40, mtime_ns=0, folder="f", path="p", coding=LZMA2.name)
    member = PlannedMember(name="f/p", content=content, offset=77, length=length)
    runs = runs_of([member], SHORT)
    assert len(runs) == -(-length // RUN)
    at = 77
    for (part,) in runs:
        assert part.offset == at
        assert 1 <= part.length <= RUN
        at += part.length
    assert at == 77 + length
    assert runs_of(planned()[0], SHORT) == [planned()[0]]


def test_content_that_is_not_the_right_one_is_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STORE, list(STORE)[1], b"x" * 30_000)
    with packing(tmp_path, 2) as pool, pytest.raises(DigestMismatchError):
        for run in pool.pack(all_runs()):
            run.data.close()
    assert list(tmp_path.iterdir()) == []


def test_who_stops_taking_runs_leaves_nothing(tmp_path: Path) -> None:
    with packing(tmp_path, 2) as pool:
        runs = pool.pack(all_runs())
        next(runs).data.close()
        runs.close()
    assert list(tmp_path.iterdir()) == []
