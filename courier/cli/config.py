"""``courier config``: what would else be given as options each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console

if TYPE_CHECKING:
    from courier.care.config import Config

app = group("Defaults for options, groups of sites, services, hooks.")
KEY = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="One of media, capacity, redundancy, compress, carrier, transit_days, notify_events, hook_seconds, "
        "groups.NAME, notify.NAME, hooks.EVENT.",
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
        console.say("Policies: courier site policy. Quotas and limits: courier parcel limits")


@command(
    app,
    "set",
    examples=[
        "courier config set media bd25",
        "courier config set transit_days 5",
        "courier config set groups.branches BR1,BR2,BR3",
        "courier config set notify.desk file:/etc/courier/desk.url",
        "courier config set hooks.arrival '/usr/local/bin/ring --bell'",
    ],
)
def set_(
    context: typer.Context,
    *,
    key: KEY,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE",
            help="The value; of a group, codes between commas; of notify.NAME, file:FILE or env:VARIABLE.",
        ),
    ],
) -> None:
    """Set a default in config.toml of the home.

    Options of a command win over it. --to @branches stands for the sites of the group branches. Services that are told
    of events are named by where their address is kept, as that holds a password; the command of a hook is run without a
    shell. The file may be edited by hand, too; remarks in it are lost here.
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
        config = change_config(site, key, value)
    _note_no_address(console, key, config)
    _say(console, config)


def _note_no_address(console: Console, key: str, config: Config) -> None:
    """Say at once what keeps a service from being told: its file is not there, or others can read it."""
    from courier.care.notify import addresses_of
    from courier.errors import CourierError

    name = key.partition(".")[2]
    place = config.notify.get(name, "") if key == f"notify.{name}" else ""
    # A variable may be set for the service alone.
    if place.startswith("file:"):
        try:
            addresses_of(name, place)
        except CourierError as error:
            console.note(f"{error.message}; nobody is told by it until that is mended", hint=error.hint)
        except OSError as error:
            console.note(f"{key}: {place}: {error.strerror or error}; nobody is told by it until that is mended")


def expand_groups(console: Console, codes: list[str] | None) -> list[str]:
    """Codes of sites as typed, with ``@NAME`` replaced by the sites of that group. Raises `NotFoundError`."""
    from courier.care.config import is_code

    if not codes or all(is_code(code) for code in codes):
        return codes or []
    return config_of(console).expand(codes)


def _say(console: Console, config: Config) -> None:
    import shlex

    from courier.care.config import KEYS

    values: dict[str, Any] = {key: getattr(config, key) for key in KEYS}
    rows = [(key, value) for key, value in values.items() if value]
    rows += [(f"groups.{name}", ", ".join(codes)) for name, codes in sorted(config.groups.items())]
    rows += [(f"notify.{name}", place) for name, place in sorted(config.notify.items())]
    rows += [(f"hooks.{event}", shlex.join(words)) for event, words in sorted(config.hooks.items())]
    if rows:
        console.table(("NAME", "VALUE"), [(key, str(value)) for key, value in rows])
    else:
        console.say("Nothing is set.")
    console.result(
        {
            **values,
            "groups": {name: list(codes) for name, codes in config.groups.items()},
            "notify": dict(config.notify),
            "hooks": {event: list(words) for event, words in config.hooks.items()},
        }
    )
