"""Every option refuses numbers that make no sense and texts that are not one line, with exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from journey import FIXTURES, SMALL, Sites, add, make_sites, run, sent

from courier.cli.app import command_tree, main

SIZES = {"SIZE", "RATE", "BLOCK/DELAY", "VOLUMES", "VOLUME=SERIAL", "HOST:PORT"}
"""Names in the help of the values of options whose text holds a number."""
ABSURD = ("-1", "1" + "0" * 30, "9" * 5000, "nan", "1e400", "inf", "\u00b2", "")
ZERO_MEANS_SOMETHING = {
    "channel watch --settle",
    *("parcel create --spare-volumes", "parcel drill --seed", "parcel limits --quota", "parcel limits --repair"),
    *("parcel limits --site-quota", "site policy --hole-limit"),
    *("site policy --max-transit-days", "channel serve --every", "channel serve --bind"),
    *("channel address add --retries", "channel address set --retries", "parcel drill --lose"),
    *("plan send --spare-volumes", "point serve --bind", "point config --bind"),
    "dashboard --bind",
    *("cache config --minimum-age", "cache config --reserve", "site policy --release-lost"),
    *("cluster run --workers", "cluster run --bind"),
}


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its name, asked of the app itself."""
    group = group or command_tree()
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


def typed(sites: Sites, path: tuple[str, ...], command: Any, option: Any, value: str) -> list[object]:
    """The command with ``value`` for one option or argument, and good ones for what it cannot do without beside it."""
    good: dict[str, object] = {
        **{"parcel": "HQ1-000001", "packages": "HQ100001", "reference": "HQ100001", "code": "BR1", "to": "BR1"},
        "references": "HQ100001",
        **{"name": "X", "layout": "folder", "event": "note", "paths": FIXTURES / "boot.wim", "site": "HQ1"},
        **{"where": sites.root / ("other" if path[-1] == "add" else "share"), "out": sites.root / "again"},
        **{"reason": "X", "card_file": sites.root / "BR1.card"},
        **{"path": sites.root / "point", "points": "P1", "point": "P1", "prefix": "HQ1", "package": "HQ100001"},
        **{"source": FIXTURES, "by": "X", "size": "1MB", "target": sites.root / "other"},
        **{"before": "HQ100001:1", "after": "HQ100001:1"},
        **{"what": "HQ100001", "mac": "00:1A:2B:3C:4D:5E", "sign": "PC1", "destination": "PC1"},
        **{"file": FIXTURES / "boot.wim", "computer": "PC1", "into": sites.root / "into", "migration": "0" * 32},
        **{"key": "media", "value": "bd25"},
        **{"addresses": FIXTURES, "cards": sites.root / "HQ1.card", "folder": sites.root / "branch"},
        **{"sequence": FIXTURES / "boot.wim", "media": FIXTURES},
    }
    more = {"parcel create": ["--capacity", SMALL], "channel serve": ["--behind-proxy"]}.get(" ".join(path), [])
    words: list[object] = [*path, *([] if option.name == "capacity" else more)]
    for parameter in command.params:
        if parameter.required or parameter is option:
            words += [word for word in parameter.opts if word.startswith("--")]
            words.append(value if parameter is option else good[parameter.name])
    return words


@pytest.mark.parametrize(
    ("path", "command", "option"), OPTIONS, ids=[f"{' '.join(path)} {option.opts[0]}" for path, _, option in OPTIONS]
)
def test_an_absurd_number_is_a_usage_error(sites: Sites, path: tuple[str, ...], command: Any, option: Any) -> None:
    before = sites.hq.state()
    name = f"{' '.join(path)} {option.opts[0]}"
    for value in (*ABSURD, "0") if name not in ZERO_MEANS_SOMETHING else ABSURD:
        text = {"VOLUME=SERIAL": f"{value}=S", "HOST:PORT": f"127.0.0.1:{value}"}.get(option.metavar, value)
        error = run(
            *typed(sites, path, command, option, text), "--home", sites.hq.path, "--json", "--yes", code=2
        ).error
        assert error["hint"]
    assert sites.hq.state() == before


