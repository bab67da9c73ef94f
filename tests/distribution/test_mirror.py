"""A branch point that fills itself: its clients see what was verified and is whole, or what they saw before."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from download_points import SamplePoint, by_courier
from faulty_server import faulty
from journey import environment, run

from courier.distribution import mirror_contents, mirror_watch, source_list, space_left
from courier.distribution.application import PointService
from courier.distribution.download_pace import Unpaced
from courier.distribution.download_plan import read_cards
from courier.distribution.download_run import Wish, download_to_folder
from courier.distribution.download_shared import Manner
from courier.distribution.folder_source import folder_source
from courier.distribution.http_source import http_source
from courier.distribution.mirror import Mirrored, Mirroring, mirror
from courier.distribution.mirror_watch import watch
from courier.distribution.mirror_wishes import PRIVATE, Wishes, parse_networks
from courier.distribution.source import Patience, Source
from courier.errors import CourierError, StoppedError
from formats.blocks import BLOCK
from formats.documents.fields import PackageRef
from formats.documents.point import Withdrawn

PATIENCE = Patience(connect=2, answer=0.5, stall=0.3, span=2, busy=0.2)
BIG = random.Random(2).randbytes(5 * BLOCK + 77)
SPARSE = bytes(2 * BLOCK) + BIG[: BLOCK + 5]
FILES = {
    "image.wim": BIG,
    "copy.wim": BIG,
    "sparse.img": SPARSE,
    "empty": b"",
    **{f"sub/{n}.txt": f"file {n}".encode() * (n % 90 + 1) for n in range(60)},
}
OTHER = {"boot.wim": BIG[: 2 * BLOCK + 9], "sub/1.txt": FILES["sub/1.txt"]}
NEWER = {**FILES, "image.wim": BIG[::-1], "copy.wim": BIG[:BLOCK]}


@pytest.fixture
def tmp_path(quick: Path) -> Path:
    """A new folder in memory, where the system has that."""
    return Path(tempfile.mkdtemp(dir=quick))


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_list, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(mirror_watch, "LOOK_SECONDS", 0.02)


@pytest.fixture
def point(tmp_path: Path) -> SamplePoint:
    """P1 with two packages."""
    found = SamplePoint(tmp_path / "hq")
    found.put(FILES)
    found.put(OTHER, package="HQ100002")
    return found


@contextlib.contextmanager
def silent(_title: str, _total: int) -> Iterator[Callable[[int], None]]:
    yield lambda _: None


def sources(places: Sequence[object]) -> tuple[Source, ...]:
    return tuple(
        http_source(str(one), patience=PATIENCE) if str(one).startswith("http") else folder_source(str(one))
        for one in places
    )


def wanted(branch: Path, card: Path, *places: object, **more: Any) -> Mirroring:
    manner = Manner(pace=Unpaced(), retry_for=more.pop("retry_for", 20))
    more = {"reserve": "0", **more}
    return Mirroring(folder=branch, points=sources(places), cards=read_cards([card]), manner=manner, **more)


def mirrored(
    branch: Path, point: SamplePoint, *places: object, stop: threading.Event | None = None, **more: Any
) -> Mirrored:
    what = wanted(branch, point.card, *(places or (point.folder,)), **more)
    return mirror(what, new=True, stop=stop or threading.Event(), progress=silent)


def fetched(card: Path, target: Path, *places: object, package: str = "HQ100001") -> dict[str, bytes]:
    """The files that a client downloads."""
    manner = Manner(pace=Unpaced(), retry_for=20)
    wish = Wish(package=package, version=None, points=sources(places), cards=read_cards([card]), manner=manner)
    download_to_folder(wish, target, stop=threading.Event(), progress=silent)
    return files_in(target)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def served(folder: Path) -> dict[str, bytes]:
    """What a web server serves of a point's folder."""
    return {path: data for path, data in files_in(folder).items() if not path.startswith(".")}


def refused(code: str, work: Callable[[], object]) -> CourierError:
    with pytest.raises(CourierError) as caught:
        work()
    assert caught.value.code == code, caught.value.message
    return caught.value


def test_a_branch_becomes_the_same_point_file_by_file_and_serves_its_clients(
    point: SamplePoint, tmp_path: Path
) -> None:
    branch = tmp_path / "branch"
    with by_courier(point.folder) as url:
        done = mirrored(branch, point, url)
    assert served(branch) == served(point.folder)
    assert done.is_new
    assert done.counts.zeros == 2 * BLOCK
    assert (done.contents, len(done.held)) == (2 + 1 + 60, 2)
    with by_courier(branch) as url:
        assert fetched(point.card, tmp_path / "client", url) == FILES
    again = mirrored(branch, point)
    assert (again.contents, again.counts.fetched, again.is_new, again.freed) == (0, 0, False, 0)


