"""The watch goes on whatever fails, tells people once, and what a kill cut off is made good by the next start."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from journey import run
from notice_receiver import receiving
from watching import Said, Shipped, copied, quickly, shipped, wait_until, watch_once, watching

from courier.care.notice_book import NoticeBook, read_pages
from courier.care.watch import rounds
from courier.care.watch.heartbeat import STATE, is_watched, read_state, watch_folder
from courier.care.watch.media_book import MediaBook
from courier.care.watch.media_step import MediaStep, MediaWish
from courier.care.watch.rounds import WatchWish
from courier.cli import channel_watch
from courier.cli.messages import MESSAGE_HANDLERS
from courier.distribution import by_rule
from courier.error_codes import Code
from courier.errors import BusyError, CourierError, UsageError
from courier.files import locked
from courier.receiving import parcel_status, straight
from courier.site import home as home_module
from courier.site.home import open_site


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    return shipped(tmp_path_factory.mktemp("shipped"))


@pytest.fixture
def own(template: Shipped, tmp_path: Path) -> Shipped:
    return copied(template, tmp_path)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def _put(own: Shipped, into: Path, *numbers: int) -> None:
    for number in numbers or (1, 2, 3, 4):
        source = own.volumes[number - 1]
        shutil.copytree(source, into / f"{source.name}.copying")
        (into / f"{source.name}.copying").rename(into / source.name)


def _state(own: Shipped) -> str:
    return str(own.sites.br("parcel", "show", own.parcel)["state"])


def _causes(home: Path) -> list[str]:
    return [one.cause for one in read_pages(home).known]


def test_media_are_imported_and_the_receipt_leaves_by_itself(
    own: Shipped, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly(monkeypatch)
    said = Said()
    with watching(own.sites.br.path, said, into):
        _put(own, into)
        wait_until(lambda: _state(own) == "Imported")
        own.sites.hq("channel", "sync")
        wait_until(lambda: bool(own.sites.hq("channel", "sync")) and _sent_state(own) == "Confirmed")
    assert said.warnings == []
    state = read_state(own.sites.br.path)
    assert state is not None
    assert state.ended
    with closing(open_site(own.sites.br.path)) as site:
        assert not is_watched(site)


def _sent_state(own: Shipped) -> str:
    return str(own.sites.hq("parcel", "show", own.parcel)["state"])


def test_a_second_watch_says_who_has_the_home(own: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    quickly(monkeypatch)
    with watching(own.sites.br.path, Said()):
        error = own.sites.br.fails("channel", "watch", code=9)
        shown = own.sites.br("status")["watch"]
    assert f"process {read_state(own.sites.br.path).process}" in error["message"]  # type: ignore[union-attr]
    assert shown["state"] == "running"
    assert own.sites.br("status")["watch"]["state"] == "ended"


def test_a_watch_that_was_killed_is_called_interrupted_until_one_runs_again(own: Shipped) -> None:
    home = own.sites.br
    assert home("status")["watch"] is None
    watch_once(home.path)
    path = watch_folder(home.path) / STATE
    path.write_text(path.read_text().replace('"ended":true', '"ended":false'))  # as a kill leaves it
    status = home("status")
    assert status["watch"]["state"] == "interrupted"
    assert "watch" in [one["cause"] for one in status["waiting"]]
    assert "interrupted" in home.says("status")
    assert "watch" in [one["area"] for one in home("doctor", code=None)["findings"]]
    shown = run("status", "--prometheus", "--home", home.path).out
    assert 'courier_watch_running{site="BR1"} 0' in shown
    watch_once(home.path)
    assert home("status")["watch"]["state"] == "ended"


def test_what_fails_in_one_step_is_said_once_and_stops_no_other(
    own: Shipped, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly(monkeypatch)
    said, broken = Said(), [0]

    def synchronise(*_: Any, **__: Any) -> Any:
        broken[0] += 1
        raise ValueError("a bug")

    with monkeypatch.context() as failing:
        failing.setattr(rounds, "synchronise", synchronise)
        with watching(own.sites.br.path, said, into):
            _put(own, into)
            wait_until(lambda: _state(own) == "Imported")
            wait_until(lambda: broken[0] >= 3)
            trouble = own.sites.br("status")["watch"]["trouble"]
            failing.undo()
            quickly(monkeypatch)
            wait_until(lambda: "messages: it works again" in said.warnings)
    assert "a bug" in trouble
    assert len([one for one in said.warnings if "a bug" in one]) == 1
    assert len([one for one in _causes(own.sites.br.path) if one.startswith("trouble:")]) == 1


def test_media_of_any_name_are_taken_in_and_told(own: Shipped, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("names that are no text are of Linux")
    quickly(monkeypatch)
    own.sites.br("config", "set", "hooks.refused", shlex.join([sys.executable, "-c", "pass"]))
    names = (b"no text \xff\xfe", b"two\nMAINPID=1", b"\x1b[31mred", "turned \u202e".encode())
    for name in names:
        place = into / os.fsdecode(name)
        place.mkdir()
        (place / "file").write_text("x")
    said = Said()
    _put(own, into)
    with watching(own.sites.br.path, said, into):
        wait_until(lambda: _state(own) == "Imported")
        wait_until(lambda: len([one for one in _causes(own.sites.br.path) if one.startswith("refused:medium:")]) == 4)
    assert not any("unexpected" in one for one in said.warnings)


def test_nothing_is_made_in_the_place_of_a_home_that_is_gone(
    own: Shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly(monkeypatch)
    home, said = own.sites.br.path, Said()
    with watching(home, said):
        home.rename(tmp_path / "gone")
        wait_until(lambda: {one.partition(":")[0] for one in said.warnings} >= {"media", "messages", "notices"})
        assert not home.exists()
        (tmp_path / "gone").rename(home)
        wait_until(lambda: "messages: it works again" in said.warnings)


def test_a_watch_ends_where_another_home_was_restored_in_place_of_its_own(
    own: Shipped, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly(monkeypatch)
    home, ended = own.sites.br.path, list[CourierError]()

    def watched() -> None:
        with closing(open_site(home)) as site:
            wish = WatchWish(media=MediaWish(folders=(into,), settle=0.1), every=0.2)
            try:
                rounds.watch(site, wish, handlers=MESSAGE_HANDLERS, reports=Said().all(), stop=threading.Event())
            except CourierError as error:
                ended.append(error)

    thread = threading.Thread(target=watched, daemon=True)
    thread.start()
    with closing(open_site(home)) as site:
        wait_until(lambda: is_watched(site))
    home.rename(tmp_path / "lost")
    shutil.copytree(tmp_path / "lost", home)
    _put(own, into)
    thread.join(60)
    assert [one.code for one in ended] == [Code.CATALOGUE_REPLACED]
    watch_once(home, into)
    assert _state(own) == "Imported"


def test_an_error_is_tried_again_ever_later(own: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    step = rounds._Step(name="messages")
    moments = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: moments[0])

    class Run:
        """What `_failed` needs of a run."""

        class wish:
            once = False

        class reports:
            warn = staticmethod(lambda _: None)

        failures: list[Any] = []  # noqa: RUF012
        _holding: dict[str, Any] = {}  # noqa: RUF012
        _say_trouble = staticmethod(lambda: None)

    pauses = []
    for _ in range(12):
        rounds._Run._failed(Run(), step, UsageError("wrong", hint="mend it"))  # type: ignore[arg-type]
        pauses.append(step.due - moments[0])
    assert pauses[:4] == [5, 10, 20, 40]
    assert pauses[-1] == 600


def test_a_share_that_is_gone_and_a_busy_home_stop_nothing(
    own: Shipped, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly(monkeypatch)
    share = own.sites.root / "share"
    share.rename(own.sites.root / "gone")
    said = Said()
    try:
        with locked(own.sites.br.path / "channel" / "lock"), watching(own.sites.br.path, said, into):
            _put(own, into)
            wait_until(lambda: _state(own) == "Imported")
        with watching(own.sites.br.path, said, into):
            wait_until(lambda: any(one["failures"] for one in _addresses(own)))
    finally:
        (own.sites.root / "gone").rename(share)
    assert said.warnings == []


def _addresses(own: Shipped) -> list[dict[str, Any]]:
    return list(own.sites.br("channel", "address", "list")["addresses"])


def test_a_clock_that_is_wrong_is_said_and_the_watch_goes_on(
    own: Shipped, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly(monkeypatch)
    said = Said()
    with watching(own.sites.br.path, said, into):
        with monkeypatch.context() as wrong:
            wrong.setattr("time.time_ns", lambda: -1)
            wait_until(lambda: any("before 1970" in one for one in said.warnings))
        _put(own, into)
        wait_until(lambda: _state(own) == "Imported")


def test_people_are_told_once_of_what_happened_and_by_the_hook(own: Shipped, into: Path, tmp_path: Path) -> None:
    home = own.sites.br
    script, out = tmp_path / "hook.py", tmp_path / "told"
    script.write_text(f"import os\nopen({str(out)!r}, 'a').write(os.environ['COURIER_EVENT'] + '\\n')\n")
    with receiving() as desk:
        address = tmp_path / "desk.url"
        address.write_text(desk.address)
        address.chmod(0o600)
        home("config", "set", "notify.desk", f"file:{address}")
        home("config", "set", "hooks.imported", f"{sys.executable} {script}")
        _put(own, into)
        _, failures = watch_once(home.path, into, settle=0.1)
        assert failures == []
        (posted,) = desk.posted
        assert posted["title"] == "courier BR1: arrival, imported"
        assert f"{own.parcel} is imported" in posted["message"]
        assert out.read_text() == "imported\n"
        for _ in range(2):
            watch_once(home.path, into)
        assert len(desk.posted) == 1
        assert out.read_text() == "imported\n"


def test_a_service_that_cannot_be_reached_holds_up_nothing_and_is_named(
    own: Shipped, into: Path, tmp_path: Path
) -> None:
    home = own.sites.br
    address = tmp_path / "desk.url"
    address.write_text("json://127.0.0.1:9/")  # nobody listens there
    address.chmod(0o600)
    home("config", "set", "notify.desk", f"file:{address}")
    home("config", "set", "notify_events", "imported")
    _put(own, into)
    said, failures = watch_once(home.path, into, settle=0.1)
    assert (failures, _state(own)) == ([], "Imported")
    assert any("notify.desk: 1 notice could not be told" in one for one in said.warnings)
    assert [one["way"] for one in home("status")["watch"]["untold"]] == ["notify.desk"]
    assert "notify" in [one["cause"] for one in home("status")["waiting"]]
    assert any("notify.desk" in one["what"] for one in home("doctor", code=None)["findings"])
    # It waits for its next try.
    (waits,) = read_pages(home.path).waiting
    assert [(way.name, way.failures) for way in waits.ways] == [("notify.desk", 1)]


def test_the_past_is_not_told_when_the_first_watch_starts(own: Shipped) -> None:
    own.sites.br("parcel", "receive", *own.volumes)
    watch_once(own.sites.br.path)
    assert _causes(own.sites.br.path) == []


def test_a_configuration_that_is_broken_meanwhile_is_said_and_the_last_one_holds(
    own: Shipped, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quickly(monkeypatch)
    said = Said()
    config = own.sites.br.path / "config.toml"
    with watching(own.sites.br.path, said, into, every=0):
        config.write_text("colour = 'red'\n")
        wait_until(lambda: any("colour" in one for one in said.warnings))
        _put(own, into)
        wait_until(lambda: _state(own) == "Imported")
        config.unlink()
        wait_until(lambda: "notices: it works again" in said.warnings)


def test_what_is_imported_goes_to_points_by_rule_and_a_point_that_fails_is_said_once(
    own: Shipped, into: Path, tmp_path: Path
) -> None:
    home = own.sites.br
    for name in ("P1", "P2"):
        home("point", "add", name, tmp_path / name)
        home("point", "rule", "add", "--package", "HQ1", "--point", name)
    shutil.rmtree(tmp_path / "P2")
    (tmp_path / "P2").write_text("no folder")
    _put(own, into)
    _, failures = watch_once(home.path, into, settle=0.1)
    assert failures == []
    assert list((tmp_path / "P1").rglob("listing*")) or list((tmp_path / "P1").rglob("HQ100001*"))
    with closing(open_site(home.path)) as site:
        assert [one.point for one in by_rule.waiting(site)] == ["P2"]


def test_a_parcel_that_is_imported_while_it_is_looked_at_is_shown_as_imported(
    own: Shipped, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = own.sites.br
    home("parcel", "receive", own.volumes[0])

    def importing(*_: Any, **__: Any) -> Any:
        monkeypatch.undo()
        home("parcel", "receive", *own.volumes)
        raise FileNotFoundError(2, "No such file or directory", "editions")

    monkeypatch.setattr(parcel_status, "status_from_spool", importing)
    assert _state(own) == "Imported"


class _Killed(BaseException):
    """Ends a watch where it stands, as a kill does: nothing is tidied up that is not tidied up on the way out."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("place", "name", "call"),
    [
        (MediaBook, "enter", 1),
        (MediaBook, "enter", 3),
        (NoticeBook, "add", 1),
        (NoticeBook, "add", 2),
        (NoticeBook, "begin", 1),
        (NoticeBook, "told", 1),
        (rounds, "synchronise", 1),
        (straight, "import_parcel", 1),
    ],
)
def test_a_kill_anywhere_loses_nothing_and_tells_nobody_twice(
    own: Shipped, into: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, call: int
) -> None:
    home, out = own.sites.br, into.parent / "told"
    script = into.parent / "hook.py"
    script.write_text(f"import os\nopen({str(out)!r}, 'a').write(os.environ['COURIER_CAUSE'] + '\\n')\n")
    for event in ("arrival", "imported"):
        home("config", "set", f"hooks.{event}", f"{sys.executable} {script}")
    _put(own, into)
    calls = [0]
    real = getattr(place, name)

    def killing(*arguments: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            raise _Killed
        return real(*arguments, **more)

    with monkeypatch.context() as kill:
        kill.setattr(place, name, killing)
        with contextlib.suppress(_Killed):
            watch_once(home.path, into)
    assert calls[0] >= call
    for _ in range(2):
        watch_once(home.path, into)
    assert _state(own) == "Imported"
    told = out.read_text().splitlines() if out.exists() else []
    assert len(told) == len(set(told))
    # What was just being told when the kill came is not told again: all else is.
    lost = 1 if place is NoticeBook and name in ("begin",) else 0
    assert len(told) >= 2 - lost
    own.sites.hq("channel", "sync")
    own.sites.sync()
    assert _sent_state(own) == "Confirmed"


def test_nothing_to_watch_and_wrong_folders_are_refused(own: Shipped, tmp_path: Path) -> None:
    home = own.sites.br
    assert home.fails("channel", "watch", "--every", "0", code=2)["code"] == "usage"
    image = tmp_path / "disc.iso"
    image.write_bytes(b"x")
    assert home.fails("channel", "watch", "--media", image, code=2)["hint"] == f"courier parcel receive {image}"
    assert home.fails("channel", "watch", "--media", home.path / "store", code=2)["code"] == "usage"
    assert home.fails("channel", "watch", "--media", home.path.parent, code=2)["code"] == "usage"
    assert "does not exist" in home.says("channel", "watch", "--once", "--media", tmp_path / "typo", "--settle", "0")


def test_a_home_that_is_busy_when_the_watch_starts_is_waited_for(
    own: Shipped, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []
    real = home_module.open_site

    def busy(*arguments: Any, **more: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise BusyError("the catalogue is locked", hint="wait")
        return real(*arguments, **more)

    monkeypatch.setattr(home_module, "open_site", busy)
    monkeypatch.setattr(channel_watch, "BUSY_SECONDS", 0.01)
    assert own.sites.br.fails("channel", "watch", "--once", code=9)["code"] == "busy"
    # It is in the way of the wish at last, which shows that the home was opened.
    assert own.sites.br.fails("channel", "watch", "--media", own.sites.br.path, code=2)["code"] == "usage"
    assert len(tries) == 3


def test_one_round_ends_with_the_code_of_what_failed(own: Shipped, into: Path) -> None:
    (into / "stick").mkdir()
    (into / "stick" / "a.txt").write_text("x")
    error = own.sites.br.fails("channel", "watch", "--once", "--media", into, "--settle", "0", code=2)
    assert error["code"] == "not-a-volume"
    assert own.sites.br("channel", "watch", "--once", "--media", into, "--settle", "0")["ended"]


def test_settings_that_change_meanwhile_count(own: Shipped, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quickly(monkeypatch)
    seen = []
    real = MediaStep.take_in

    def take_in(step: Any, site: Any, *arguments: Any, **more: Any) -> Any:
        seen.append(site.settings.max_transit_days)
        return real(step, site, *arguments, **more)

    monkeypatch.setattr(MediaStep, "take_in", take_in)
    with watching(own.sites.br.path, Said(), into, every=0):
        own.sites.br("site", "policy", "--max-transit-days", "77")
        _put(own, into, 1)
        wait_until(lambda: bool(seen))
    assert seen[0] == 77
