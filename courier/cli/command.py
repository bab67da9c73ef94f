"""How commands are made: the options that every command has, its help with examples, and the check of its texts.

A command is a function with a `typer.Context`; `console_of` gives it the `Console`, on which the common options
(``--home``, ``--json`` and so on) are already set.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import CompletionItem, TyperCommand, TyperGroup  # type: ignore[attr-defined]  # typer has it nowhere else

from courier.cli.console import Console
from courier.cli.names import completion_of, in_capitals
from courier.cli.plain_values import taken_plainly
from courier.errors import UsageError
from courier.niceties import telling_refusals

MAX_TEXT = 1000
"""Longest text of an option or argument, in characters: what the documents that it goes into allow."""
MAX_PLACE = 4096
"""Longest path or URL, in characters."""
NO_LIMIT = 10**9
"""A highest number from here on is no limit that an operator could meet; the help leaves it out."""
_PLACES = {"ADDRESS", "[ADDRESS]", "URL", "KEY"}

PARCEL = Annotated[str, typer.Argument(metavar="PARCEL", help="ID of a parcel, such as HQ1-000042.")]
SITE_CODE = Annotated[str, typer.Argument(metavar="CODE", help="Code of a site: 3 characters of A-Z and 0-9.")]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and change nothing.")]
"""Arguments and options of several groups."""

_Function = TypeVar("_Function", bound=Callable[..., None])


def command(app: typer.Typer, name: str, *, examples: Sequence[str]) -> Callable[[_Function], _Function]:
    """Register a function as a command of ``app``; ``examples`` are whole command lines for its help."""
    return app.command(name, cls=Command, epilog="\n".join(examples))


def group(help_text: str) -> typer.Typer:
    """A group of commands that prints its help when it is called without one."""
    return typer.Typer(help=help_text, cls=Group, rich_markup_mode=None, pretty_exceptions_enable=False)


def console_of(context: typer.Context) -> Console:
    """The console of the command that runs."""
    console = context.obj
    assert isinstance(console, Console)
    return console


def _set_on_console(context: typer.Context, option: typer.CallbackParam, value: object) -> object:
    """Set a common option on the console. One that is not given changes nothing: it may stand before the command."""
    if value:
        setattr(context.obj, option.name, value)
    return value


_common = typer.Typer(add_completion=False)


@_common.command()
def _common_options(
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            callback=_set_on_console,
            expose_value=False,
            help="Home folder of the site. Without it: $COURIER_HOME, else the platform's data folder.",
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json",
            callback=_set_on_console,
            expose_value=False,
            help="Print one JSON document on stdout, and nothing else there.",
        ),
    ] = False,
    json_lines: Annotated[
        bool,
        typer.Option(
            "--json-lines",
            callback=_set_on_console,
            expose_value=False,
            help="Print a line of JSON for each event; the last line is the result.",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", callback=_set_on_console, expose_value=False, help="Print only errors."),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            callback=_set_on_console,
            expose_value=False,
            help="Answer every question with yes; a script needs it where a command asks.",
        ),
    ] = False,
) -> None:
    """The options that every command has; each sets the field of the same name of the `Console`."""


@functools.cache
def common_options() -> tuple[Any, ...]:
    """The options that every command has, as the argument parser's own objects."""
    return tuple(typer.main.get_command(_common).params)


