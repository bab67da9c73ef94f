"""Several computers at one home: what keeps them apart is the catalogue on a server, and nothing else here."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from journey import FIXTURES, ROOT, Home, add, run
from other_computer import started
from postgresql import new_database, raw

from courier import files
from courier.care.doctor_channel import look_at_clock
from courier.error_codes import Code
from courier.errors import BusyError, CourierError, RefusedError
from courier.site import log
from courier.site.catalog import database, packages
from courier.site.catalog.database import open_catalogue
from courier.site.catalog.held_things import held_thing
from courier.site.home import Site, open_site
from courier.site.scratch import scratch, sweep_left
from courier.site.settings import Settings


@pytest.fixture
def home(postgresql: str, tmp_path: Path) -> Home:
    """A home whose catalogue is on a server."""
    made = Home(code="HQ1", path=tmp_path / "HQ1")
    run("init", "--site", "HQ1", "--name", "Headquarters", "--home", made.path, "--catalogue", new_database(postgresql))
    return made


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """File locks keep nobody apart, as between computers whose file system does not carry them."""
    monkeypatch.setattr(files, "take_lock", lambda _descriptor: True)
    monkeypatch.setattr(files, "can_share_lock", lambda _descriptor: True)


@contextlib.contextmanager
def computers(home: Home, count: int = 2) -> Iterator[list[Site]]:
    """The site, opened as often as it has computers."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(open_site(home.path))) for _ in range(count)]


def url_of(home: Home) -> str:
    return Settings.load(home.path).catalogue


def fences(home: Home) -> dict[str, int]:
    with raw(url_of(home)) as connection:
        return dict(connection.exec_driver_sql("SELECT name, number FROM fence").all())


# --- who holds what -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("apart")
def test_a_lock_is_held_at_all_computers_and_says_by_whom(home: Home) -> None:
    with computers(home) as (one, other):
        path = home.path / "parcels" / "out" / "lock"
        with one.locked(path):
            assert other.is_locked(path)
            with pytest.raises(BusyError, match=f"the parcels that are made here: .*, process {os.getpid()} on "):
                other.locked(path).__enter__()
            with other.locked(home.path / "channel" / "lock"):
                pass
            with pytest.raises(BusyError, match="in another thread"), one.locked(path):
                pass
            assert one.catalogue.held_by_others() == {}
            assert list(other.catalogue.held_by_others()) == ["parcels/out/lock"]
        assert not other.is_locked(path)
        with other.locked(path):
            pass
    assert fences(home) == {}


def test_where_file_locks_count_the_message_names_the_holder_too(home: Home) -> None:
    path, said = home.path / "channel" / "lock", f"holds the exchange of messages: .*, process {os.getpid()} on "
    with computers(home) as (one, other), one.locked(path), pytest.raises(BusyError, match=said):
        other.locked(path).__enter__()


@pytest.mark.usefixtures("apart")
def test_a_lock_is_taken_within_a_transaction_of_its_own_command(home: Home) -> None:
    with computers(home) as (one, _), one.catalogue.writing(), one.locked(home.path / "channel" / "lock"):
        pass


@pytest.mark.usefixtures("apart")
def test_a_lock_is_given_back_while_another_thread_writes(home: Home) -> None:
    with computers(home) as (one, other):
        path = home.path / "channel" / "lock"
        lock = one.locked(path)
        lock.__enter__()
        begun = time.monotonic()
        with one.catalogue.writing():
            lock.__exit__(None, None, None)
            assert time.monotonic() - begun < 10
            assert not other.is_locked(path)
        with other.locked(path):
            pass


@pytest.mark.usefixtures("apart")
def test_more_locks_than_the_pool_has_connections(home: Home) -> None:
    with computers(home) as (one, other), contextlib.ExitStack() as stack:
        for number in range(40):
            stack.enter_context(one.locked(home.path / "locks" / f"point-P{number}"))
        with one.catalogue.writing(), one.catalogue.reading():
            pass
        assert len(other.catalogue.held_by_others()) == 40


