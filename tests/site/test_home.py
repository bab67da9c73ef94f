"""The home of a site: who may read it, what a failed or killed command leaves, and what is said of damage to it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from journey import FIXTURES, add, create, environment, make_sites, run, write

from courier.site.home import create_site, open_site
from courier.site.lost_catalogue import catalogue_begun_anew
from courier.site.permissions import open_to_others, password_in_settings
from courier.site.scratch import scratch
from courier.site.settings import Settings

posix = pytest.mark.skipif(os.name != "posix", reason="elsewhere: Windows has no permissions of this kind")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def init(home: Path, *more: object, code: int = 0) -> str:
    return run("init", "--home", home, "--site", "HQ1", "--name", "Headquarters", *more, code=code).err


# --- who may read it ------------------------------------------------------------------------------------------------


@posix
def test_a_home_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        init(tmp_path / "new")
        (tmp_path / "empty").mkdir()
        init(tmp_path / "empty")
    finally:
        os.umask(before)
    for home in (tmp_path / "new", tmp_path / "empty"):
        assert mode(home) == 0o700
        for name in ("site.json", "card.json", "catalogue.sqlite"):
            assert mode(home / name) == 0o600
        run("site", "rotate-key", "--home", home)
        run("site", "policy", "--max-transit-days", "3", "--home", home)
        assert [mode(home / name) for name in ("site.json", "card.json")] == [0o600, 0o600]


@posix
def test_what_others_may_read_of_a_home_is_named_with_the_command_that_changes_it(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    init(home)
    assert run("site", "list", "--home", home).err == ""
    home.chmod(0o755)
    (home / "catalogue.sqlite").chmod(0o644)
    said = run("site", "list", "--home", home).err
    assert f"{home} (mode 755), {home}/catalogue.sqlite (mode 644)" in said
    command = said.rpartition(": ")[2]
    subprocess.run(["/bin/sh", "-c", command], check=True)
    assert run("site", "list", "--home", home).err == ""


@posix
def test_a_group_of_operators_shares_a_home_and_nobody_else_reads_it(tmp_path: Path) -> None:
    import grp

    home = tmp_path / "home"
    group = grp.getgrgid(os.getgid()).gr_name
    init(home, "--group", group)
    for command in (("site", "rotate-key"), ("package", "add", FIXTURES / "boot.wim", "--name", "boot")):
        run(*command, "--home", home)
    assert mode(home) == 0o2770
    for path in home.rglob("*"):
        assert mode(path) == (0o2770 if path.is_dir() else 0o660), path
    assert open_to_others(home) == ""
    (home / "site.json").chmod(0o664)
    assert f"chmod 660 {home}/site.json" in open_to_others(home)
    assert "there is no group" in init(tmp_path / "other", "--group", "no such group", code=2)
    assert not (tmp_path / "other").exists()


def test_who_did_what_is_recorded_by_the_names_that_the_system_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = make_sites(tmp_path)
    monkeypatch.setenv("LOGNAME", "anna")
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    monkeypatch.setenv("LOGNAME", "bert")
    write(sites.hq, parcel, out=tmp_path / "m", layout="folder")
    log = sites.hq("parcel", "log", parcel)
    assert {one["event"]: one["operator"] for one in log["log"]} == {
        "planned": "anna",
        "built": "anna",
        "written": "bert",
    }
    assert {one["event"]: one["operator"] for one in log["custody"]} == {"packed": "anna", "written": "bert"}


@posix
def test_media_and_messages_can_be_read_by_those_they_are_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        sites = make_sites(tmp_path)
        package = add(sites.hq, FIXTURES / "boot.wim")
        for layout in ("folder", "iso", "tape"):
            parcel = create(sites.hq, package)
            write(sites.hq, parcel, out=tmp_path / layout, layout=layout)
        sites.hq("parcel", "ship", parcel)
        sites.hq("channel", "sync")
        sites.hq("site", "card", "--out", tmp_path / "HQ1.card")
        sites.hq("parcel", "custody", "export", parcel, "--out", tmp_path / "ledger.jsonl")
    finally:
        os.umask(before)
    shared = [path for box in tmp_path.rglob("*.msg") if "channel" not in box.parts for path in (box, box.parent)]
    assert shared
    media = [path for layout in ("folder", "iso", "tape") for path in (tmp_path / layout).rglob("*")]
    assert len(media) > 10
    for path in [*shared, *media, tmp_path / "HQ1.card", tmp_path / "ledger.jsonl", tmp_path / "iso"]:
        assert mode(path) == (0o755 if path.is_dir() else 0o644), path


def test_the_password_of_a_database_is_taken_from_no_command_line(tmp_path: Path) -> None:
    for url in ("postgresql://u:s3cret@127.0.0.1:1/x", "postgresql://u@127.0.0.1:1/x?password=s3cret"):
        said = init(tmp_path / "home", "--catalogue", url, code=2)
        assert ".pgpass" in said
        assert "s3cret" not in said
    assert not (tmp_path / "home").exists()


def test_a_password_in_the_settings_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert password_in_settings(home, "") == password_in_settings(home, "postgresql://u@h/x") == ""
    for url in ("postgresql://u:s3cret@h/x", "postgresql://h/x?sslpassword=s3cret"):
        said = password_in_settings(home, url)
        assert ".pgpass" in said
        assert "s3cret" not in said


# --- making it ------------------------------------------------------------------------------------------------------


def test_a_home_may_have_any_name(tmp_path: Path) -> None:
    home = tmp_path / "why? 50% #1 & more"
    init(home)
    assert (home / "catalogue.sqlite").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == [home.name]
    assert run("site", "list", "--json", "--home", home).document["site"] == "HQ1"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--catalogue", "postgresql://u@127.0.0.1:1/x?connect_timeout=2"), 7),
        (("--catalogue", "mysql://u@h/x"), 2),
        (("--key", "env:NO_SUCH_VARIABLE"), 6),
        (("--key", "nonsense"), 2),
    ],
)
def test_an_init_that_fails_leaves_nothing(tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    if code == 7:
        pytest.importorskip("psycopg")
    (tmp_path / "empty").mkdir()
    for home in (tmp_path / "new/home", tmp_path / "empty"):
        init(home, *options, code=code)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
    init(tmp_path / "empty")


# --- what is said of damage -----------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    create_site(tmp_path / "home", code="HQ1", name="Headquarters").close()
    return tmp_path / "home"


@pytest.mark.parametrize("how", ["garbage", "cut", "half overwritten", "schema that is no text"])
def test_a_damaged_catalogue_is_said_to_be_damaged_and_what_helps(home: Path, how: str) -> None:
    path = home / "catalogue.sqlite"
    data = path.read_bytes()
    chance = random.Random(how)
    bad = {
        "garbage": chance.randbytes(len(data)),
        "cut": data[: len(data) // 3],
        "half overwritten": data[:2000] + chance.randbytes(len(data) - 2000),
        "schema that is no text": data[:110] + bytes(byte | 0x80 for byte in data[110:4096]) + data[4096:],
    }[how]
    path.write_bytes(bad)
    error = run("site", "list", "--json", "--home", home, code=4).error
    assert error["code"] == "catalogue"
    assert "backup" in error["hint"]
    assert "courier catalog rebuild --card CARD MEDIUM" in error["hint"]
    run("catalog", "rebuild", "--yes", "--home", home)
    assert run("package", "list", "--json", "--home", home).document["packages"] == []
    assert [kept.read_bytes() for kept in home.glob("damaged-*-catalogue.sqlite")] == [bad]


def test_catalog_rebuild_puts_a_good_catalogue_nowhere(home: Path) -> None:
    run("catalog", "rebuild", home.parent, "--home", home, code=None)
    assert not list(home.glob("damaged-*"))


@pytest.mark.parametrize("how", ["lost", "garbage"])
def test_a_rebuild_that_fails_leaves_the_home_as_it_was(home: Path, how: str) -> None:
    for path in home.glob("catalogue.sqlite*"):
        path.unlink()
    if how == "garbage":
        (home / "catalogue.sqlite").write_bytes(b"garbage" * 1000)
    (home.parent / "empty").mkdir()
    before = names_and_bytes(home)
    assert "empty" in run("catalog", "rebuild", home.parent / "empty", "--home", home, code=2).err
    assert "yes" in run("catalog", "rebuild", "--home", home, code=3).err
    assert names_and_bytes(home) == before


def names_and_bytes(home: Path) -> dict[str, bytes]:
    """Every file that stands in a home itself."""
    return {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}


def test_a_new_book_of_custody_entries_begins_before_the_catalogue(home: Path) -> None:
    """A rebuild that is killed leaves no catalogue in which the old book would begin at 1 again."""
    (home / "catalogue.sqlite").write_bytes(b"garbage" * 1000)
    with catalogue_begun_anew(home):
        assert not (home / "catalogue.sqlite").exists()
        assert len(Settings.load(home).books) == 1
    assert Settings.load(home).present_book == Settings.load(home).books[0]


def test_a_whole_catalogue_is_never_begun_anew(home: Path) -> None:
    assert "whole" in run("catalog", "rebuild", "--yes", "--home", home, code=2).err


def test_a_database_server_that_refuses_is_not_reached(home: Path) -> None:
    pytest.importorskip("psycopg")
    settings = home / "site.json"
    url = "postgresql://u@127.0.0.1:1/x?connect_timeout=2"
    settings.write_text(settings.read_text().replace('"catalogue":""', f'"catalogue":"{url}"'))
    assert "is the server up" in run("site", "list", "--json", "--home", home, code=7).error["hint"]


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="elsewhere: only Linux has a device that is always full")
@pytest.mark.parametrize("options", [("--json",), ("--json-lines",), ()])
def test_output_that_cannot_be_written_is_an_error_of_space(home: Path, options: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "courier", "site", "list", *options, "--home", str(home)]
        done = subprocess.run(command, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("courier: standard output: No space left on device\n  -> ")
    assert len(done.stderr.splitlines()) == 2


@posix
def test_a_home_that_is_a_circle_of_links_is_a_wrong_path(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    assert "circle" in run("site", "list", "--home", tmp_path / "circle", code=2).err
    init(tmp_path / "circle", code=2)


@pytest.mark.parametrize("year", [1960, 2300])
def test_a_clock_that_no_date_can_be_taken_from_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, year: int
) -> None:
    moment = (year - 1970) * 365 * 24 * 3600 * 10**9
    monkeypatch.setattr("courier.site.clock.time", SimpleNamespace(time_ns=lambda: moment))
    for command in (("channel", "sync"), ("site", "rotate-key"), ("package", "add", FIXTURES, "--name", "x")):
        error = run(*command, "--json", "--home", home, code=3).error
        assert error["code"] == "clock"
    init(tmp_path / "other", code=3)
    assert not (tmp_path / "other").exists()


# --- what a killed command leaves -----------------------------------------------------------------------------------


def killed(seconds: float, *arguments: object) -> bool:
    """Give a command and kill it after some time; whether it was still at work then."""
    command = [sys.executable, "-m", "courier", *map(str, arguments)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return True
    return False


def left_over(home: Path) -> list[str]:
    return [str(path) for path in home.rglob(".courier-tmp-*")]


def test_what_killed_commands_left_in_home_and_keys_is_removed_by_the_next_of_their_kind(home: Path) -> None:
    """Files as a kill at the worst moment leaves them; the slow test below kills for real."""

    def leave() -> None:
        for folder in (home, home / "keys"):
            (folder / f".courier-tmp-{os.getpid()}-1-card.json").write_bytes(b"half")

    leave()
    run("site", "rotate-key", "--home", home)
    assert not left_over(home)
    leave()
    run("site", "policy", "--max-transit-days", "3", "--home", home)
    assert not left_over(home)
    leave()
    (home / "site.json").unlink()
    init(home)
    assert not left_over(home)


@posix
@pytest.mark.slow
def test_commands_killed_at_random_moments_leave_nothing_once_they_are_given_again(tmp_path: Path) -> None:
    chance = random.Random(f"{time.time_ns()}")
    home = tmp_path / "home"
    begun = ("init", "--home", home, "--site", "HQ1", "--name", "Headquarters")
    for _ in range(6):
        killed(chance.uniform(0.2, 1.2), *begun)
        if (home / "site.json").exists():
            shutil.rmtree(home)
    run(*begun, code=None)
    assert not left_over(home)
    for _ in range(6):
        killed(chance.uniform(0.2, 1.0), "site", "rotate-key", "--home", home, "--yes")
    run("site", "rotate-key", "--home", home, "--yes")
    assert not left_over(home)
    (tmp_path / "other").mkdir()
    other = create_site(tmp_path / "other", code="BR1", name="Branch")
    card = tmp_path / "BR1.card"
    card.write_bytes(other.card_envelope)
    run("site", "trust", card, "--fingerprint", other.card.fingerprint, "--home", home)
    other.close()
    source = tmp_path / "source"
    source.mkdir()
    (source / "image").write_bytes(chance.randbytes(20 << 20))
    run("package", "add", source, "--name", "image", "--home", home)
    making = ("parcel", "create", "HQ100001", "--to", "BR1", "--capacity", "5MB", "--anyway", "no network", "--encrypt")
    for _ in range(6):
        killed(chance.uniform(0.3, 2.5), *making, "--spare-volumes", "1", "--home", home)
    run(*making, "--spare-volumes", "1", "--home", home)
    assert not left_over(home)


def test_the_next_parcel_removes_what_a_killed_one_left_and_an_answer_at_work_is_let_alone(tmp_path: Path) -> None:
    sites = make_sites(tmp_path)
    package = add(sites.hq, FIXTURES / "boot.wim")
    folder = sites.hq.path / "parcels" / "out" / create(sites.hq, package)
    (folder / "parity-1").mkdir(exist_ok=True)
    for place in (folder, folder / "parity-1", folder / "packs", folder / "recipes"):
        (place / ".courier-tmp-1-1-x").write_bytes(b"half")
    dead = folder / ".courier-tmp-again-dead"
    dead.mkdir()
    (dead / "pack").write_bytes(b"half")
    with closing(open_site(sites.hq.path)) as site, scratch(site, folder) as working:
        assert not dead.exists()
        create(sites.hq, package)
        assert left_over(sites.hq.path) == [str(working)]
    assert not left_over(sites.hq.path)
