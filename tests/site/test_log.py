"""The log of a site: a line for what commands did, in files of bounded size, never a secret, and never in the way."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from journey import FIXTURES, ROOT, Sites, add, environment, make_home, make_sites, run, sent

from courier.error_codes import Code
from courier.errors import BusyError, RefusedError
from courier.site import log
from courier.site.file_names import SETTINGS
from courier.site.home import open_site
from courier.site.log import LOG_FOLDER, LOGGER, OLDER_FILES, LineFormatter, logged

LINE = re.compile(
    r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR) \d+ (?P<command>[a-z -]+): (?P<text>[ -~]+)"
)
PASSPHRASE = "correct horse battery staple"


def lines(home: Path) -> list[str]:
    """The lines of the log, the oldest first."""
    files = sorted((home / LOG_FOLDER).glob("courier.log*"), key=lambda path: int(path.suffix[1:].strip("log") or 0))
    return [line for path in reversed(files) for line in path.read_text("ascii").splitlines()]


def texts(home: Path, command: str) -> list[str]:
    """What the log has of one command."""
    found = [LINE.fullmatch(line) for line in lines(home)]
    assert all(found)
    return [match["text"] for match in found if match and match["command"] == command]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that is taken for a site home, because it has a settings file."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / SETTINGS).write_bytes(b"{}")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sites, str, str]]:
    """Two sites, one with a passphrase, and a parcel from one to the other; with the IDs of package and parcel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURIER_KEY_PASSPHRASE", PASSPHRASE)
        sites = make_sites(tmp_path_factory.mktemp("log"))
        sites.hq("site", "rotate-key", "--passphrase")
        sites.sync()
        package = add(sites.hq, FIXTURES / "boot.wim")
        parcel, volumes = sent(sites.hq, package, out=sites.root / "media", compress="none", redundancy="none")
        sites.sync()
        sites.br("parcel", "receive", *volumes)
        sites.sync(sites.br, sites.hq)
        sites.hq.fails("package", "show", "HQ1FFFFF", code=6)
        yield sites, package, parcel


def test_every_step_of_a_journey_is_a_line_with_its_ids(journey: tuple[Sites, str, str]) -> None:
    sites, package, parcel = journey
    hq, br = sites.hq.path, sites.br.path
    assert texts(hq, "init") == ["begun", *(text for text in texts(hq, "init")[1:] if text.startswith("done in "))]
    assert f"package {package} (Test) added" in " ".join(texts(hq, "package add"))
    for command, event in (("parcel create", "built"), ("parcel write", "written"), ("parcel ship", "sent")):
        found = texts(hq, command)
        assert (found[0], found[-1].startswith("done in ")) == ("begun", True)
        assert any(text.startswith(f"{parcel}: ") and event in text for text in found)
    assert any(text.startswith(f"{parcel}: imported") for text in texts(br, "parcel receive"))
    assert f"imported from {parcel}" in " ".join(texts(br, "parcel receive"))
    assert "begun" in texts(hq, "package show")
    assert texts(hq, "package show")[-1] == "failed: not-found: package HQ1FFFFF is not in the store"


def test_every_message_sent_and_received_is_a_line_with_its_id(journey: tuple[Sites, str, str]) -> None:
    sites, _, parcel = journey
    queued = re.compile(r"message ([0-9a-f]{64}) \(ship-notice\) for BR1 queued")
    (sha256,) = [match[1] for text in texts(sites.hq.path, "parcel ship") if (match := queued.fullmatch(text))]
    sync = texts(sites.hq.path, "channel sync")
    assert f"message {sha256} (ship-notice) for BR1 handed over" in sync
    assert f"message {sha256} (ship-notice) for BR1 acknowledged" in sync
    assert f"message {sha256} (ship-notice) from HQ1 taken in" in texts(sites.br.path, "channel sync")
    assert any(f"{parcel}: confirmed" in text for text in sync)


