"""Values of the command line that need no judging, taken without the library that typer judges values with.

typer judges each value, also one that was not given, by pydantic, which takes longer to load than most commands run. A
text, a path, a list of them, and what was left out are taken here as they are; all else is left to typer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

_PLAIN: dict[Any, Callable[[Any], Any]] = {
    str: str,
    Path: Path,
    list[str]: lambda values: [str(one) for one in values],
    list[Path]: lambda values: [Path(one) for one in values],
}
"""What makes the value of an annotation from what was typed."""


class PlainValues:
    """What typer asks for the value of one parameter (its ``RuntimeParam``)."""

    def __init__(self, parameter: Any) -> None:
        """Take the values of ``parameter``, an option or argument of typer."""
        self._judged = parameter.get_runtime_param
        annotation = parameter.type_descriptor.annotation
        self._take = _PLAIN.get(annotation) if _is_unconditional(parameter.type_descriptor.parameter_info) else None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value for the command, from what was typed; raises what typer does where it judges it."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if self._take is not None:
            return self._take(value)
        if value is param.default and type(value) in (int, str):
            return value
        return self._judged().coerce(value, param=param, ctx=ctx)


def taken_plainly(parameter: Any) -> Any:
    """The same option or argument, whose values are now taken without pydantic where they need no judging."""
    if "get_runtime_param" not in vars(parameter):
        plain = PlainValues(parameter)
        parameter.get_runtime_param = lambda: plain
    return parameter


def _is_unconditional(info: Any) -> bool:
    """Whether nothing is asked of a value, such as that a path be there."""
    asked = (info.exists, info.resolve_path, info.allow_dash, info.parser, info.path_type, info.writable)
    return not any(asked) and info.file_okay and info.dir_okay
