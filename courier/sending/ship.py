"""Shipping a parcel: it is marked Sent, and what travels by network is queued for the channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.states import SentEvent, SentState, VolumeState, after_sent
from courier.parcel.transitions import sent_event
from courier.sending.media_sets import Shipped, sets_of_media, shipped_before
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.sending.parcel_key import encrypt_parcel_key
from courier.sending.supersede import replaced_by, sites_to_tell, supersede
from courier.site.catalog import parcels
from courier.site.catalog.messages import send_again
from courier.site.catalog.parcels import SentTo
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue, is_waiting
from courier.text import volumes
from formats.digest import sha256_hex
from formats.documents import notice as notice_doc
from formats.documents import package as package_doc
from formats.documents.custody import SealMark
from formats.documents.notice import PackageRef, ShipNotice
from formats.documents.package import PackageDefinition
from formats.envelope import Envelope

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipping:
    """The shipment of a set of media to one destination; ``notice`` is what that site is told.

    ``changes``: what differs from the shipment there before, None if there was none. ``unsealed``: volumes without a
    seal, if the key is released for the seals that are reported. ``shared_seals``: (serial number, volumes) of each
    seal that several volumes have.
    """

    site: str
    notice: ShipNotice
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
    dry_run: bool = False,
) -> Shipment:
    """Mark a parcel Sent, and queue its package definitions and ship notice. It may be shipped again.

    ``to``: the destinations that one set of media goes to; without it, a set goes to each destination. ``carrier``,
    ``tracking`` and ``seals`` (volume -> serial number) are those of that set, and add to what was given when it was
    shipped before. ``dry_run``: only check whether it may be shipped, and say what that would do.

    Raises `RefusedError` if a volume is not written and read back, if the state of the parcel does not allow it, or if
    the clock and the signing key do not agree; `NotFoundError` for a destination or volume that does not exist;
    `UsageError` for seals or a tracking number without the destination whose media they are on.
    """
    site.check_key()
    _check_may_ship(parcel, seals or {})
    with site.catalogue.reading() as connection:
        before = shipped_before(connection, parcel)
    copies = sets_of_media(parcel, before, to, named=bool(seals or tracking))
    carried = _carried(site, parcel)
    definitions = [site.sign(_reissued(site, one.definition), package_doc.TYPE) for one in carried]
    shippings, letters = [], dict[str, list[Envelope]]()
    for code, copy in copies.items():
        all_seals = {**before.seals.get(code, {}), **(seals or {})}
        given = replace(before.to[code], copy=copy)
        given = replace(given, carrier=carrier or given.carrier, tracking=tracking or given.tracking)
        notice = _notice(site, parcel, carried, given, seals=all_seals)
        letters[code] = [*definitions, site.sign(notice.payload(), notice_doc.TYPE)]
        shippings.append(_shipping(parcel, before, code, notice))
    shipment = _foreseen(site, parcel, before, shippings, letters)
    if dry_run:
        return shipment
    with site.catalogue.writing() as connection:
        _mark_sent(connection, site, parcel, shippings)
        queued = sum(_enqueue(connection, parcel, code, messages) for code, messages in letters.items())
        for one in shippings:
            _record(connection, parcel, one)
        record(connection, site, parcel.sent.parcel, *_custody(parcel, before, shippings))
        if parcel.sent.supersedes and parcel.sent.state == SentState.WRITTEN:
            queued += supersede(connection, site, parcel.sent.supersedes, parcel.sent.parcel)
    return replace(shipment, queued=queued)


def _check_may_ship(parcel: OutgoingParcel, seals: Mapping[int, str]) -> None:
    name, sent = parcel.sent.parcel, parcel.sent
    for number in seals:
        if not 1 <= number <= parcel.packing.volumes:
            raise NotFoundError(f"{name} has no volume {number}", hint=f"its volumes are 1 to {parcel.packing.volumes}")
    unwritten = [v.number for v in parcel.volumes if v.state != VolumeState.WRITTEN]
    # A state that writing the volumes would not change comes first.
    awaits_writing = sent.state == SentState.BUILT and unwritten
    if after_sent(sent.state, SentEvent.SENT) is None and not awaits_writing:
        raise RefusedError(f"{name} is {sent.state}", hint="create a new parcel", code=Code.WRONG_STATE)
    if unwritten:
        raise RefusedError(
            f"{name}: not written and read back yet: {volumes(unwritten)}",
            hint=f"courier parcel write {name} --layout iso --out DIR",
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


def _shipping(parcel: OutgoingParcel, before: Shipped, code: str, notice: ShipNotice) -> Shipping:
    unsealed = tuple(number for number in range(1, notice.volumes + 1) if number not in notice.seals)
    return Shipping(
        site=code,
        notice=notice,
        changes=_changes(before, code, notice) if _counts(parcel, before, code) else None,
        unsealed=unsealed if parcel.packing.key == "on-arrival" else (),
        shared_seals=_shared_seals(notice.seals),
    )


def _foreseen(
    site: Site,
    parcel: OutgoingParcel,
    before: Shipped,
    shippings: Sequence[Shipping],
    letters: Mapping[str, Sequence[Envelope]],
) -> Shipment:
    """What shipping will do."""
    with site.catalogue.reading() as connection:
        old = replaced_by(connection, parcel)
        told = sites_to_tell(connection, old)
        new = sum(
            not is_waiting(connection, message, code) for code, messages in letters.items() for message in messages
        )
    shipped = {one.site for one in shippings} | {code for code, to in before.to.items() if to.shipped_ns}
    return Shipment(
        shippings=tuple(shippings),
        queued=new + len(told),
        state=after_sent(parcel.sent.state, SentEvent.SENT) or parcel.sent.state,
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
    before = {f"seal of volume {number}": serial for number, serial in seals.items()}
    before |= {"carrier": to.carrier, "tracking": to.tracking}
    present = {f"seal of volume {n}": serial for n, serial in sorted(notice.seals.items())}
    present |= {"carrier": notice.carrier, "tracking": notice.tracking}
    return tuple(
        f"{what} {new} ({before.get(what) or 'none'} before)"
        for what, new in present.items()
        if new != before.get(what, "")
    )


def _mark_sent(connection: Connection, site: Site, parcel: OutgoingParcel, shippings: Sequence[Shipping]) -> None:
    name = parcel.sent.parcel
    several = len(parcel.packing.destinations) > 1
    text = "; ".join(
        (f"to {one.site} (set {one.notice.copy}), " if several else "")
        + f"carrier {one.notice.carrier or '-'}, tracking {one.notice.tracking or '-'}"
        for one in shippings
    )
    if not sent_event(connection, site, name, SentEvent.SENT, text):
        raise RefusedError(
            f"another command has recalled or ended {name} meanwhile",
            hint=f"courier parcel log {name} says what happened to it",
            code=Code.WRONG_STATE,
        )


def _enqueue(connection: Connection, parcel: OutgoingParcel, code: str, messages: Sequence[Envelope]) -> int:
    """Queue the messages for a destination; return how many that adds to those that wait.

    All go now, those too that were acknowledged: who ships again misses them there.
    """
    count = 0
    for message in messages:
        if enqueue(connection, message, code, priority=parcel.packing.priority, again=True):
            count += 1
        else:
            send_again(connection, now(), site=code, sha256=sha256_hex(message.encode()))
    return count


def _record(connection: Connection, parcel: OutgoingParcel, one: Shipping) -> None:
    """Record the shipment to a destination, in place of the one before."""
    name, notice = parcel.sent.parcel, one.notice
    values = {"copy": notice.copy, "carrier": notice.carrier, "tracking": notice.tracking}
    parcels.change_destination(connection, name, one.site, shipped_ns=notice.issued_ns, **values)
    parcels.put_seals(connection, name, one.site, parcel.sent.edition, notice.seals)


def _custody(parcel: OutgoingParcel, before: Shipped, shippings: Sequence[Shipping]) -> list[Happened]:
    """The custody entries of a shipment: what was not recorded when a set of media was shipped before."""
    things: list[Happened] = []
    of_set: dict[int, Shipping] = {}
    for one in shippings:
        of_set.setdefault(one.notice.copy, one)
    for copy, one in of_set.items():
        notice, to = one.notice, before.to[one.site]
        put_on = before.seals.get(one.site, {})
        new = tuple(SealMark(volume=n, serial=s) for n, s in sorted(notice.seals.items()) if put_on.get(n) != s)
        fresh = {v.number for v in parcel.volumes if to.shipped_ns and (v.written_ns or 0) > to.shipped_ns}
        for event, chosen in (
            ("sealed", tuple(seal for seal in new if seal.volume not in fresh)),
            ("replaced", tuple(seal for seal in new if seal.volume in fresh)),
        ):
            if chosen:
                numbers = tuple(seal.volume for seal in chosen)
                things.append(Happened(event=event, copy=copy, volumes=numbers, seals=chosen))
        if (
            not _counts(parcel, before, one.site)
            or new
            or (notice.carrier, notice.tracking) != (to.carrier, to.tracking)
        ):
            sites = ", ".join(one.site for one in shippings if one.notice.copy == copy)
            note = f"for {sites}" if len(parcel.packing.destinations) > 1 else ""
            things.append(
                Happened(event="handed-over", copy=copy, to=notice.carrier, tracking=notice.tracking, note=note)
            )
    return things
