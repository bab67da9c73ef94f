"""``courier cache``: the packages that a client keeps on its own disk. No site home is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli import cache_place
from courier.cli.cache_place import CACHE, REFERENCE, blocked_json, bytes_of
from courier.cli.command import command, console_of, group
from courier.cli.console import time_text
from courier.cli.download_options import CA_FILE, TOKEN_FILE, sources_of
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.cli.console import Console
    from courier.distribution.cache_folder import Cache
    from courier.distribution.cache_records import EntryRecord

MOST_MINIMUM_AGE = 10_080
"""Highest ``--minimum-age``, in minutes; `courier.distribution.cache_rules` has it too, which --help does not load."""

app = group("The client's cache: packages on this computer's disk.")
app.add_typer(cache_place.app)


def describe(entry: EntryRecord) -> dict[str, Any]:
    """An entry as JSON."""
    return {
        "package_id": entry.package,
        "version": entry.version,
        "bytes": entry.bytes,
        "listing": entry.listing,
        "placed": time_text(entry.placed_ns),
        "referenced": time_text(entry.referenced_ns),
        "locks": list(entry.locks),
        "persisted": entry.persisted,
    }


def _settings(cache: Cache) -> dict[str, Any]:
    settings = cache.settings
    return {
        "cache": str(cache.home),
        "folder": str(cache.content),
        "size_bytes": settings.size,
        "minimum_age_minutes": settings.minimum_age,
        "reserve_bytes": settings.reserve,
        "set_by": settings.set_by,
    }


@command(
    app,
    "config",
    examples=[
        "courier cache config",
        "courier cache config --size 40GB --minimum-age 2880 --reserve 10GB",
        "courier cache config --from http://point.branch:8080 --card HQ1.card --class desk",
    ],
)
def config(
    context: typer.Context,
    *,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="SIZE", help="Most bytes that all packages have; 5120MB in a new cache."),
    ] = None,
    minimum_age: Annotated[
        int | None,
        typer.Option(
            "--minimum-age",
            metavar="MINUTES",
            min=0,
            max=MOST_MINIMUM_AGE,
            help="Minutes since its last use for which a package is not deleted for another; 1440 in a new cache.",
        ),
    ] = None,
    reserve: Annotated[
        str | None,
        typer.Option("--reserve", metavar="SIZE", help="Bytes that stay free on the disk, whatever the size."),
    ] = None,
    client_class: Annotated[
        str, typer.Option("--class", metavar="CLASS", help="Take over what the site has for this class; with --from.")
    ] = "",
    addresses: Annotated[
        list[str] | None, typer.Option("--from", metavar="URL", help="Where a point of the site is, as for download.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option("--card", metavar="FILE", help="Card of the site that runs the point.")
    ] = None,
    token_file: TOKEN_FILE = None,
    ca_file: CA_FILE = None,
    cache: CACHE = None,
) -> None:
    """Make a cache, show or change its settings.

    A smaller size deletes nothing at once; the next placing does. With --class they come from the statement that the
    site signed for its point.
    """
    from courier.distribution.cache_folder import SETTINGS, apply_settings, changing, find_cache, open_cache

    console = console_of(context)
    size_bytes = None if size is None else bytes_of(size, "--size")
    reserve_bytes = None if reserve is None else bytes_of(reserve, "--reserve", least=0)
    home = find_cache(cache)
    if client_class or addresses or card:
        _take_over(home, client_class, addresses or [], card, token_file, ca_file)
    given = (size, minimum_age, reserve) != (None, None, None)
    if given or not (home / SETTINGS).exists():
        with changing(home, make=True) as found:
            if given:
                apply_settings(found, size=size_bytes, minimum_age=minimum_age, reserve=reserve_bytes)
    opened = open_cache(home)
    settings = opened.settings
    console.say(f"Cache {opened.home}" + ("" if opened.content == opened.home else f", packages in {opened.content}"))
    console.say(
        f"  size {size_text(settings.size)}, minimum age {settings.minimum_age:,} min, "
        f"reserve {size_text(settings.reserve)}{f', set by {settings.set_by}' if settings.set_by else ''}"
    )
    console.result(_settings(opened))


def _take_over(
    home: Path,
    client_class: str,
    addresses: list[str],
    card: Path | None,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Give a cache the settings of a class from the signed statement of a point."""
    from courier.distribution.download_run import take_over_class
    from courier.errors import UsageError

    if not client_class or not addresses or card is None:
        raise UsageError(
            "settings of a class need all three: --from URL --card FILE --class CLASS",
            hint="the site that runs the points sets them: courier point class set CLASS --size SIZE",
        )
    take_over_class(home, client_class, sources_of(addresses, token_file, ca_file), card)


