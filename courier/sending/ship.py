"""Shipping a parcel: it is marked Sent, and what travels by network is queued for the channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import BusyError, NotFoundError, RefusedError
from courier.media.kinds import usual_layout
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.states import SentEvent, SentState, VolumeState, after_sent
from courier.parcel.transitions import sent_event
from courier.sending.media_sets import Given, Shipped, sets_of_media, shipped_before
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.sending.parcel_key import encrypt_parcel_key
from courier.sending.shipping_custody import ShippedSet, entries_of
from courier.sending.supersede import replaced_by, sites_to_tell, supersede
from courier.site.catalog import messages, parcels, sent_notices
from courier.site.catalog.parcels import SentTo
from courier.site.catalog.sent_notices import SentNotice
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue, is_waiting
from courier.text import volumes
from formats.digest import sha256_hex
from formats.documents import notice as notice_doc
from formats.documents import package as package_doc
from formats.documents.notice import PackageRef, ShipNotice
from formats.documents.package import PackageDefinition
from formats.envelope import Envelope

if TYPE_CHECKING:
    from sqlalchemy import Connection


NETWORK = "network"
"""The carrier of a parcel whose blocks go over the channel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipping:
    """The shipment of a set of media to one destination; ``notice`` is what that site is told.

    ``envelopes``: what is queued for it, the signed notice last.
    ``changes``: what differs from the shipment there before, None if there was none. ``unsealed``: volumes without a
    seal, if the key is released for the seals that are reported. ``shared_seals``: (serial number, volumes) of each
    seal that several volumes have.
    """

    site: str
    notice: ShipNotice
    envelopes: tuple[Envelope, ...]
    changes: tuple[str, ...] | None
    unsealed: tuple[int, ...]
    shared_seals: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipment:
    """What `ship_parcel` did, or would do.

    ``queued``: messages for the next ``channel sync``. ``state``: that of the parcel afterwards. ``superseded``: the
    parcel that it replaces, or empty. ``waiting``: destinations that it was not shipped to yet.
    """

    shippings: tuple[Shipping, ...]
    queued: int
    state: str
    superseded: str
    waiting: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Carried:
    """A package version that a parcel carries; ``definition`` is the payload of its definition."""

    package: str
    version: int
    listing: str
    definition: bytes


def ship_parcel(
    site: Site,
    parcel: OutgoingParcel,
    *,
    to: Sequence[str] = (),
    carrier: str = "",
    tracking: str = "",
    seals: Mapping[int, str] | None = None,
    usual_carrier: str = "",
    by_network: bool = False,
    dry_run: bool = False,
) -> Shipment:
    """Mark a parcel Sent, and queue its package definitions and ship notice. It may be shipped again.

    ``to``: the destinations that one set of media goes to; without it, a set goes to each destination. ``carrier``,
    ``tracking`` and ``seals`` (volume -> serial number) are those of that set, and add to what was given when it was
    shipped before; ``usual_carrier`` counts where none was given at all. A notice that has not left yet is replaced.
    ``by_network``: its blocks go over the channel, so that no volume need be written. ``dry_run``: only check whether
    it may be shipped, and say what that would do.

    Raises `RefusedError` if a volume is not written and read back, if the state of the parcel does not allow it, or if
    the clock and the signing key do not agree; `NotFoundError` for a destination or volume that does not exist;
    `UsageError` for seals or a tracking number without the destination whose media they are on, and for a change of a
    set for some of its destinations alone; `BusyError` where another command ships it, or lays it out, meanwhile.
    """
    site.check_key()
    carrier = NETWORK if by_network else carrier
    given = Given(carrier=carrier, tracking=tracking, seals=seals or {})
    _check_may_ship(parcel, given.seals, by_network=by_network)
    with site.catalogue.reading() as connection:
        before = shipped_before(connection, parcel.sent.parcel, parcel.sent.edition)
    copies = sets_of_media(parcel, before, to, given)
    carried = _carried(site, parcel)
    definitions = [site.sign(_reissued(site, one.definition), package_doc.TYPE) for one in carried]
    shippings = []
    for code, copy in copies.items():
        known, sealed = before.told(code, copy)
        before_it = "" if known.carrier == NETWORK else known.carrier
        goes = replace(known, carrier=carrier or before_it or usual_carrier, tracking=tracking or known.tracking)
        notice = _notice(site, parcel, carried, goes, seals={**sealed, **given.seals})
        envelopes = (*definitions, site.sign(notice.payload(), notice_doc.TYPE))
        shippings.append(_shipping(parcel, before, code, notice, envelopes))
    shipment = _foreseen(site, parcel, before, shippings, by_network=by_network)
    if dry_run:
        return shipment
    with site.catalogue.writing() as connection:
        _mark_sent(connection, site, parcel, shippings, by_network=by_network)
        _check_as_before(connection, parcel, before)
        queued = 0
        for one in shippings:
            _take_replaced_back(connection, before, one.site)
            queued += _enqueue(connection, parcel, one)
            _record(connection, parcel, one)
        record(connection, site, parcel.sent.parcel, *_custody(parcel, before, shippings))
        if parcel.sent.supersedes and parcel.sent.state in (SentState.BUILT, SentState.WRITTEN):
            queued += supersede(connection, site, parcel.sent.supersedes, parcel.sent.parcel)
    return replace(shipment, queued=queued)


