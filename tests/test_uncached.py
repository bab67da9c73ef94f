"""Large files are read, hashed and written piece by piece, past the cache or not: the bytes are the same."""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from courier import uncached
from courier.site.store.sparse import RUN, SparsePieces
from courier.uncached import PIECE, Pieces, PieceWriter
from formats.digest import SideHash, SideWork, sha256_hex


class Halting(io.BytesIO):
    """A source that gives fewer bytes than are asked for."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return super().readinto(buffer[: max(1, len(buffer) // 2)])


def refuse(_descriptor: int, _wanted: bool) -> bool:
    return False


def write_refused_once_direct() -> Callable[[int, memoryview], int]:
    """`os.write` on a file system that takes the flag and then refuses to write past the cache."""
    real = os.write

    def write(descriptor: int, data: memoryview) -> int:
        import fcntl

        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(descriptor, data)

    return write


@pytest.fixture(params=["past the cache", "flag refused", "write refused"])
def _disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "flag refused":
        monkeypatch.setattr(uncached, "set_direct", refuse)
    elif request.param == "write refused":
        monkeypatch.setattr(os, "write", write_refused_once_direct())


@pytest.mark.usefixtures("_disk")
@pytest.mark.parametrize("cut", [5000, PIECE, 6 * PIECE + 17])
def test_a_content_in_two_parts_is_written_and_hashed_whole(tmp_path: Path, cut: int) -> None:
    data = random.Random(cut).randbytes(7 * PIECE + 12_345)
    descriptor = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    pieces, told = Pieces(), 0
    with SideHash() as digest:
        for source, at, length in ((Halting(data), 0, cut), (io.BytesIO(data[cut:]), cut, None)):
            with PieceWriter(descriptor, at) as out:
                told += sum(pieces.pour(source, (digest, out), at=at, length=length))
        assert digest.hexdigest() == sha256_hex(data)
    os.close(descriptor)
    assert told == len(data)
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.usefixtures("_disk")
@pytest.mark.parametrize("cut", [0, 1000, PIECE + RUN // 2])
def test_runs_of_zeros_are_left_out_wherever_a_part_ends(tmp_path: Path, cut: int) -> None:
    rng = random.Random(cut)
    runs = [bytes(RUN) if rng.random() < 0.5 else rng.randbytes(RUN) for _ in range(2 * PIECE // RUN)]
    data = b"".join([*runs, bytes(2 * RUN), b"end", bytes(100_000)])
    path, pieces = tmp_path / "out", Pieces()
    for part, at in ((data[:cut], 0), (data[cut:], cut)):
        with SparsePieces(path, at) as out:
            assert sum(pieces.pour(io.BytesIO(part), (out,), at=at)) == len(part)
            out.finish()
    assert path.read_bytes() == data
    written = sum(RUN for at in range(0, len(data), RUN) if any(data[at : at + RUN]))
    assert path.stat().st_blocks * 512 <= written + 3 * RUN


def test_a_source_that_ends_early_says_how_much_came() -> None:
    with SideHash() as digest:
        assert sum(Pieces().pour(io.BytesIO(bytes(100)), (digest,), length=PIECE)) == 100
        assert digest.hexdigest() == sha256_hex(bytes(100))


class Failing(SideWork):
    """Work that fails on its second piece."""

    def _take(self, data: bytes | memoryview) -> None:
        if self._done:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_error_of_a_thread_ends_the_reading_and_its_memory_is_not_used_again() -> None:
    pieces = Pieces()
    with Failing() as work, pytest.raises(OSError, match="No space left"):
        for _ in pieces.pour(io.BytesIO(bytes(20 * PIECE)), (work,)):
            pass
    assert pieces._buffers == []


def test_a_full_disk_is_told_while_a_large_content_is_written() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with PieceWriter(descriptor) as out, pytest.raises(OSError, match="No space left"):
            sum(Pieces().pour(io.BytesIO(bytes(3 * PIECE)), (out,)))
    finally:
        os.close(descriptor)
