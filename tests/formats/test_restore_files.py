"""The files that the restore script makes are as they were: holes, names, permissions, links wherever they lead."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from unittest import mock

import pytest
from restore_parcels import NOISE, TREES, Name, Tree, holes, send
from restore_runs import WHOLE, copied_script, expected, found, restored, run
from stock import stock_tool

import formats.restore
from formats.documents.packing import archive_path

MIB = 1 << 20
NOBODY = 65_534
DISK = bytes(2 * MIB) + NOISE + bytes(5 * MIB - len(NOISE)) + b"end" + bytes(3 * MIB + 17)
COMB = (b"data".ljust(4096, b".") + bytes(4096)) * 64


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return copied_script(tmp_path)


def taken(path: Path) -> int:
    """Bytes that a file takes on the disk."""
    return path.stat().st_blocks * 512


@pytest.fixture
def sparse_disk(tmp_path: Path) -> None:
    """A disk whose file system leaves out holes of 4,096 bytes."""
    probe = tmp_path / "probe"
    probe.write_bytes(b"x" * 4096)
    os.truncate(probe, 8192)
    if taken(probe) > 4096:
        pytest.skip("this file system keeps no holes of 4,096 bytes")
    probe.unlink()


@pytest.mark.usefixtures("sparse_disk")
@pytest.mark.parametrize("part_size", [MIB, 3 * MIB + 4096, 64 * MIB])
def test_files_with_holes_come_out_sparse_and_so_do_their_twins(tmp_path: Path, script: Path, part_size: int) -> None:
    one: Tree = {"comb": COMB, "comb.txt": COMB + b"!", "disk.raw": DISK, "disk.txt": DISK + b"!", "zeros": bytes(MIB)}
    two: Tree = {"again": DISK, "again.txt": DISK + b"!", "name": Name("again"), "zeros": bytes(MIB)}
    trees = {"HQ100001:1": one, "HQ100002:1": two}
    sent = send(tmp_path / "media", trees, part_size=part_size)
    ran = run(script, "--to", tmp_path / "out", *sent.volumes)
    assert ran.code == 0, ran.output
    assert restored(tmp_path / "out") == {name: expected(tree) for name, tree in trees.items()}
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert taken(path) <= len(data) - sum(holes(data)[1::2]) + 4096 * 4, path


@pytest.mark.usefixtures("sparse_disk")
def test_by_hand_stock_tools_leave_holes_out_too(tmp_path: Path) -> None:
    """As RESTORE.txt says it: unpack, decompress each part (sparse, when it is to a file), join, and copy the whole."""
    sent = send(tmp_path / "media", {"HQ100001:1": {"disk.txt": DISK}}, volumes=1, part_size=3 * MIB)
    tools = [stock_tool(name) for name in ("7z", "zstd")]
    commands = (
        f"{tools[0]} x -y -oall '{sent.volumes[0]}/data/archives/*.7z'",
        f"cd all && {tools[1]} -q -d --rm disk.txt.???.zst",
        "cd all && cat disk.txt.??? > disk.txt && cp --sparse=always disk.txt copy",
    )
    for command in commands:
        subprocess.run(command, shell=True, check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "all/copy").read_bytes() == DISK
    assert taken(tmp_path / "all/copy") < MIB
    assert sum(taken(part) for part in (tmp_path / "all").glob("disk.txt.???")) < MIB


def test_the_room_that_is_asked_for_does_not_count_holes(tmp_path: Path, script: Path) -> None:
    sent = send(tmp_path / "media", {"HQ100001:1": {"disk.raw": DISK}}, part_size=MIB)
    free = mock.Mock(free=len(NOISE) + 3 * 4096)
    arguments = ["restore.py", "--to", str(tmp_path / "out"), *map(str, sent.volumes)]
    with mock.patch.object(sys, "argv", arguments), mock.patch("shutil.disk_usage", return_value=free):
        assert formats.restore.main() == 0
    free.free = len(NOISE) - 1
    arguments[2] = str(tmp_path / "none")
    with mock.patch.object(sys, "argv", arguments), mock.patch("shutil.disk_usage", return_value=free):
        assert formats.restore.main() == 5


def test_what_an_archive_that_broke_off_has_left_is_no_hole(tmp_path: Path) -> None:
    """A second copy of the archive is unpacked over what the first one gave."""
    copied_script(tmp_path)
    sent = send(tmp_path / "media", {"HQ100001:1": {"disk.raw": DISK}}, volumes=1, part_size=64 * MIB)
    shutil.copytree(sent.volumes[0], tmp_path / "copy")
    real = formats.restore.output_of
    broken = [b"\xff" * (3 * MIB)]

    def output_of(command: list[str], *arguments: Any, **more: Any) -> contextlib.AbstractContextManager[IO[bytes]]:
        if broken:
            return contextlib.nullcontext(io.BytesIO(broken.pop()))
        return real(command, *arguments, **more)

    arguments = ["restore.py", "--to", str(tmp_path / "out"), str(sent.volumes[0]), str(tmp_path / "copy")]
    with mock.patch.object(sys, "argv", arguments), mock.patch.object(formats.restore, "output_of", output_of):
        assert formats.restore.main() == 0
    assert not broken
    assert (tmp_path / "out/HQ100001-1/disk.raw").read_bytes() == DISK


def test_further_names_are_one_file(tmp_path: Path, script: Path) -> None:
    tree: Tree = {"a": b"", "b": Name("a"), "c": None, "c/d": NOISE, "c/e": Name("c/d"), "f": Name("c/d"), "g": NOISE}
    sent = send(tmp_path / "media", {"HQ100001:1": tree})
    assert run(script, "--to", tmp_path / "out", *sent.volumes).code == 0
    assert restored(tmp_path / "out") == {"HQ100001:1": expected(tree)}
    info = {name: (tmp_path / "out/HQ100001-1" / name).stat() for name in tree}
    assert info["a"].st_ino == info["b"].st_ino
    assert info["c/d"].st_ino == info["c/e"].st_ino == info["f"].st_ino != info["g"].st_ino
    assert [info[name].st_nlink for name in ("a", "c/d", "g")] == [2, 3, 1]


def test_where_there_are_no_hard_links_each_name_is_a_file_of_its_own(tmp_path: Path) -> None:
    copied_script(tmp_path)
    sent = send(tmp_path / "media")
    arguments = ["restore.py", "--to", str(tmp_path / "out"), *map(str, sent.volumes)]
    refused = mock.patch("os.link", side_effect=OSError(1, "Operation not permitted"))
    with mock.patch.object(sys, "argv", arguments), refused:
        assert formats.restore.main() == 0
    assert restored(tmp_path / "out") == WHOLE
    assert (tmp_path / "out/HQ100001-2/drivers/image.wim").stat().st_nlink == 1


def test_no_file_gets_a_bit_that_changes_who_runs_it(tmp_path: Path, script: Path) -> None:
    tree: Tree = {"d =7777": None, "d =7777/f =7777": b"x", "empty =6777": b"", "g =2755": b"y", "u =4711": b"z"}
    sent = send(tmp_path / "media", {"HQ100001:1": tree})
    assert run(script, "--to", tmp_path / "out", *sent.volumes).code == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out/HQ100001-1").rglob("*")}
    assert modes == {
        "d =7777": 0o1777,
        "f =7777": 0o1777,
        "empty =6777": 0o777,
        "g =2755": 0o755,
        "u =4711": 0o711,
    }


def test_links_are_made_wherever_they_lead_and_nothing_goes_through_them(tmp_path: Path, script: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    os.utime(outside, ns=(5, 5))
    tree: Tree = {
        "a": str(outside),
        "b": None,
        "b/above": "../../../outside",
        "b/loop": "loop",
        "c": "b/above/../..",
        "d": "a/new file",
        "e": b"content",
        "f": "e",
    }
    sent = send(tmp_path / "media", {"HQ100001:1": tree})
    before = outside.stat()
    assert run(script, "--to", tmp_path / "out", *sent.volumes).code == 0
    assert restored(tmp_path / "out") == {"HQ100001:1": expected(tree)}
    assert (outside.stat().st_mtime_ns, outside.stat().st_mode) == (before.st_mtime_ns, before.st_mode)
    assert list(outside.iterdir()) == []


def test_a_folder_left_behind_is_removed_but_not_what_its_links_lead_to(tmp_path: Path, script: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    (outside / "kept").write_text("kept")
    left = tmp_path / "out/.partial/HQ100001-2"
    left.mkdir(parents=True)
    (left / "link").symlink_to(outside)
    sent = send(tmp_path / "media")
    assert run(script, "--to", tmp_path / "out", *sent.volumes).code == 0
    assert stat.S_IMODE(outside.stat().st_mode) == 0o750
    assert [path.name for path in outside.iterdir()] == ["kept"]


# --- as a user who is not root --------------------------------------------------------------------------------------

Unprivileged = Callable[..., int]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    formats.restore.remove(made)


@pytest.fixture
def unprivileged(place: Path) -> Unprivileged:
    """Runs the script as a user whom permissions hold off; whatever is in the folder is that user's."""
    script = copied_script(place)
    as_other: list[str] = []
    pythons = [sys.executable]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("run as root without setpriv: there is no other user to run it as")
        as_other = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        pythons += ["/usr/bin/python3", "/usr/local/bin/python3"]
    usable = (each for each in pythons if not subprocess.run([*as_other, each, "-c", ""], check=False).returncode)
    python = next(usable, None)
    if python is None:
        pytest.skip("run as root, and no Python here that another user may run")

    def execute(*arguments: object) -> int:
        if as_other:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", place], check=True)
        command = [*as_other, python, "-I", "-S", script, *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, check=False, cwd=place)
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done.returncode

    return execute


