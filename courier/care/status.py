"""The status of a site: what is where, what waits, on whom, and the next command of each. Pure."""

from __future__ import annotations

from typing import Any

from courier.care.facts import ReceivedFacts, SentFacts, SiteFacts, WatchFacts
from courier.care.waiting import Waiting
from courier.care.waiting_parcels import waiting_parcels
from courier.care.waiting_site import waiting_of_site
from formats.records import format_time


def waiting(facts: SiteFacts) -> list[Waiting]:
    """All that waits: first what waits for a person here, then what waits on others; each part oldest first."""
    found = [*waiting_parcels(facts), *waiting_of_site(facts)]
    return sorted(found, key=lambda one: (not one.for_person, one.since_ns is None, one.since_ns or 0))


def status_document(facts: SiteFacts, found: list[Waiting]) -> dict[str, Any]:
    """The JSON document of a status."""
    return {
        "site": facts.site,
        "at": format_time(facts.now_ns),
        "parcels": {
            "counts": [{"side": side, "state": state, "count": n} for (side, state), n in sorted(facts.counts.items())],
            "sent": [_sent(one) for one in facts.sent],
            "received": [_received(one) for one in facts.received],
        },
        "packages": {"versions": facts.packages, "bytes": facts.package_bytes, "without_content": facts.lost},
        "store": {"free_bytes": facts.free, "reserve_bytes": facts.reserve},
        "watch": None if facts.watch is None else _watch(facts.watch),
        "waiting": [waiting_document(one) for one in found],
        "waits_for_person": sum(one.for_person for one in found),
    }


def waiting_document(one: Waiting) -> dict[str, Any]:
    """The JSON document of one thing that waits."""
    return {
        "what": one.what,
        "parcel_id": one.parcel,
        "next": one.next,
        "on": one.on,
        "cause": one.cause,
        "since": _time(one.since_ns),
    }


def watch_text(watch: WatchFacts) -> str:
    """The watch, in a line for people."""
    moment = f"{format_time(watch.seen_ns)[:19].replace('T', ' ')}Z"
    seen = f"last seen {moment}"
    if watch.running:
        return f"Watch: running ({watch.who}), {seen}" + (f"; {watch.step}" if watch.step else "")
    if not watch.ended:
        return f"Watch: interrupted ({watch.who}), {seen}"
    return (
        f"Watch: {'last round ended' if watch.once else 'ended'} {format_time(watch.seen_ns)[:19].replace('T', ' ')}Z"
    )


def _watch(one: WatchFacts) -> dict[str, Any]:
    return {
        "state": "running" if one.running else "ended" if one.ended else "interrupted",
        "once": one.once,
        "who": one.who,
        "started": _time(one.started_ns),
        "seen": _time(one.seen_ns),
        "step": one.step,
        "trouble": one.trouble,
        "untold": [{"way": way, "reason": why} for way, why in one.untold],
    }


def _sent(one: SentFacts) -> dict[str, Any]:
    return {
        "parcel_id": one.parcel,
        "state": one.state,
        "priority": one.priority,
        "volumes": one.volumes,
        "destinations": [
            {
                "code": to.site,
                "set": to.copy,
                "carrier": to.carrier,
                "tracking": to.tracking,
                "shipped": _time(to.shipped_ns),
                "arrived_volumes": to.arrived,
                "confirmed": _time(to.confirmed_ns),
                "usable_packages": to.usable,
                "packages": to.packages,
                "network_bytes": to.network_bytes,
                "network_arrived_bytes": to.sent_bytes,
            }
            for to in one.destinations
        ],
    }


def _received(one: ReceivedFacts) -> dict[str, Any]:
    return {
        "parcel_id": one.parcel,
        "from": one.source,
        "state": one.state,
        "missing_volumes": list(one.missing),
        "awaiting": list(one.awaiting),
        "usable": list(one.usable),
        "packages": one.packages,
        "refused": list(one.refused),
        "since": _time(one.since_ns),
    }


def _time(ns: int | None) -> str:
    return "" if ns is None else format_time(ns)
