"""What a sequence may run into, and what it does there: folders, blank disks, and disks that hold something."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from deploy_client import DRIVERS, MIB, WINDOWS, Computer, disk_of, files_of, on_disk, sequence, step, tree_of

from courier.deployment.run import tools
from courier.deployment.run.work import work_folder
from courier.errors import BusyError, CourierError, NoSpaceError, NotFoundError, RefusedError, UsageError

INTO_FOLDER = sequence(
    step("partition", parts=[("SYS", "windows", "rest", "ntfs"), ("ESP", "efi", "1MB", "fat32")]),
    step("apply-image", package="HQ100001", file="install.wim", part="SYS"),
    step("install-driver", package="HQ100002", part="ESP", to="EFI"),
)
DRIVE = sequence(step("install-driver", package="HQ100002", to="inf"))


def test_in_a_folder_each_partition_is_a_folder(computer: Computer, tmp_path: Path) -> None:
    computer.run(computer.policy(INTO_FOLDER), tmp_path / "new")
    assert files_of(tmp_path / "new") == {f"SYS/{name}": data for name, data in WINDOWS.items()} | {
        f"ESP/EFI/{name}": data for name, data in DRIVERS.items()
    }


def test_what_holds_something_is_erased_only_where_that_is_said(computer: Computer, tmp_path: Path) -> None:
    folder = tree_of(tmp_path / "full", {"thesis.doc": b"years"})
    with pytest.raises(RefusedError, match="holds something"):
        computer.run(computer.policy(INTO_FOLDER), folder)
    assert files_of(folder) == {"thesis.doc": b"years"}
    computer.run(computer.policy(INTO_FOLDER), folder, erase=True, anew=True)
    assert "thesis.doc" not in files_of(folder)
    # Steps that only add need no leave.
    computer.run(computer.policy(DRIVE), tree_of(tmp_path / "more", {"kept": b"k"}), anew=True)
    assert files_of(tmp_path / "more") == {"kept": b"k"} | {f"inf/{name}": data for name, data in DRIVERS.items()}


def test_a_disk_that_is_mounted_in_a_folder_is_not_erased(
    computer: Computer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tree_of(tmp_path / "full", {"usb/photos/a.jpg": b"years", "b": b"b"})
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "photos")
    with pytest.raises(RefusedError) as caught:
        computer.run(computer.policy(INTO_FOLDER), folder, erase=True)
    assert f"a disk is mounted at {folder / 'usb' / 'photos'}" in caught.value.message
    assert files_of(folder) == {"usb/photos/a.jpg": b"years", "b": b"b"}


def test_files_do_not_go_through_a_link_of_the_image(computer: Computer, tmp_path: Path) -> None:
    outside = tree_of(tmp_path / "outside", {"kept": b"k"})
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "inf").symlink_to(outside)
    with pytest.raises(RefusedError, match="inf is not a folder"):
        computer.run(computer.policy(DRIVE), tmp_path / "new")
    assert files_of(outside) == {"kept": b"k"}


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda path: path.symlink_to("/tmp"), UsageError, "is a link"),
        (lambda path: path.write_bytes(b"text" * (MIB // 4)), RefusedError, "no disk"),
        (lambda path: path.write_bytes(b"short"), UsageError, "no disk"),
    ],
)
def test_what_is_no_disk_and_no_folder_is_refused(
    computer: Computer, make: Any, kind: type[CourierError], says: str, tmp_path: Path
) -> None:
    make(tmp_path / "into")
    with pytest.raises(kind, match=says):
        computer.run(computer.policy(INTO_FOLDER), tmp_path / "into", erase=True)


def test_devices_mounted_places_and_missing_disks_are_refused(computer: Computer, tmp_path: Path) -> None:
    policy = computer.policy(INTO_FOLDER)
    with pytest.raises(RefusedError, match="is a device"):
        computer.run(policy, Path("/dev/null"))
    with pytest.raises(RefusedError, match="mounted"):
        computer.run(policy, Path("/proc"))
    with pytest.raises(NotFoundError) as caught:
        computer.run(policy, tmp_path / "disk.img")
    assert "truncate -s" in caught.value.hint
    with pytest.raises(UsageError, match="not apart"):
        computer.run(policy, computer.root)
    with pytest.raises(UsageError, match="not apart"):
        computer.run(policy, computer.work / "new")


def test_a_folder_with_other_files_is_no_work_folder(computer: Computer, tmp_path: Path) -> None:
    tree_of(computer.work, {"mine": b"m"})
    with pytest.raises(UsageError, match="other files"):
        computer.run(computer.policy(DRIVE), tmp_path / "new")
    assert files_of(computer.work) == {"mine": b"m"}


def test_two_runs_do_not_share_a_work_folder(computer: Computer, tmp_path: Path) -> None:
    with work_folder(computer.work), pytest.raises(BusyError):
        computer.run(computer.policy(DRIVE), tmp_path / "new")


def _put_whole(computer: Computer, data: bytes) -> None:
    computer.point.put({"whole.img": data}, package="HQ100009")


@pytest.mark.parametrize("option", ["as-needed", "run-from-point"])
def test_the_image_of_a_disk_goes_onto_a_larger_one_and_takes_more_files(
    computer: Computer, old_disk: bytes, option: Any, tmp_path: Path
) -> None:
    _put_whole(computer, old_disk)
    disk = disk_of(tmp_path / "disk.img", 80)
    policy = computer.policy(
        sequence(
            step("apply-image", package="HQ100009", whole_disk=True),
            step("install-driver", package="HQ100002", part="ROOT", to="etc/drivers here"),
            step("install-driver", package="HQ100002", part="ESP", to="Users"),
            step("run", command=["sh", "-c", "echo new > $COURIER_TARGET/ROOT/etc/hosts"]),
        ),
        option=option,
    )
    computer.run(policy, disk)
    assert on_disk(disk, tmp_path) == {
        "ESP": {"Users/ann/fat.txt": b"on fat"} | {f"Users/{name}": data for name, data in DRIVERS.items()},
        "ROOT": {"etc/hosts": b"new\n", "home/ann/a.txt": b"ann's"}
        | {f"etc/drivers here/{name}": data for name, data in DRIVERS.items()},
        "WIN": {"Users/ann/ntfs.txt": b"on ntfs", "Windows/x.dll": b"x"},
    }


def test_all_that_does_not_fit_is_named_before_the_first_write(
    computer: Computer, old_disk: bytes, tmp_path: Path
) -> None:
    _put_whole(computer, old_disk)
    disk = disk_of(tmp_path / "disk.img", 48)
    wide = bytes(4096) + old_disk[512:1024].ljust(4096, b"\0") + old_disk[1024 : 1024 + 16384]
    computer.point.put({"wide.img": wide.ljust(MIB, b"\0")}, package="HQ10000A")
    policy = computer.policy(
        sequence(
            step("apply-image", name="s1", package="HQ100009", whole_disk=True),
            step("install-driver", name="s2", package="HQ100002", part="WIN", to="inf"),
            step("apply-image", name="s3", package="HQ10000A", whole_disk=True),
            step("partition", name="s4", parts=[("A", "data", "1MB", "fat32"), ("B", "linux", "2MB", "none")]),
            step("apply-image", name="s5", package="HQ100003", part="B"),
            step("apply-image", name="s6", package="HQ100001", file="install.wim", part="A", index=7),
            step("apply-image", name="s7", package="HQ100001", file="install.wim", part="C"),
            step("apply-image", name="s8", package="HQ100001", file="install.wim"),
            step("install-driver", name="s9", package="HQ100002", part="B", to="inf"),
            step("partition", name="s10", parts=[("A", "data", "1GB", "ext4")]),
            step("restore-state", name="s11", part="Z", when=[{"variable": "never", "exists": True}]),
        )
    )
    with pytest.raises(RefusedError) as caught:
        computer.run(policy, disk)
    found = caught.value.message
    for text in (
        "step 1 (s1): whole.img of HQ100009:1 needs 58,720,256 bytes; the disk has 50,331,648",
        "step 2 (s2): WIN holds a raw image (NTFS)",
        "step 3 (s3): wide.img of HQ10000A:1 was made for sectors of 4,096 bytes",
        "step 4 (s4): A has 1,048,576 bytes; FAT32 needs",
        "step 5 (s5): raw.img of HQ100003:1 needs",
        "step 6 (s6): install.wim of HQ100001:1 has 1 images, and none with index 7",
        "step 7 (s7): there is no partition C",
        "step 8 (s8): a disk has no files outside of its partitions",
        "step 9 (s9): B holds a raw image",
        "step 10 (s10): the partitions need",
    ):
        assert text in found
    assert "s11" not in found
    assert not disk.read_bytes().strip(b"\0")


def test_a_run_that_was_refused_is_told_and_gives_its_place_to_another(computer: Computer, tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.img", 48)
    with pytest.raises(RefusedError):
        computer.run(computer.policy(sequence(step("partition", parts=[("A", "data", "1GB", "ext4")]))), disk)
    assert [(one.step, one.outcome) for one in computer.told()] == [(0, "failed")]
    assert "the partitions need" in computer.told()[0].message
    computer.run(computer.policy(sequence(step("partition", parts=[("A", "data", "rest", "ext4")]))), disk)
    assert on_disk(disk, tmp_path) == {"A": {}}


def test_a_file_that_the_package_does_not_have_is_named(computer: Computer, tmp_path: Path) -> None:
    for keys, says in (({"file": "other.wim"}, "no file other.wim"), ({}, "has 2 files")):
        policy = computer.policy(sequence(step("apply-image", package="HQ100001", **keys)))
        with pytest.raises(CourierError, match=says):
            computer.run(policy, tmp_path / "new", anew=True)


def test_missing_programs_are_named_with_their_packages(
    computer: Computer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = tools.find_tool
    monkeypatch.setattr(tools, "find_tool", lambda name: None if name.startswith(("mkfs", "wimupdate")) else find(name))
    policy = computer.policy(
        sequence(step("partition", parts=[("A", "efi", "40MB", "fat32"), ("B", "windows", "rest", "ntfs")]))
    )
    disk = disk_of(tmp_path / "disk.img", 64)
    with pytest.raises(NotFoundError) as caught:
        computer.run(policy, disk)
    assert "mkfs.fat, mkfs.ntfs, wimupdate" in caught.value.message
    assert "apt-get install dosfstools ntfs-3g wimtools" in caught.value.hint
    assert not disk.read_bytes().strip(b"\0")


@pytest.mark.parametrize("format_", ["ext4", "fat32", "ntfs"])
def test_files_that_do_not_fit_are_said_to_be_too_many_for_their_partition(
    computer: Computer, format_: str, tmp_path: Path
) -> None:
    policy = computer.policy(
        sequence(
            step("partition", parts=[("A", "data", "36MB", format_)]),
            step("run", command=["sh", "-c", "head -c 40000000 /dev/zero | tr '\\0' x > $COURIER_TARGET/A/big"]),
        )
    )
    disk = disk_of(tmp_path / "disk.img", 64)
    with pytest.raises(NoSpaceError) as caught:
        computer.run(policy, disk)
    assert "the partition A" in caught.value.message
    assert "is too small for its files" in caught.value.message
    assert (computer.told()[-1].step, computer.told()[-1].outcome) == (0, "failed")


def test_no_image_goes_where_files_are(computer: Computer, tmp_path: Path) -> None:
    image = step("apply-image", package="HQ100001", file="install.wim", part="SYS")
    made = step("partition", parts=[("SYS", "linux", "rest", "ext4")])
    driver = step("install-driver", package="HQ100002", part="SYS", to="inf")
    for steps in ([made, driver, image], [made, image, image]):
        for into in (tmp_path / "new", disk_of(tmp_path / "disk.img", 32)):
            with pytest.raises(RefusedError, match="holds files by then"):
                computer.run(computer.policy(sequence(*steps)), into, anew=True)
    # What a program put there is found when its step comes.
    touch = step("run", command=["sh", "-c", "touch $COURIER_TARGET/SYS/there"])
    with pytest.raises(RefusedError) as caught:
        computer.run(computer.policy(sequence(made, touch, image)), tmp_path / "new", anew=True)
    assert "SYS holds files already" in caught.value.message


def test_a_step_of_an_image_that_was_cut_is_done_again_from_its_beginning(
    computer: Computer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(work: Any, name: str, *words: Any, **more: Any) -> str:
        tools.run_tool(work, name, *words, **more)
        (tmp_path / "new" / "SYS" / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("courier.deployment.run.file_systems.run_tool", cut)
    policy = computer.policy(INTO_FOLDER)
    with pytest.raises(KeyboardInterrupt):
        computer.run(policy, tmp_path / "new")
    monkeypatch.undo()
    computer.run(policy, tmp_path / "new")
    assert "SYS/half" not in files_of(tmp_path / "new")
    assert (tmp_path / "new" / "SYS" / "Windows" / "win.ini").read_bytes() == WINDOWS["Windows/win.ini"]
    assert [(one.step, one.outcome) for one in computer.told()].count((2, "started")) == 2


LAID = sequence(
    step("partition", parts=[("A", "linux", "8MB", "none")]),
    step("run", command=["sh", "-c", 'test -e "$COURIER_INTO.go"']),
)


def test_a_disk_image_that_was_made_anew_does_not_go_on_in_the_place_of_the_one_before(
    computer: Computer, tmp_path: Path
) -> None:
    disk = disk_of(tmp_path / "disk.img", 32)
    policy = computer.policy(LAID)
    with pytest.raises(CourierError, match="ended with exit code 1"):
        computer.run(policy, disk)
    kept = disk.rename(tmp_path / "kept")
    disk_of(disk, 32)
    (tmp_path / "disk.img.go").touch()
    with pytest.raises(RefusedError, match="replaced, or emptied"):
        computer.run(policy, disk)
    # A copy of what it was goes on.
    shutil.copyfile(kept, disk)
    assert computer.run(policy, disk).done == (1, 2)
    # When all is done a blank one is not called complete.
    assert computer.run(policy, disk).already
    disk_of(disk, 32)
    with pytest.raises(RefusedError, match="replaced, or emptied"):
        computer.run(policy, disk)
    assert computer.run(policy, disk, anew=True).done == (1, 2)


@pytest.mark.parametrize("kind", ["disk", "folder"])
def test_what_takes_the_place_of_a_target_before_it_was_erased_is_not_erased_unasked(
    computer: Computer, kind: str, tmp_path: Path
) -> None:
    into = tmp_path / "into"
    if kind == "disk":
        disk_of(into, 32)
    else:
        into.mkdir()
    policy = computer.policy(
        sequence(
            step("run", command=["sh", "-c", 'test -e "$COURIER_INTO.go"']),
            step("partition", parts=[("A", "linux", "8MB", "none")]),
        )
    )
    with pytest.raises(CourierError):
        computer.run(policy, into)
    (tmp_path / "into.go").touch()
    into.rename(tmp_path / "before")
    if kind == "disk":
        disk_of(into, 32)
        with into.open("r+b") as out:
            out.write(b"precious".ljust(510, b"p") + b"\x55\xaa")
    else:
        tree_of(into, {"precious": b"precious"})
    with pytest.raises(RefusedError, match="holds something"):
        computer.run(policy, into)
    assert b"precious" in (into if kind == "disk" else into / "precious").read_bytes()[:8]
    assert computer.run(policy, into, erase=True).done == (1, 2)