@command(app, "list", examples=["courier cache list", "courier cache list --verify --json"])
def list_(
    context: typer.Context,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file and compare it with its SHA-256 as well.")
    ] = False,
    cache: CACHE = None,
) -> None:
    """Show what the cache holds.

    The oldest comes first, and what is damaged is named. Exit code 4 when something is. Names, sizes and times of
    files are always compared with the package's listing.
    """
    from courier.distribution.cache_folder import find_cache, inventory, open_cache, told_command
    from courier.errors import DamagedError

    console = console_of(context)
    opened = open_cache(find_cache(cache))
    found = inventory(opened, digests=verify)
    entries = sorted(found.entries, key=lambda one: (one.referenced_ns, one.name))
    console.table(
        ("package", "version", "bytes", "last used", "kept because"),
        [
            (
                one.package,
                one.version,
                one.bytes,
                time_text(one.referenced_ns),
                ", ".join([*(f"locked by {name}" for name in one.locks), *(["persisted"] if one.persisted else [])]),
            )
            for one in entries
        ],
    )
    for staged in found.downloads:
        state = "is being downloaded" if staged.active else "is downloaded in part"
        console.say(f"{staged.package}:{staged.version} {state}: {size_text(staged.on_disk)}")
    console.say(f"{size_text(found.bytes)} of {size_text(opened.settings.size)}")
    document = {
        **_settings(opened),
        "used_bytes": found.bytes,
        "entries": [describe(one) for one in entries],
        "downloads": [
            {"package_id": one.package, "version": one.version, "bytes": one.on_disk, "active": one.active}
            for one in found.downloads
        ],
        "damaged": [{"path": str(one.path), "problem": one.problem, "bytes": one.bytes} for one in found.damaged],
    }
    if found.damaged:
        failures = [
            (
                one.path.name,
                DamagedError(
                    f"{one.path}: {one.problem}",
                    hint="delete it, then fetch it again: "
                    + told_command(opened.home, f"clear {one.path.name.replace('-', ':')}"),
                ),
            )
            for one in found.damaged
        ]
        raise typer.Exit(console.errors(failures, document))
    console.result(document)


@command(app, "lock", examples=['courier cache lock HQ100001:3 --by "deployment 17"'])
def lock(
    context: typer.Context,
    *,
    reference: REFERENCE,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who uses it; several may, each by a name.")],
    cache: CACHE = None,
) -> None:
    """Mark a package as in use.

    It is then never deleted for another, and counts as used now.
    """
    from courier.distribution.cache_change import lock as lock_entries
    from courier.distribution.cache_change import parse_wanted
    from courier.distribution.cache_folder import find_cache
    from courier.site.clock import now

    entries = lock_entries(find_cache(cache), parse_wanted(reference), by=by, now_ns=now())
    _say_changed(console_of(context), entries)


@command(app, "unlock", examples=['courier cache unlock HQ100001:3 --by "deployment 17"'])
def unlock(
    context: typer.Context,
    *,
    reference: REFERENCE,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who does not use it any more. Without it: nobody does.")
    ] = None,
    cache: CACHE = None,
) -> None:
    """Take back that a package is in use."""
    from courier.distribution.cache_change import parse_wanted
    from courier.distribution.cache_change import unlock as unlock_entries
    from courier.distribution.cache_folder import find_cache

    entries = unlock_entries(find_cache(cache), parse_wanted(reference), by=by)
    _say_changed(console_of(context), entries)


@command(app, "persist", examples=["courier cache persist HQ100001", "courier cache persist HQ100001 --off"])
def persist(
    context: typer.Context,
    *,
    reference: REFERENCE,
    off: Annotated[bool, typer.Option("--off", help="Let it go again when room is needed.")] = False,
    cache: CACHE = None,
) -> None:
    """Keep a package until this is taken back."""
    from courier.distribution.cache_change import parse_wanted
    from courier.distribution.cache_change import persist as persist_entries
    from courier.distribution.cache_folder import find_cache

    entries = persist_entries(find_cache(cache), parse_wanted(reference), on=not off)
    _say_changed(console_of(context), entries)


def _say_changed(console: Console, entries: list[EntryRecord]) -> None:
    for one in entries:
        locks = f"locked by {', '.join(one.locks)}" if one.locks else "not locked"
        console.say(f"{one.package}:{one.version}: {locks}, {'persisted' if one.persisted else 'not persisted'}")
    console.result({"entries": [describe(one) for one in entries]})


@command(app, "clear", examples=["courier cache clear", "courier cache clear HQ100001 HQ100002:1"])
def clear(
    context: typer.Context,
    *,
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID[:VERSION]...]", help="Packages, or single versions, to delete. Without one: all."),
    ] = None,
    cache: CACHE = None,
) -> None:
    """Delete packages from the cache.

    Damaged ones go too. What is locked or persisted stays and is named; if it was asked for by name, nothing is
    deleted and the exit code is 3.
    """
    from courier.distribution.cache_change import clear as clear_entries
    from courier.distribution.cache_change import parse_wanted
    from courier.distribution.cache_folder import find_cache

    console = console_of(context)
    done = clear_entries(find_cache(cache), [parse_wanted(one) for one in references or []])
    console.say(f"Deleted {plural(len(done.deleted), 'package')}: {size_text(done.bytes)}")
    for one in done.blocked:
        console.say(f"{one.entry.package}:{one.entry.version} stays: it is {one.reason}")
    deleted = [name.partition("-") for name in done.deleted]
    console.result(
        {
            "deleted": [{"package_id": package, "version": int(version)} for package, _, version in deleted],
            "bytes": done.bytes,
            "blocked": [blocked_json(one) for one in done.blocked],
        }
    )


@command(app, "move", examples=["courier cache move /mnt/large/courier-cache"])
def move(
    context: typer.Context,
    *,
    target: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder for the packages.")],
    cache: CACHE = None,
) -> None:
    """Move the packages to another folder.

    Each is whole at every moment. The cache keeps its name and settings where they are. After an interruption the
    same command goes on.
    """
    from courier.distribution.cache_folder import find_cache
    from courier.distribution.cache_move import move as move_cache

    console = console_of(context)
    moved = move_cache(find_cache(cache), target)
    if moved.source == moved.target:
        console.say(f"The packages are in {moved.target} already")
    else:
        console.say(f"Moved {plural(moved.entries, 'package')}, {size_text(moved.bytes)}, to {moved.target}")
    console.result({"from": str(moved.source), "to": str(moved.target), "entries": moved.entries, "bytes": moved.bytes})