def _check_may_ship(parcel: OutgoingParcel, seals: Mapping[int, str], *, by_network: bool) -> None:
    name, sent = parcel.sent.parcel, parcel.sent
    for number in seals:
        if not 1 <= number <= parcel.packing.volumes:
            raise NotFoundError(f"{name} has no volume {number}", hint=f"its volumes are 1 to {parcel.packing.volumes}")
    unwritten = [v.number for v in parcel.volumes if v.state != VolumeState.WRITTEN]
    # A state that writing the volumes would not change comes first.
    awaits_writing = sent.state == SentState.BUILT and unwritten
    if after_sent(sent.state, _event(by_network=by_network)) is None and not awaits_writing:
        raise RefusedError(f"{name} is {sent.state}", hint="create a new parcel", code=Code.WRONG_STATE)
    if unwritten and not by_network:
        raise RefusedError(
            f"{name}: not written and read back yet: {volumes(unwritten)}",
            hint=f"courier parcel write {name} --layout {usual_layout(parcel.packing.media)} --out DIR",
            code=Code.NOT_WRITTEN,
        )


def _carried(site: Site, parcel: OutgoingParcel) -> list[_Carried]:
    with site.catalogue.reading() as connection:
        found = parcels.sent_packages(connection, parcel.sent.parcel)
    if not found:
        raise RefusedError(
            f"{parcel.sent.parcel}: the catalogue does not know which packages it carries",
            hint="it was rebuilt from encrypted media: create a new parcel",
            code=Code.PACKAGES_UNKNOWN,
        )
    return [
        _Carried(package=package, version=version, listing=listing, definition=definition)
        for package, version, listing, definition in found
    ]


def _notice(
    site: Site, parcel: OutgoingParcel, carried: Sequence[_Carried], to: SentTo, *, seals: Mapping[int, str]
) -> ShipNotice:
    """The ship notice for a destination; raises `RefusedError` where that is not trusted any more."""
    packing, sent = parcel.packing, parcel.sent
    card = site.trust().site(to.site).card
    return ShipNotice(
        parcel=sent.parcel,
        source=site.code,
        destinations=packing.destinations,
        issued_ns=now(),
        packing_list=sent.packing_list,
        build=sent.build,
        volumes=packing.volumes,
        priority=packing.priority,
        packages=tuple(PackageRef(package=p.package, version=p.version, listing=p.listing) for p in carried),
        carrier=to.carrier,
        tracking=to.tracking,
        seals=dict(seals),
        copy=to.copy,
        key=encrypt_parcel_key(parcel, [card]) if packing.key == "network" else b"",
    )


def _reissued(site: Site, payload: bytes) -> bytes:
    """A definition that was fixed when the parcel was built, for the present key to sign."""
    definition = PackageDefinition.parse(payload)
    return replace(definition, issued_ns=site.signing_time(definition.issued_ns)).payload()


def _shipping(
    parcel: OutgoingParcel, before: Shipped, code: str, notice: ShipNotice, envelopes: tuple[Envelope, ...]
) -> Shipping:
    unsealed = tuple(number for number in range(1, notice.volumes + 1) if number not in notice.seals)
    return Shipping(
        site=code,
        notice=notice,
        envelopes=envelopes,
        changes=_changes(before, code, notice) if _counts(parcel, before, code) else None,
        unsealed=unsealed if parcel.packing.key == "on-arrival" else (),
        shared_seals=_shared_seals(notice.seals),
    )


def _foreseen(
    site: Site, parcel: OutgoingParcel, before: Shipped, shippings: Sequence[Shipping], *, by_network: bool
) -> Shipment:
    """What shipping will do."""
    with site.catalogue.reading() as connection:
        old = replaced_by(connection, parcel)
        told = sites_to_tell(connection, old)
        new = sum(not is_waiting(connection, one, goes.site) for goes in shippings for one in goes.envelopes)
    shipped = {one.site for one in shippings} | {code for code, to in before.to.items() if to.shipped_ns}
    return Shipment(
        shippings=tuple(shippings),
        queued=new + len(told),
        state=after_sent(parcel.sent.state, _event(by_network=by_network)) or parcel.sent.state,
        superseded=old.parcel if old else "",
        waiting=tuple(code for code in parcel.packing.destinations if code not in shipped),
    )


