"""Sending a parcel by network: the very archives that its media carry, within the limits of the address.

Nothing but messages of the channel is used, so that schedule, caps, retries and resumption are those of every message.
Only a window of them is in the outbox at one time; as they are acknowledged, each exchange queues the next. What has
come by a medium meanwhile does no harm, and the receipt of the destination ends it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from courier.error_codes import Code
from courier.errors import BusyError, CourierError, NotFoundError, RefusedError, UsageError
from courier.parcel.states import SentState
from courier.parcel.transitions import log_entry
from courier.sending.media_sets import chosen_destinations
from courier.sending.network_pieces import NetworkPieces
from courier.sending.network_record import (
    NetworkSend,
    OnItsWay,
    all_sends,
    forget_send,
    read_send,
    sends_locked,
    write_send,
)
from courier.sending.outgoing_parcel import OutgoingParcel, check_not_withdrawn, open_outgoing
from courier.sending.ship import ship_parcel
from courier.site.catalog import messages, parcels, sites
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.text import plural, size_text, volumes
from formats.digest import sha256_hex

WINDOW = 128 << 20
"""Bytes of content on their way to a site at one time, without another word from the operator."""
LEAST_WINDOW = 16 << 20
EVENT = "by-network"
"""The event in the parcel's log."""
_ENDED = (SentState.RECALLED, SentState.SUPERSEDED, SentState.FAILED)


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRequest:
    """A parcel that an operator wants to go by network.

    ``to``: the destinations, all if none is named. ``volumes``: those whose archives go, all if none is named.
    ``window``: bytes of content on their way at one time.
    """

    to: Sequence[str] = ()
    volumes: Collection[int] = ()
    window: int = WINDOW


def send_by_network(site: Site, parcel: OutgoingParcel, request: NetworkRequest) -> tuple[NetworkSend, ...]:
    """Have a parcel go by network; where it does already, it goes on as it was begun. Return how it goes to each site.

    A destination that it was not shipped to is told of it: the ship notice and the definitions are queued. What could
    not be delivered is queued again. Raises `NotFoundError` for a destination or volume that does not exist,
    `RefusedError` where the state of the parcel does not allow it, where there is no address, or where the destination
    has confirmed the parcel, `UsageError` for a window that is too small, and `BusyError`.
    """
    check_not_withdrawn(parcel)
    name = parcel.sent.parcel
    if request.window < LEAST_WINDOW:
        raise UsageError(f"--window: at least {size_text(LEAST_WINDOW)}", hint="leave it out for the usual one")
    for number in request.volumes:
        if not 1 <= number <= parcel.packing.volumes:
            raise NotFoundError(f"{name} has no volume {number}", hint=f"its volumes are 1 to {parcel.packing.volumes}")
    chosen = _open_destinations(site, parcel, request.to)
    pieces = NetworkPieces(parcel, request.volumes)
    with site.catalogue.reading() as connection:
        shipped = {one.site for one in parcels.destinations(connection, name) if one.shipped_ns is not None}
    if new := [code for code in chosen if code not in shipped or parcel.sent.state == SentState.FAILED]:
        ship_parcel(site, parcel, to=new, by_network=True)
    with sends_locked(site):
        return tuple(_begin(site, parcel, request, pieces, code) for code in chosen)


def _open_destinations(site: Site, parcel: OutgoingParcel, to: Sequence[str]) -> tuple[str, ...]:
    """The destinations that are named, or all that have not confirmed the parcel."""
    name, chosen = parcel.sent.parcel, chosen_destinations(parcel, to)
    with site.catalogue.reading() as connection:
        confirmed = {one.site for one in parcels.destinations(connection, name) if one.receipt is not None}
        for code in chosen:
            if code not in confirmed and not sites.addresses(connection, code):
                raise RefusedError(
                    f"there is no network address to {code}",
                    hint=f"courier channel address add {code} ADDRESS",
                    code=Code.NO_ADDRESS,
                )
    left = tuple(code for code in chosen if code not in confirmed)
    if not left or (to and len(left) < len(chosen)):
        done = ", ".join(code for code in chosen if code in confirmed)
        raise RefusedError(
            f"{done} has imported {name}: nothing is left to send", hint="create a new parcel", code=Code.WRONG_STATE
        )
    return left


def _begin(
    site: Site, parcel: OutgoingParcel, request: NetworkRequest, pieces: NetworkPieces, code: str
) -> NetworkSend:
    name = parcel.sent.parcel
    known = read_send(site, name, code)
    numbers = tuple(sorted(set(request.volumes)))
    if known is not None and not known.is_done and known.volumes == numbers and _revived(site, known):
        send = replace(known, window=request.window, problem="")
        write_send(site, send)
        return send
    if known is not None:
        _withdraw(site, known)
    send = NetworkSend(
        parcel=name,
        site=code,
        begun_ns=max(now(), known.begun_ns + 1) if known else now(),
        packing_list=parcel.sent.packing_list,
        volumes=numbers,
        window=request.window,
        pieces=pieces.count,
        bytes=pieces.bytes,
    )
    which = f"{volumes(numbers)}, " if numbers else ""
    with site.catalogue.writing() as connection:
        text = f"goes to {code} by network: {which}{size_text(send.bytes)} in {plural(send.pieces, 'message')}"
        parcels.write_log(connection, log_entry(site, name, EVENT, text))
    write_send(site, send)
    return send


