"""``courier cache place`` and ``explain``: whether a package fits, what goes for it, and what blocks it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import time_text
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.cli.console import Console
    from courier.distribution.cache_rules import Blocked, Held, Verdict

app = group("Placing packages in the client's cache.")
CACHE = Annotated[
    Path | None,
    typer.Option(
        "--cache", metavar="DIR", help="Folder of the cache. Without it: $COURIER_CACHE, else the platform's."
    ),
]
REFERENCE = Annotated[
    str,
    typer.Argument(metavar="ID[:VERSION]", help="Package, such as HQ100001: all its versions, or one: HQ100001:3."),
]
NEW_REFERENCE = Annotated[
    str, typer.Argument(metavar="ID:VERSION", help="Package version to place, such as HQ100001:3.")
]


def held_json(one: Held) -> dict[str, Any]:
    """An entry as the rules see it, as JSON."""
    return {
        "package_id": one.package,
        "version": one.version,
        "bytes": one.bytes,
        "referenced": time_text(one.referenced_ns),
    }


def blocked_json(one: Blocked) -> dict[str, Any]:
    """An entry that may not go, as JSON; ``until`` only of a young one."""
    until = {} if one.until_ns is None else {"until": time_text(one.until_ns)}
    return {**held_json(one.entry), "reason": str(one.reason), **until}


def bytes_of(text: str, option: str, *, least: int = 1) -> int:
    """The bytes that an option gives. Raises `UsageError` for fewer than ``least``."""
    from courier.errors import UsageError
    from courier.media.kinds import parse_size

    size = parse_size(text)
    if size < least:
        raise UsageError(f"{option} {text}: no bytes at all", hint="write it like 5120MB or 40GB")
    return size


@command(
    app,
    "place",
    examples=[
        "courier cache place HQ100001:3 --from /mnt/images/win11",
        "courier cache place HQ100001:3 --from /mnt/images/win11 --listing win11.listing --digest "
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ],
)
def place(
    context: typer.Context,
    *,
    reference: NEW_REFERENCE,
    source: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="Folder with the package's files.")],
    listing: Annotated[
        Path | None,
        typer.Option(
            "--listing", metavar="FILE", help="Listing that the files must match. Without it: taken as they are."
        ),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option("--digest", metavar="SHA256", help="SHA-256 of the listing. Without it: the name of its file."),
    ] = None,
    cache: CACHE = None,
) -> None:
    """Place a package version in the cache.

    It is placed whole or not at all. Others are deleted for it, oldest first, if that makes room; otherwise nothing
    is deleted, it is not placed, and the exit code is 5. A program then tries again every 4 hours, 18 times, unless
    it is larger than the whole cache.
    """
    from courier.distribution.cache_change import parse_wanted
    from courier.distribution.cache_folder import find_cache
    from courier.distribution.cache_place import copy_of, listing_of
    from courier.distribution.cache_place import place as place_in_cache
    from courier.errors import UsageError
    from courier.site.clock import now

    console = console_of(context)
    wanted = parse_wanted(reference)
    if wanted.version is None:
        raise UsageError(f"{reference}: which version?", hint=f"give it as well, such as {reference}:1")
    if digest is not None and listing is None:
        raise UsageError("--digest is that of a listing", hint="give --listing FILE as well")
    if not source.is_dir():
        raise UsageError(f"{source} is not a folder", hint="name the folder with the package's files")
    home, now_ns = find_cache(cache), now()
    if listing is not None:
        sha256 = digest or listing.name
        placing = place_in_cache(
            home,
            wanted.package,
            wanted.version,
            listing=listing,
            digest=sha256,
            fill=copy_of(source, listing),
            now_ns=now_ns,
        )
    else:
        with listing_of(source) as (made, sha256):
            placing = place_in_cache(
                home,
                wanted.package,
                wanted.version,
                listing=made,
                digest=sha256,
                fill=copy_of(source, made),
                now_ns=now_ns,
            )
    verdict, entry = placing.verdict, placing.entry
    document: dict[str, Any] = {
        "package_id": wanted.package,
        "version": wanted.version,
        "placed": entry is not None,
        "already": placing.already,
        "fits": verdict.fits,
        "too_large": verdict.too_large,
        "evicted": [held_json(one) for one in placing.evicted],
        "blocked": [blocked_json(one) for one in verdict.blocked],
        "short_bytes": verdict.short,
    }
    if entry is None:
        raise typer.Exit(report_no_room(console, str(wanted), verdict, document, home=home, now_ns=now_ns))
    for one in placing.evicted:
        console.say(f"Deleted {one.package}:{one.version}: {size_text(one.bytes)}")
    done = "is in the cache already" if placing.already else f"placed: {size_text(entry.bytes)}"
    console.say(f"{wanted} {done}")
    console.result(document)


def report_no_room(
    console: Console,
    name: str,
    verdict: Verdict,
    document: dict[str, Any],
    *,
    home: Path,
    now_ns: int,
    retry: tuple[int, int] | None = None,
) -> int:
    """Report that a package was not placed in the cache at ``home``, and when to try again; return the exit code.

    ``retry``: the seconds between two tries, and how many there are; None: as documented for every cache.
    """
    from courier.distribution.cache_folder import open_cache, told_command
    from courier.distribution.cache_rules import MB, RETRIES, RETRY_SECONDS, retry_times
    from courier.error_codes import Code
    from courier.errors import NoSpaceError

    _say_blocked(console, verdict)
    document["blocked"] = [blocked_json(one) for one in verdict.blocked]
    seconds, count = retry or (RETRY_SECONDS, RETRIES)
    times = () if verdict.too_large else retry_times(now_ns, seconds=seconds, count=count)
    document["retry_at"] = [time_text(at) for at in times]
    if verdict.too_large:
        size = open_cache(home).settings.size + verdict.short
        error = NoSpaceError(
            f"{name} is {size_text(verdict.short)} larger than the whole cache; nothing was deleted",
            hint=f"give the cache more room: {told_command(home, f'config --size {-(-size // MB)}MB')}",
            code=Code.CACHE_TOO_SMALL,
        )
    else:
        error = NoSpaceError(
            f"{name} does not fit: {size_text(verdict.short)} are missing after all that may go; nothing was deleted",
            hint=f"{_way_out(verdict, home)}, or try again every {_every(seconds)}, {count:,} times",
            code=Code.CACHE_BLOCKED,
        )
    console.error(error, document)
    return error.exit_code


def _way_out(verdict: Verdict, home: Path) -> str:
    if verdict.blocked:
        return "unlock or clear what blocks it"
    return f"free space on the disk of {home}"


def _every(seconds: int) -> str:
    return plural(seconds // 3600, "hour") if seconds % 3600 == 0 else f"{seconds // 60:,} min"


def _say_blocked(console: Console, verdict: Verdict) -> None:
    if verdict.blocked:
        console.table(
            ("may not go", "bytes", "because", "until"),
            [
                (
                    f"{one.entry.package}:{one.entry.version}",
                    one.entry.bytes,
                    "being downloaded" if one.entry.staged else one.reason,
                    time_text(one.until_ns),
                )
                for one in verdict.blocked
            ],
        )


def _bytes_listed(listing: Path) -> int:
    """The bytes of the files in a listing, whichever it is."""
    import hashlib

    from courier.distribution.cache_place import listed_bytes

    with listing.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return listed_bytes(listing, digest)


@command(
    app,
    "explain",
    examples=[
        "courier cache explain HQ100007 --size 4.2GB",
        "courier cache explain HQ100007:3 --listing win11.listing",
    ],
)
def explain(
    context: typer.Context,
    *,
    reference: REFERENCE,
    size: Annotated[
        str | None, typer.Option("--size", metavar="SIZE", help="Bytes that the package has, such as 4.2GB.")
    ] = None,
    listing: Annotated[
        Path | None, typer.Option("--listing", metavar="FILE", help="Listing of the package, which has its bytes.")
    ] = None,
    cache: CACHE = None,
) -> None:
    """Say whether a package would fit.

    Its size is given, or told by its listing. What would go for it is named, and what blocks it. Nothing is changed.
    """
    from courier.distribution.cache_change import parse_wanted
    from courier.distribution.cache_folder import find_cache, open_cache
    from courier.distribution.cache_place import would_place
    from courier.errors import UsageError
    from courier.site.clock import now

    console = console_of(context)
    wanted = parse_wanted(reference)
    if size is not None and listing is None:
        needed = bytes_of(size, "--size")
    elif listing is not None and size is None:
        needed = _bytes_listed(listing)
    else:
        raise UsageError("how large the package is, is to be told once", hint="give --size SIZE, or --listing FILE")
    opened = open_cache(find_cache(cache))
    verdict = would_place(opened, needed, now_ns=now(), package=wanted.package, version=wanted.version)
    if verdict.fits:
        console.say(f"{wanted} would fit" + ("" if verdict.evict else "; nothing would be deleted for it"))
    elif verdict.too_large:
        console.say(f"{wanted} is {size_text(verdict.short)} larger than the whole cache; no retry would help")
    else:
        console.say(f"{wanted} would not fit: {size_text(verdict.short)} are missing after all that may go")
    for title, entries in (("would be deleted", verdict.evict), ("would have to go", verdict.would_have_to_go)):
        if entries:
            rows = [(f"{one.package}:{one.version}", one.bytes, time_text(one.referenced_ns)) for one in entries]
            console.table((title, "bytes", "last used"), rows)
    _say_blocked(console, verdict)
    console.result(
        {
            "package_id": wanted.package,
            "version": wanted.version,
            "fits": verdict.fits,
            "too_large": verdict.too_large,
            "would_evict": [held_json(one) for one in verdict.evict],
            "would_have_to_go": [held_json(one) for one in verdict.would_have_to_go],
            "blocked": [blocked_json(one) for one in verdict.blocked],
            "short_bytes": verdict.short,
        }
    )