def _shared_seals(seals: Mapping[int, str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Serial numbers that several volumes have: one seal on a box that holds them, or a slip of the pen."""
    volumes: dict[str, list[int]] = {}
    for number, serial in sorted(seals.items()):
        volumes.setdefault(serial, []).append(number)
    return tuple((serial, tuple(numbers)) for serial, numbers in volumes.items() if len(numbers) > 1)


def _counts(parcel: OutgoingParcel, before: Shipped, code: str) -> bool:
    """Whether there was a shipment to a destination before that was not given up as lost."""
    return before.to[code].shipped_ns is not None and parcel.sent.state != SentState.FAILED


def _changes(shipped: Shipped, code: str, notice: ShipNotice) -> tuple[str, ...]:
    """How the notice differs from the shipment there before."""
    to, seals = shipped.to[code], shipped.seals.get(code, {})
    editions = {one.edition for one in shipped.notices.get(code, ())}
    changes = []
    if editions and shipped.edition not in editions:
        # Its volumes are others: what they have for seals is no change of those that had the same numbers.
        changes.append(f"edition {shipped.edition} (edition {max(editions)} before)")
        changes += [f"seal of volume {number} {serial}" for number, serial in sorted(notice.seals.items())]
    else:
        changes += [
            f"seal of volume {number} {serial} ({seals.get(number, 'none')} before)"
            for number, serial in sorted(notice.seals.items())
            if serial != seals.get(number)
        ]
    for what, new, old in (("carrier", notice.carrier, to.carrier), ("tracking", notice.tracking, to.tracking)):
        changes += [f"{what} {new} ({old or 'none'} before)"] if new != old else []
    return tuple(changes)


def _event(*, by_network: bool) -> SentEvent:
    return SentEvent.BY_NETWORK if by_network else SentEvent.SENT


def _mark_sent(
    connection: Connection, site: Site, parcel: OutgoingParcel, shippings: Sequence[Shipping], *, by_network: bool
) -> None:
    name = parcel.sent.parcel
    several = len(parcel.packing.destinations) > 1
    text = "; ".join(
        (f"to {one.site} (set {one.notice.copy}), " if several else "")
        + f"carrier {one.notice.carrier or '-'}, tracking {one.notice.tracking or '-'}"
        for one in shippings
    )
    if not sent_event(connection, site, name, _event(by_network=by_network), text):
        raise RefusedError(
            f"another command has recalled or ended {name} meanwhile",
            hint=f"courier parcel log {name} says what happened to it",
            code=Code.WRONG_STATE,
        )


def _check_as_before(connection: Connection, parcel: OutgoingParcel, before: Shipped) -> None:
    """Raise `BusyError` unless the parcel was shipped as it was when this command began."""
    name, sent = parcel.sent.parcel, parcels.find_sent(connection, parcel.sent.parcel)
    again = "give this command again: it takes that into account"
    if sent is None or sent.edition != before.edition:
        raise BusyError(f"another command has laid {name} out anew meanwhile", hint=again)
    if shipped_before(connection, name, before.edition) != before:
        raise BusyError(f"another command has shipped {name} meanwhile, or a sync hands its notice over", hint=again)


def _take_replaced_back(connection: Connection, before: Shipped, code: str) -> None:
    """Take the notices out of the outbox that a new one replaces, as they have not left."""
    for old in before.replaceable(code):
        waiting = messages.find(connection, "out", old.notice, code)
        if waiting is not None:
            messages.forget(connection, waiting)
        sent_notices.forget(connection, old.parcel, code, old.notice)


def _enqueue(connection: Connection, parcel: OutgoingParcel, one: Shipping) -> int:
    """Queue the messages for a destination; return how many that adds to those that wait.

    All go now, those too that were acknowledged: who ships again misses them there.
    """
    count = 0
    for message in one.envelopes:
        if enqueue(connection, message, one.site, priority=parcel.packing.priority, again=True):
            count += 1
        else:
            messages.send_again(connection, now(), site=one.site, sha256=sha256_hex(message.encode()))
    return count


def _record(connection: Connection, parcel: OutgoingParcel, one: Shipping) -> None:
    """Record the shipment to a destination, in place of the one before, and the notice that it gets."""
    name, edition, notice = parcel.sent.parcel, parcel.sent.edition, one.notice
    values = {"copy": notice.copy, "carrier": notice.carrier, "tracking": notice.tracking}
    parcels.change_destination(connection, name, one.site, shipped_ns=notice.issued_ns, **values)
    parcels.put_seals(connection, name, one.site, edition, notice.seals)
    digest = sha256_hex(one.envelopes[-1].encode())
    queued = SentNotice(parcel=name, site=one.site, notice=digest, edition=edition, issued_ns=notice.issued_ns)
    sent_notices.put(connection, queued)


def _custody(parcel: OutgoingParcel, before: Shipped, shippings: Sequence[Shipping]) -> list[Happened]:
    """The custody entries of a shipment."""
    things: list[Happened] = []
    for copy in dict.fromkeys(one.notice.copy for one in shippings):
        of_set = [one for one in shippings if one.notice.copy == copy]
        sites = tuple(one.site for one in of_set)
        every = [code for code in parcel.packing.destinations if code in sites or code in before.members(copy)]
        one = ShippedSet(
            copy=copy, sites=sites, notice=of_set[0].notice, given_up=parcel.sent.state == SentState.FAILED
        )
        note = f"for {', '.join(every)}" if len(parcel.packing.destinations) > 1 else ""
        things += entries_of(one, before, parcel.volumes, note=note)
    return things
