"""Write docs/commands.md from the commands themselves: ``python docs/make_commands.py``.

A test compares the page with what this makes, so that it cannot fall behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from courier.cli.run import app
from courier.errors import EXIT_CODES

PAGE = Path(__file__).with_name("commands.md")
COMMON = {"home", "json", "json_lines", "quiet", "yes", "help"}

HEAD = """# Commands

Made by `python docs/make_commands.py`. Every command also has, behind its name:

| option | meaning |
|---|---|
| `--home DIR` | the site home; else `$COURIER_HOME`, else the platform's data folder; also before the command |
| `--json` | print one JSON document on stdout, and nothing else there |
| `--json-lines` | print JSON lines as things happen; the last one is the result |
| `--quiet`, `-q` | print nothing but errors |
| `--yes`, `-y` | do not ask |

Progress goes to stderr, and only when that is a terminal. An error is two lines on stderr: what and where, then what to
do; with `--json` it is `error.code`, `error.message` and `error.hint` in the document.
"""


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from _commands(child, f"{path} {name}")
    else:
        yield path, command


def _usage(path: str, command: Any) -> str:
    words = [path]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            words.append(parameter.metavar or parameter.name.upper())
    return " ".join(words)


def _options(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        if parameter.name in COMMON:
            continue
        if parameter.param_type_name == "argument":
            name = parameter.metavar or parameter.name.upper()
        else:
            name = "/".join([", ".join(parameter.opts), *parameter.secondary_opts])
            if parameter.metavar and not parameter.is_flag:
                name += f" {parameter.metavar}"
        needed = " (required)" if parameter.required else ""
        if type(parameter.default) in (int, str) and parameter.default != "" and not parameter.is_flag:
            needed = f" (default: `{parameter.default}`)"
        rows.append(f"| `{name}` | {(getattr(parameter, 'help', '') or '').replace('|', chr(92) + '|')}{needed} |")
    return rows


def make() -> str:
    """The page."""
    parts = [HEAD]
    for path, command in _commands(typer.main.get_command(app), "courier"):
        title, text = path.removeprefix("courier "), (command.help or "").strip()
        parts.append(f"\n## {title}\n\n`{_usage(path, command)}`\n\n{text}\n")
        if rows := _options(command):
            parts.append("\n| | |\n|---|---|\n" + "\n".join(rows) + "\n")
    codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    parts.append(f"\n## Exit codes\n\n| code | meaning |\n|---|---|\n{codes}\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(make(), encoding="utf-8")
