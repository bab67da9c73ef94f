"""Which parcels wait, on whom, and what is overdue. Pure judgement over `SiteFacts`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from courier.care.facts import DAY_NS, SECOND_NS, DeskFacts, DestinationFacts, ReceivedFacts, SentFacts, SiteFacts
from courier.care.waiting import CARRIER, OPERATOR, Cause, Waiting
from courier.parcel.states import ReceivedState, SentState
from courier.text import plural, size_text, volumes

USUAL_DAYS = 14
"""Days that a parcel may be under way where neither the operator nor a past parcel says how long that takes."""
SHOWN = 5
"""Packages of a parcel that are named."""
TIMES_USUAL = 2
"""A parcel is overdue when it takes so many times as long as the past ones took, and longer than a day."""


def waiting_parcels(facts: SiteFacts) -> Iterator[Waiting]:
    """What waits of the parcels made here, then of those that arrive, then of what was found at the desk."""
    for sent in facts.sent:
        yield from _of_sent(facts, sent)
    for received in facts.received:
        yield from _of_received(facts, received)
    known = {received.parcel for received in facts.received}
    for desk in facts.desk.values():
        yield from _of_seals(desk)
        if desk.by_label and desk.parcel not in known:
            yield _to_read(desk, "nothing is known of the parcel here yet", then=f"courier parcel log {desk.parcel}")


def allowed_ns(facts: SiteFacts, usual: Mapping[str, int], code: str) -> int:
    """Nanoseconds after which a parcel to or from a site is overdue."""
    if facts.transit_days:
        return facts.transit_days * DAY_NS
    if code in usual:
        return max(DAY_NS, TIMES_USUAL * usual[code] * SECOND_NS)
    return USUAL_DAYS * DAY_NS


def _of_sent(facts: SiteFacts, sent: SentFacts) -> Iterator[Waiting]:
    name = sent.parcel

    def waits(cause: Cause, what: str, then: str) -> Waiting:
        return Waiting(
            cause=cause, what=what, on=OPERATOR, next=then, subject=name, parcel=name, since_ns=sent.created_ns
        )

    if sent.problem:
        yield waits(Cause.DAMAGE, f"{name}: {sent.problem}", f"courier parcel log {name}")
    elif sent.state == SentState.PLANNED:
        text = f"{name} is planned, and its build was not finished: the same courier parcel create goes on with it"
        yield waits(Cause.UNFINISHED, text, f"courier parcel log {name}")
    elif sent.state == SentState.BUILT:
        text = f"{name} is built; {plural(sent.unwritten, 'volume')} of {sent.volumes:,} to be written"
        yield waits(Cause.TO_WRITE, text, f"courier parcel write {name} --layout {sent.layout} --out {name}")
    elif sent.state == SentState.WRITTEN:
        where = ", ".join(to.site for to in sent.destinations)
        yield waits(Cause.TO_SHIP, f"{name} is written, and not shipped to {where} yet", f"courier parcel ship {name}")
    elif sent.state in (SentState.SENT, SentState.ARRIVING):
        for to in sent.destinations:
            yield from _of_destination(facts, sent, to)


def _of_destination(facts: SiteFacts, sent: SentFacts, to: DestinationFacts) -> Iterator[Waiting]:
    name, code = sent.parcel, to.site

    def waits(cause: Cause, what: str, *, on: str, then: str, since_ns: int | None) -> Waiting:
        return Waiting(
            cause=cause, what=what, on=on, next=then, subject=f"{name} {code}", parcel=name, since_ns=since_ns
        )

    if to.confirmed_ns is not None:
        return
    if to.shipped_ns is None:
        text = f"{name} is not shipped to {code} yet"
        then = f"courier parcel ship {name} --to {code}"
        yield waits(Cause.TO_SHIP, text, on=OPERATOR, then=then, since_ns=sent.created_ns)
        return
    if to.lost:
        text = f"{name}: {code} reports {volumes(to.lost)} as lost; you decide whether it gets the key all the same"
        then = f"courier parcel release {name} --to {code}"
        yield waits(Cause.DECISION, text, on=OPERATOR, then=then, since_ns=to.shipped_ns)
    arrived = f"{to.arrived:,} of {plural(sent.volumes, 'volume')} arrived at {code}"
    if to.network_bytes:
        arrived += f", {size_text(to.sent_bytes)} of {size_text(to.network_bytes)} came by network"
    arrived += f", {to.usable:,} of {plural(to.packages, 'package')} imported there" if to.usable else ""
    if to.problem:
        text = f"{name} goes no further to {code} by network: {to.problem}"
        then = f"courier parcel send {name} --by-network --to {code}"
        yield waits(Cause.DECISION, text, on=OPERATOR, then=then, since_ns=to.shipped_ns)
    if facts.now_ns - to.shipped_ns > allowed_ns(facts, facts.usual_to, code):
        text = (
            f"{name} to {code} is overdue: {arrived}, and no receipt came; ask {to.carrier or 'the carrier'} or {code}"
        )
        text += f" (tracking {to.tracking})" if to.tracking else ""
        then = f"courier parcel show {name}"
        yield waits(Cause.OVERDUE, text, on=OPERATOR, then=then, since_ns=to.shipped_ns)
    elif not to.lost:
        on = CARRIER if not to.arrived else code
        text = f"{name} is under way to {code}: {arrived}"
        yield waits(Cause.UNDER_WAY, text, on=on, then="courier channel sync", since_ns=to.shipped_ns)


def _of_received(facts: SiteFacts, one: ReceivedFacts) -> Iterator[Waiting]:
    name, show = one.parcel, f"courier parcel show {one.parcel}"
    is_late = facts.now_ns - one.since_ns > allowed_ns(facts, facts.usual_from, one.source)

    def waits(cause: Cause, what: str, *, on: str, then: str) -> Waiting:
        return Waiting(cause=cause, what=what, on=on, next=then, subject=name, parcel=name, since_ns=one.since_ns)

    if one.problem:
        yield waits(Cause.DAMAGE, f"{name}: {one.problem}", on=OPERATOR, then=show)
    elif one.state in (ReceivedState.ANNOUNCED, ReceivedState.ARRIVING) or one.missing:
        desk = facts.desk.get(name, DeskFacts(parcel=name))
        is_announced = one.state == ReceivedState.ANNOUNCED
        lacking = set(range(1, one.volumes + 1) if is_announced else one.missing)
        # Where the notice is not known, what is at the desk by its label is all that can be said.
        here = sorted(desk.by_label if is_announced and not lacking else lacking.intersection(desk.by_label))
        to_come = sorted(lacking.difference(here))
        if here:
            rest = f"; {volumes(to_come)} of it not" if to_come else ""
            yield _to_read(replace(desk, by_label=tuple(here)), f"from {one.source}{rest}", then=show)
        if not is_announced:
            yield from _of_arriving(one, waits, here=here, is_late=is_late)
        elif to_come or not here:
            yield _announced(one, waits, to_come if here else [], is_late=is_late)
    elif one.report:
        # Where seals are to be typed into it, only a person can give it.
        needs_typing = any(word in one.report for word in ("SERIAL", "FILE"))
        text = f"{name} is here, and its key waits for your report" + (f": {one.report}" if needs_typing else "")
        yield waits(Cause.REPORT, text, on=OPERATOR, then=show if needs_typing else one.report)
    elif one.state == ReceivedState.COMPLETE or (one.hold and len(one.awaiting) <= 1):
        text = f"{name} from {one.source} is here, and waits to be imported"
        yield waits(Cause.TO_IMPORT, text, on=OPERATOR, then=f"courier parcel import {name}")
    elif one.refused:
        text = f"{name} is here, and waits for a decision{_usable(one)}"
        yield waits(Cause.DECISION, text, on=OPERATOR, then=show)
    elif one.refusal:
        text = f"{name} is held: {one.refusal}"
        yield waits(Cause.DECISION, text, on=OPERATOR, then=show)
    else:
        text = f"{name} is held until there is {'; '.join(one.awaiting) or 'what it awaits'}"
        on = OPERATOR if facts.now_ns - one.since_ns > DAY_NS else one.source
        yield waits(Cause.DEFINITION, text, on=on, then="courier channel sync")


def _to_read(desk: DeskFacts, more: str, *, then: str) -> Waiting:
    """What was taken in by its label, and waits to be read."""
    text = f"{desk.parcel}: {volumes(desk.by_label)} at the desk by label ({more}); read the media with courier parcel "
    return Waiting(
        cause=Cause.TO_READ,
        what=f"{text}receive MEDIUM",
        on=OPERATOR,
        next=then,
        subject=desk.parcel,
        parcel=desk.parcel,
        since_ns=desk.since_ns,
    )


def _of_seals(desk: DeskFacts) -> Iterator[Waiting]:
    """The seals that were found wrong, until a person has entered what came of them."""
    name = desk.parcel
    for number, serial, at_ns in desk.broken:
        yield Waiting(
            cause=Cause.SEAL,
            what=f"{name}: the seal on volume {number} was found wrong or broken (read: {serial or 'no number'}); ask "
            f"{name[:3]}, and enter what came of it: courier parcel custody add {name} --event note --volume {number} "
            "--note TEXT",
            on=OPERATOR,
            next=f"courier parcel log {name}",
            subject=f"{name} {number}",
            parcel=name,
            since_ns=at_ns,
        )


def _announced(one: ReceivedFacts, waits: Callable[..., Waiting], to_come: list[int], *, is_late: bool) -> Waiting:
    """A parcel of which no medium was read; ``to_come``: what is not at the desk either, where others of it are."""
    name, show = one.parcel, f"courier parcel show {one.parcel}"
    if is_late:
        what = f"{volumes(to_come)} missing" if to_come else "no medium came"
        text = f"{name} from {one.source} is overdue: {what}; ask {one.source}"
        return waits(Cause.OVERDUE, text, on=OPERATOR, then=show)
    how = f"arrives: {volumes(to_come)} to come" if to_come else "is announced"
    return waits(Cause.UNDER_WAY, f"{name} from {one.source} {how}", on=CARRIER, then=show)


def _of_arriving(
    one: ReceivedFacts, waits: Callable[..., Waiting], *, here: Collection[int], is_late: bool
) -> Iterator[Waiting]:
    """``here``: the volumes that are at the desk, and wait to be read."""
    name, show = one.parcel, f"courier parcel show {one.parcel}"
    undamaged = sorted(set(one.missing) - set(one.damaged) - set(here))
    if here and not undamaged:
        # Once these are read it is seen what damage is left.
        return
    if one.damaged and not undamaged:
        text = f"{name} from {one.source} came with damage in {volumes(one.damaged)}"
        yield waits(Cause.DAMAGE, text, on=OPERATOR, then=f"courier parcel repair {name} --from-network")
    elif is_late:
        lacking = sorted({*undamaged, *one.damaged})
        text = f"{name} from {one.source} is overdue: {volumes(lacking)} missing; ask {one.source}{_usable(one)}"
        yield waits(Cause.OVERDUE, text, on=OPERATOR, then=show)
    else:
        came = f"; {volumes(one.damaged)} came with damage" if one.damaged else ""
        text = f"{name} from {one.source} arrives: {volumes(undamaged)} to come{came}{_usable(one)}"
        yield waits(Cause.UNDER_WAY, text, on=CARRIER, then=show)


def _usable(one: ReceivedFacts) -> str:
    """Which packages of a parcel can be used already, and which may not be imported."""
    refused = f"; not imported: {'; '.join(one.refused[:SHOWN])}" if one.refused else ""
    if not one.usable:
        return refused
    shown = ", ".join(one.usable[:SHOWN]) + (" ..." if len(one.usable) > SHOWN else "")
    return f"; usable already: {shown} ({len(one.usable):,} of {plural(one.packages, 'package')}){refused}"
