"""Looking after the watch, and after the services and hooks by which people are told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from courier.care.ailment import Ailment, Area
from courier.care.config import HOOKS, NOTIFY, load_config
from courier.care.notify import addresses_of, is_installed
from courier.care.watch.facts import watch_facts
from courier.errors import CourierError, NotFoundError
from courier.files import explain_os
from courier.site.home import Site
from formats.records import format_time


def look_at_config(home: Path) -> Iterator[Ailment]:
    """Whether the configuration can be read, and whether what it names is there. Nobody is told anything."""
    try:
        config = load_config(home)
    except CourierError as error:
        yield Ailment(
            area=Area.WATCH,
            what=error.message,
            means="commands that go by it stop, and the watch goes by what was right last",
            remedy=error.hint,
        )
        return
    if config.notify and not is_installed():
        yield Ailment(
            area=Area.TOOLS,
            what="apprise is not installed",
            means=f"{', '.join(f'{NOTIFY}.{name}' for name in sorted(config.notify))} cannot be told of anything",
            remedy="pip install 'courier-parcels[notify]'",
        )
    for name, place in sorted(config.notify.items()):
        try:
            addresses_of(name, place)
        except OSError as error:
            yield _cannot_tell(explain_os(error))
        except CourierError as error:
            if isinstance(error, NotFoundError) and place.startswith("env:"):
                continue  # it may be set for the watch alone
            yield _cannot_tell(error)
    for event, words in sorted(config.hooks.items()):
        if shutil.which(words[0]) is None:
            yield Ailment(
                area=Area.WATCH,
                what=f"{HOOKS}.{event}: there is no program {words[0]}",
                means="nothing is run for that event",
                remedy=f"courier config unset {HOOKS}.{event}; or put the program there",
            )


def _cannot_tell(error: CourierError) -> Ailment:
    return Ailment(area=Area.WATCH, what=error.message, means="nobody is told by it", remedy=error.hint)


def look_at_watch(site: Site) -> Iterator[Ailment]:
    """Whether the watch was interrupted, and whom it could not tell."""
    facts = watch_facts(site)
    if facts is None:
        return
    if not facts.running and not facts.ended:
        seen = f"{format_time(facts.seen_ns)[:19].replace('T', ' ')}Z"
        yield Ailment(
            area=Area.WATCH,
            what=f"the watch was interrupted ({facts.who}); last seen {seen}",
            means="media and messages are not taken in by themselves; nothing was lost",
            remedy="courier channel watch --once; or start it again as it was started",
        )
    for way, why in facts.untold:
        yield Ailment(
            area=Area.WATCH,
            what=f"people could not be told by {way}: {why}",
            means="they do not know of what happened",
            remedy="courier notify list, then courier notify test",
        )
