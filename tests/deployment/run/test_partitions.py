"""Partition tables that we write are what sgdisk and sfdisk take them for, and theirs are what we take them for."""

from __future__ import annotations

import json
import subprocess
import uuid
from pathlib import Path

import pytest
from deploy_client import MIB, disk_of
from stock import stock_tool

from courier.deployment.run import partitions
from courier.deployment.run.disk import DiskTarget
from courier.deployment.run.work import work_folder
from courier.deployment.sequence import REST, Part
from courier.errors import DamagedError, NoSpaceError
from formats.disk.gpt import ReadAt, Span

PARTS = (
    Part(label="ESP", kind="efi", file_system="fat32", size=40 * MIB + 1),
    Part(label="Root.1", kind="linux", file_system="ext4", size=REST),
    Part(label="WIN", kind="windows", file_system="ntfs", size=10 * MIB),
)
IDENTITY = uuid.UUID(int=7)


def _write(disk: Path, parts: tuple[Part, ...] = PARTS) -> list[Span]:
    size = disk.stat().st_size
    spans = partitions.lay_out(parts, size)
    head, at, tail = partitions.table_bytes(parts, spans, size, identity=IDENTITY)
    with disk.open("r+b") as out:
        out.write(head)
        out.seek(at)
        out.write(tail)
    assert at + len(tail) == size
    return spans


def _reader(disk: Path) -> ReadAt:
    def read_at(offset: int, count: int) -> bytes:
        with disk.open("rb") as source:
            source.seek(offset)
            return source.read(count)

    return read_at


def _is_sound(disk: Path) -> None:
    said = subprocess.run([stock_tool("sgdisk"), "-v", disk], check=True, capture_output=True, text=True).stdout
    assert "No problems found" in said, said
    said = subprocess.run([stock_tool("sfdisk"), "-V", disk], check=True, capture_output=True, text=True).stdout
    assert "No errors detected" in said, said


@pytest.mark.parametrize("mib", [64, 100, 4096 + 1])
def test_sgdisk_and_sfdisk_find_the_partitions_that_were_laid_out(tmp_path: Path, mib: int) -> None:
    disk = disk_of(tmp_path / "disk.img", mib)
    spans = _write(disk)
    _is_sound(disk)
    said = subprocess.run([stock_tool("sfdisk"), "-J", disk], check=True, capture_output=True).stdout
    found = json.loads(said)["partitiontable"]
    assert [(one["name"], one["start"] * 512, one["size"] * 512) for one in found["partitions"]] == [
        (span.label, span.begin, span.size) for span in spans
    ]
    assert [one["type"] for one in found["partitions"]] == [
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
        "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
    ]
    assert all(span.begin % MIB == 0 and span.size % MIB == 0 for span in spans)
    assert spans[0].size == 41 * MIB
    # The rest goes to the end, but for less than 1 MiB and the second table.
    assert mib * MIB - 2 * MIB < spans[-1].begin + spans[-1].size <= mib * MIB - 33 * 512
    table = partitions.read_table(_reader(disk))
    assert table is not None
    assert (table.sector, table.size, list(table.spans)) == (512, mib * MIB, spans)


def test_the_same_identity_makes_the_same_table_and_another_one_another(tmp_path: Path) -> None:
    spans = partitions.lay_out(PARTS, 64 * MIB)
    one = partitions.table_bytes(PARTS, spans, 64 * MIB, identity=IDENTITY)
    assert one == partitions.table_bytes(PARTS, spans, 64 * MIB, identity=IDENTITY)
    assert one != partitions.table_bytes(PARTS, spans, 64 * MIB, identity=uuid.UUID(int=8))


def test_partitions_that_do_not_fit_are_refused_with_the_bytes_that_they_need() -> None:
    partitions.lay_out(PARTS, 54 * MIB)
    with pytest.raises(NoSpaceError) as caught:
        partitions.lay_out(PARTS, 53 * MIB)
    needed = int(caught.value.message.split("need ")[1].split(" ")[0].replace(",", ""))
    with pytest.raises(NoSpaceError):
        partitions.lay_out(PARTS, needed - 1)
    partitions.lay_out(PARTS, -(-needed // MIB) * MIB)


def test_a_table_of_sgdisk_moves_its_second_half_to_the_end_of_a_larger_disk(tmp_path: Path) -> None:
    made = disk_of(tmp_path / "made.img", 32)
    subprocess.run(
        [stock_tool("sgdisk"), "-n", "1:2048:+8M", "-c", "1:ONE", "-t", "1:8300", made], check=True, capture_output=True
    )
    with made.open("r+b") as out:
        out.write(b"boot code")  # of the MBR, which stays
    for added in (0, 1, 30):
        disk = tmp_path / f"{added}.img"
        disk.write_bytes(made.read_bytes())
        before = partitions.read_table(_reader(disk))
        assert before is not None
        assert before.spans == (Span(label="ONE", begin=MIB, size=8 * MIB),)
        size = (32 + added) * MIB
        new = partitions.stretched(_reader(disk), size)
        assert new is not None
        head, at, tail = new
        with disk.open("r+b") as out:
            out.truncate(size)
            out.write(head)
            out.seek(at)
            out.write(tail)
        _is_sound(disk)
        after = partitions.read_table(_reader(disk))
        assert after is not None
        assert (after.size, after.spans) == (size, before.spans)
        assert disk.read_bytes().startswith(b"boot code")


def test_a_table_for_sectors_of_4096_bytes_is_known_as_one(tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.img", 16)
    _write(disk, (Part(label="A", kind="data", file_system="none", size=REST),))
    data = disk.read_bytes()
    wide = bytes(4096) + data[512:1024].ljust(4096, b"\0") + data[1024 : 1024 + 16384]
    table = partitions.read_table(lambda at, count: wide[at : at + count])
    assert table is not None
    assert table.sector == 4096


@pytest.mark.parametrize("at", [512 + 40, 1024 + 56, 512 + 80])
def test_a_damaged_table_is_not_used(tmp_path: Path, at: int) -> None:
    disk = disk_of(tmp_path / "disk.img", 64)
    _write(disk)
    with disk.open("r+b") as out:
        out.seek(at)
        out.write(b"\xff")
    with pytest.raises(DamagedError):
        partitions.read_table(_reader(disk))


def test_a_disk_without_a_table_has_none(tmp_path: Path) -> None:
    assert partitions.read_table(_reader(disk_of(tmp_path / "disk.img", 2))) is None
    assert partitions.stretched(_reader(tmp_path / "disk.img"), 4 * MIB) is None


def test_a_table_that_names_places_that_its_disk_has_not_is_called_damaged(tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.img")
    size = disk.stat().st_size
    spans = [Span(label="ESP", begin=MIB, size=size)]
    head, _, _ = partitions.table_bytes(PARTS[:1], spans, 2 * size, identity=IDENTITY)
    with disk.open("r+b") as out:
        out.write(head)
    table = partitions.read_table(_reader(disk))
    assert table is not None
    with pytest.raises(DamagedError, match="ends behind"):
        partitions.check_within(table, size, where="disk.img")
    with work_folder(tmp_path / "work") as work, pytest.raises(DamagedError, match="ends behind"):
        DiskTarget(disk, work, IDENTITY).facts()