@pytest.mark.parametrize("version", ["0", "-1", "1" + "0" * 30, "9" * 5000, "nan", "\u00b2", ""])
@pytest.mark.parametrize("command", ["show", "verify", "remove", "retire"])
def test_an_absurd_version_in_a_reference_is_a_usage_error(sites: Sites, command: str, version: str) -> None:
    sites.hq.fails("package", command, f"HQ100001:{version}", code=2)


TEXTS = [
    (path, command, parameter)
    for path, command in commands()
    for parameter in command.params
    if parameter.type_descriptor.annotation in (str, list[str]) and "MEDIUM" not in (parameter.metavar or "")
]
NO_LINE = ("x" * 5000, "a\x1b[31mb", "two\nlines", "bell\x07", "not UTF-8: \udcff", "\u2028")


@pytest.mark.parametrize(
    ("path", "command", "option"), TEXTS, ids=[f"{' '.join(path)} {option.opts[0]}" for path, _, option in TEXTS]
)
def test_what_is_no_line_of_text_is_a_usage_error(
    sites: Sites, path: tuple[str, ...], command: Any, option: Any
) -> None:
    before = sites.hq.state()
    name = next((word for word in option.opts if word.startswith("--")), option.metavar)
    for value in NO_LINE:
        error = run(
            *typed(sites, path, command, option, value), "--home", sites.hq.path, "--json", "--yes", code=2
        ).error
        assert name in error["message"]
    assert sites.hq.state() == before


def test_serial_numbers_of_seals_are_as_long_as_documents_take_them(sites: Sites) -> None:
    assert "200" in sites.hq.fails("parcel", "ship", "HQ1-000001", "--seal", f"1={'A' * 201}", code=2)["hint"]
    sites.hq("parcel", "ship", "HQ1-000001", "--seal", f"1={'A' * 200}", "--carrier", "C" * 1000)


def test_errors_in_a_file_of_seals_name_file_and_line(sites: Sites) -> None:
    file = sites.root / "seals.txt"
    for text, line, why in (
        ("1=A1\n\nnonsense\n", 3, "'nonsense' is not a volume and a serial number"),
        ("1=A1\n1=B1\n", 2, "volume 1 has A1 and B1"),
        ("\n1=" + "A" * 201, 2, "201 characters"),
    ):
        file.write_text(text)
        error = sites.hq.fails("parcel", "ship", "HQ1-000001", "--seals-file", file, code=2)
        assert f"{file}, line {line}: " in error["message"]
        assert why in error["message"]
    file.write_text("1=A1\n")
    error = sites.hq.fails("parcel", "ship", "HQ1-000001", "--seals-file", file, "--seal", "1=B1", code=2)
    assert f"{file}, line 1: volume 1 has B1 and A1" in error["message"]


def test_paths_and_operators_that_are_not_utf_8_do_no_harm(tmp_path: Path) -> None:
    sites = make_sites(tmp_path)
    odd = tmp_path / "b\udcffd"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGNAME", "b\udcff\x1bd" + "x" * 5000)
        (odd / "source").mkdir(parents=True)
        (odd / "source" / "a").write_bytes(b"a")
        package = add(sites.hq, odd / "source")
        parcel, volumes = sent(sites.hq, package, out=odd / "media")
        sites.sync()
        assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
        assert "b\\udcffd" in sites.hq("parcel", "show", parcel)["volumes"][0]["path"]
        assert "b\\udcff" in sites.br.says("parcel", "log", parcel)
        sites.br("package", "export", package, "--to", odd / "out")
    assert sites.hq.fails("channel", "address", "add", "BR1", odd, code=2)
    (odd / "source" / "b\udcffd").write_bytes(b"b")
    assert "b\\udcffd" in sites.hq.fails("package", "add", odd / "source", "--name", "X", code=3)["message"]


def test_an_option_without_its_value_names_the_command_whose_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["courier", "channel", "watch", "--media"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "-> courier channel watch --help" in capsys.readouterr().err
