"""Changing the state of a parcel or volume. Nothing else changes it; every change is allowed by a table, and logged.

An event that the table does not allow changes nothing and is a finding in the parcel's log; the functions then return
False. Everything happens in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from courier.errors import UsageError
from courier.parcel.states import (
    ReceivedEvent,
    ReceivedState,
    SentEvent,
    VolumeEvent,
    VolumeState,
    after_received,
    after_received_volume,
    after_sent,
    after_sent_volume,
)
from courier.site.catalog import parcels
from courier.site.catalog.parcels import LogEntry, ReceivedParcel, ReceivedVolume, SentParcel, SentVolume
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.fields import MAX_REASON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

ASKED, REPAIRED, REFUSED_THERE = "asked", "repaired", "refused-there"
"""Words in the log of a parcel: blocks were asked for, blocks came, a message of ours about it was refused."""
FINDING = "finding"
"""The event in the log where the table does not allow what happened."""


def log_entry(site: Site, parcel: str, event: str, text: str) -> LogEntry:
    """A log entry with the present time and operator."""
    return LogEntry(parcel=parcel, at_ns=now(), operator=site.operator, event=event, text=text)


def _logged(
    connection: Connection, site: Site, parcel: str, event: str, text: str, *, before: str | None, after: str | None
) -> bool:
    """Write the event, or a finding, into the log; return whether the table allows it."""
    if after is None:
        word, line = FINDING, f"{event}, while {before or 'not known here'}: nothing changed"
        line += f" ({text})" if text else ""
    else:
        word, line = event, text
        if before != after:
            line = f"{text} ({before or 'new'} to {after})" if text else f"{before or 'new'} to {after}"
    parcels.write_log(connection, log_entry(site, parcel, word, line))
    return after is not None


def begin_sent(
    connection: Connection, site: Site, event: SentEvent, new: SentParcel, destinations: Iterable[str], text: str
) -> bool:
    """Record a parcel of ours that is new to the catalogue; its state is the one that the table gives."""
    known = parcels.find_sent(connection, new.parcel)
    before = known.state if known else None
    after = after_sent(before, event)
    if after is not None:
        parcels.add_sent(connection, replace(new, state=after), destinations)
    return _logged(connection, site, new.parcel, event, text, before=before, after=after)


def sent_event(
    connection: Connection, site: Site, parcel: str, event: SentEvent, text: str = "", **values: object
) -> bool:
    """Change the state of a parcel of ours after an event, and ``values`` of its record with it."""
    known = parcels.find_sent(connection, parcel)
    before = known.state if known else None
    after = after_sent(before, event)
    if after is not None:
        parcels.change_sent(connection, parcel, state=after, **values)
    return _logged(connection, site, parcel, event, text, before=before, after=after)


def begin_received(connection: Connection, site: Site, event: ReceivedEvent, new: ReceivedParcel, text: str) -> bool:
    """Record a build that is announced or arrives, in place of an older record; its state is the table's."""
    known = parcels.find_received(connection, new.parcel, new.build)
    before = known[0].state if known else None
    after = after_received(before, event)
    if after is not None:
        parcels.put_received(connection, replace(new, state=after))
    return _logged(connection, site, new.parcel, event, text, before=before, after=after)


def received_event(
    connection: Connection,
    site: Site,
    parcel: str,
    build: str,
    event: ReceivedEvent,
    text: str = "",
    *,
    quiet: bool = False,
    **values: object,
) -> bool:
    """Change the state of a build that arrives after an event, and ``values`` of its record with it.

    ``quiet``: nothing is logged where the state stays as it is.
    """
    known = parcels.find_received(connection, parcel, build)
    before = known[0].state if known else None
    after = after_received(before, event)
    if after is not None:
        parcels.change_received(connection, parcel, build, state=after, **values)
        if quiet and before == after:
            return True
    return _logged(connection, site, parcel, event, text, before=before, after=after)


def sent_volume_event(
    connection: Connection, site: Site, volume: SentVolume, event: VolumeEvent, text: str = ""
) -> bool:
    """Record a volume of ours after an event; its state is the one that the table gives.

    Planned volumes are not logged, because the parcel's own entry counts them.
    """
    known = parcels.sent_volumes(connection, volume.parcel, volume.edition, volume.number)
    before = known[0].state if known else None
    after = after_sent_volume(before, event)
    if after is None:
        return _logged(connection, site, volume.parcel, f"{event} {volume.number}", text, before=before, after=None)
    parcels.put_sent_volume(connection, replace(volume, state=after))
    if event != VolumeEvent.PLANNED:
        parcels.write_log(connection, log_entry(site, volume.parcel, "written", text))
    return True


def received_volume_event(
    connection: Connection, site: Site, volume: ReceivedVolume, event: VolumeEvent, text: str
) -> bool:
    """Record a volume that was received; its state is the one that the table gives."""
    found = parcels.received_volumes(connection, volume.parcel, volume.build, volume.number)
    known = [v for v in found if v.edition == volume.edition]
    before = known[0].state if known else VolumeState.MISSING
    after = after_received_volume(before, event)
    if after is not None:
        parcels.put_received_volume(connection, replace(volume, state=after))
    return _logged(connection, site, volume.parcel, "received", text, before=before, after=after and before)


def is_open(state: str) -> bool:
    """Whether all content of an arriving parcel is here, and an import may follow."""
    return state in (ReceivedState.HELD, ReceivedState.COMPLETE)


def checked_reason(text: str) -> str:
    """The reason that an operator gave for ending a parcel, as it is recorded; raises `UsageError` for an empty one."""
    if not text.strip():
        raise UsageError("no reason given", hint='say why: --reason "lost by the carrier"')
    return text.strip()[:MAX_REASON]


def log_hint(parcel: str) -> str:
    """The hint for an error where the state of a parcel forbids something."""
    return f"courier parcel log {parcel} says what happened to it"
