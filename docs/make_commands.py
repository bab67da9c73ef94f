"""Write docs/commands.md and docs/commands/ from the commands themselves: ``python docs/make_commands.py``.

There is an overview, and a page for each group and for each command without one. The manual pages are made of the
same pages (docs/conf.py). A test compares them with what this makes, so that they cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from courier.cli.app import command_tree
from courier.cli.command import arguments_of, common_options, described
from courier.error_codes import EXIT_CODES, Code
from courier.media.kinds import DRIVE_LAYOUTS, DRIVE_SPEED, MEDIA

DOCS = Path(__file__).parent
_OPTION = re.compile(r"(?<![\w`-])(--[a-z][a-z-]*[a-z])")

HEAD = """# Commands

Made by `python docs/make_commands.py`. [Media](#kinds-of-media), [exit codes](#exit-codes) and
[error codes](#error-codes) are at the end.

Every command has these options. They may also be given before the command, as in `courier --home /srv/HQ1 parcel list`.

{common}

Progress is shown on stderr, and only when that is a terminal. An error is two lines on stderr: what went wrong and
where, then what to do. With `--json` these are `error.code`, `error.message` and `error.hint` of the document.
"""
PAGE_NOTE = """The overview, [courier(1)](../commands.md), explains `--home DIR`, `--json`, `--json-lines`, `--quiet`,
`--yes`, exit codes and error codes. This page is made by `python docs/make_commands.py`."""
TREE = """```{{toctree}}
:hidden:
:titlesonly:

{pages}
```"""


def _table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(headings), *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    rule = ["---"] * len(cells[0])
    return "\n".join(f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:]))


def _prose(text: str) -> str:
    """A help text as Markdown: patterns such as ``**/*.tmp`` stay as they are, and options are code."""
    return _OPTION.sub(r"`\1`", text.replace("*", "\\*").replace("<", "\\<"))


def _parameters(parameters: Iterable[Any]) -> list[tuple[str, str]]:
    return [(f"`{name}`", _prose(text)) for name, text in map(described, parameters)]


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from _commands(child, f"{path} {name}")
    else:
        yield path, command


def _command(path: str, command: Any) -> list[str]:
    """The parts of what is said of a command, without its heading."""
    usage = " ".join([path, *arguments_of(command)])
    common = {option.name for option in common_options()}
    rows = _parameters(parameter for parameter in command.params if parameter.name not in common)
    parts = [f"`{usage}`", _prose((command.help or "").strip())]
    if rows:
        parts.append(_table(("option", "meaning"), rows))
    parts.append(f"```sh\n{command.epilog}\n```")
    return parts


def _about(command: Any) -> str:
    """What a group or command is about, in one sentence."""
    return str(command.help).strip().splitlines()[0]


def _page(name: str, command: Any) -> str:
    parts = [f"# courier {name}"]
    if hasattr(command, "commands"):
        parts.append(_about(command))
        for path, one in _commands(command, f"courier {name}"):
            parts += [f"## {path.removeprefix('courier ')}", *_command(path, one)]
    else:
        parts += _command(f"courier {name}", command)
    parts += ["## Options of every command", PAGE_NOTE]
    return "\n\n".join(parts) + "\n"


def _overview() -> str:
    """Every command with what it does, by group."""
    parts, single = [], []
    for name, command in command_tree().commands.items():
        if not hasattr(command, "commands"):
            single.append((f"[`{name}`](commands/{name}.md)", _about(command)))
            continue
        below = [(path.removeprefix("courier "), one) for path, one in _commands(command, f"courier {name}")]
        rows = [(f"[`{path}`](commands/{name}.md#{path.replace(' ', '-')})", _about(one)) for path, one in below]
        parts.append(f"### [courier {name}](commands/{name}.md)\n\n{_about(command)}\n\n{_listed(rows)}")
    head = (
        "## All commands\n\nEach is explained on a page of its group, with its options and an example; "
        "as manual pages these are courier-parcel(1) and so on."
    )
    return "\n\n".join([head, _listed(single), *parts])


def _listed(rows: Iterable[Iterable[object]]) -> str:
    return _table(("command", "what it does"), rows)


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


def abouts() -> dict[str, str]:
    """What each page of docs/commands/ is about, by its name, in one sentence."""
    return {name: _about(command) for name, command in command_tree().commands.items()}


def make() -> dict[str, str]:
    """Each page, by its path in docs/."""
    parts = [HEAD.format(common=_table(("option", "meaning"), _parameters(common_options()))).strip()]
    names = list(command_tree().commands)
    tree = TREE.format(pages="\n".join(f"commands/{name}" for name in names))
    parts += [_overview(), _media(), _exit_codes(), _error_codes(), tree]
    pages = {"commands.md": "\n\n".join(parts) + "\n"}
    for name, command in command_tree().commands.items():
        pages[f"commands/{name}.md"] = _page(name, command)
    return pages


if __name__ == "__main__":
    made = make()
    for path in (DOCS / "commands").glob("*.md"):
        if path.relative_to(DOCS).as_posix() not in made:
            path.unlink()
    (DOCS / "commands").mkdir(exist_ok=True)
    for name, text in made.items():
        (DOCS / name).write_text(text, encoding="utf-8")
