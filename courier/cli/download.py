"""``courier download``: a package from distribution points, into the client's cache or a folder, without a site."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.cache_place import CACHE, held_json, report_no_room
from courier.cli.command import command, console_of, group
from courier.cli.console import Console, time_text
from courier.cli.download_options import (
    CA_FILE,
    CARD,
    FROM,
    PARALLEL,
    PRIORITY,
    RATE,
    RETRY_FOR,
    SETTINGS,
    TOKEN_FILE,
    WINDOW,
    manner_of,
    sources_of,
    stopping,
)
from courier.cli.download_told import say_sources, sources_json
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.distribution.download_run import Outcome, Wish

app = group("")


@command(
    app,
    "download",
    examples=[
        "courier download HQ100001 --from http://point.branch:8080 --card HQ1.card",
        "courier download HQ100001:3 --from https://p1.example --from /mnt/share/point --card HQ1.card --to win11",
        "courier download HQ100001 --from http://p1 --card HQ1.card --priority low --window 20:00-06:00 --rate 2MB/s",
    ],
)
def download(
    context: typer.Context,
    *,
    reference: Annotated[
        str, typer.Argument(metavar="ID[:VERSION]", help="Package, such as HQ100001: the newest, or HQ100001:3.")
    ],
    addresses: FROM,
    cards: CARD,
    to: Annotated[
        Path | None,
        typer.Option("--to", "--into", metavar="DIR", help="Put the files into this new folder, not into the cache."),
    ] = None,
    cache: CACHE = None,
    point: Annotated[str, typer.Option("--point", metavar="NAME", help="Name that the point must have.")] = "",
    client_class: Annotated[
        str, typer.Option("--class", metavar="CLASS", help="Set the cache as the site has it for this class first.")
    ] = "",
    priority: PRIORITY = "normal",
    window: WINDOW = None,
    rate: RATE = None,
    settings: SETTINGS = None,
    token_file: TOKEN_FILE = None,
    ca_file: CA_FILE = None,
    parallel: PARALLEL = 4,
    retry_for: RETRY_FOR = "10m",
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Where the cache has no room: try again every 4 hours, 18 times, or as --class."),
    ] = False,
) -> None:
    """Download a package from distribution points.

    Everything is verified with the site's card, block by block; a point, a proxy or a peer can only hold it up. After
    an interruption the same command goes on, also from another point. Exit code 5: it does not fit.
    """
    from courier.distribution.cache_change import parse_wanted
    from courier.distribution.cache_folder import find_cache
    from courier.distribution.download_plan import read_cards
    from courier.distribution.download_run import Wish, download_to_folder
    from courier.errors import UsageError
    from courier.site.clock import now

    console = console_of(context)
    wanted, stop = parse_wanted(reference), threading.Event()
    if to is not None and (cache is not None or client_class or wait):
        raise UsageError("--cache, --class and --wait are of the cache", hint="leave --to or them out")
    wish = Wish(
        package=wanted.package,
        version=wanted.version,
        points=sources_of(addresses, token_file, ca_file),
        cards=read_cards(cards),
        manner=manner_of(
            console, priority, window or [], rate, settings, parallel=parallel, retry_for=retry_for, stop=stop
        ),
        point=point,
        client_class=client_class,
        ca_file=ca_file,
    )
    home = find_cache(cache)
    with stopping(stop):
        if to is not None:
            outcome = download_to_folder(wish, to, stop=stop, progress=console.progress)
        else:
            outcome = _to_cache(console, wish, home, stop=stop, wait=wait)
    document, placing = _document(outcome), outcome.placing
    if placing is not None and placing.entry is None:
        ref = outcome.found.ref
        raise typer.Exit(
            report_no_room(
                console,
                f"{ref.package}:{ref.version}",
                placing.verdict,
                document,
                home=home,
                now_ns=now(),
                retry=_retry(wish, outcome),
            )
        )
    _say(console, outcome)
    console.result(document)


def _to_cache(console: Console, wish: Wish, home: Path, *, stop: threading.Event, wait: bool) -> Outcome:
    """Download into the cache; with ``wait`` again and again, as documented, while it does not fit."""
    from courier.distribution.download_run import download_to_cache

    tries = 0
    while True:
        outcome = download_to_cache(wish, home, stop=stop, progress=console.progress)
        placing = outcome.placing
        assert placing is not None
        seconds, most = _retry(wish, outcome)
        if placing.entry is not None or placing.verdict.too_large or not wait or tries >= most:
            return outcome
        tries += 1
        ref = outcome.found.ref
        console.warn(
            f"{ref.package}:{ref.version} does not fit; try {tries} of {most} follows in {seconds // 60:,} min"
        )
        stop.wait(seconds)


def _retry(wish: Wish, outcome: Outcome) -> tuple[int, int]:
    """The seconds between two tries where a package does not fit, and how many there are: as the site has it."""
    from courier.distribution.cache_class import settings_of
    from courier.distribution.cache_rules import RETRIES, RETRY_SECONDS

    if not wish.client_class:
        return RETRY_SECONDS, RETRIES
    signed = settings_of(outcome.found.statement, wish.client_class)
    return signed.retry * 60, signed.retries


def _voucher(outcome: Outcome) -> str:
    """The site whose word the package rests on: its source, or that of the point."""
    return outcome.found.package.vouched_by or outcome.found.statement.site


def _document(outcome: Outcome) -> dict[str, Any]:
    found, counts, placing = outcome.found, outcome.counts, outcome.placing
    document: dict[str, Any] = {
        "package_id": found.ref.package,
        "version": found.ref.version,
        "listing": found.ref.listing,
        "bytes": found.package.definition.listing.bytes,
        "files": found.package.definition.listing.files,
        "vouched_by": _voucher(outcome),
        "point": {
            "site": found.statement.site,
            "name": found.statement.point,
            "serial": found.statement.serial,
            "issued": time_text(found.statement.issued_ns),
        },
        "path": str(outcome.where) if placing is None or placing.entry is not None else None,
        "fetched_bytes": counts.fetched,
        "resumed_bytes": counts.resumed,
        "zero_bytes": counts.zeros,
        "set_id_dropped": outcome.set_id_dropped,
        **sources_json(outcome.sources),
    }
    if placing is not None:
        document |= {
            "placed": placing.entry is not None,
            "already": placing.already,
            "fits": placing.verdict.fits,
            "too_large": placing.verdict.too_large,
            "evicted": [held_json(one) for one in placing.evicted],
            "short_bytes": placing.verdict.short,
        }
    return document


def _say(console: Console, outcome: Outcome) -> None:
    ref, counts = outcome.found.ref, outcome.counts
    if outcome.placing is not None and outcome.placing.already:
        console.say(f"{ref.package}:{ref.version} is in the cache already: {outcome.where}")
        return
    for one in outcome.placing.evicted if outcome.placing else ():
        console.say(f"Deleted {one.package}:{one.version}: {size_text(one.bytes)}")
    say_sources(console, outcome.sources)
    more = [f"{size_text(counts.resumed)} were there"] if counts.resumed else []
    more += [f"{size_text(counts.zeros)} are zeros"] if counts.zeros else []
    extra = f" ({', '.join(more)})" if more else ""
    console.say(f"{ref.package}:{ref.version}: {size_text(outcome.found.package.definition.listing.bytes)}{extra}")
    console.say(f"  {outcome.where}")
    if outcome.set_id_dropped:
        entries = plural(outcome.set_id_dropped, "entry", "entries")
        console.say(f"  {entries} without the set-user-ID and set-group-ID bits that the package has for them")
    owner = ref.package[:3]
    if owner != _voucher(outcome):
        console.say(f"  {_voucher(outcome)} alone vouches for it: the card of {owner} was not given (--card)")