def test_a_dead_letter_is_a_warning(journey: tuple[Sites, str, str], tmp_path: Path) -> None:
    sites, _, _ = journey
    stranger = make_home(tmp_path, "XX1")
    box = tmp_path / "box"
    box.mkdir()
    stranger("site", "trust", sites.root / "BR1.card")
    stranger("channel", "address", "add", "BR1", box)
    stranger("channel", "sync")
    sites.br("site", "trust", tmp_path / "XX1.card")
    sites.br("channel", "address", "add", "XX1", box)
    sites.br("site", "revoke", "XX1", "--reason", "lost its keys")
    stranger("site", "rotate-key")
    stranger("channel", "sync")
    sites.br("channel", "sync")
    dead = [line for line in lines(sites.br.path) if "dead letter: message" in line]
    assert dead
    assert all(" WARNING " in line for line in dead)
    assert "site XX1 revoked: lost its keys" in " ".join(texts(sites.br.path, "site revoke"))


def test_no_secret_is_in_the_log(journey: tuple[Sites, str, str]) -> None:
    sites, _, parcel = journey
    for site in sites.homes:
        logged_text = "\n".join(lines(site.path))
        assert PASSPHRASE not in logged_text
        secrets = [path for path in (site.path / "keys").iterdir() if path.name != "lock"]
        secrets += list((site.path / "parcels").rglob("*key*"))
        assert secrets
        for path in secrets:
            for line in path.read_bytes().decode("ascii", "replace").splitlines():
                assert len(line) < 20 or line.startswith(("-----", "#")) or line not in logged_text
    with open_site(sites.hq.path).catalogue.reading() as connection:
        rows = connection.exec_driver_sql("SELECT seed FROM message WHERE length(seed) > 0").all()
    assert rows
    assert not any(row.seed.hex() in "\n".join(lines(sites.hq.path)) for row in rows)
    assert parcel in "\n".join(lines(sites.hq.path))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("postgresql://courier:s3cret@db/x is down", "postgresql://courier:***@db/x is down"),
        ("postgresql://db/x?user=u&password=s3cret&a=b", "postgresql://db/x?user=u&password=***&a=b"),
        ("key AGE-SECRET-KEY-1QQQQ of", "key *** of"),
        ("-----BEGIN PRIVATE KEY-----\nMC4CAQ\n", "***"),
        ("two\nlines\x1b[2J", "two\\nlines\\x1b[2J"),
        ("Übung", "Übung"),
    ],
)
def test_a_line_is_one_line_without_secrets(text: str, written: str) -> None:
    record = logging.LogRecord("courier", logging.INFO, "", 0, "%s", (text,), None)
    assert LineFormatter("parcel ship").format(record).endswith(f" parcel ship: {written}")


def test_a_line_is_cut_off_at_its_longest() -> None:
    record = logging.LogRecord("courier", logging.INFO, "", 0, "%s", ("x" * 100_000,), None)
    assert len(LineFormatter("x").format(record)) == log.MAX_LINE + 3


def test_what_was_rolled_back_is_not_logged(journey: tuple[Sites, str, str]) -> None:
    sites, _, _ = journey
    with logged(sites.br.path, "test"):
        site = open_site(sites.br.path)
        with pytest.raises(KeyError), site.catalogue.writing() as connection:
            log.note(connection, "rolled back")
            raise KeyError
        with site.catalogue.writing() as connection:
            log.note(connection, "committed")
        site.close()
    assert texts(sites.br.path, "test")[:2] == ["begun", "committed"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RefusedError("not trusted", hint="x", code=Code.UNKNOWN_SITE), "ERROR failed: unknown-site: not trusted"),
        (OSError(errno.ENOSPC, "No space left", "/x"), "ERROR failed: no-space: /x: No space left"),
        (KeyboardInterrupt(), "WARNING stopped by the operator"),
        (ValueError("parameters: s3cret"), "ERROR failed: unexpected: ValueError in "),
        (SystemExit(3), "ERROR failed: unexpected: SystemExit in "),
    ],
)
def test_the_error_that_ends_a_command_is_its_last_line(home: Path, error: BaseException, line: str) -> None:
    with pytest.raises(type(error)), logged(home, "test"):
        raise error
    last = lines(home)[-1]
    assert re.sub(r"^\S+ (\S+) \d+ test: ", r"\1 ", last).startswith(line)
    assert "s3cret" not in last


def test_an_error_that_a_command_has_said_itself_is_logged(journey: tuple[Sites, str, str]) -> None:
    sites, package, _ = journey
    path = sites.br.large_files()[0]
    good = path.read_bytes()
    path.write_bytes(b"x" * len(good))
    assert run("package", "verify", "--home", sites.br.path, code=4).err
    found = texts(sites.br.path, "package verify")
    assert found[-1] == "ended with exit code 4"
    assert any(package in text or "boot.wim" in text for text in found[1:-1])


