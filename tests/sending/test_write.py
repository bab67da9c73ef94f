"""Writing volumes: the same bytes each time, runs that go on, drives used in turn, another layout."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from journey import (
    Sites,
    add,
    create,
    digests_of,
    make_sites,
    run_process,
)
from journey import write as write_parcel
from told_progress import Told

from courier.files import locked
from courier.media.reading import LAYOUTS
from courier.parcel import volume_layout
from courier.sending import write as writing
from courier.site.home import Site
from formats.documents.packing import PackingList

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_volume_issued_again_is_the_same_to_the_byte(sites: Sites, layout: str) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    first = write_parcel(sites.hq, parcel, layout, sites.root / "a")
    again = write_parcel(sites.hq, parcel, layout, sites.root / "b")
    assert [digests_of(path) for path in first] == [digests_of(path) for path in again]


def test_a_volume_issued_again_after_the_key_was_renewed_is_the_same_to_the_byte(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    first = write_parcel(sites.hq, parcel, "folder", sites.root / "a")
    sites.hq("site", "rotate-key")
    again = write_parcel(sites.hq, parcel, "folder", sites.root / "b")
    assert [digests_of(path) for path in first] == [digests_of(path) for path in again]
    # A set that was interrupted goes on over it.
    command = ("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "a")
    assert all(one["kept"] for one in sites.hq(*command)["volumes"])
    sites.br("parcel", "receive", sites.root / "b")
    for path in sites.hq.path.glob("catalogue.sqlite*"):
        path.unlink()
    sites.hq("catalog", "rebuild", sites.root / "b")
    assert all(one["kept"] for one in sites.hq(*command)["volumes"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_interrupted_set_goes_on_and_what_stands_is_read_again(sites: Sites, layout: str) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    out = sites.root / "out"
    sites.hq("parcel", "write", parcel, "--layout", layout, "--out", out, "--volume", 1)
    assert sites.hq.fails("parcel", "ship", parcel, code=3)["code"] == "not-written"
    document = sites.hq("parcel", "write", parcel, "--layout", layout, "--out", out)
    assert [one["kept"] for one in document["volumes"]] == [True] + [False] * (len(document["volumes"]) - 1)
    sites.hq("parcel", "ship", parcel)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_interrupted_set_goes_on_when_the_media_before_have_been_taken_out(sites: Sites, layout: str) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    drive, command = (
        sites.root / "drive",
        ("parcel", "write", parcel, "--layout", layout, "--out", sites.root / "drive"),
    )
    (first,) = sites.hq(*command, "--volume", 1)["volumes"]
    drive.rename(sites.root / "taken out")
    said = sites.hq.says(*command)
    assert "Volume 1 of" in said
    assert "written before, on a medium that is not here now; to write it again: --volume 1" in said
    assert sorted(path.name[:15] for path in drive.iterdir())[0] == "HQ1_000001_V002"
    assert sites.hq("parcel", "show", parcel)["state"] == "Written"
    # Of a whole set another one is written when it is asked for; and one volume whenever it is.
    drive.rename(sites.root / "taken out too")
    assert not any(one["kept"] for one in sites.hq(*command)["volumes"])
    drive.rename(sites.root / "a copy")
    assert sites.hq(*command, "--volume", 1)["volumes"][0]["path"] == first["path"]
    assert digests_of(Path(first["path"])) == digests_of(sites.root / "taken out" / Path(first["path"]).name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_killed_run_left_on_a_drive_takes_no_room_from_the_next(
    sites: Sites, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    drive = sites.root / "drive"
    ending = {"folder": "", "iso": ".iso", "tape": ".tape"}[layout]
    other = drive / f".courier-tmp-77-HQ1_000002_V001{ending}"
    (drive / f".courier-tmp-77-HQ1_000001_V001{ending}").mkdir(parents=True)
    other.mkdir()
    (drive / f".courier-tmp-77-HQ1_000001_V001{ending}" / "half").write_bytes(bytes(800_000))

    def free_space(folder: Path) -> int:
        return 3_500_000 - sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    monkeypatch.setattr("courier.sending.drives.free_space", free_space)
    assert len(write_parcel(sites.hq, parcel, layout, drive)) == 4
    # Another parcel's is not ours to judge: its own command may be writing it.
    assert [path for path in drive.iterdir() if path.name.startswith(".courier-tmp-")] == [other]


@pytest.mark.skipif(not Path("/dev/shm").is_mount(), reason="elsewhere: Linux has a disk in memory below /dev")
def test_a_device_that_is_not_there_is_said_and_a_disk_below_dev_is_a_place_like_another(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    command = ("parcel", "write", parcel, "--layout", "folder", "--out")
    assert "no such device" in sites.hq.fails(*command, "/dev/courier-no-such-drive", code=6)["message"]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        assert sites.hq(*command, Path(folder) / "new")["state"] == "Written"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_error_of_a_drive_says_which_drive(sites: Sites, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    command = ("parcel", "write", parcel, "--layout", layout, "--out", sites.root / "out")

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # as write(2), read(2) and fsync(2) do

    with monkeypatch.context() as patch:
        patch.setattr("courier.media.writing.read_back", fails)
        assert str(sites.root / "out") in sites.hq.fails(*command, code=4)["message"]
    with monkeypatch.context() as patch:
        patch.setattr("courier.parcel.recipes.ComposedFiles.open", lambda *_: Failing())
        assert "on our own disk" in sites.hq.fails(*command, code=4)["message"]
    assert list((sites.root / "out").iterdir()) == []


class Failing(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_refused_layout_for_another_medium_leaves_the_parcel_as_it_was(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    out = sites.root / "out"
    write_parcel(sites.hq, parcel, "iso", out)
    (sites.root / "file").touch()
    anew = ("parcel", "write", parcel, "--capacity", "3MB", "--layout", "iso", "--out")
    assert sites.hq.fails(*anew, out, code=3)["code"] == "target-exists"
    assert "not a folder" in sites.hq.fails(*anew, sites.root / "file", code=2)["message"]
    with monkeypatch.context() as patch:
        patch.setattr("courier.sending.drives.os.access", lambda path, _: path != sites.root)
        assert sites.hq.fails(*anew, sites.root / "read-only", code=3)["code"] == "permission"
    with locked(sites.hq.path / "parcels" / "out" / parcel / "lock"):
        assert sites.hq.fails(*anew, sites.root / "other", code=9)["code"] == "busy"
        assert sites.hq.fails("parcel", "discard", parcel, code=9)["code"] == "busy"
    assert sites.hq("parcel", "show", parcel)["state"] == "Written"
    sites.hq("parcel", "ship", parcel)


@pytest.mark.parametrize("options", [(), ("--capacity", "6MB")])
def test_a_parcel_laid_out_anew_while_a_person_was_asked_is_not_written_as_it_was(
    sites: Sites, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    command = ("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "out")

    def asked(*_: object) -> None:
        out = sites.root / "other"
        run_process(*command[:-1], out, "--capacity", "3MB", "--yes", "--home", sites.hq.path)

    with monkeypatch.context() as patch:
        patch.setattr("courier.cli.console.Console.confirm", asked)
        error = sites.hq.fails(*command, *options, code=9)
    assert "laid HQ1-000001 out anew" in error["message"]
    assert sites.hq("parcel", "show", parcel)["state"] == "Written"
    (volume,) = sites.hq(*command)["volumes"]
    sites.hq("parcel", "ship", parcel)
    assert sites.br("parcel", "receive", volume["path"])["missing_volumes"] == []


def test_a_script_that_says_no_yes_writes_nothing(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    command = ("parcel", "write", parcel, "--layout", "folder", "--out", sites.root / "out", "--home", sites.hq.path)
    before = sites.hq.state()
    ran = run_process(*command, "--json", code=3)
    assert (ran.error["code"], ran.error["hint"]) == ("not-confirmed", "give --yes")
    assert sites.hq.state() == before
    assert not (sites.root / "out").exists()
    run_process(*command, "--dry-run")  # asks nothing
    run_process(*command, "--yes")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_stands_at_the_target_and_is_another_thing_is_never_overwritten(sites: Sites, layout: str) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    volumes = write_parcel(sites.hq, parcel, layout, sites.root / "out")
    spoil(volumes[0])
    before = digests_of(volumes[0])
    error = sites.hq.fails("parcel", "write", parcel, "--layout", layout, "--out", sites.root / "out", code=3)
    assert error["code"] == "target-exists"
    assert digests_of(volumes[0]) == before


def spoil(path: Path) -> None:
    """Flip a bit in the middle of the largest file of a volume."""
    target = (
        path if path.is_file() else max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    )
    data = bytearray(target.read_bytes())
    data[len(data) * 3 // 4] ^= 0x10
    target.write_bytes(data)


def test_volumes_go_to_several_outs_in_turn(sites: Sites) -> None:
    # One disk here, so all of them go to the first; what stands at any of them is kept.
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    a, b = sites.root / "a", sites.root / "b"
    sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", b, "--volume", 2)
    document = sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", a, "--out", b)
    places = {one["number"]: Path(one["path"]).parent.name for one in document["volumes"]}
    assert places[1] == "a"
    assert places[2] == "b"


@pytest.mark.parametrize("anew", [(), ("--capacity", "1200KB")])
def test_what_a_volume_takes_of_its_medium_is_worked_out_once(
    sites: Sites, anew: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    counted: dict[int, int] = {}
    whole = volume_layout.volume_files

    def counting(packing: PackingList, number: int, *arguments: Any, **options: Any) -> object:
        if not packing.archives[-1].sha256.strip("0"):
            return whole(packing, number, *arguments, **options)
        counted[number] = counted.get(number, 0) + 1
        return whole(packing, number, *arguments, **options)

    monkeypatch.setattr(volume_layout, "volume_files", counting)
    out = sites.root / "out"
    document = sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", out, *anew)
    assert counted == dict.fromkeys(range(1, len(document["volumes"]) + 1), 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_progress_ends_at_its_total(sites: Sites, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    told = Told()
    totals: list[int] = []
    whole = writing.write_volumes

    def counted(site: Site, plan: writing.WritePlan, **options: Any) -> writing.WriteReport:
        totals.append(plan.work)
        return whole(site, plan, **{**options, "progress": told})

    monkeypatch.setattr(writing, "write_volumes", counted)
    for _ in ("written", "kept"):
        write_parcel(sites.hq, parcel, layout, sites.root / "a")
        assert told.all_true() == ["Writing"]
        assert told.phases.pop() == ["Writing", *[totals.pop()] * 2]
