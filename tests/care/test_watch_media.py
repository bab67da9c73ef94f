"""Media that appear are taken in once, when they have settled; what is no good is said once and never touched."""

from __future__ import annotations

import os
import shutil
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from journey import FIXTURES, Sites, add, digests_of, make_sites, noise, sent, write_files
from watching import Clock, Said, Shipped, copied, media_step, shipped

from courier.care.watch import media_step as step_module
from courier.care.watch import sightings
from courier.care.watch.media_step import AGAIN_FIRST_SECONDS, MediaStep, MediaWish, Taking
from courier.care.watch.sightings import look
from courier.errors import BusyError, CourierError, NoSpaceError
from courier.files import locked
from courier.progress import SILENT, Progress
from courier.receiving import spools_lock
from courier.site.home import Site, open_site


@dataclass(kw_only=True)
class Desk:
    """A receiver whose folder ``into`` is watched, and the volumes of a parcel that it waits for."""

    sites: Sites
    site: Site
    into: Path
    parcel: str
    volumes: list[Path]
    clock: Clock = field(default_factory=Clock)
    said: Said = field(default_factory=Said)
    notices: list[str] = field(default_factory=list)
    step: MediaStep = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self, **wish: Any) -> None:
        """Begin anew, as after a kill."""
        wish = {"folders": (self.into,), **wish}
        self.step = media_step(self.site.home, MediaWish(**wish), self.said, self.clock, self.notices)

    def put(self, number: int, name: str = "") -> Path:
        """Put a volume into the folder."""
        source = self.volumes[number - 1]
        return Path(shutil.copytree(source, self.into / (name or source.name)))

    def look(self, seconds: float = 10) -> list[Path]:
        """What is ready to be taken in after another look and so many seconds."""
        self.step.look()
        self.clock.now += seconds
        return [one.path for one in self.step.ready(self.step.look())]

    def take(self, progress: Progress = SILENT) -> Taking:
        """Take in what is ready."""
        self.step.look()
        self.clock.now += 10
        return self.step.take_in(self.site, self.step.ready(self.step.look()), progress=progress, check=lambda: None)

    @property
    def state(self) -> str:
        """The state of the parcel."""
        return str(self.sites.br("parcel", "show", self.parcel)["state"])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    return shipped(tmp_path_factory.mktemp("shipped"))


@pytest.fixture
def desk(template: Shipped, tmp_path: Path) -> Iterator[Desk]:
    own = copied(template, tmp_path)
    into = tmp_path / "in"
    into.mkdir()
    with closing(open_site(own.sites.br.path)) as site:
        yield Desk(sites=own.sites, site=site, into=into, parcel=own.parcel, volumes=list(own.volumes))


def test_a_medium_is_left_until_nothing_of_it_changes(desk: Desk) -> None:
    image = desk.into / "HQ1_000001_V001.iso"
    for size in (10, 20, 30):
        image.write_bytes(b"x" * size)
        assert desk.look(9) == []
    image.write_bytes(b"y" * 30)
    os.utime(image, ns=(1, 1))  # the same size, another time
    assert desk.look(9) == []
    assert desk.look(1) == [image]


def test_files_that_are_no_media_and_empty_folders_are_passed_over(desk: Desk) -> None:
    (desk.into / "readme.txt").write_text("read me")
    (desk.into / "HQ1_000001_V001.iso.part").write_text("half")
    (desk.into / ".hidden.iso").write_text("x")
    (desk.into / "cdrom").mkdir()
    (desk.into / "lost+found").mkdir()
    (desk.into / "gone.iso").symlink_to(desk.into / "none")
    assert desk.look() == []


def test_a_pipe_among_the_files_of_a_medium_is_not_waited_for(desk: Desk) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("pipes with a name are of POSIX")
    volume = desk.put(1)
    for place in (volume / "data", desk.into / "trap", desk.into / "linked"):
        place.mkdir(exist_ok=True)
    (desk.into / "trap" / "file").write_text("x")
    os.mkfifo(desk.into / "trap" / "bag-info.txt")
    (desk.into / "linked" / "file").write_text("x")
    (desk.into / "linked" / "bag-info.txt").symlink_to(desk.into / "trap" / "bag-info.txt")
    os.mkfifo(desk.into / "HQ1-000001.iso")
    found: list[Path] = []
    looking = threading.Thread(target=lambda: found.extend(desk.look()), daemon=True)
    looking.start()
    looking.join(20)
    assert found == [volume, desk.into / "linked", desk.into / "trap"]


