"""``courier notify``: the services and hooks by which people are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.config import config_of

if TYPE_CHECKING:
    from courier.care.config import Config
    from courier.care.notify import Sent
    from courier.errors import CourierError

app = group("Services that the watch tells of events.")


@command(app, "list", examples=["courier notify list"])
def list_(context: typer.Context) -> None:
    """List the services, the hooks, and what could not be told.

    Of the address of a service only the kind and the host are shown.
    """
    from courier.care.watch.facts import watch_facts
    from courier.care.watch.teller import ways_of

    console = console_of(context)
    with console.site() as site:
        config = config_of(console)
        services = [{"name": name, "place": config.notify[name], **_addresses(config, name)} for name in config.notify]
        facts = watch_facts(site)
        untold = facts.untold if facts else ()
        if services:
            rows = [(one["name"], one["place"], ", ".join(one["addresses"]) or one["problem"]) for one in services]
            console.table(("NAME", "KEPT IN", "ADDRESSES"), rows)
        else:
            console.say("No service is set: courier config set notify.NAME file:FILE")
        for event, ways in ways_of(config).items():
            console.say(f"{event}: {', '.join(ways) or 'nobody'}")
        for way, why in untold:
            console.warn(f"{way} could not be told: {why}")
        console.result(
            {
                "services": services,
                "events": ways_of(config),
                "untold": [{"way": way, "reason": why} for way, why in untold],
            }
        )


def _addresses(config: Config, name: str) -> dict[str, Any]:
    """The addresses of a service without their secrets, or why they cannot be had."""
    from courier.care.notify import addresses_of, masked
    from courier.errors import CourierError
    from courier.files import explain_os

    try:
        return {"addresses": [masked(one) for one in addresses_of(name, config.notify[name])], "problem": ""}
    except OSError as error:
        return {"addresses": [], "problem": explain_os(error).message}
    except CourierError as error:
        return {"addresses": [], "problem": error.message}


@command(app, "test", examples=["courier notify test", "courier notify test desk"])
def test(
    context: typer.Context,
    *,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Services to try; without any, all that are set.")
    ] = None,
) -> None:
    """Send a test message to services now.

    Exit code 7 where one of them could not be told. Whether the message arrived, only its reader can say.
    """
    from courier.care.notify import Outcome, addresses_of, require_notify, send
    from courier.errors import NotFoundError, UnreachableError

    console = console_of(context)
    with console.site() as site:
        config = config_of(console)
        wanted = [name.removeprefix("notify.") for name in names or sorted(config.notify)]
        if not wanted:
            raise NotFoundError("no service is set", hint="courier config set notify.NAME file:FILE")
        for name in wanted:
            if name not in config.notify:
                hint = f"courier config set notify.{name} file:FILE makes it; courier notify list shows all"
                raise NotFoundError(f"there is no service called {name}", hint=hint)
        require_notify()
        title, text = f"courier {site.code}: test", f"A test of notify.%s by {site.operator}: nothing has happened."
        done: list[tuple[str, Sent]] = []
        failures: list[tuple[str, CourierError]] = []
        for name in wanted:
            sent = send(addresses_of(name, config.notify[name]), title, text % name)
            done.append((name, sent))
            if sent.outcome is Outcome.SENT:
                console.say(f"{name}: sent; look whether it arrived")
            else:
                hint = "compare the address with the page of the service in apprise's documentation"
                failures.append((name, UnreachableError(f"notify.{name}: {sent.reason}", hint=hint)))
        document = {"sent": [{"name": name, "outcome": one.outcome, "reason": one.reason} for name, one in done]}
        if failures:
            raise typer.Exit(console.errors(failures, document))
        console.result(document)
