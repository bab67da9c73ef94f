"""Services are told in time, and their passwords are not shown; hooks are run without a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from journey import make_home
from notice_receiver import receiving

from courier.care import hooks
from courier.care.config import Config
from courier.care.hooks import facts_of, run_hook
from courier.care.notice_book import NoticeBook
from courier.care.notices import Event, notice
from courier.care.notify import Outcome, addresses_of, masked, send, without_addresses
from courier.care.watch.teller import Teller
from courier.errors import NotFoundError, RefusedError, UsageError

NOW = 1_800_000_000 * 10**9
ONE = notice(Event.DAMAGE, "HQ1-000001", "HQ1-000001: 'quoted' $HOME `x`", at_ns=NOW, next="courier status")


def _address_file(folder: Path, *lines: str) -> Path:
    path = folder / "desk.url"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


def test_a_message_reaches_a_service() -> None:
    with receiving() as desk:
        done = send([desk.address], "courier BR1: damage", "ünïcode\n  -> courier status", seconds=20)
        assert done.outcome is Outcome.SENT
        (posted,) = desk.posted
        assert (posted["title"], posted["message"]) == ("courier BR1: damage", "ünïcode\n  -> courier status")


def test_a_service_that_refuses_has_surely_failed() -> None:
    with receiving() as desk:
        desk.status = 500
        done = send([desk.address], "t", "m", seconds=20)
        assert done.outcome is Outcome.FAILED
        assert "500" in done.reason
        port = desk.server_address[1]
    gone = send([f"json://127.0.0.1:{port}/"], "t", "m", seconds=20)
    assert gone.outcome is Outcome.FAILED


def test_of_a_slow_service_it_is_not_known_whether_it_was_told() -> None:
    with receiving() as desk:
        desk.seconds = 30
        begun = time.monotonic()
        done = send([desk.address], "t", "m", seconds=4)
        assert done.outcome is Outcome.UNKNOWN
        assert time.monotonic() - begun < 15
        assert len(desk.posted) == 1


def test_a_service_may_take_longer_than_apprise_waits_by_itself() -> None:
    with receiving() as desk:
        desk.seconds = 1.5
        assert send([f"{desk.address}?rto=0.5"], "t", "m", seconds=20).outcome is Outcome.SENT


def test_where_one_of_two_addresses_fails_the_other_is_not_told_twice() -> None:
    with receiving() as desk:
        done = send([desk.address, "nonsense://x"], "t", "m", seconds=20)
        assert done.outcome is Outcome.UNKNOWN
        assert "address 2" in done.reason


def test_addresses_stand_in_a_private_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _address_file(tmp_path, "# the desk", "", "json://a", "  mailto://b ")
    assert addresses_of("desk", f"file:{path}") == ["json://a", "mailto://b"]
    monkeypatch.setenv("DESK", "json://c")
    assert addresses_of("desk", "env:DESK") == ["json://c"]
    with pytest.raises(NotFoundError):
        addresses_of("desk", "env:DESK_2")
    with pytest.raises(NotFoundError):
        addresses_of("desk", f"file:{tmp_path}/none")
    with pytest.raises(UsageError):
        addresses_of("desk", f"file:{_address_file(tmp_path, '# nothing')}")
    if os.name == "posix":
        path.chmod(0o644)
        with pytest.raises(RefusedError) as caught:
            addresses_of("desk", f"file:{path}")
        assert caught.value.hint.startswith("chmod 600")


@pytest.mark.skipif(os.name != "posix", reason="needs a named pipe")
def test_a_pipe_in_place_of_a_file_of_addresses_is_named_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    asked = f"from courier.care.notify import addresses_of; addresses_of('desk', 'file:{pipe}')"
    done = subprocess.run([sys.executable, "-c", asked], check=False, capture_output=True, text=True, timeout=30)
    assert f"{pipe} is no file" in done.stderr


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("mailto://ann:secret@mail.example.org?to=x", "mailto://mail.example.org/***"),
        ("slack://TokenA/TokenB/TokenC/#x", "slack://***/***"),
        ("json://desk:hunter22@127.0.0.1:8080/a", "json://127.0.0.1:8080/***"),
        ("tgram://123456:secret/789", "tgram://***/***"),
        ("secret", "***"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert masked(address) == shown


def test_a_reason_names_no_part_of_an_address() -> None:
    text = without_addresses("Could not post hunter22 to 127.0.0.1 as desk99", ["json://desk99:hunter22@127.0.0.1/a"])
    assert "hunter22" not in text
    assert "desk99" not in text


def test_services_are_named_tested_and_listed_without_passwords(tmp_path: Path) -> None:
    home = make_home(tmp_path, "BR1")
    assert home.fails("notify", "test", code=6)["code"] == "not-found"
    with receiving() as desk:
        path = _address_file(tmp_path, desk.address)
        home("config", "set", "notify.desk", f"file:{path}")
        assert home("notify", "test")["sent"] == [{"name": "desk", "outcome": "sent", "reason": ""}]
        assert desk.titles == ["courier BR1: test"]
        for shown in (
            home.says("config", "show"),
            home.says("notify", "list"),
            home.path.joinpath("config.toml").read_text(),
        ):
            assert "hunter22" not in shown
            assert "desk" in shown
        desk.status = 403
        failed = home.ran("notify", "test", "desk", code=7)
        assert failed.document["sent"][0]["outcome"] == "failed"
        assert "hunter22" not in failed.out
    assert home.fails("notify", "test", "dask", code=6)["code"] == "not-found"
    assert "hunter22" not in (home.path / "log" / "courier.log").read_text()
    path.chmod(0o644)
    if os.name == "posix":
        assert "can be read by others (mode 644)" in home.says("config", "set", "notify.desk", f"file:{path}")
    said = home.says("config", "set", "notify.desk", f"file:{tmp_path / 'none'}")
    assert "nobody is told by it until that is mended" in said
    # An address on the command line would be seen by others, and is not repeated either.
    error = home.fails("config", "set", "notify.desk", "mailto://ann:secret@example.org", code=2)
    assert "secret" not in error["message"] + error["hint"]


def _hook(tmp_path: Path, text: str) -> list[str]:
    script = tmp_path / "hook.py"
    script.write_text(text)
    return [sys.executable, str(script)]


def test_a_hook_gets_the_facts_and_no_shell_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURIER_KEY_PASSPHRASE", "secret")
    monkeypatch.setenv("COURIER_TOKEN_PIN", "1234")
    out = tmp_path / "out"
    words = _hook(
        tmp_path,
        f"import json, os, sys\n"
        f"facts = dict(stdin=json.load(sys.stdin), words=sys.argv[1:], env=dict(os.environ))\n"
        f"open({str(out)!r}, 'w').write(json.dumps(facts))\n",
    )
    facts = facts_of("BR1", tmp_path, ONE)
    assert run_hook([*words, "$HOME", "a b;c"], facts, seconds=20).outcome is Outcome.SENT
    got = json.loads(out.read_text())
    assert got["stdin"] == facts
    assert got["words"] == ["$HOME", "a b;c"]
    assert got["env"]["COURIER_WHAT"] == ONE.what
    assert got["env"]["COURIER_EVENT"] == "damage"
    assert not {"COURIER_KEY_PASSPHRASE", "COURIER_TOKEN_PIN"} & got["env"].keys()


def test_a_hook_gets_no_key_and_no_password_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    (home / "keys").mkdir(parents=True)
    (home / "keys" / "a.uri").write_text("env:SIGNING\n")
    (home / "keys" / "b.uri").write_text("pkcs11:id=1;token=SIGNED\n")
    secrets = {"SIGNING", "DESK_URL", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY"}
    for name in (*secrets, "PLAIN"):
        monkeypatch.setenv(name, f"value of {name}")
    book = NoticeBook(home, log_end=0)
    book.add([ONE], {"damage": ["hook"]}, log_end=0, now_ns=NOW)
    words = _hook(tmp_path, f"import os; open({str(out)!r}, 'w').write(' '.join(os.environ))\n")
    teller = Teller(home, "BR1", book, lambda _: None)
    teller.look(Config(hooks={"damage": tuple(words)}, notify={"desk": "env:DESK_URL"}))
    teller.end(told=True)
    given = set(out.read_text().split())
    assert "PLAIN" in given
    assert not given & secrets


def test_a_hook_that_fails_says_its_code_and_last_line(tmp_path: Path) -> None:
    done = run_hook(_hook(tmp_path, "import sys; print('first'); sys.exit('no paper')"), {}, seconds=20)
    assert (done.outcome, done.reason) == (Outcome.UNKNOWN, "it ended with code 1: no paper")
    missing = run_hook([str(tmp_path / "none")], {}, seconds=20)
    assert missing.outcome is Outcome.FAILED
    assert "cannot be started" in missing.reason


@pytest.mark.skipif(os.name != "posix", reason="process groups of POSIX")
def test_a_hook_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    words = _hook(
        tmp_path,
        f"import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(child)!r}, 'w').write(str(p.pid))\n"
        f"time.sleep(60)\n",
    )
    begun = time.monotonic()
    done = run_hook(words, {}, seconds=2)
    assert done.outcome is Outcome.UNKNOWN
    assert "did not end within 2 s" in done.reason
    assert time.monotonic() - begun < 10
    deadline = time.monotonic() + 5
    while _runs(int(child.read_text())) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(int(child.read_text()))


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_hook_that_prints_without_end_is_ended_before_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "MOST_SAID", 1 << 20)
    code = "import os\nwhile True: os.write(1, bytes(1 << 16))"
    begun = time.monotonic()
    done = run_hook([sys.executable, "-c", code], facts_of("BR1", Path("/home"), ONE), seconds=60)
    assert done.outcome is Outcome.UNKNOWN
    assert done.reason == "it printed more than 1.0 MB, and was ended"
    assert time.monotonic() - begun < 30


def test_a_hook_that_never_reads_gets_no_more_than_it_has_room_for() -> None:
    long = replace(ONE, what="\N{SNOWMAN}" * 2000, next="\N{SNOWMAN}" * 2000, cause="\N{SNOWMAN}" * 2000)
    facts = facts_of("BR1", Path("/" + "\N{SNOWMAN}" * 8000), long)
    done = run_hook([sys.executable, "-c", "import time; time.sleep(0.5)"], facts, seconds=20)
    assert done.outcome is Outcome.SENT


def test_the_names_of_hooks_and_their_programs_are_checked(tmp_path: Path) -> None:
    home = make_home(tmp_path, "BR1")
    assert "arrival" in home.fails("config", "set", "hooks.arival", "true", code=2)["hint"]
    assert home.fails("config", "set", "hooks.arrival", "no-such-program-at-all", code=6)["code"] == "not-found"
    assert home.fails("config", "set", "hooks.arrival", "'true", code=2)["code"] == "usage"
    home("config", "set", "hooks.arrival", f"{sys.executable} -c 'print(1)' '$HOME'")
    assert home("config", "show")["hooks"] == {"arrival": [sys.executable, "-c", "print(1)", "$HOME"]}
    assert home.fails("config", "set", "notify_events", "arrival,fire", code=2)["code"] == "usage"
    assert home.fails("config", "set", "quota", "5GB", code=2)["hint"] == "courier parcel limits --quota SIZE"