def test_of_a_folder_with_very_many_files_only_media_are_kept_in_memory(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sightings, "MOST_ENTRIES", 50)
    (desk.into / "many").mkdir()
    for number in range(3000):
        (desk.into / f"{number}.txt").touch()
        (desk.into / "many" / f"{number}.txt").touch()
    tracemalloc.start()
    try:
        assert len(look([desk.into])) == 1
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_all_volumes_at_once_are_imported_and_none_is_read_again(desk: Desk) -> None:
    for number in (1, 2, 3, 4):
        desk.put(number)
    assert desk.take() == Taking(imported=True, changed=True)
    assert desk.state == "Imported"
    assert desk.look() == []
    desk.restart()
    assert desk.look() == []


def test_a_medium_is_known_by_what_it_is_and_not_by_where_it_lies(desk: Desk) -> None:
    first = desk.put(1)
    desk.take()
    assert desk.said.volumes == [1]
    first.rename(desk.into / "elsewhere")
    desk.restart()
    assert desk.look() == []
    # Another medium at the same path is another one.
    shutil.rmtree(desk.into / "elsewhere")
    second = desk.put(2, first.name)
    assert desk.look() == [second]


def test_a_medium_that_is_put_in_again_is_taken_in_again(desk: Desk) -> None:
    first = desk.put(1)
    desk.take()
    shutil.rmtree(first)
    assert desk.look() == []
    assert desk.put(1) == first
    assert desk.look() == [first]


def test_held_media_are_not_imported(desk: Desk) -> None:
    desk.restart(hold=True)
    for number in (1, 2, 3, 4):
        desk.put(number)
    assert not desk.take().imported
    assert desk.state == "Held"


def test_a_damaged_medium_is_said_once_and_never_touched(desk: Desk) -> None:
    damaged = desk.put(1)
    for name in ("packing-list.json", "volume-label.json"):
        (damaged / "courier" / name).write_bytes(b"{")
    before = digests_of(damaged)
    desk.take()
    assert len(desk.said.warnings) == 1
    assert [one.partition(":")[0] for one in desk.notices] == ["damage"]
    desk.restart()
    assert desk.look() == []
    assert digests_of(damaged) == before
    # A sound copy of the volume, beside it, is another medium.
    desk.put(1, "copy")
    desk.take()
    assert desk.said.volumes == [1]


def test_another_copy_of_a_volume_is_read_where_the_first_could_not_be_read_wholly(desk: Desk) -> None:
    first = desk.put(1)
    archive = next((first / "data" / "archives").iterdir())
    times = archive.stat().st_mtime_ns
    data = bytearray(archive.read_bytes())
    data[100] ^= 1
    archive.write_bytes(data)
    os.utime(archive, ns=(times, times))
    desk.take()
    second = desk.put(1, "copy")
    assert desk.look() == [second]
    desk.take()
    shutil.copytree(second, desk.into / "third")
    assert desk.look() == []


def test_a_foreign_medium_is_said_once_also_when_its_files_change(desk: Desk) -> None:
    stick = desk.into / "stick"
    stick.mkdir()
    (stick / "holiday.jpg").write_bytes(b"jpg")
    before = digests_of(stick)
    desk.take()
    assert len(desk.said.warnings) == len(desk.notices) == 1
    assert digests_of(stick) == before
    (stick / "holiday-2.jpg").write_bytes(b"jpg")
    desk.take()
    desk.restart()
    desk.take()
    assert len(desk.said.warnings) == len(desk.notices) == 1
    # It becomes one of ours.
    shutil.copytree(desk.volumes[0], stick / "volume")
    desk.take()
    assert desk.said.volumes == [1]


