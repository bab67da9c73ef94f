"""Write docs/tasks/exit-codes.md: ``python docs/make_exit_codes.py``.

It is made of the exit codes, and of the places in the source that raise errors. A test compares the page with what this
makes. An exit code without advice is an error.
"""

from __future__ import annotations

import ast
import functools
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from courier import errors
from courier.error_codes import EXIT_CODES, Code

PAGE = Path(__file__).parent / "tasks" / "exit-codes.md"
SOURCE = Path(errors.__file__).parent

HEAD = """# Troubleshooting by exit code

`echo $?` prints the exit code of the last command, in PowerShell `$LASTEXITCODE`. The last line of an error begins with
an arrow and says what to do there and then; this page says it in general. With `--json` the word in `error.code` says
more than the number: the tables have those that the source raises with each exit code, and the
[complete list](../commands.md#error-codes) has all. There is also [troubleshooting by symptom](symptoms.md). (This page
is made by `python docs/make_exit_codes.py`.)
"""

ADVICE = {
    0: "Nothing is to be done. Notes on stderr may still say what to look at.",
    1: (
        "This is a fault of the toolkit, or of the system below it. Nothing was lost, and the same command may be "
        "given again. Report the lines above the error."
    ),
    2: (
        "Nothing was done. The error names the option or argument; `courier COMMAND --help` has all of them with "
        "examples."
    ),
    3: (
        "Nothing was changed. Do not look for a way around it before you know why: a signature, a seal or a "
        "policy says no. Trust in a site comes from its fingerprint, compared by phone (`courier site trust`). "
        "`not-confirmed` only says that a script needs `--yes`."
    ),
    4: (
        "Good content is kept, and only what is missing is read again. See [a medium is damaged](damage.md) and "
        "[a volume is lost](loss.md); for the store `courier package verify`, for a point `courier point "
        "validate`."
    ),
    5: (
        "The message says how many bytes are wanted where. See [get disk space back](disk-space.md), or take a "
        "larger medium. The same command goes on afterwards."
    ),
    6: (
        "Check the spelling, and that the command works on the right site (`--home`, or `$COURIER_HOME`). "
        "`courier parcel list`, `courier package list` and `courier site list` say what is there."
    ),
    7: (
        "Messages are kept, and go with the next `courier channel sync`. `courier channel status` says what "
        "waits, `courier channel address test CODE` what one address answers."
    ),
    8: "Give the same command again: it goes on where it was stopped.",
    9: "Another command uses the site, the point or the port. Wait for it, then give the same command again.",
    10: (
        "Not an error: `courier status --check`, or `courier doctor`, found something that a person has to see "
        "to. It says what, with the next command; with `--quiet` only the first."
    ),
    11: (
        "Not an error: the task sequence asks for a restart. Restart the computer, then give the same command "
        "again. See [the client of a deployment](../deployment-client.md)."
    ),
    12: (
        "The message names the step, and `log.txt` in the work folder has what the program printed. Mend the "
        "cause, then give the same command again: it goes on at that step. A computer whose capture is not "
        "complete may not be wiped. See [the client of a deployment](../deployment-client.md)."
    ),
}
"""Exit code -> what to do, as Markdown."""


@functools.cache
def raised() -> dict[int, set[Code]]:
    """Exit code -> the error codes that the source raises with it, where it says so in one place."""
    classes = {
        name: one
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, errors.CourierError)
    }
    found: dict[int, set[Code]] = defaultdict(set)
    for path in sorted(SOURCE.rglob("*.py")):
        for call in _calls(path):
            if kind := classes.get(_name(call.func)):
                found[kind.exit_code] |= _codes(call) or {kind.code}
    for explained, turned, _ in errors._EXPLANATIONS:
        found[turned.exit_code].add(Code(explained.code))
    return found


def _calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _codes(call: ast.Call) -> set[Code]:
    """The codes that stand in the ``code=`` of a call."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
    inside = [node for value in given for node in ast.walk(value)]
    return {
        Code[node.attr]
        for node in inside
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == Code.__name__
    }


def make() -> str:
    """The page."""
    codes = raised()
    parts = [HEAD.strip()]
    for number, meaning in EXIT_CODES.items():
        heading = f"## Exit code {number}: {meaning.partition(' (')[0]}"
        parts += [heading, textwrap.fill(ADVICE[number], 120, break_long_words=False, break_on_hyphens=False)]
        if rows := [f"| `{code}` | {code.meaning} |" for code in sorted(codes[number])]:
            parts.append("\n".join(["| code | meaning |", "| --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(make(), encoding="utf-8")