@pytest.mark.usefixtures("apart")
def test_a_long_name_is_a_lock_like_any_other(home: Home) -> None:
    with computers(home) as (one, other):
        path = home.path / "locks" / ("x" * 200)
        with one.locked(path):
            with pytest.raises(BusyError):
                other.locked(path).__enter__()
            with one.catalogue.writing():
                pass


def test_what_locks_are_about_in_plain_words() -> None:
    assert held_thing("parcels/out/HQ1-000001/lock") == "parcel HQ1-000001"
    assert held_thing("locks/point-DESK") == "point DESK"
    assert held_thing("locks/arriving-HQ1-000001-0123456789abcdef") == "the spool of HQ1-000001"
    assert held_thing("locks/arriving-HQ1-000001-0123456789abcdef-volume-89abcdef-12") == "volume 12 of HQ1-000001"
    assert held_thing("parcels/in/.courier-tmp-again-12/lock") == "a scratch folder in parcels/in"
    assert held_thing("something/new/lock") == "something/new of the home"


@pytest.mark.usefixtures("apart")
def test_doctor_says_which_computer_holds_what(home: Home) -> None:
    with computers(home, 1) as (one,), one.locked(home.path / "watch" / "lock"):
        document = home("doctor", code=None)
        assert [entry["what"] for entry in document["held"]] == ["the watch"]
        assert f"process {os.getpid()} on " in document["held"][0]["by"]
        assert "holds the watch." in home.says("doctor", code=None)


# --- computers that die, and such as are cut off --------------------------------------------------------------------


@pytest.mark.usefixtures("apart")
def test_a_computer_that_dies_holds_nothing(home: Home, tmp_path: Path) -> None:
    place = tmp_path / "place"
    wait_at = "courier.site.store.staging:FolderStaging.commit"
    command = ("package", "add", FIXTURES / "boot.wim", "--name", "X", "--home", home.path, "--json")
    with started(place, *command, computer="hostb", apart=True, wait_at=wait_at) as dying:
        dying.wait_until_there()
        error = home.fails("package", "add", FIXTURES / "boot.wim", "--name", "Y", code=9)
        assert f"the store of packages: package add, process {dying.process.pid} on hostb" in error["message"]
        dying.kill()
        until = time.monotonic() + 10
        while home.ran("package", "add", FIXTURES / "boot.wim", "--name", "Y", code=None).code:
            assert time.monotonic() < until
    assert [one["name"] for one in home("package", "list")["packages"]] == ["Y"]


def cut_off(site: Site) -> None:
    """The server drops the connection that holds the locks of a computer."""
    assert site.catalogue._locks is not None
    pid = site.catalogue._locks._backend[0]
    with raw(url_of_site(site), autocommit=True) as connection:
        connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")
        until = time.monotonic() + 10
        while connection.exec_driver_sql(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}").scalar():
            assert time.monotonic() < until


def url_of_site(site: Site) -> str:
    return site.settings.catalogue


@pytest.mark.usefixtures("apart")
def test_who_lost_a_lock_to_another_writes_nothing_more(home: Home) -> None:
    with computers(home) as (slow, quick):
        path = home.path / "parcels" / "out" / "lock"
        with slow.locked(path):
            cut_off(slow)
            with quick.locked(path):
                for _ in range(2):
                    with pytest.raises(BusyError, match="lost the parcels that are made here to another"):
                        slow.catalogue.check_held()
                    with pytest.raises(BusyError, match="lost the parcels"), slow.catalogue.writing():
                        pytest.fail("it writes")
                with quick.catalogue.writing():
                    pass
            # The other has ended, and may have changed everything: it is lost all the same.
            with pytest.raises(BusyError, match="lost the parcels"), slow.catalogue.writing():
                pytest.fail("it writes")
        with slow.catalogue.writing():
            pass
        with slow.locked(path):
            pass


