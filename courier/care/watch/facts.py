"""What the status of a site goes by of its watch: whether it runs, when it was seen, and whom it could not tell."""

from __future__ import annotations

from pathlib import Path

from courier.care.facts import WatchFacts
from courier.care.notice_book import Failure, read_pages
from courier.care.watch.heartbeat import is_watched, read_state
from courier.errors import NotFoundError
from courier.site.clock import now
from courier.site.home import Site
from formats.errors import FormatError

TOLD_NS = 7 * 24 * 3600 * 10**9
"""How long a failure is named that is not tried again."""


def watch_facts(site: Site) -> WatchFacts | None:
    """The facts of the watch of a site; None where none ever ran."""
    running, state = is_watched(site), read_state(site.home)
    if state is None:
        return None
    return WatchFacts(
        running=running,
        ended=state.ended,
        once=state.once,
        who=f"process {state.process} of {state.user} on {state.host}",
        started_ns=state.started_ns,
        seen_ns=state.seen_ns,
        step=state.step,
        trouble=state.trouble,
        untold=_untold(site.home),
    )


def _untold(home: Path) -> tuple[tuple[str, str], ...]:
    """(way, why) of those by which somebody could not be told lately, each with its last failure."""
    try:
        failures: tuple[Failure, ...] = read_pages(home).failures
    except (NotFoundError, FormatError, OSError):
        return ()
    since = now() - TOLD_NS
    last = {one.way: one for one in failures if not one.final or one.at_ns > since}
    return tuple((way, one.reason) for way, one in sorted(last.items()))
