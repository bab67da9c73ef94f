"""Numbers and sizes that make no sense are refused with exit code 2, at every option of every command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from journey import FIXTURES, SMALL, Sites, add, make_sites, run, sent

from courier.cli.run import app

SIZES = {"SIZE", "RATE", "BLOCK/DELAY", "1-5,9", "VOLUME=SERIAL", "HOST:PORT"}
"""What the help calls options whose text holds a number."""
ABSURD = ("-1", "1" + "0" * 30, "9" * 5000, "nan", "1e400", "inf", "\u00b2", "")
ZERO_MEANS_SOMETHING = {
    *("parcel create --spare-volumes", "parcel drill --seed", "parcel limits --quota", "parcel limits --repair"),
    *("site policy --max-transit-days", "channel serve --every", "channel serve --bind"),
    *("channel address add --retries", "channel address set --retries", "parcel drill --lose"),
}


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its name, asked of the app itself."""
    group = group or typer.main.get_command(app)
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name), found


def is_number(parameter: Any) -> bool:
    return (
        parameter.type_descriptor.annotation in (int, list[int])
        or parameter.metavar in SIZES
        or parameter.name in ("redundancy", "damage")
    )


OPTIONS = [
    (path, command, parameter) for path, command in commands() for parameter in command.params if is_number(parameter)
]


def test_the_options_are_found() -> None:
    assert len(OPTIONS) > 30


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    sites = make_sites(tmp_path_factory.mktemp("options"))
    sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync()
    return sites


def required(sites: Sites, path: tuple[str, ...], command: Any, but: Any) -> list[object]:
    """What the command cannot do without, beside one option."""
    good: dict[str, object] = {
        **{"parcel": "HQ1-000001", "packages": "HQ100001", "reference": "HQ100001", "code": "BR1", "to": "BR1"},
        **{"name": "X", "layout": "folder", "event": "note", "paths": FIXTURES / "boot.wim"},
        **{"where": sites.root / ("other" if path[-1] == "add" else "share"), "out": sites.root / "again"},
    }
    words: list[object] = []
    for parameter in command.params:
        if parameter.required and parameter is not but:
            option = [o for o in parameter.opts if o.startswith("--")]
            words += [*option, good[parameter.name]]
    more = {"parcel create": ["--capacity", SMALL], "channel serve": ["--behind-proxy"]}.get(" ".join(path), [])
    return words if but.name == "capacity" else [*words, *more]


@pytest.mark.parametrize(
    ("path", "command", "option"), OPTIONS, ids=[f"{' '.join(path)} {option.opts[0]}" for path, _, option in OPTIONS]
)
def test_an_absurd_number_is_a_usage_error(sites: Sites, path: tuple[str, ...], command: Any, option: Any) -> None:
    before = sites.hq.state()
    name = f"{' '.join(path)} {option.opts[0]}"
    for value in (*ABSURD, "0") if name not in ZERO_MEANS_SOMETHING else ABSURD:
        text = {"VOLUME=SERIAL": f"{value}=S", "HOST:PORT": f"127.0.0.1:{value}"}.get(option.metavar, value)
        words = [*path, *required(sites, path, command, option), option.opts[0], text]
        error = run(*words, "--home", sites.hq.path, "--json", "--yes", code=2).error
        assert error["hint"]
    assert sites.hq.state() == before


@pytest.mark.parametrize("version", ["0", "-1", "1" + "0" * 30, "9" * 5000, "nan", "\u00b2", ""])
@pytest.mark.parametrize("command", ["show", "verify", "remove", "retire"])
def test_an_absurd_version_in_a_reference_is_a_usage_error(sites: Sites, command: str, version: str) -> None:
    sites.hq.fails("package", command, f"HQ100001:{version}", code=2)
