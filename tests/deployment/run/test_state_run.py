"""Users' files outlive the erasing of their disk: it is erased only after all of them were captured."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deploy_client import Computer, files_of, on_disk, sequence, state_place, step, tree_of

from courier.deployment.state_store import MigrationFolder
from courier.errors import CourierError, NotFoundError, RefusedError
from courier.packages.tree_root import TreeRoot
from formats.age import Identity
from formats.documents.deployment import StatePlace

NEW = step("partition", name="new disk", parts=[("NEW", "linux", "rest", "ext4")])
RESTORE = step("restore-state", part="NEW", to="home")


@pytest.fixture
def place(tmp_path: Path) -> StatePlace:
    """A place for the state of PC-1, which comes back to it."""
    point = tmp_path / "state-point"
    point.mkdir()
    identity = Identity.generate()
    found = state_place(point, recipients=(identity.recipient,), identity=identity.to_text())
    assert found.migration
    MigrationFolder(point, found.migration).reserve()
    return found


@pytest.mark.parametrize(
    ("part", "include", "expected"),
    [
        ("ROOT", "home/**", {"home/home/ann/a.txt": b"ann's"}),
        ("ESP", "Users/**", {"home/Users/ann/fat.txt": b"on fat"}),
        ("WIN", "Users/**", {"home/Users/ann/ntfs.txt": b"on ntfs"}),
    ],
)
def test_state_of_an_old_disk_comes_back_onto_the_new_file_system(
    computer: Computer, old_disk: bytes, place: StatePlace, part: str, include: str, expected: Any, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(old_disk)
    capture = step("capture-state", part=part, include=[include])
    policy = computer.policy(sequence(capture, NEW, RESTORE), state=place)
    assert computer.run(policy, disk, erase=True).done == (1, 2, 3)
    assert on_disk(disk, tmp_path) == {"NEW": expected}


def test_state_of_a_folder_is_captured_from_it_and_restored_into_another(
    computer: Computer, place: StatePlace, tmp_path: Path
) -> None:
    old = tree_of(tmp_path / "old", {"home/ann/a.txt": b"a", "etc/x": b"x"})
    computer.run(computer.policy(sequence(step("capture-state", include=["home"])), state=place), old)
    assert files_of(old) == {"home/ann/a.txt": b"a", "etc/x": b"x"}
    computer.run(computer.policy(sequence(step("restore-state")), state=place), tmp_path / "new", anew=True)
    assert files_of(tmp_path / "new") == {"home/ann/a.txt": b"a"}


def test_a_sequence_that_erases_before_it_captures_is_refused(
    computer: Computer, old_disk: bytes, place: StatePlace, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(old_disk)
    for steps in ([NEW], [NEW, step("capture-state", part="NEW", include=["home"])]):
        with pytest.raises(RefusedError, match="has to be captured before"):
            computer.run(computer.policy(sequence(*steps), state=place), disk, erase=True, anew=True)
    assert disk.read_bytes() == old_disk
    # Another computer's state is no hindrance: this one only gets it.
    other = replace(place, source="PC-0", recipients=())
    computer.run(computer.policy(sequence(NEW), state=other), disk, erase=True, anew=True)


def test_two_captures_of_one_computer_are_refused_because_only_the_newest_comes_back(
    computer: Computer, old_disk: bytes, place: StatePlace, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(old_disk)
    first = step("capture-state", name="first", part="ROOT", include=["home/**"])
    second = step("capture-state", name="second", part="ESP", include=["Users/**"], continue_on_error=True)
    with pytest.raises(RefusedError, match="only the newest capture is restored"):
        computer.run(computer.policy(sequence(first, second, NEW, RESTORE), state=place), disk, erase=True)
    assert disk.read_bytes() == old_disk
    elsewhere = second + 'when = [{variable = "Model", is = "another"}]\n'
    policy = computer.policy(sequence(first, elsewhere, NEW, RESTORE), state=place)
    assert computer.run(policy, disk, erase=True, anew=True).done == (1, 3, 4)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_capture_that_is_not_complete_keeps_the_disk_from_being_erased(
    computer: Computer,
    old_disk: bytes,
    place: StatePlace,
    goes_on: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = TreeRoot.open

    def failing(root: TreeRoot, name: str, flags: int = os.O_RDONLY) -> int:
        if name.endswith("a.txt"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(root.path(name)))
        return opened(root, name, flags)

    monkeypatch.setattr(TreeRoot, "open", failing)
    disk = tmp_path / "disk.img"
    disk.write_bytes(old_disk)
    capture = step("capture-state", part="ROOT", include=["home"], continue_on_error=goes_on)
    with pytest.raises(CourierError) as caught:
        computer.run(computer.policy(sequence(capture, NEW, RESTORE), state=place), disk, erase=True)
    assert ("not complete" if goes_on else "1 file could not be captured, first home/ann/a.txt") in caught.value.message
    assert disk.read_bytes() == old_disk
    assert [(one.step, one.outcome) for one in computer.told()] == [
        (0, "started"), (1, "started"), (1, "failed"), *([(2, "failed")] if goes_on else []), (0, "failed"),
    ]  # fmt: skip
    # Once it can be read, the same command captures it, and then erases.
    monkeypatch.undo()
    assert computer.run(computer.root / "PC-1.policy", disk, erase=True).done == (1, 2, 3)
    assert on_disk(disk, tmp_path) == {"NEW": {"home/home/ann/a.txt": b"ann's"}}


def test_nothing_is_erased_for_a_restore_of_what_was_never_captured(
    computer: Computer, old_disk: bytes, place: StatePlace, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(old_disk)
    only = replace(place, source="PC-0", recipients=())
    with pytest.raises(NotFoundError, match="nothing of PC-0 was captured"):
        computer.run(computer.policy(sequence(NEW, RESTORE), state=only), disk, erase=True)
    assert disk.read_bytes() == old_disk
