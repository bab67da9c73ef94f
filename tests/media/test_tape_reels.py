"""Volumes on several reels: a tape that ends early, the reels changed by a person, given apart, or as folders."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_tape import FakeSt, commands, copy_tape, device, shell, stand_ins
from journey import Sites, add, create, exported, make_sites, run
from stock import stock_tool

from courier.media import tape_device as tapedevice
from courier.media.tape_folder import FolderDrive
from formats.tape import read_volume_label

MB = 1_000_000
WARNING = 1_300_000
"""What a tape here has left when it warns: a block of the parcel and labels."""


def reel(capacity: int = 3_700_000) -> FakeSt:
    return FakeSt(capacity=capacity, warning=WARNING)


@dataclass(kw_only=True)
class Station:
    """A tape drive, its shelf, and the person before it: ``hands`` is what they do when asked, in turn.

    What they do is put a tape in (a `FakeSt`), or anything else (a callable). They are asked no more than that.
    """

    path: Path
    tape: FakeSt
    hands: list[FakeSt | Callable[[], None]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def change(self, request: str) -> str:
        self.asked.append(request)
        assert self.hands, f"nothing more to do, and asked: {request}"
        act = self.hands.pop(0)
        if isinstance(act, FakeSt):
            self.tape = act
        else:
            act()
        return ""


@pytest.fixture
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Station]:
    path = tmp_path / "nst0"
    path.touch()
    here = Station(path=path, tape=reel())
    for module in ("media.tape_reels", "media.reading", "media.finding", "media.writing", "sending.drives"):
        monkeypatch.setattr(f"courier.{module}.is_tape_device", lambda found: found == path)
    monkeypatch.setattr(tapedevice, "_LinuxTape", lambda _path, writing: here.tape)
    yield here
    assert not here.hands


@contextmanager
def a_person(station: Station, *hands: FakeSt | Callable[[], None]) -> Iterator[list[str]]:
    """Somebody is at the terminal while this runs, and does what they do; all must be asked for."""
    station.hands, station.asked = list(hands), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("courier.cli.console.Console.present", True)
        patch.setattr("builtins.input", station.change)
        yield station.asked
    assert not station.hands


@dataclass(frozen=True, kw_only=True)
class Written:
    sites: Sites
    package: str
    parcel: str
    reels: list[FakeSt]

    def write(self, station: Station, **more: Any) -> dict[str, Any]:
        return self.sites.hq("parcel", "write", self.parcel, "--layout", "tape", "--out", station.path, **more)


def sent(tmp_path: Path, **options: Any) -> Written:
    sites = make_sites(tmp_path)
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(7).randbytes(7 * MB))
    package = add(sites.hq, image)
    parcel = create(sites.hq, package, capacity="20MB", compress="none", redundancy="none", **options)
    return Written(sites=sites, package=package, parcel=parcel, reels=[reel() for _ in range(3)])


def shipped(tmp_path: Path, station: Station, **options: Any) -> Written:
    """A volume that took three reels, and its notice at the branch."""
    made = sent(tmp_path, **options)
    one, two, three = made.reels
    station.tape = one
    with a_person(station, two, three, one, two, three):
        (volume,) = made.write(station)["volumes"]
    assert volume["reels"] == 3
    made.sites.hq("parcel", "ship", made.parcel)
    made.sites.sync()
    return made


def same_content(made: Written, tmp_path: Path) -> bool:
    return exported(made.sites.br, made.package, tmp_path / "out") == exported(
        made.sites.hq, made.package, tmp_path / "there"
    )


# Writing.


def test_a_tape_that_ends_early_is_gone_on_with_on_the_next_and_all_are_read_back(
    tmp_path: Path, station: Station
) -> None:
    made = sent(tmp_path)
    one, two, three = made.reels
    station.tape = one
    with a_person(station, two, three, one, two, three) as asked:
        text = made.sites.hq.says("parcel", "write", made.parcel, "--layout", "tape", "--out", station.path)
    assert "written on 3 reels and read back" in text
    name = "HQ1_000001_V001"
    wanted = [
        f"reel 2 of volume {name} (its label: 010012)",
        f"reel 3 of volume {name} (its label: 010013)",
        f"read back now. Put reel 1 of volume {name} into",
        f"Put reel 2 of volume {name} into",
        f"Put reel 3 of volume {name} into",
    ]
    assert all(part in request for part, request in zip(wanted, asked, strict=True))
    labels = [read_volume_label(device(tape)) for tape in made.reels]
    assert [(label.reel, label.volume_id, label.set_id) for label in labels] == [
        (1, "010011", "010011"),
        (2, "010012", "010011"),
        (3, "010013", "010011"),
    ]
    assert "(tape, 3 reels), read back" in str(made.sites.hq("parcel", "log", made.parcel))


def test_no_block_of_a_parcel_is_cut_where_a_reel_ends(tmp_path: Path, station: Station) -> None:
    made = shipped(tmp_path, station)
    starts = [
        int(item[49:64])
        for tape in made.reels[1:]
        for item in tape.tape[:5]
        if item is not None and item[:4] == b"UHL1"
    ]
    assert len(starts) == 2
    assert all(start and start % (1 << 20) == 0 for start in starts)


def test_a_script_writes_to_the_very_end_and_is_told_when_that_is_not_enough(tmp_path: Path, station: Station) -> None:
    made = sent(tmp_path)
    error = made.sites.hq.fails("parcel", "write", made.parcel, "--layout", "tape", "--out", station.path, code=5)
    assert "reel 1 (010011) is full" in error["message"]
    station.tape = FakeSt(capacity=8 * MB, warning=4 * MB)
    assert made.write(station)["volumes"][0]["reels"] == 1


def test_a_tape_that_is_not_blank_and_no_tape_are_named_and_asked_for_again(tmp_path: Path, station: Station) -> None:
    made = sent(tmp_path)
    one, two, three = made.reels
    foreign = FakeSt()
    foreign.tape.extend([b"tar" * 200, None, None])

    def leave() -> None:
        pass

    station.tape = one
    before = list(foreign.tape)
    with a_person(station, leave, foreign, two, three, one, three, FakeSt(), foreign, two, three) as asked:
        made.write(station)
    assert "holds reel 1 of volume HQ1_000001_V001. " in asked[1]
    assert "holds something else (" in asked[2]
    assert "holds reel 3 of volume HQ1_000001_V001. " in asked[6]
    assert "holds a blank tape. " in asked[7]
    assert "label cannot be read" in asked[8]
    assert foreign.tape == before


def test_a_run_that_is_killed_between_reels_begins_the_volume_again(tmp_path: Path, station: Station) -> None:
    made = sent(tmp_path)
    one, two, three = made.reels

    def kill() -> None:
        raise KeyboardInterrupt

    command = ("parcel", "write", made.parcel, "--layout", "tape", "--out", station.path)
    station.tape = one
    with a_person(station, two, kill):
        made.sites.hq(*command, code=8)
    assert made.sites.hq("parcel", "show", made.parcel)["state"] == "Built"
    # Its second reel is in the drive: that is not where the volume begins.
    assert "reel 2 of volume" in made.sites.hq.fails(*command, code=3)["message"]
    station.tape = one
    with a_person(station, two, three, one, two, kill):
        made.sites.hq(*command, code=8)
    assert made.sites.hq("parcel", "show", made.parcel)["state"] == "Built", "not read back whole"
    station.tape = one
    with a_person(station, two, three, one, two, three):
        assert made.sites.hq(*command)["state"] == "Written"


def test_a_reel_that_does_not_read_back_is_said_and_the_volume_is_not_written(tmp_path: Path, station: Station) -> None:
    made = sent(tmp_path)
    one, two, three = made.reels
    station.tape = one

    def worn() -> None:
        station.tape = two
        two.drive.bad = {7}

    with a_person(station, two, three, one, worn):
        error = made.sites.hq.fails("parcel", "write", made.parcel, "--layout", "tape", "--out", station.path, code=4)
    assert "reading back" in error["message"]
    assert made.sites.hq("parcel", "show", made.parcel)["state"] == "Built"


# Receiving from a drive.


def test_a_person_is_asked_for_each_reel_and_told_which_is_wrong(tmp_path: Path, station: Station) -> None:
    made = shipped(tmp_path, station)
    one, two, three = made.reels
    station.tape = one
    with a_person(station, three, two, three) as asked:
        verdict = made.sites.br("parcel", "verify", station.path)["volumes"][0]
    assert verdict["state"] == "good"
    assert "continues on reel 2" in asked[0]
    assert "holds reel 3 of volume HQ1_000001_V001. " in asked[1]
    station.tape = one
    with a_person(station, two, three):
        assert made.sites.br("parcel", "receive", station.path)["state"] == "Imported"
    assert same_content(made, tmp_path)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_a_script_gives_reel_after_reel_and_is_told_which_is_lacking(
    tmp_path: Path, station: Station, order: tuple[int, ...]
) -> None:
    made = shipped(tmp_path, station)
    command = ("parcel", "receive", station.path)
    wanted = ["reel 2 not given", "reel 3 not given" if order[1] == 1 else "reels 1 to 2 not given"]
    for number, text in zip(order, wanted, strict=False):
        station.tape = made.reels[number]
        ran = made.sites.br.ran(*command, code=4)
        assert ran.error["code"] == "reel-missing"
        assert text in ran.error["message"]
        assert "what was read is kept: give the same command with reel" in ran.error["hint"]
        assert ran.document["missing_volumes"] == [1]
        assert ran.document["volumes"][0]["findings"] == [], "a reel that ends as it should is not damaged"
    station.tape = made.reels[order[2]]
    text = made.sites.br.says(*command)
    assert f"volume 1 of 1 (tape, reel {order[2] + 1})" in text
    assert "imported" in text
    assert same_content(made, tmp_path)


def test_a_further_reel_before_the_first_says_what_to_give(tmp_path: Path, station: Station) -> None:
    made = shipped(tmp_path, station)
    station.tape = made.reels[1]
    for verb in ("receive", "verify"):
        error = made.sites.br.fails("parcel", verb, station.path, code=4)
        assert error["code"] == "reel-missing"
        assert "reel 2 of volume HQ1_000001_V001" in error["message"]
        assert "give reel 1 first" in error["hint"]


def test_verifying_the_first_reel_alone_says_what_is_lacking(tmp_path: Path, station: Station) -> None:
    made = shipped(tmp_path, station)
    station.tape = made.reels[0]
    ran = made.sites.br.ran("parcel", "verify", station.path, code=4)
    assert any("reel 2 of its tape not given" in text for text in ran.document["volumes"][0]["problems"])


def test_a_read_error_on_a_further_reel_loses_its_blocks_alone(tmp_path: Path, station: Station) -> None:
    made = shipped(tmp_path, station)
    one, two, three = made.reels
    two.drive.bad = {8}
    station.tape = one
    with a_person(station, two, three):
        ran = made.sites.br.ran("parcel", "receive", station.path, code=4)
    assert ran.document["missing_blocks"] == 1
    assert ran.document["volumes"][0]["lacking"] == ""
    two.drive.bad = set()
    station.tape = two
    assert made.sites.br("parcel", "receive", station.path)["state"] == "Imported"


# Folders that mirror reels.


@pytest.fixture
def folders(tmp_path: Path, station: Station) -> tuple[Written, Path]:
    """The reels of a volume, each copied to a folder of a name that says nothing."""
    made = shipped(tmp_path, station, encrypt=False)
    root = tmp_path / "reels"
    root.mkdir()
    for tape, name in zip(made.reels, ("c", "a", "b"), strict=True):
        with FolderDrive(root / name, writing=True) as drive:
            copy_tape(device(tape), drive)
        for path in sorted((root / name).glob("0*")):
            path.rename(root / name / f"{path.name[:5]}{path.suffix if path.suffix == '.label' else ''}")
    return made, root


def test_folders_of_reels_are_one_volume_whatever_they_are_called(
    tmp_path: Path, folders: tuple[Written, Path]
) -> None:
    made, root = folders
    card = tmp_path / "HQ1.card"
    (verdict,) = run("parcel", "verify", root, "--card", card, "--json").document["volumes"]
    assert verdict["state"] == "good"
    document = made.sites.br("parcel", "receive", root / "b", root / "a", root / "c")
    assert len(document["volumes"]) == 1
    assert document["state"] == "Imported"
    assert same_content(made, tmp_path)
    (learnt,) = made.sites.hq("catalog", "rebuild", root)["volumes"]
    assert learnt["number"] == 1


def test_folders_given_on_several_days_fill_in_what_is_missing(tmp_path: Path, folders: tuple[Written, Path]) -> None:
    made, root = folders
    away = tmp_path / "away"
    (root / "a").rename(away)
    ran = made.sites.br.ran("parcel", "receive", root, code=4)
    assert ran.error["code"] == "reel-missing"
    assert "reel 2 not given" in ran.error["message"]
    missing = ran.document["missing_blocks"]
    assert 0 < missing < 7
    assert made.sites.br("parcel", "receive", away)["state"] == "Imported"
    assert same_content(made, tmp_path)


def test_a_reel_given_twice_and_one_of_which_the_label_is_lost_stop_nobody(
    tmp_path: Path, folders: tuple[Written, Path]
) -> None:
    made, root = folders
    first = root / "c" / "00000.label"
    first.write_bytes(b"\0" * 80 + first.read_bytes()[80:])
    made.sites.br("parcel", "receive", root / "c", code=4)
    assert made.sites.br("parcel", "receive", root / "a", root / "b", root / "a")["state"] == "Imported"


def test_the_pages_commands_make_folders_of_reels_and_join_them_for_the_restore_script(
    tmp_path: Path, station: Station
) -> None:
    stock_tool("7z")
    made = shipped(tmp_path, station, encrypt=False)
    tape, tools = tmp_path / "tape.pickle", stand_ins(tmp_path)
    root = tmp_path / "reels"
    for number, one in enumerate(made.reels, 1):
        tape.write_bytes(pickle.dumps((one.tape, 0, 512)))
        (root / f"reel{number}").mkdir(parents=True)
        shell(commands("read"), root / f"reel{number}", path=f"{tools}{os.pathsep}{os.defpath}")
    shell(commands("join"), root)
    done = subprocess.run(
        [sys.executable, "-I", "-S", root / "bag" / "restore.py", "--to", tmp_path / "restored", root / "bag"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (image,) = tmp_path.glob("restored/*/image.bin")
    assert image.read_bytes() == (tmp_path / "image.bin").read_bytes()
    # The folders as the commands made them are the volume as well.
    assert made.sites.br("parcel", "receive", root)["state"] == "Imported"