def test_permissions_that_keep_their_owner_out_are_restored(place: Path, unprivileged: Unprivileged) -> None:
    sent = send(place / "media")
    assert unprivileged("--to", place / "out", *sent.volumes) == 0
    assert restored(place / "out") == WHOLE


def test_twins_and_further_names_of_a_file_that_nobody_may_read(place: Path, unprivileged: Unprivileged) -> None:
    tree: Tree = {
        "a =0000": NOISE,
        "b =0400": NOISE,
        "c": Name("a =0000"),
        "d": NOISE,
        "e =0000": b"",
        "f": Name("e =0000"),
    }
    sent = send(place / "media", {"HQ100001:1": tree, "HQ100002:1": tree})
    assert unprivileged("--to", place / "out", *sent.volumes) == 0
    assert restored(place / "out") == {"HQ100001:1": expected(tree), "HQ100002:1": expected(tree)}


def test_a_run_that_fails_leaves_no_folder_that_cannot_be_entered(place: Path, unprivileged: Unprivileged) -> None:
    sent = send(place / "media", volumes=30, members=1)
    last = sent.packing.archives[-1]
    sent.volumes[last.volume - 1].joinpath(archive_path(last.number, encrypted=False)).unlink()
    assert unprivileged("--to", place / "out", place / "media") == 4
    assert found(place / "out") == {}
    assert unprivileged("--to", place / "out", place / "media", "--partial") == 4
    assert restored(place / "out") == {"HQ100001:2": WHOLE["HQ100001:2"]}


def test_what_a_killed_run_has_left_is_removed_though_it_is_shut(place: Path, unprivileged: Unprivileged) -> None:
    sent = send(place / "media")
    left = place / "out/.partial/HQ100001-2/shut/deep"
    left.mkdir(parents=True)
    (left / "file").write_text("half")
    for path in (left, left.parent):
        path.chmod(0o500 if path == left.parent else 0)
    assert unprivileged("--to", place / "out", *sent.volumes) == 0
    assert restored(place / "out") == WHOLE
    assert not (place / "out/.partial").exists()


def test_the_samples_have_what_these_tests_are_about(tmp_path: Path) -> None:
    sent = send(tmp_path / "media", TREES)
    text = gzip.decompress((sent.volumes[0] / "courier/contents.jsonl.gz").read_bytes())
    assert {line[2] for line in text.splitlines()[1:] if line[:1] == b"["} == set(b"dfhlam")
