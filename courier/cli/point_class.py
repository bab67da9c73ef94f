"""``courier point class``: how the clients of a class set their caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.cli.console import Console
    from courier.distribution.told_clients import Told
    from courier.errors import CourierError
    from courier.site.home import Site
    from formats.documents.point import CacheSettings

app = group("Classes of clients, and how they set their caches.")
NAME = Annotated[
    str,
    typer.Argument(metavar="CLASS", help="Name of a class of clients: letters, digits, dots, hyphens and underlines."),
]


@command(
    app,
    "set",
    examples=["courier point class set desk --size 20GB", "courier point class set lab --size 80GB --minimum-age 2880"],
)
def set_(
    context: typer.Context,
    *,
    name: NAME,
    size: Annotated[
        str | None, typer.Option("--size", metavar="SIZE", help="Most bytes that all packages of a cache have.")
    ] = None,
    minimum_age: Annotated[
        int | None,
        typer.Option(
            "--minimum-age",
            metavar="MINUTES",
            min=0,
            max=10_080,
            help="Minutes since its last use for which a package is not deleted for another; 1440 in a new class.",
        ),
    ] = None,
    retry: Annotated[
        int | None,
        typer.Option(
            "--retry",
            metavar="MINUTES",
            min=1,
            max=525_600,
            help="Minutes after which a package that did not fit is tried again; 240 in a new class.",
        ),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option("--retries", metavar="N", min=0, max=1_000_000, help="How often; 18 in a new class."),
    ] = None,
) -> None:
    """Set how clients of a class set their caches.

    It is signed into the statement of every point at once. What is not given stays as it is.
    """
    from courier.distribution.told_clients import set_class
    from courier.media.kinds import parse_size

    console = console_of(context)
    with console.site() as site:
        settings = set_class(
            site,
            name,
            size=None if size is None else parse_size(size),
            minimum_age=minimum_age,
            retry=retry,
            retries=retries,
        )
        console.say(f"Class {name}: {_line(settings)}")
        push(console, site, _describe(settings))


@command(app, "list", examples=["courier point class list"])
def list_(context: typer.Context) -> None:
    """List the classes of clients, and how they set their caches."""
    from courier.distribution.told_clients import cache_classes

    console = console_of(context)
    with console.site() as site:
        found = cache_classes(site)
        console.table(
            ("CLASS", "SIZE", "MINIMUM AGE", "TRIED AGAIN"),
            [
                (
                    one.client_class,
                    size_text(one.size),
                    f"{one.minimum_age:,} min",
                    f"{one.retries} x {one.retry:,} min",
                )
                for one in found
            ],
        )
        if not found:
            console.say("There is no class yet, and clients set their caches by themselves: courier point class set")
        console.result({"classes": [_describe(one) for one in found]})


@command(app, "remove", examples=["courier point class remove desk"])
def remove(context: typer.Context, *, name: NAME) -> None:
    """Forget a class. Its clients keep the settings that they have."""
    from courier.distribution.told_clients import remove_class

    console = console_of(context)
    with console.site() as site:
        remove_class(site, name)
        console.say(f"Class {name} removed.")
        push(console, site, {"class": name})


def push(console: Console, site: Site, document: dict[str, Any], names: list[str] | None = None) -> None:
    """Put what changed into the statements of points; say where that failed, and end with the error's exit code."""
    from courier.distribution.told_clients import tell

    told = tell(site, names)
    done = [one for one in told if one.error is None]
    if done:
        console.say(f"The statement of {plural(len(done), 'point')} says so: {', '.join(one.point for one in done)}")
    document = {**document, "told": [_told(one) for one in told]}
    failures: list[tuple[str, CourierError]] = [(one.point, one.error) for one in told if one.error is not None]
    if failures:
        console.warn("The change is recorded; the points below have it after the next command that works on them.")
        raise typer.Exit(console.errors(failures, document))
    console.result(document)


def _told(one: Told) -> dict[str, Any]:
    error = one.error
    return {"point": one.point, "serial": one.serial or None, "error": None if error is None else str(error.code)}


def _line(settings: CacheSettings) -> str:
    return (
        f"{size_text(settings.size)}, minimum age {settings.minimum_age:,} min, "
        f"tried again {settings.retries} times every {settings.retry:,} min"
    )


def _describe(settings: CacheSettings) -> dict[str, Any]:
    return {
        "class": settings.client_class,
        "size_bytes": settings.size,
        "minimum_age_minutes": settings.minimum_age,
        "retry_minutes": settings.retry,
        "retries": settings.retries,
    }
