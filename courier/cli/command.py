"""How a command is made: the options that every command has, added to each in one place."""

from __future__ import annotations

import functools
import inspect
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from courier.cli.console import Console
from courier.errors import UsageError

CURRENT = Console()
"""The console of the command that runs; `courier.cli.run` reports errors through it."""

HOME = Annotated[Path | None, typer.Option("--home", metavar="DIR", help="Site home (else $COURIER_HOME).")]
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JSON_LINES = Annotated[bool, typer.Option("--json-lines", help="Print JSON lines as things happen.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

LONGEST = 1000
"""Characters of a text that is given with a command: what the documents it goes into take."""
LONGEST_PLACE = 4096
_PLACES = {"ADDRESS", "[ADDRESS]", "URL", "WHERE"}

_COMMON = {
    "home": (HOME, None),
    "json": (JSON, False),
    "json_lines": (JSON_LINES, False),
    "quiet": (QUIET, False),
    "yes": (YES, False),
}


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command. Its first parameter is the `Console`; the common options are added to it."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]
        common = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in _COMMON.items()
        ]
        common.append(inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))

        @functools.wraps(function)
        def run(**options: Any) -> None:
            context = options.pop("context")
            CURRENT.command = context.command_path.removeprefix(context.find_root().command_path).strip()
            for key in _COMMON:
                value = options.pop(key)
                if value:
                    setattr(CURRENT, key, value)
            for parameter in own:
                _check_texts(parameter, options[parameter.name])
            function(CURRENT, **options)

        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + common
        )
        # typer reads annotations by name as well as by signature.
        run.__annotations__ = {p.name: p.annotation for p in [*own, *common]}
        app.command(name)(run)
        return function

    return register


def _check_texts(parameter: inspect.Parameter, value: object) -> None:
    """Raise `UsageError` for texts that no document, catalogue or terminal takes; paths may be whatever the system
    has."""
    declared = parameter.annotation.__metadata__[0]
    if "MEDIUM" in (declared.metavar or ""):
        return
    # In an annotation the first word of an option stands where its default would.
    words = (declared.default, *(declared.param_decls or ()))
    name = next((word for word in words if isinstance(word, str) and word.startswith("--")), declared.metavar)
    longest = LONGEST_PLACE if declared.metavar in _PLACES else LONGEST
    for text in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(text, str):
            continue
        if len(text) > longest:
            raise UsageError(f"{name}: {len(text):,} characters", hint=f"give {longest:,} at most")
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
            raise UsageError(
                f"{name}: {text[:60]!r} is not one line of text in UTF-8", hint="leave such characters out"
            )


def group(help_text: str) -> typer.Typer:
    """A command group that prints its help when called bare."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