def test_packages_that_a_branch_does_not_hold_come_from_the_next_point(point: SamplePoint, tmp_path: Path) -> None:
    branch = tmp_path / "branch"
    mirrored(branch, point, packages=("HQ100002",))
    assert (branch / "point.json").read_bytes() == (point.folder / "point.json").read_bytes()
    with by_courier(branch) as url:
        assert fetched(point.card, tmp_path / "one", url, package="HQ100002") == OTHER
        assert fetched(point.card, tmp_path / "two", url, point.folder) == FILES
        refused("not-found", lambda: fetched(point.card, tmp_path / "three", url))


def test_a_slip_in_the_packages_does_not_empty_a_branch(point: SamplePoint, tmp_path: Path) -> None:
    branch = tmp_path / "branch"
    mirrored(branch, point)
    before = served(branch)
    refused("not-found", lambda: mirrored(branch, point, packages=("HQ2",)))
    assert served(branch) == before


def test_clients_see_the_old_state_until_the_new_one_is_whole(point: SamplePoint, tmp_path: Path) -> None:
    branch, stop = tmp_path / "branch", threading.Event()
    mirrored(branch, point)
    before = served(branch)
    del point.refs[0]
    point.put(NEWER, version=2)
    asked = 0

    def choose(path: str) -> str:
        nonlocal asked
        asked += "content" in path
        if asked > 1:
            stop.set()
        return ""

    with faulty(point.folder, choose) as server, pytest.raises(StoppedError):
        mirrored(branch, point, server.url, stop=stop)
    assert {path: data for path, data in served(branch).items() if path in before} == before
    assert fetched(point.card, tmp_path / "old", branch) == FILES
    done = mirrored(branch, point)
    assert done.freed > len(SPARSE) - 2 * BLOCK - len(BIG)
    assert {path for path in before if path not in served(branch)}
    assert fetched(point.card, tmp_path / "new", branch) == NEWER
    # A listing and a definition that no version needs any more are gone with the contents.
    assert served(branch).keys() == {
        "point.json",
        "definitions/HQ100001-2.json",
        "definitions/HQ100002-1.json",
        *(f"listings/{ref.listing}" for ref in point.refs),
        *(path for path in served(point.folder) if path.startswith(("content/", "blocks/")) and path in served(branch)),
    }


def test_a_withdrawal_does_not_wait_for_the_contents_of_what_is_new(point: SamplePoint, tmp_path: Path) -> None:
    branch = tmp_path / "branch"
    mirrored(branch, point)
    del point.refs[0]
    point.put(NEWER, package="HQ100003")
    point.publish(withdrawn=(Withdrawn(package="HQ100001", version=1, reason="a fault"),))
    refused("no-space", lambda: mirrored(branch, point, reserve=str(1 << 60)))
    refused("not-found", lambda: fetched(point.card, tmp_path / "client", branch))
    assert fetched(point.card, tmp_path / "other", branch, package="HQ100002") == OTHER
    assert fetched(point.card, tmp_path / "new", branch, point.folder, package="HQ100003") == NEWER
    assert mirrored(branch, point).freed > 0
    assert fetched(point.card, tmp_path / "now", branch, package="HQ100003") == NEWER


def test_a_version_that_was_replaced_stays_until_the_new_one_is_whole(point: SamplePoint, tmp_path: Path) -> None:
    branch = tmp_path / "branch"
    mirrored(branch, point)
    del point.refs[0]
    point.put(NEWER, version=2)
    gone = Withdrawn(package="HQ100001", version=1, reason="replaced by version 2")
    point.publish(withdrawn=(gone,), least={"HQ100001": 2})
    refused("no-space", lambda: mirrored(branch, point, reserve=str(1 << 60)))
    assert fetched(point.card, tmp_path / "old", branch) == FILES
    mirrored(branch, point)
    assert fetched(point.card, tmp_path / "new", branch) == NEWER