def _revived(site: Site, send: NetworkSend) -> bool:
    """Queue again what came to nothing; False where a person has dismissed some of it, so that it must begin anew."""
    with site.catalogue.writing() as connection:
        found = [messages.find(connection, "out", one.sha256, send.site) for one in send.waiting]
        if any(one is not None and one.state == "dismissed" for one in found):
            return False
        for one in found:
            if one is not None and one.state == "dead":
                messages.revive(connection, one)
    return True


def stop_sending(site: Site, parcel: OutgoingParcel, to: Sequence[str] = ()) -> tuple[NetworkSend, ...]:
    """Send no more of a parcel by network; what has not left is taken out of the outbox. Return what was stopped.

    Raises `NotFoundError` for a site that it is not for, `RefusedError` where it does not go by network, `BusyError`.
    """
    chosen = chosen_destinations(parcel, to)
    with sends_locked(site):
        found = [read_send(site, parcel.sent.parcel, code) for code in chosen]
        going = tuple(one for one in found if one is not None)
        if not going:
            raise RefusedError(
                f"{parcel.sent.parcel} does not go there by network",
                hint=f"courier parcel show {parcel.sent.parcel} says how it goes",
                code=Code.WRONG_STATE,
            )
        for one in going:
            _end(site, _settled(site, one), "stopped by the operator")
    return going


def _end(site: Site, send: NetworkSend, why: str) -> None:
    _withdraw(site, send)
    with site.catalogue.writing() as connection:
        text = f"to {send.site}: {why}; {size_text(send.arrived)} of {size_text(send.bytes)} had arrived"
        parcels.write_log(connection, log_entry(site, send.parcel, EVENT, text))
    forget_send(site, send)


def _withdraw(site: Site, send: NetworkSend) -> None:
    """Take the messages out of the outbox that were not acknowledged; one that has left is not waited for any more."""
    with site.catalogue.writing() as connection:
        for one in send.waiting:
            there = messages.find(connection, "out", one.sha256, send.site)
            if there is not None and there.state != "settled":
                messages.forget(connection, there)


def go_on_sending(site: Site) -> list[CourierError]:
    """Queue what may be on its way next of every parcel that goes by network; return what stands against some.

    Does nothing while another command begins or stops one: the next exchange goes on.
    """
    failures: list[CourierError] = []
    try:
        with sends_locked(site):
            for send in all_sends(site):
                try:
                    _go_on(site, send)
                except CourierError as error:
                    failures.append(error)
                    if send.problem != error.message:
                        write_send(site, replace(_settled(site, send), problem=error.message))
    except BusyError:
        pass
    return failures


def _go_on(site: Site, send: NetworkSend) -> None:
    with site.catalogue.reading() as connection:
        sent = parcels.find_sent(connection, send.parcel)
        to = parcels.destinations(connection, send.parcel)
    state = _settled(site, send)
    if sent is None or sent.state in _ENDED:
        _end(site, state, f"the parcel is {sent.state}" if sent else "the parcel is not known any more")
        return
    if any(one.site == send.site and one.receipt is not None for one in to):
        _end(site, state, "its receipt has come")
        return
    if state != send:
        write_send(site, state)
    if state.problem or state.queued == state.pieces or state.on_its_way >= state.window:
        return
    parcel = open_outgoing(site, send.parcel)
    pieces = NetworkPieces(parcel, state.volumes)
    state = _of_layout(site, state, parcel, pieces)
    with pieces.reading(site) as blocks:
        while state.queued < state.pieces and state.on_its_way < state.window:
            if state.queued >= pieces.documents and any(one.piece < pieces.documents for one in state.waiting):
                # The destination cannot judge a block before it has the documents.
                return
            envelope = pieces.signed(site, state.site, state.begun_ns, state.queued, blocks)
            with site.catalogue.writing() as connection:
                enqueue(connection, envelope, state.site, priority=parcel.packing.priority)
                sha256 = sha256_hex(envelope.encode())
            way = OnItsWay(piece=state.queued, sha256=sha256, size=pieces.size(state.queued))
            state = replace(state, queued=state.queued + 1, waiting=(*state.waiting, way))
            write_send(site, state)


def _of_layout(site: Site, send: NetworkSend, parcel: OutgoingParcel, pieces: NetworkPieces) -> NetworkSend:
    """The same, where the parcel was laid out anew meanwhile: documents of the old layout go once more as the new ones.

    Archives are the same in every layout; where only some volumes go, they are those of the layout now.
    """
    if send.packing_list == parcel.sent.packing_list:
        return send
    _withdraw(site, send)
    anew = replace(
        send,
        packing_list=parcel.sent.packing_list,
        begun_ns=max(now(), send.begun_ns + 1),
        pieces=pieces.count,
        bytes=pieces.bytes,
        queued=0,
        arrived=0,
        waiting=(),
    )
    write_send(site, anew)
    return anew


def _settled(site: Site, send: NetworkSend) -> NetworkSend:
    """The same, with what was acknowledged since; a message that came to nothing is its problem."""
    waiting, arrived, problem = [], send.arrived, ""
    with site.catalogue.reading() as connection:
        for one in send.waiting:
            there = messages.find(connection, "out", one.sha256, send.site)
            if there is None or there.state == "settled":
                arrived += one.size
                continue
            waiting.append(one)
            if there.state in ("dead", "dismissed"):
                problem = there.reason or "a message was not taken"
    return replace(send, waiting=tuple(waiting), arrived=arrived, problem=problem or send.problem)
