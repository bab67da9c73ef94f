"""Bytes come into a part of a disk image as they are, and nothing around it changes; zeros take no room."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from courier.deployment.run.copying import Region, copy_file, copy_region, write_region

KIB = 1 << 10


def _sparse(path: Path, size: int, runs: dict[int, bytes]) -> bytes:
    with path.open("wb") as out:
        out.truncate(size)
        for at, data in runs.items():
            out.seek(at)
            out.write(data)
    return path.read_bytes()


@pytest.mark.parametrize("seed", range(12))
def test_a_part_of_a_disk_becomes_what_was_copied_there(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)

    def some(size: int) -> dict[int, bytes]:
        return {
            dice.randrange(size): dice.choice([bytes(5000), dice.randbytes(dice.randrange(1, 200_000))])
            for _ in range(dice.randrange(6))
        }

    size = dice.choice([64 * KIB, 900 * KIB, 2000 * KIB + 512])
    begin = dice.choice([0, 512, 1000 * KIB])
    image = _sparse(tmp_path / "image", size, {at: data[: size - at] for at, data in some(size).items()})
    disk = _sparse(tmp_path / "disk", 4000 * KIB, some(3700 * KIB))
    copy_region(tmp_path / "image", tmp_path / "disk", begin, size)
    expected = disk[:begin] + image + disk[begin + size :]
    assert (tmp_path / "disk").read_bytes() == expected
    copy_file(tmp_path / "disk", tmp_path / "part", begin, size)
    assert (tmp_path / "part").read_bytes() == image
    write_region(tmp_path / "disk", begin, size, [bytes(7), disk[begin + 7 : begin + size]])
    assert (tmp_path / "disk").read_bytes()[begin + 7 : begin + size] == disk[begin + 7 : begin + size]


def test_zeros_take_no_room_and_overwrite_what_is_there(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    _sparse(disk, 64 << 20, {1 << 20: b"old" * 1000})
    with Region(disk, 0, 64 << 20) as region:
        region.write(b"new")
        region.zero_rest()
    assert disk.read_bytes() == b"new".ljust(64 << 20, b"\0")
    assert disk.stat().st_blocks * 512 < 1 << 20


def test_more_bytes_than_the_part_has_are_not_written(tmp_path: Path) -> None:
    disk = _sparse(tmp_path / "disk", 4096, {0: b"d" * 4096})
    with pytest.raises(ValueError, match="more bytes"), Region(tmp_path / "disk", 1024, 1024) as region:
        region.write(b"x" * 1025)
    assert (tmp_path / "disk").read_bytes() == disk