def test_after_sigkill_the_same_command_goes_on(point: SamplePoint, tmp_path: Path) -> None:
    branch, begun, killed = tmp_path / "branch", threading.Event(), threading.Event()
    parts = branch / ".courier" / "parts"
    words = ("point", "mirror", branch, "--card", point.card, "--reserve", "0%", "--new", "--priority", "foreground")

    def choose(path: str) -> str:
        # Contents come by halves; once there is something to go on from, no more is given before the kill.
        if "content" not in path:
            return ""
        if parts.is_dir() and any(map(_has_a_block, parts.iterdir())):
            begun.set()
            killed.wait(30)
        return "cut" if path.count("/") >= 2 else ""

    with faulty(point.folder, choose) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "courier", *map(str, words), "--parallel", "1", "--from", server.url],
            env=environment(),
        )
        assert begun.wait(30)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        killed.set()
    assert not (branch / "point.json").exists()
    document = run(*words, "--from", point.folder, "--json").document
    assert document["resumed_bytes"] > 0
    assert document["new_statement"] is True
    assert served(branch) == served(point.folder)
    assert list(parts.iterdir()) == []


def _has_a_block(path: Path) -> bool:
    # Less than a block is fetched again: there would be nothing to go on from.
    return path.stat().st_blocks * 512 > BLOCK


def test_a_planted_link_leads_no_listing_out_of_the_branch(tmp_path: Path) -> None:
    point = SamplePoint(tmp_path / "hq")
    point.put({"a.txt": b"a"})
    branch, outside = tmp_path / "branch", tmp_path / "outside"
    outside.mkdir()
    mirrored(branch, point)
    (branch / ".courier" / "parts").symlink_to(outside)
    point.put({"b.txt": b"b"}, version=2)
    mirrored(branch, point)
    assert list(outside.iterdir()) == []
    assert fetched(point.card, tmp_path / "out", branch) == {"b.txt": b"b"}


def test_an_older_statement_changes_nothing(point: SamplePoint, tmp_path: Path) -> None:
    branch, old = tmp_path / "branch", point.copy("old")
    point.publish(withdrawn=(Withdrawn(package="HQ100009", version=1, reason="a fault"),))
    mirrored(branch, point)
    before = served(branch)
    refused("rolled-back-point", lambda: mirrored(branch, point, old))
    assert served(branch) == before


def test_the_statement_of_another_point_is_not_taken_but_its_contents_are(point: SamplePoint, tmp_path: Path) -> None:
    branch, other = tmp_path / "branch", point.copy("other")
    mirrored(branch, point, packages=("HQ100002",))
    point.publish(point="P2")
    error = refused("wrong-site", lambda: mirrored(branch, point, point.folder))
    assert "P2" in error.message
    done = mirrored(branch, point, point.folder, other)
    assert (done.statement.point, done.sources[0].bytes > 0) == ("P1", True)


def test_nothing_is_fetched_or_deleted_where_the_reserve_would_be_touched(point: SamplePoint, tmp_path: Path) -> None:
    branch = tmp_path / "branch"
    mirrored(branch, point)
    point.refs.clear()
    point.put(NEWER, version=2)
    before = served(branch)
    with faulty(point.folder) as server:
        error = refused("no-space", lambda: mirrored(branch, point, server.url, reserve=str(1 << 60)))
        assert "stay free" in error.message
    assert before.items() <= served(branch).items()
    assert not any(path.startswith("content") for path in served(branch).keys() - before.keys())
    assert fetched(point.card, tmp_path / "client", branch) == FILES


