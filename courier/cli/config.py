"""``courier config``: what would else be given as options each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console

if TYPE_CHECKING:
    from courier.care.config import Config

app = group("Defaults for options, and groups of destinations.")
KEY = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="One of media, capacity, redundancy, compress, carrier, transit_days, or groups.NAME.",
    ),
]


def config_of(console: Console) -> Config:
    """The configuration of the site that a command is for. Raises `UsageError` where the file is not right."""
    from courier.care.config import load_config
    from courier.site.settings import find_home

    return load_config(find_home(console.home))


@command(app, "show", examples=["courier config show"])
def show(context: typer.Context) -> None:
    """Show what is set in config.toml of the home."""
    console = console_of(context)
    with console.site():
        _say(console, config_of(console))
        console.say("Policies, quotas and limits: courier site policy")


@command(
    app,
    "set",
    examples=[
        "courier config set media bd25",
        "courier config set transit_days 5",
        "courier config set groups.branches BR1,BR2,BR3",
    ],
)
def set_(
    context: typer.Context,
    *,
    key: KEY,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The value; of a group, codes between commas.")],
) -> None:
    """Set a default in config.toml of the home.

    Options of a command win over it. --to @branches stands for the sites of the group branches. The file may be edited
    by hand, too; remarks in it are lost here.
    """
    from courier.errors import UsageError

    console = console_of(context)
    if not value:
        raise UsageError("the value is empty", hint=f"courier config unset {key}")
    _change(console, key, value)


@command(app, "unset", examples=["courier config unset media", "courier config unset groups.branches"])
def unset(context: typer.Context, *, key: KEY) -> None:
    """Take a default out of config.toml of the home."""
    _change(console_of(context), key, "")


def _change(console: Console, key: str, value: str) -> None:
    from courier.care.config import change_config

    with console.site() as site:
        _say(console, change_config(site.home, key, value))


def _say(console: Console, config: Config) -> None:
    from courier.care.config import KEYS

    values: dict[str, Any] = {key: getattr(config, key) for key in KEYS}
    rows = [(key, value) for key, value in values.items() if value]
    rows += [(f"groups.{name}", ", ".join(codes)) for name, codes in sorted(config.groups.items())]
    if rows:
        console.table(("NAME", "VALUE"), [(key, str(value)) for key, value in rows])
    else:
        console.say("Nothing is set.")
    console.result({**values, "groups": {name: list(codes) for name, codes in config.groups.items()}})