def test_a_medium_of_an_unknown_site_is_refused_once(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    others = make_sites(tmp_path / "other", "XX1", "BR1")
    _, volumes = sent(others.hq, add(others.hq, FIXTURES / "boot.wim"), out=tmp_path / "x")
    shutil.copytree(volumes[0], desk.into / "strange")
    for _ in range(2):
        desk.take()
    assert [one.partition(":")[0] for one in desk.notices] == ["refused"]


class _Unplugged(Progress):
    """Takes a medium out in the middle of reading."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, count: int) -> None:
        if self._folder.exists():
            shutil.rmtree(self._folder)


def test_a_medium_that_is_taken_out_while_it_is_read_goes_on_when_it_is_back(desk: Desk, tmp_path: Path) -> None:
    files = write_files(tmp_path / "more", a_img=noise(2_500_000), b_img=noise(2_500_000, 1))
    package = add(desk.sites.hq, files, name="More")
    desk.parcel, desk.volumes = sent(desk.sites.hq, package, out=tmp_path / "n", capacity="4MB")
    desk.sites.sync()
    desk.restart(hold=True)  # so that blocks gather, and progress is told of each
    out = desk.put(1)
    desk.take(_Unplugged(out))
    assert "was taken out" in desk.said.warnings[-1]
    assert desk.look() == []
    assert desk.put(1) == out
    assert desk.look() == [out]
    desk.take()
    assert desk.state in ("Held", "Complete", "Arriving")
    assert desk.said.volumes[-1] == 1


def _failing(monkeypatch: pytest.MonkeyPatch, error: Exception, *, only: str = "") -> None:
    from courier.receiving.receive import receive_media as real

    def receive(site: Site, paths: Sequence[Path], **more: Any) -> Any:
        if any(only in path.name for path in paths):
            raise error
        return real(site, paths, **more)

    monkeypatch.setattr(step_module, "receive_media", receive)


def test_for_want_of_space_a_medium_is_tried_again_later_and_that_is_said_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put(1)
    with monkeypatch.context() as failing:
        _failing(failing, NoSpaceError("the disk is full", hint="free some"))
        desk.take()
        assert desk.look(AGAIN_FIRST_SECONDS - 15) == []
        assert desk.look(AGAIN_FIRST_SECONDS) != []
        desk.take()
        assert len([one for one in desk.said.warnings if "tried again" in one]) == 1
        assert desk.look(AGAIN_FIRST_SECONDS) == []  # it waits for longer now
    desk.clock.now += 2 * AGAIN_FIRST_SECONDS
    desk.take()
    assert desk.said.volumes == [1]


def test_a_medium_waits_for_its_turn_while_another_command_receives(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools_lock, "DOOR_SECONDS", 0.2)
    desk.put(1)
    with locked(desk.site.home / "parcels" / "in" / "lock"):
        desk.take()
    assert desk.said.volumes == []
    desk.clock.now += AGAIN_FIRST_SECONDS
    desk.take()
    assert desk.said.volumes == [1]
    assert desk.notices == []


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(5, "Input/output error")])
def test_what_fails_unforeseen_with_one_medium_does_not_stop_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for number in (1, 2, 3):
        desk.put(number)
    _failing(monkeypatch, error, only="V002")
    desk.take()
    assert desk.said.volumes == [1, 3]
    assert len(desk.notices) == 1
    assert isinstance(desk.step.failures[0], CourierError)


def test_removable_media_are_what_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No test mounts anything: the system's answer is put in its place.
    disc, folder = tmp_path / "anna" / "DISC", tmp_path / "anna" / "folder"
    for path in (disc, folder):
        path.mkdir(parents=True)
        (path / "file").write_text("x")
    monkeypatch.setattr(Path, "is_mount", lambda path: path == disc)
    assert [one.path for one in look([], removable=[f"{tmp_path}/*/*", f"{tmp_path}/none/*"])] == [disc]


def test_a_watched_folder_that_is_itself_a_medium_is_one(desk: Desk) -> None:
    desk.restart(folders=(desk.volumes[0], desk.into / "none"))
    assert desk.look() == [desk.volumes[0]]


def test_busy_is_no_failure_of_the_medium(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put(1)
    _failing(monkeypatch, BusyError("at work", hint="wait"))
    desk.take()
    assert desk.step.failures == []