def test_outside_of_a_site_home_nothing_is_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with logged(tmp_path, "test"):
        LOGGER.error("nowhere")
    LOGGER.error("nowhere")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.name != "posix", reason="elsewhere: POSIX only")
def test_only_the_owner_reads_the_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_BYTES", 100)
    before = os.umask(0)
    try:
        with logged(home, "test"):
            LOGGER.info("x" * 90)
    finally:
        os.umask(before)
    files = list((home / LOG_FOLDER).glob("courier.log*"))
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_files_are_few_and_of_bounded_size_and_hold_the_newest_lines(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "MAX_BYTES", 2000)
    with logged(home, "test"):
        for number in range(500):
            LOGGER.info("line %d", number)
    files = list((home / LOG_FOLDER).glob("courier.log*"))
    assert len(files) == OLDER_FILES + 1
    assert all(0 < path.stat().st_size <= 2000 for path in files)
    numbers = [int(text.split()[1]) for text in texts(home, "test") if text.startswith("line ")]
    assert numbers == list(range(500 - len(numbers), 500))
    assert len(numbers) > 100


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_kill_or_error_while_files_are_replaced_loses_no_line(
    home: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "MAX_BYTES", 200)
    with logged(home, "test"):
        for number in range(6):
            LOGGER.info("line %d", number)
        real, done = Path.replace, 0

        def replace(self: Path, target: Path) -> Path:
            nonlocal done
            done += 1
            if done == step:
                raise OSError(errno.EIO, "killed here")
            return real(self, target)

        before = {text for text in texts(home, "test") if text.startswith("line ")}
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            LOGGER.info("line 6")
            LOGGER.info("line 7")
        assert done >= step
    assert {*before, "line 6", "line 7"} <= set(texts(home, "test"))


def test_a_file_that_cannot_be_replaced_does_not_grow_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(self: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(log, "MAX_BYTES", 1000)
    monkeypatch.setattr(Path, "replace", replace)
    with logged(home, "test"):
        for number in range(100):
            LOGGER.info("line %d", number)
    (file,) = (home / LOG_FOLDER).glob("courier.log*")
    assert 1000 < file.stat().st_size <= 2000


WRITER = """
import sys
from pathlib import Path
from courier.site import log
log.MAX_BYTES, log.OLDER_FILES = 4000, 100
with log.logged(Path(sys.argv[1]), "writer"):
    for number in range(150):
        log.LOGGER.info("%s line %d", sys.argv[2], number)
"""


def test_several_processes_write_one_log_and_lose_no_line(home: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(home), name], env=environment(), cwd=ROOT)
        for name in ("one", "two", "three")
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = [text for text in texts(home, "writer") if " line " in text]
    for name in ("one", "two", "three"):
        assert [text for text in found if text.startswith(name)] == [f"{name} line {n}" for n in range(150)]
    assert len(list((home / LOG_FOLDER).glob("courier.log.*"))) > 5


def _a_file_in_its_place(home: Path, _: pytest.MonkeyPatch) -> None:
    (home / LOG_FOLDER).write_bytes(b"")


def _read_only(_: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    patch.setattr(os, "open", refuse)


def _full(_: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(os, "write", refuse)


def _busy(_: Path, patch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise BusyError("busy", hint="wait")

    patch.setattr(log, "locked", refuse)
    patch.setattr(log, "_WAIT_SECONDS", 0.01)


@pytest.mark.parametrize("trouble", [_a_file_in_its_place, _read_only, _full, _busy])
def test_a_log_that_cannot_be_written_stops_nothing(
    home: Path,
    trouble: Callable[[Path, pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        trouble(home, patch)
        with logged(home, "test"):
            LOGGER.info("lost")
    assert capfd.readouterr() == ("", "")


def test_a_disk_that_takes_half_a_line_gets_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def write(handle: int, data: bytes) -> int:
        return real(handle, data[: len(data) // 2] if b"half" in data else data)

    monkeypatch.setattr(os, "write", write)
    with logged(home, "test"):
        LOGGER.info("half")
        LOGGER.info("whole")
    assert texts(home, "test")[:2] == ["begun", "whole"]
