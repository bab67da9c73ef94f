"""The units that are printed are units of systemd, and run the watch that was asked for."""

from __future__ import annotations

import configparser
import shlex
import subprocess
from pathlib import Path

import pytest
from journey import make_home
from stock import stock_tool

from courier.care.watch.units import SERVICE_NAME, Unit, unit_text
from courier.errors import UsageError

NAMES = {
    Unit.SERVICE: f"{SERVICE_NAME}.service",
    Unit.ONCE: f"{SERVICE_NAME}-once.service",
    Unit.TIMER: f"{SERVICE_NAME}-once.timer",
}
ODD = Path('/srv/50% of "ours" $x\\')


def _text(unit: Unit) -> str:
    return unit_text(unit, site="HQ1", home=ODD, user="root", options=["--media", "/srv/in coming"], program=None)


def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    for unit, name in NAMES.items():
        (tmp_path / name).write_text(_text(unit))
    verify = [stock_tool("systemd-analyze"), "verify", *(str(tmp_path / name) for name in NAMES.values())]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / NAMES[Unit.TIMER]).write_text(_text(Unit.TIMER).replace("OnBootSec=2min", "OnBootSec=soon"))
    assert "soon" in subprocess.run(verify, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("unit", Unit)
def test_each_is_a_file_of_sections(unit: Unit) -> None:
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(_text(unit))
    assert parser.has_section("Unit")
    assert parser.has_section("Timer" if unit is Unit.TIMER else "Service")


def test_the_command_has_the_options_that_were_given(tmp_path: Path) -> None:
    home = make_home(tmp_path, "HQ1")
    options = ("--media", tmp_path / "in", "--removable", "--hold", "--every", "300")
    text = home.says("channel", "watch", *options, "--print-unit", "systemd")
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart="))
    assert words[words.index("channel") :] == [
        *("channel", "watch", "--media", str(tmp_path / "in"), "--removable", "--hold", "--every", "300"),
        *("--home", str(home.path)),
    ]
    assert "--once" in home.says("channel", "watch", "--print-unit", "systemd-once")
    assert home("channel", "watch", "--print-unit", "systemd-timer")["text"].count("OnUnitInactiveSec") == 1
    # Nothing ran, and nothing was kept.
    assert not (home.path / "watch").exists()


def test_other_systems_are_described_in_the_docs(tmp_path: Path) -> None:
    home = make_home(tmp_path, "HQ1")
    assert "docs/care.md" in home.fails("channel", "watch", "--print-unit", "launchd", code=2)["hint"]
    with pytest.raises(UsageError):
        unit_text(Unit.SERVICE, site="HQ1", home=Path("/a\nb"), user="root", options=[], program="/usr/bin/courier")
