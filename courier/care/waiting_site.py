"""What waits besides parcels: keys, addresses, messages, disks, points, caches, state and deployments. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from courier.care.facts import DAY_NS, SECOND_NS, PeerFacts, PointFacts, SiteFacts, WatchFacts
from courier.care.waiting import OPERATOR, Cause, Waiting
from courier.site.trust import KEY_WARNING_NS
from courier.text import plural, size_text
from formats.records import format_time

PEER_KEY_DAYS = 30
FAILURES = 3
"""An address that failed so often in a row is named; less often a line may have been down for a moment."""
SILENT_DAYS = 30
"""A site that is sent messages, and from which none came for so long, is named."""
STUCK_DAYS = 3
"""A message that waits longer is named."""
VALIDATE_DAYS = 90
"""A point of which the content was not read back for so long is named."""
STATE_DAYS = 30
"""A capture of state that is not released for so long is named."""
STALE_SECONDS = 600
"""A watch that holds its lock and gave no sign for so long is suspended, or its disk is full."""


def waiting_of_site(facts: SiteFacts) -> Iterator[Waiting]:
    """What waits of the site itself, of other sites, of distribution points, and of computers."""
    yield from _keys(facts)
    for peer in facts.peers:
        yield from _peer(facts, peer)
    yield from _store(facts)
    for point in facts.points:
        yield from _point(facts, point)
    yield from _caches(facts)
    yield from _computers(facts)
    if facts.watch is not None:
        yield from _watch(facts, facts.watch)


def _asked(cause: Cause, subject: str, what: str, then: str, since_ns: int | None = None) -> Waiting:
    return Waiting(cause=cause, what=what, on=OPERATOR, next=then, subject=subject, since_ns=since_ns)


def _keys(facts: SiteFacts) -> Iterator[Waiting]:
    end = format_time(facts.key_until_ns)[:10]
    if facts.now_ns >= facts.key_until_ns:
        text = f"the signing key of this site ended on {end}: other sites refuse what it signed since"
    elif facts.now_ns >= facts.key_until_ns - KEY_WARNING_NS:
        text = f"the signing key of this site ends on {end}"
    else:
        return
    yield _asked(Cause.KEY, facts.site, text, "courier site rotate-key")


def _peer(facts: SiteFacts, peer: PeerFacts) -> Iterator[Waiting]:
    code, end = peer.code, format_time(peer.key_until_ns)[:10]
    if facts.now_ns >= peer.key_until_ns:
        text = f"the key of {code} ended on {end}: what it signs is refused; ask {code} for its new card"
        yield _asked(Cause.KEY, code, text, f"courier site show {code}")
    elif facts.now_ns >= peer.key_until_ns - PEER_KEY_DAYS * DAY_NS:
        text = f"the key of {code} ends on {end}; its new card comes by network once {code} has renewed it"
        yield Waiting(cause=Cause.KEY, what=text, on=code, next="courier channel sync", subject=code)
    for address, failures in peer.addresses:
        if failures >= FAILURES:
            text = f"{address} of {code} failed {failures:,} times in a row"
            yield _asked(Cause.ADDRESS, f"{code} {address}", text, f"courier channel address test {code}")
    if peer.queued and not peer.addresses:
        text = f"{plural(peer.queued, 'message')} for {code} cannot leave: no address of it is known"
        yield _asked(Cause.ADDRESS, code, text, "courier channel address list", peer.oldest_ns)
    elif peer.oldest_ns is not None and facts.now_ns - peer.oldest_ns > STUCK_DAYS * DAY_NS:
        text = f"{plural(peer.queued, 'message')} for {code} waited for more than {STUCK_DAYS} days"
        yield _asked(Cause.MESSAGES, code, text, "courier channel sync", peer.oldest_ns)
    elif peer.queued:
        text = f"{plural(peer.queued, 'message')} for {code} to be delivered"
        yield Waiting(
            cause=Cause.MESSAGES, what=text, on=code, next="courier channel sync", subject=code, since_ns=peer.oldest_ns
        )
    heard = max(peer.heard_ns or 0, peer.pinned_ns)
    if peer.addresses and facts.now_ns - heard > SILENT_DAYS * DAY_NS:
        since = "nothing ever came" if peer.heard_ns is None else f"nothing came since {format_time(heard)[:10]}"
        yield _asked(Cause.SILENT, code, f"{code} is silent: {since}", f"courier channel address test {code}", heard)


def _store(facts: SiteFacts) -> Iterator[Waiting]:
    if facts.dead_letters:
        text = f"{plural(facts.dead_letters, 'dead letter')}: messages that were refused or given up"
        yield _asked(Cause.DEAD_LETTER, "", text, "courier channel status")
    if facts.free < facts.reserve:
        text = (
            f"the disk of the store is filling: {size_text(facts.free)} free, of which {size_text(facts.reserve)} "
            "stay free; remove packages that are not needed, or give it a larger disk"
        )
        yield _asked(Cause.DISK, "store", text, "courier package list")
    if facts.lost:
        text = (
            f"the store has no content of {plural(facts.lost, 'package version')}: receive their parcels again, or add "
            "the same files again"
        )
        yield _asked(Cause.CONTENT, "store", text, "courier package verify")
    if facts.quarantined:
        text = (
            f"{plural(facts.quarantined, 'content')} of the store found damaged and taken out of use; add or receive "
            "the packages again that lack something"
        )
        yield _asked(Cause.DAMAGE, "store", text, "courier package verify")
    for version in facts.contradicted:
        text = f"{version[:3]} signed other content for {version} than the store has; it is not used"
        yield _asked(Cause.DAMAGE, version, text, f"courier package show {version}")


def _point(facts: SiteFacts, point: PointFacts) -> Iterator[Waiting]:
    name = point.name
    if point.damaged:
        text = f"point {name}: {plural(point.damaged, 'file')} were damaged when it was last validated"
        yield _asked(Cause.POINT, name, text, f"courier point validate --point {name}", point.validated_ns)
    elif point.packages and facts.now_ns - (point.validated_ns or point.added_ns) > VALIDATE_DAYS * DAY_NS:
        text = f"point {name} was not validated for more than {VALIDATE_DAYS} days"
        yield _asked(Cause.POINT, name, text, f"courier point validate --point {name}", point.validated_ns)
    for folder, free, reserve in point.short:
        text = f"point {name}: {size_text(free)} free at {folder}, where {size_text(reserve)} are to stay free"
        yield _asked(Cause.DISK, f"{name} {folder}", text, f"courier point show {name}")
    for folder in point.unreachable:
        text = f"point {name}: {folder} cannot be reached, or its disk is not mounted"
        yield _asked(Cause.POINT, f"{name} {folder}", text, f"courier point show {name}")
    if point.due:
        text = f"{plural(point.due, 'package version')} to go to point {name} by rule"
        yield _asked(Cause.POINT, f"{name} rule", text, "courier point rule apply")


def _caches(facts: SiteFacts) -> Iterator[Waiting]:
    for one in facts.cache_classes:
        for version, size in one.too_large:
            text = (
                f"{version} ({size_text(size)}) is larger than the caches of class {one.name} ({size_text(one.size)}): "
                "none of its computers can download it"
            )
            yield _asked(Cause.CACHE, f"{one.name} {version}", text, "courier point class list")


def _computers(facts: SiteFacts) -> Iterator[Waiting]:
    for state in facts.states:
        if facts.now_ns - state.captured_ns > STATE_DAYS * DAY_NS:
            text = (
                f"state {state.migration} of {state.source} for {state.destination or 'nobody yet'} is {state.state}, "
                f"and not released for more than {STATE_DAYS} days"
            )
            yield _asked(Cause.STATE, state.migration, text, "courier state list", state.captured_ns)
    for one in facts.deployments:
        if one.open and facts.now_ns > one.deadline_ns:
            text = (
                f"deployment {one.deployment} is past its deadline; {one.open:,} of {plural(one.of, 'computer')} "
                "have not finished"
            )
            yield _asked(Cause.DEPLOYMENT, one.deployment, text, f"courier deploy show {one.deployment}")


def _watch(facts: SiteFacts, watch: WatchFacts) -> Iterator[Waiting]:
    seen = f"{format_time(watch.seen_ns)[:19].replace('T', ' ')}Z"
    again = "courier channel watch --once"
    if not watch.running and not watch.ended:
        text = f"the watch was interrupted ({watch.who}); last seen {seen}"
        yield _asked(Cause.WATCH, "interrupted", text, again, watch.seen_ns)
    elif watch.running and abs(facts.now_ns - watch.seen_ns) > STALE_SECONDS * SECOND_NS:
        text = f"the watch ({watch.who}) gives no sign since {seen}, and holds its lock"
        yield _asked(Cause.WATCH, "stale", text, "courier doctor", watch.seen_ns)
    if watch.trouble and (watch.running or watch.once):
        yield _asked(Cause.WATCH, "trouble", f"the watch goes on, but fails in {watch.trouble}", "courier doctor")
    for way, why in watch.untold:
        text = f"people could not be told by {way}: {why}"
        then = (
            f"courier notify test {way.removeprefix('notify.')}" if way.startswith("notify.") else "courier config show"
        )
        yield _asked(Cause.NOTIFY, way, text, then)