@pytest.mark.usefixtures("apart")
def test_who_was_cut_off_and_lost_nothing_goes_on(home: Home) -> None:
    with computers(home) as (slow, quick):
        paths = [home.path / "parcels" / "out" / "lock", home.path / "channel" / "lock"]
        with slow.locked(paths[0]), slow.locked(paths[1]):
            cut_off(slow)
            with slow.catalogue.writing():
                pass
            for path in paths:
                with pytest.raises(BusyError):
                    quick.locked(path).__enter__()
            cut_off(slow)
            slow.catalogue.check_held()
        for path in paths:
            with quick.locked(path):
                pass


@pytest.mark.usefixtures("apart")
def test_who_lost_the_store_deletes_nothing_of_it(home: Home) -> None:
    kept = add(home, FIXTURES / "boot.wim")
    with computers(home) as (slow, quick), slow.store.lock():
        cut_off(slow)
        with quick.store.lock():
            pass
        with pytest.raises(BusyError, match="lost the store of packages"):
            slow.store.collect([])
        with slow.store.stage() as staging, pytest.raises(BusyError, match="lost the store of packages"):
            staging.commit()
    home("package", "verify", kept)


class Line:
    """A line of TCP to the server's socket that a test can cut: what comes afterwards goes nowhere."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Cut it: the server sees the end of it, and whoever is at this end reaches nobody any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._ends:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.mark.usefixtures("apart")
def test_a_computer_whose_line_is_cut_is_taken_over_from(home: Home) -> None:
    url = url_of(home)
    user, _, folder = url.removeprefix("postgresql://").partition("@")
    database, _, folder = folder.removeprefix("/").partition("?host=")
    line = Line(f"{folder}/.s.PGSQL.5432")
    path = home.path / "parcels" / "out" / "lock"
    far = open_catalogue(f"postgresql://{user}@127.0.0.1:{line.port}/{database}")
    with contextlib.closing(far), computers(home, 1) as (near,), far.exclusive("parcels/out/lock"):
        with far.writing():
            pass
        with pytest.raises(BusyError):
            near.locked(path).__enter__()
        line.cut()
        until = time.monotonic() + 10
        while near.is_locked(path):
            assert time.monotonic() < until
        with near.locked(path), near.catalogue.writing():
            pass
        with pytest.raises(CourierError) as caught, far.writing():
            pytest.fail("it writes")
        assert caught.value.code == Code.CATALOGUE


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("apart")
def test_nobody_sweeps_what_a_living_command_of_another_computer_writes(home: Home) -> None:
    folder = home.path / "parcels" / "in"
    with computers(home) as (one, other):
        with scratch(one, folder) as living:
            (living / "table").write_bytes(b"half")
            (folder / ".courier-tmp-1-1-dead").write_bytes(b"half")
            sweep_left(other, folder)
            with scratch(other, folder) as own:
                assert own != living
            home("doctor", "--mend", code=None)
            assert (living / "table").exists()
            assert not (folder / ".courier-tmp-1-1-dead").exists()
        assert not living.exists()
        left = folder / ".courier-tmp-again-dead"
        left.mkdir()
        sweep_left(other, folder)
        assert not left.exists()


def test_each_computer_has_a_log_file_of_its_own(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("hosta", "hostb"):
        monkeypatch.setattr(log, "COMPUTER", name)
        home("status")
    names = {path.name for path in (home.path / "log").glob("courier-host*.log")}
    assert names == {"courier-hosta.log", "courier-hostb.log"}


@pytest.mark.usefixtures("apart")
def test_settings_and_configuration_are_changed_by_one_computer_at_a_time(home: Home) -> None:
    with computers(home, 1) as (one,), one.files_locked():
        assert "the keys and settings" in home.fails("config", "set", "reserve", "5", code=9)["message"]


def test_a_clock_that_differs_from_the_server_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with computers(home, 1) as (one,):
        assert list(look_at_clock(one)) == []
        monkeypatch.setattr(database, "now", lambda: time.time_ns() - 3600 * 10**9)
        (found,) = look_at_clock(one)
        assert re.search(r"clock is 3,(599|600) s behind that of the catalogue's server", found.what)


def test_a_second_home_cannot_have_the_catalogue_of_the_first(home: Home, tmp_path: Path) -> None:
    words = ("init", "--site", "HQ1", "--name", "Headquarters", "--catalogue", url_of(home), "--json")
    ran = run(*words, "--home", tmp_path / "second", code=3)
    assert ran.error["code"] == "another-site"
    assert "without init" in ran.error["hint"]
    assert not (tmp_path / "second").exists()
    # A home whose settings were lost is made again, with its keys.
    (home.path / "site.json").unlink()
    run(*words, "--home", home.path)
    home("status")


# --- releases -------------------------------------------------------------------------------------------------------


def test_a_running_command_of_an_older_release_stops_before_it_writes(home: Home) -> None:
    with computers(home, 1) as (one,):
        with one.catalogue.writing():
            pass
        with raw(url_of(home)) as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(RefusedError, match="was brought to schema 9999 meanwhile") as caught:
            one.catalogue.writing().__enter__()
        assert caught.value.code == Code.NEWER_CATALOGUE
    assert home.fails("status", code=3)["code"] == "newer-catalogue"


def test_a_running_command_that_finds_a_column_gone_is_told_of_the_release(home: Home) -> None:
    with computers(home, 1) as (one,):
        with raw(url_of(home)) as connection:
            connection.exec_driver_sql("ALTER TABLE package RENAME TO package_of_tomorrow")
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(RefusedError) as caught, one.catalogue.reading() as connection:
            packages.versions(connection, "HQ100001")
        assert caught.value.code == Code.NEWER_CATALOGUE


# --- numbers --------------------------------------------------------------------------------------------------------

_HAMMER = """
import sys
from pathlib import Path
from journey import Home
from other_computer import make_apart

