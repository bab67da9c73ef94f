"""Write docs/commands.md from the commands themselves: ``python docs/make_commands.py``.

A test compares the page with what this makes, so that the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from courier.cli.app import command_tree
from courier.cli.command import arguments_of, common_options, described
from courier.error_codes import EXIT_CODES, Code
from courier.media.kinds import DRIVE_LAYOUTS, DRIVE_SPEED, MEDIA

PAGE = Path(__file__).with_name("commands.md")

HEAD = """# Commands

Made by `python docs/make_commands.py`. [Media](#kinds-of-media), [exit codes](#exit-codes) and
[error codes](#error-codes) are at the end.

Every command has these options. They may also be given before the command, as in `courier --home /srv/HQ1 parcel list`.

{common}

Progress is shown on stderr, and only when that is a terminal. An error is two lines on stderr: what went wrong and
where, then what to do. With `--json` these are `error.code`, `error.message` and `error.hint` of the document.
"""


def _table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(headings), *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    rule = ["---"] * len(cells[0])
    return "\n".join(f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:]))


def _parameters(parameters: Iterable[Any]) -> list[tuple[str, str]]:
    return [(f"`{name}`", text) for name, text in map(described, parameters)]


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from _commands(child, f"{path} {name}")
    else:
        yield path, command


def _command(path: str, command: Any) -> str:
    usage = " ".join([path, *arguments_of(command)])
    common = {option.name for option in common_options()}
    rows = _parameters(parameter for parameter in command.params if parameter.name not in common)
    parts = [f"## {path.removeprefix('courier ')}", f"`{usage}`", (command.help or "").strip()]
    if rows:
        parts.append(_table(("option", "meaning"), rows))
    parts.append(f"```sh\n{command.epilog}\n```")
    return "\n\n".join(parts)


def _media() -> str:
    rows = [
        (f"`{kind.name}`", kind.what, f"{kind.usable_bytes:,}", _speed(kind.speed), ", ".join(kind.layouts))
        for kind in MEDIA.values()
    ]
    drive = ("`--capacity SIZE`", "USB disk or any other drive", "as given", _speed(DRIVE_SPEED))
    rows.append((*drive, ", ".join(DRIVE_LAYOUTS)))
    return (
        "## Kinds of media\n\nFor `--media KIND`. The speed is that of a typical drive; plans reckon with it.\n\n"
        + _table(("kind", "what it is", "usable bytes", "typical speed", "meant for layouts"), rows)
    )


def _speed(bytes_a_second: int) -> str:
    return f"{bytes_a_second / 10**6:.1f} MB/s".replace(".0 ", " ")


def _exit_codes() -> str:
    return "## Exit codes\n\n" + _table(("code", "meaning"), EXIT_CODES.items())


def _error_codes() -> str:
    rows = [(f"`{code}`", code.meaning) for code in sorted(Code)]
    return "## Error codes\n\nFor scripts: `error.code` of the JSON document.\n\n" + _table(("code", "meaning"), rows)


def make() -> str:
    """The page."""
    parts = [HEAD.format(common=_table(("option", "meaning"), _parameters(common_options()))).strip()]
    parts += [_command(path, command) for path, command in _commands(command_tree(), "courier")]
    parts += [_media(), _exit_codes(), _error_codes()]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(make(), encoding="utf-8")