def test_a_disk_that_others_fill_is_left_before_its_reserve_is_gone(
    point: SamplePoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([1 << 40])
    monkeypatch.setattr(space_left, "free_space", lambda _: next(free, 100))
    monkeypatch.setattr(space_left, "_LOOK_AGAIN", BLOCK)
    refused("no-space", lambda: mirrored(tmp_path / "branch", point, reserve="1000"))
    assert not (tmp_path / "branch" / "point.json").exists()


def test_damage_at_one_point_is_named_and_the_bytes_come_from_the_other(point: SamplePoint, tmp_path: Path) -> None:
    branch, bad = tmp_path / "branch", point.copy("bad")
    damaged = bad / point.content(BIG).relative_to(point.folder)
    damaged.write_bytes(BIG[: 2 * BLOCK] + bytes(BLOCK) + BIG[3 * BLOCK :])
    done = mirrored(branch, point, bad, point.folder)
    assert (done.sources[0].name, done.sources[0].refused > 0) == (str(bad), True)
    assert served(branch) == served(point.folder)
    refused("incomplete", lambda: mirrored(tmp_path / "alone", point, bad))
    assert not (tmp_path / "alone" / "point.json").exists()


def test_what_does_not_read_back_the_same_does_not_appear(
    point: SamplePoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = tmp_path / "branch"
    with monkeypatch.context() as patched:
        patched.setattr(mirror_contents, "read_back", lambda folder, path: "0" * 64)
        refused("read-back", lambda: mirrored(branch, point))
    assert not any(path.startswith("content/") or path == "point.json" for path in served(branch))
    mirrored(branch, point)
    assert served(branch) == served(point.folder)


def test_verify_fetches_again_what_is_damaged(point: SamplePoint, tmp_path: Path) -> None:
    branch = tmp_path / "branch"
    mirrored(branch, point)
    small = branch / point.content(FILES["sub/7.txt"]).relative_to(point.folder)
    small.write_bytes(FILES["sub/7.txt"][::-1])
    assert mirrored(branch, point).contents == 0
    assert mirrored(branch, point, verify=True).contents == 1
    assert served(branch) == served(point.folder)


def test_what_was_copied_from_a_drive_counts_only_after_it_was_compared(point: SamplePoint, tmp_path: Path) -> None:
    branch = point.copy("branch")
    (branch / point.content(BIG).relative_to(point.folder)).write_bytes(bytes(len(BIG)))
    done = mirrored(branch, point)
    assert done.contents == 1
    assert served(branch) == served(point.folder)


def test_a_copy_from_a_drive_is_compared_until_a_first_round_is_done(point: SamplePoint, tmp_path: Path) -> None:
    branch = point.copy("branch")
    (branch / point.content(BIG).relative_to(point.folder)).write_bytes(bytes(len(BIG)))
    del point.refs[1]
    point.publish(withdrawn=(Withdrawn(package="HQ100002", version=1, reason="a fault"),))
    refused("no-space", lambda: mirrored(branch, point, reserve=str(1 << 60)))
    assert mirrored(branch, point).contents == 1
    assert fetched(point.card, tmp_path / "client", branch) == FILES


def test_nothing_is_asked_outside_the_windows(point: SamplePoint, tmp_path: Path) -> None:
    class Closed(Unpaced):
        def wait_open(self) -> float:
            raise StoppedError("stopped", hint="")

    asked = list[str]()

    def choose(path: str) -> str:
        asked.append(path)
        return ""

    with faulty(point.folder, choose) as server:
        what = replace(wanted(tmp_path / "branch", point.card, server.url), manner=Manner(pace=Closed()))
        with pytest.raises(StoppedError):
            mirror(what, new=True, stop=threading.Event(), progress=silent)
    assert asked == []


def test_a_folder_whose_disk_may_not_be_mounted_is_not_written_to(point: SamplePoint, tmp_path: Path) -> None:
    what = wanted(tmp_path / "branch", point.card, point.folder)
    for is_there in (False, True):
        if is_there:
            what.folder.mkdir()
        refused("not-found", lambda: mirror(what, stop=threading.Event(), progress=silent))
    assert list((tmp_path / "branch").iterdir()) == []
    (tmp_path / "branch" / "letter.txt").write_text("mine")
    refused("refused", lambda: mirrored(tmp_path / "branch", point))
    assert [path.name for path in (tmp_path / "branch").iterdir()] == ["letter.txt"]


# --- on demand ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def wishing(folder: Path, *networks: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The folder, served with wishes noted."""
    wishes = Wishes(folder, parse_networks(networks))
    original = PointService.__init__

    def made(self: PointService, **fields: Any) -> None:
        original(self, **fields)
        self.wishes = wishes

    monkeypatch.setattr(PointService, "__init__", made)
    with by_courier(folder) as url:
        yield url


def raised(error: CourierError) -> None:
    raise error


def wishes_in(branch: Path) -> list[str]:
    return sorted(path.name for path in (branch / ".courier" / "wishes").glob("*"))


def test_a_package_on_demand_is_fetched_once_a_client_has_asked_for_it(
    point: SamplePoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch, stop, rounds = tmp_path / "branch", threading.Event(), list[Mirrored]()
    what = wanted(branch, point.card, point.folder, on_demand=("HQ1",))
    assert mirror(what, new=True, stop=stop, progress=silent).held == ()

    def told(done: Mirrored) -> None:
        rounds.append(done)
        if done.held:
            stop.set()

    with wishing(branch, *PRIVATE, monkeypatch=monkeypatch) as url:
        assert fetched(point.card, tmp_path / "first", url, point.folder, package="HQ100002") == OTHER
        assert wishes_in(branch) == ["HQ100002-1"]
        watch(what, new=False, every=60, stop=stop, progress=silent, told=told, failed=raised)
        assert fetched(point.card, tmp_path / "second", url, package="HQ100002") == OTHER
    assert [ref.package for ref in rounds[-1].held] == ["HQ100002"]
    assert wishes_in(branch) == []
    assert len(mirror(what, stop=threading.Event(), progress=silent).held) == 1  # it stays


def test_a_watch_goes_on_after_a_failure_and_takes_what_is_new(point: SamplePoint, tmp_path: Path) -> None:
    branch, stop = tmp_path / "branch", threading.Event()
    away, failures = point.folder.with_name("away"), list[CourierError]()
    point.folder.rename(away)
    what = wanted(branch, point.card, point.folder, retry_for=0.05)

    def failed(error: CourierError) -> None:
        failures.append(error)
        away.rename(point.folder)

    watch(what, new=True, every=0.05, stop=stop, progress=silent, told=lambda _: stop.set(), failed=failed)
    assert len(failures) == 1
    assert served(branch) == served(point.folder)


@pytest.mark.parametrize(
    ("host", "path", "noted"),
    [
        ("10.1.2.3", "definitions/HQ100002-1.json", True),
        ("::ffff:10.1.2.3", "definitions/HQ100002-1.json", True),
        ("fe80::1%eth0", "definitions/HQ100002-1.json", True),
        ("192.0.2.9", "definitions/HQ100002-1.json", False),
        ("2001:db8::1", "definitions/HQ100002-1.json", False),
        ("testclient", "definitions/HQ100002-1.json", False),
        ("10.1.2.3", "definitions/HQ100002-2.json", False),
        ("10.1.2.3", "content/00/" + "0" * 64, False),
    ],
)
def test_only_clients_of_the_branch_wish_and_only_for_what_the_statement_names(
    point: SamplePoint, tmp_path: Path, host: str, path: str, noted: bool
) -> None:
    branch = tmp_path / "branch"
    mirrored(branch, point, on_demand=("HQ1",))
    Wishes(branch, parse_networks(PRIVATE)).note(path, host)
    assert bool(wishes_in(branch)) is noted


def test_a_wish_for_what_was_withdrawn_meanwhile_is_forgotten(point: SamplePoint, tmp_path: Path) -> None:
    branch = tmp_path / "branch"
    mirrored(branch, point, on_demand=("HQ1",))
    Wishes(branch, parse_networks(PRIVATE)).note("definitions/HQ100002-1.json", "127.0.0.1")
    point.refs = [PackageRef(package=one.package, version=1, listing=one.listing) for one in point.refs[:1]]
    point.publish()
    assert mirrored(branch, point, on_demand=("HQ1",)).held == ()
    assert wishes_in(branch) == []


# --- the commands ---------------------------------------------------------------------------------------------------


def test_the_commands_refuse_what_makes_no_sense(point: SamplePoint, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = ("--from", point.folder, "--card", point.card)
    for words, code in (
        (("point", "serve"), 2),
        (("point", "serve", "P1", "--folder", tmp_path), 2),
        (("point", "serve", "P1", "--max-connections", "3"), 2),
        (("point", "serve", "--folder", tmp_path / "empty"), 6),
        (("point", "serve", "--folder", tmp_path / "empty", "--branch-network", "10.0.0.0/8"), 2),
        (("point", "mirror", tmp_path / "b", *given, "--package", "hq-1"), 2),
        # Typed in lower case it is taken, and fails as the next one does.
        (("point", "mirror", tmp_path / "b", *given, "--package", "hq1", "--on-demand", "hq10000a"), 6),
        (("point", "mirror", tmp_path / "b", *given, "--priority", "foreground"), 6),
    ):
        assert run(*words, "--json", code=code).error["hint"]


def test_a_branch_is_served_without_a_site(point: SamplePoint, tmp_path: Path) -> None:
    branch = tmp_path / "branch"
    mirrored(branch, point, packages=("HQ100001",))
    words = ("point", "serve", "--folder", branch, "--bind", "127.0.0.1:0", "--on-demand", "--json-lines")
    process = subprocess.Popen(
        [sys.executable, "-m", "courier", *map(str, words)], env=environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert fetched(point.card, tmp_path / "client", url) == FILES
        refused("not-found", lambda: fetched(point.card, tmp_path / "none", url, package="HQ100002"))
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert wishes_in(branch) == ["HQ100002-1"]