make_apart()
home, source, count = Home(code="HQ1", path=Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])

def typed(*words):
    while True:
        ran = home.ran(*words, code=None)
        if ran.code == 0:
            return ran.document
        assert ran.code == 9, ran.out

for number in range(count):
    package = typed("package", "add", source, "--name", f"{source.stem}-{number}")["package_id"]
    source.write_bytes(source.read_bytes() + bytes(1000))
    print(package, typed("package", "add", source, "--name", "X", "--id", package)["version"])
    print(typed("parcel", "create", package, "--to", "BR1", "--capacity", "4GB")["parcel_id"])
    typed("channel", "sync")
"""


@pytest.mark.long
def test_no_number_is_given_twice(home: Home, tmp_path: Path) -> None:
    other = Home(code="BR1", path=tmp_path / "BR1")
    run("init", "--site", "BR1", "--name", "Branch", "--home", other.path)
    run("site", "card", "--out", tmp_path / "BR1.card", "--home", other.path)
    home("site", "trust", tmp_path / "BR1.card")
    (tmp_path / "share").mkdir()
    home("channel", "address", "add", "BR1", tmp_path / "share")
    sources = []
    for name in ("a", "b"):
        sources.append(tmp_path / f"{name}.bin")
        sources[-1].write_bytes(name.encode() * 5000)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    each = 6
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _HAMMER, str(home.path), str(source), str(each)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        for source in sources
    ]
    given = [line for process in processes for line in process.communicate(timeout=300)[0].splitlines()]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(given) == len(set(given)) == 2 * 2 * each
    parcels = {one["parcel_id"] for one in home("parcel", "list")["sent"]}
    assert parcels == {line for line in given if "-" in line}
    # Each has its files, and every package its content: no command took for its own what another was making.
    for parcel in sorted(parcels):
        home("parcel", "verify", parcel)
    for one in home("package", "list")["packages"]:
        home("package", "verify", f"{one['package_id']}:{one['version']}")
