"""Several commands that receive one parcel at one time: on one computer, and on several that see one home."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from journey import SMALL, Home, Ran, Sites, add, introduce, make_home, make_sites, run, sent
from other_computer import Started, started
from postgresql import new_database

from courier.site.home import open_site

READING = "courier.receiving.spool:Filling.write"
IMPORTING = "courier.receiving.import_parcel:_stage_archives"
STRAIGHT = "courier.receiving.straight:import_parcel"

_numbers = itertools.count()


@dataclass(frozen=True, kw_only=True)
class OnItsWay:
    """A parcel on its way to a site. ``apart``: its computers are kept apart by nothing but its catalogue."""

    sites: Sites
    parcel: str
    volumes: list[Path]
    package: str
    apart: bool

    @property
    def br(self) -> Home:
        """The receiving site."""
        return self.sites.br

    def receive(
        self, *volumes: Path, wait_at: str = "", option: str = ""
    ) -> contextlib.AbstractContextManager[Started]:
        """A command at a computer of its own."""
        number = next(_numbers)
        return started(
            self.sites.root / f"command{number}",
            *("parcel", "receive", *volumes, *([option] if option else [])),
            *("--home", self.br.path, "--json", "--yes"),
            computer=f"host{number}",
            apart=self.apart,
            wait_at=wait_at,
        )

    def imports(self) -> int:
        """How often the parcel was imported, by its log."""
        log = self.br("parcel", "log", self.parcel)["log"]
        return sum(one["event"] == "imported" for one in log)

    def check_imported(self) -> None:
        """Once, and whole; and nothing is left of locks and of the spool."""
        assert self.br("parcel", "show", self.parcel)["state"] == "Imported"
        assert self.imports() == 1
        self.br("package", "verify", self.package)
        assert not [path.name for path in (self.br.path / "locks").glob("arriving-*")]
        assert [path.name for path in (self.br.path / "parcels" / "in").iterdir()] == ["lock"]
        with contextlib.closing(open_site(self.br.path)) as site:
            assert site.catalogue.held_by_others() == {}


def _parcel(sites: Sites, *, apart: bool, size: int = 600_000, **options: Any) -> OnItsWay:
    source = sites.root / "image.bin"
    source.write_bytes(b"".join(number.to_bytes(8, "big") * 512 for number in range(size // 4096)))
    package = add(sites.hq, source)
    options = {"redundancy": "none", "compress": "none", **options}
    parcel, volumes = sent(sites.hq, package, out=sites.root / "out", capacity=SMALL, **options)
    sites.sync()
    return OnItsWay(sites=sites, parcel=parcel, volumes=volumes, package=package, apart=apart)


@pytest.fixture(params=["sqlite", "postgresql"])
def tested(request: pytest.FixtureRequest, tmp_path: Path) -> OnItsWay:
    if request.param == "sqlite":
        return _parcel(make_sites(tmp_path), apart=False)
    url = new_database(request.getfixturevalue("postgresql"))
    hq, br = make_home(tmp_path, "HQ1"), Home(code="BR1", path=tmp_path / "BR1")
    run("init", "--site", "BR1", "--name", "Branch", "--home", br.path, "--catalogue", url)
    run("site", "card", "--out", tmp_path / "BR1.card", "--home", br.path)
    introduce(tmp_path, hq, br)
    return _parcel(Sites(root=tmp_path, homes=(hq, br)), apart=True)


def error_of(ran: Ran) -> dict[str, Any]:
    """The error of the only failure."""
    return dict(ran.document["failures"][0])


def test_volumes_of_one_parcel_are_read_at_once_and_the_last_imports(tested: OnItsWay) -> None:
    first, *others = tested.volumes
    with tested.receive(first, wait_at=READING) as slow:
        slow.wait_until_there()
        with tested.receive(*others) as quick:
            done = quick.end().document
        (parcel,) = done["parcels"]
        assert (parcel["state"], parcel["missing_volumes"]) == ("Arriving", [1])
        assert parcel["elsewhere"].startswith(f"volume 1 of {tested.parcel} is being received by another command")
        assert tested.imports() == 0
        slow.go_on()
        assert slow.end().document["state"] == "Imported"
    tested.check_imported()


@pytest.mark.long
def test_the_same_volume_twice_at_once_is_said_to_the_second(tested: OnItsWay) -> None:
    first, *others = tested.volumes
    with tested.receive(first, wait_at=READING) as slow:
        slow.wait_until_there()
        with tested.receive(first) as again:
            error = error_of(again.end(9))
        assert error["code"] == "busy"
        assert error["message"].startswith(f"volume 1 of {tested.parcel} is being received by another command")
        if tested.apart:
            assert f"process {slow.process.pid} on host" in error["message"]
        slow.go_on()
        slow.end()
    with tested.receive(*others) as rest:
        assert rest.end().document["state"] == "Imported"
    tested.check_imported()


@pytest.mark.long
def test_a_receiver_that_is_killed_holds_nobody_up(tested: OnItsWay) -> None:
    first, *others = tested.volumes
    with tested.receive(first, wait_at=READING) as slow:
        slow.wait_until_there()
        with tested.receive(*others) as quick:
            quick.end()
        slow.kill()
    with tested.receive(first) as again:
        assert again.end().document["state"] == "Imported"
    tested.check_imported()


@pytest.mark.long
def test_while_one_imports_the_others_say_so_and_a_kill_costs_only_time(tested: OnItsWay) -> None:
    first, *others = tested.volumes
    with tested.receive(first, wait_at=READING) as slow:
        slow.wait_until_there()
        with tested.receive(*others) as quick:
            quick.end()
        slow.kill()
    with tested.receive(first, wait_at=IMPORTING) as importer:
        importer.wait_until_there()
        with tested.receive(others[0]) as late:
            error = error_of(late.end(9))
        assert f"{tested.parcel} is being mended, imported or discarded by another command" in error["message"]
        assert tested.br.fails("parcel", "discard", tested.parcel, code=9)["code"] == "busy"
        assert tested.br("channel", "sync")["imported"] == []
        importer.kill()
    assert tested.imports() == 0
    assert [one["state"] for one in tested.br("channel", "sync")["parcels"]] == ["Imported"]
    tested.check_imported()


@pytest.mark.long
def test_all_volumes_at_once_end_in_one_import(tested: OnItsWay) -> None:
    assert len(tested.volumes) >= 4
    with contextlib.ExitStack() as stack:
        commands = [stack.enter_context(tested.receive(volume, wait_at=READING)) for volume in tested.volumes]
        for one in commands:
            one.wait_until_there()
        for one in commands:
            one.go_on()
        states = [one.end().document["parcels"][0] for one in commands]
    assert any(one["state"] == "Imported" for one in states)
    assert all(one["state"] == "Imported" or one["elsewhere"] for one in states)
    tested.check_imported()


@pytest.mark.long
def test_a_straight_import_keeps_others_out_and_steps_aside_for_them(tested: OnItsWay) -> None:
    first, *others = tested.volumes
    with tested.receive(*tested.volumes, wait_at=STRAIGHT) as straight:
        straight.wait_until_there()
        with tested.receive(first) as late:
            assert error_of(late.end(9))["code"] == "busy"
        straight.kill()
    with tested.receive(first, wait_at=READING) as slow:
        slow.wait_until_there()
        with tested.receive(*tested.volumes) as everything:
            # It cannot go straight while another reads a volume; and it need not wait for that one to end.
            ran = everything.end(9)
        assert len(ran.document["volumes"]) == len(others)
        assert "volume 1 of" in error_of(ran)["message"]
        slow.go_on()
        assert slow.end().document["state"] == "Imported"
    tested.check_imported()


# --- on one computer: what they may not do to each other ------------------------------------------------------------


@pytest.mark.long
def test_nobody_mends_what_another_is_reading(tmp_path: Path) -> None:
    tested = _parcel(make_sites(tmp_path), apart=False, spare_volumes=1)
    first, *others = tested.volumes
    with tested.receive(first, wait_at=READING) as slow:
        slow.wait_until_there()
        with tested.receive(*others) as quick:
            done = quick.end().document["parcels"][0]
        assert (done["mended_blocks"], done["state"]) == (0, "Arriving")
        slow.kill()
    # Now nobody reads it any more, and parity stands in for it.
    done = tested.br("parcel", "repair", tested.parcel)
    assert done["state"] == "Imported"
    tested.br("doctor", "--mend", code=None)  # of what the killed one left
    tested.check_imported()


@pytest.mark.long
def test_packages_that_are_here_are_imported_by_the_last_receiver(tmp_path: Path) -> None:
    tested = _parcel(make_sites(tmp_path), apart=False)
    last = tested.volumes[-1]
    with tested.receive(last, wait_at=READING, option="--progressive") as slow:
        slow.wait_until_there()
        with tested.receive(*tested.volumes[:-1], option="--progressive") as quick:
            done = quick.end().document["parcels"][0]
        assert done["elsewhere"]
        assert not any(one["outcome"] for one in done["packages"])
        slow.go_on()
        assert slow.end().document["state"] == "Imported"
    tested.check_imported()