class Command(TyperCommand):
    """A command that has the common options, and refuses texts that no document, catalogue or terminal takes."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        for parameter in self.params:
            offer_names(parameter)
        self.params = [*self.params, *common_options()]

    def get_params(self, context: Any) -> list[Any]:
        """The options and arguments, with ``--help``."""
        return [taken_plainly(one) for one in super().get_params(context)]

    def collect_usage_pieces(self, context: Any) -> list[str]:
        """The command line without the options: the name of each argument, as the help has it."""
        return ["[OPTIONS]", *arguments_of(self)]

    def format_options(self, context: Any, formatter: Any) -> None:
        """Write arguments and options, named for what they hold and not for their types."""
        _write_parameters(self.get_params(context), formatter)

    def format_epilog(self, context: Any, formatter: Any) -> None:
        """Write the examples, each on a line of its own and never wrapped: they are there to be copied."""
        if self.epilog:
            with formatter.section("Examples"):
                for example in self.epilog.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")

    def invoke(self, context: Any) -> Any:
        """Check the texts, then run the command. Raises `UsageError`."""
        context.obj.command = context.command_path.removeprefix(context.find_root().command_path).strip()
        for parameter in self.params:
            if parameter.name in context.params:
                context.params[parameter.name] = in_capitals(parameter, context.params[parameter.name])
            check_texts(parameter, context.params.get(parameter.name))
        with telling_refusals(context.obj.note):
            return super().invoke(context)


class Group(TyperGroup):
    """A group of commands that prints its help when it is called without one."""

    def get_params(self, context: Any) -> list[Any]:
        """The options, with those of completion and ``--help``, which typer adds."""
        return [taken_plainly(one) for one in super().get_params(context)]

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands; none is made for it (`courier.cli.command_tree`)."""
        return list(self.commands)

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        """Print the help where there is nothing to parse, and exit as for wrong usage."""
        if not arguments and not context.resilient_parsing:
            print(context.get_help())
            raise typer.Exit(UsageError.exit_code)
        return super().parse_args(context, arguments)

    def format_options(self, context: Any, formatter: Any) -> None:
        """Write the options, then the commands."""
        _write_parameters(self.get_params(context), formatter)
        self.format_commands(context, formatter)


class TopGroup(Group):
    """The ``courier`` command itself: the common options may be given before the command too."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.params = [*self.params, *common_options()]


def offer_names(parameter: Any) -> None:
    """Let the shell complete a parameter that takes an ID, a code, or one of a few words."""
    offered = completion_of(parameter)
    if offered is None:
        return

    def complete(context: Any, begun: str) -> list[CompletionItem]:
        return [CompletionItem(name, help=text) for name, text in offered(context, [], begun)]

    parameter.shell_complete = complete


def _write_parameters(parameters: Sequence[Any], formatter: Any) -> None:
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        if rows := [described(one) for one in parameters if one.param_type_name == kind]:
            with formatter.section(title):
                formatter.write_dl(rows)


def arguments_of(found: Any) -> list[str]:
    """The names of a command's arguments, in order, as the help has them."""
    return [one.metavar or one.name.upper() for one in found.params if one.param_type_name == "argument"]


def described(parameter: Any) -> tuple[str, str]:
    """(name, help) of an option or argument: ``--volume N`` and what it is, with default, range and "required"."""
    if parameter.param_type_name == "argument":
        name = parameter.metavar
    else:
        name = "/".join([", ".join(parameter.opts), *parameter.secondary_opts])
        if parameter.metavar and not parameter.is_flag:
            name += f" {parameter.metavar}"
    notes = ["required"] if parameter.required else []
    if type(parameter.default) in (int, str) and parameter.default != "":
        notes.append(f"default: {parameter.default}")
    least, most = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if least is not None:
        notes.append(f"{least:,} to {most:,}" if most is not None and most < NO_LIMIT else f"{least:,} or more")
    return name, f"{parameter.help} ({'; '.join(notes)})" if notes else parameter.help


def check_texts(parameter: Any, value: object) -> None:
    """Raise `UsageError` for a text that is too long or not one line of UTF-8. Paths may be whatever the system has."""
    name = next((word for word in parameter.opts if word.startswith("--")), parameter.metavar)
    longest = MAX_PLACE if parameter.metavar in _PLACES else MAX_TEXT
    for text in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(text, str):
            continue
        if len(text) > longest:
            raise UsageError(f"{name}: {len(text):,} characters", hint=f"give {longest:,} at most")
        if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
            raise UsageError(
                f"{name}: {text[:60]!r} is not one line of text in UTF-8", hint="leave control characters out"
            )
