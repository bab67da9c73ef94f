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
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.sending.parcel_key import encrypt_parcel_key
from courier.sending.supersede import replaced_by, sites_to_tell, supersede
from courier.site.catalog import parcels
from courier.site.catalog.messages import send_again
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue, was_queued
from courier.text import dashed
from formats.blocks import ranges
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
class Shipment:
    """What `ship_parcel` did, or would do.

    ``queued``: messages for the next ``channel sync``. ``state``: that of the parcel afterwards. ``changes``: what
    differs from the shipment before, None if there was none. ``superseded``: the parcel that it replaces, or empty.
    ``unsealed``: volumes without a seal, if the key is released for the seals that are reported. ``shared_seals``:
    (serial number, volumes) of each seal that several volumes have.
    """

    notice: ShipNotice
    queued: int
    state: str
    changes: tuple[str, ...] | None
    superseded: str
    unsealed: tuple[int, ...]
    shared_seals: tuple[tuple[str, tuple[int, ...]], ...]


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
    carrier: str = "",
    tracking: str = "",
    seals: Mapping[int, str] | None = None,
    dry_run: bool = False,
) -> Shipment:
    """Mark a parcel Sent, and queue its package definitions and ship notice. It may be shipped again.

    ``carrier``, ``tracking`` and ``seals`` (volume -> serial number) add to what was given when it was shipped before.
    ``dry_run``: only check whether it may be shipped, and say what that would do.

    Raises `RefusedError` if a volume is not written and read back, if the state of the parcel does not allow it, or if
    the clock and the signing key do not agree; `NotFoundError` for a seal on a volume that does not exist.
    """
    site.check_key()
    _check_may_ship(parcel, seals or {})
    carried = _carried(site, parcel)
    all_seals = {v.number: v.seal for v in parcel.volumes if v.seal} | dict(seals or {})
    notice = _notice(site, parcel, carried, carrier=carrier, tracking=tracking, seals=all_seals)
    messages = [site.sign(_reissued(site, one.definition), package_doc.TYPE) for one in carried]
    messages.append(site.sign(notice.payload(), notice_doc.TYPE))
    shipment = _foreseen(site, parcel, notice, messages)
    if dry_run:
        return shipment
    with site.catalogue.writing() as connection:
        _mark_sent(connection, site, parcel, notice)
        queued = _enqueue(connection, parcel, messages)
        _record_seals(connection, parcel, notice)
        record(connection, site, parcel.sent.parcel, *_custody(parcel, notice))
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
        arrived = ": every destination has it" if sent.state == SentState.CONFIRMED else ""
        raise RefusedError(f"{name} is {sent.state}{arrived}", hint="create a new parcel", code=Code.WRONG_STATE)
    if unwritten:
        spans = dashed(ranges(unwritten))
        raise RefusedError(
            f"{name}: volumes not written and read back yet: {spans}",
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
    site: Site,
    parcel: OutgoingParcel,
    carried: Sequence[_Carried],
    *,
    carrier: str,
    tracking: str,
    seals: Mapping[int, str],
) -> ShipNotice:
    """The ship notice; raises `RefusedError` for a destination that is not trusted any more."""
    packing, sent, trust = parcel.packing, parcel.sent, site.trust()
    cards = [trust.site(code).card for code in packing.destinations]
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
        carrier=carrier or sent.carrier,
        tracking=tracking or sent.tracking,
        seals=dict(seals),
        key=encrypt_parcel_key(parcel, cards) if packing.key == "network" else b"",
    )


def _reissued(site: Site, payload: bytes) -> bytes:
    """A definition that was fixed when the parcel was built, for the present key to sign."""
    definition = PackageDefinition.parse(payload)
    return replace(definition, issued_ns=site.signing_time(definition.issued_ns)).payload()


def _foreseen(site: Site, parcel: OutgoingParcel, notice: ShipNotice, messages: Sequence[Envelope]) -> Shipment:
    """What shipping will do."""
    with site.catalogue.reading() as connection:
        old = replaced_by(connection, parcel)
        told = sites_to_tell(connection, old)
        new = sum(
            not was_queued(connection, message, code) for code in parcel.packing.destinations for message in messages
        )
    unsealed = tuple(number for number in range(1, notice.volumes + 1) if number not in notice.seals)
    return Shipment(
        notice=notice,
        queued=new + len(told),
        state=after_sent(parcel.sent.state, SentEvent.SENT) or parcel.sent.state,
        changes=_changes(parcel, notice),
        superseded=old.parcel if old else "",
        unsealed=unsealed if parcel.packing.key == "on-arrival" else (),
        shared_seals=_shared_seals(notice.seals),
    )


def _shared_seals(seals: Mapping[int, str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Serial numbers that several volumes have: one seal on a box that holds them, or a slip of the pen."""
    volumes: dict[str, list[int]] = {}
    for number, serial in sorted(seals.items()):
        volumes.setdefault(serial, []).append(number)
    return tuple((serial, tuple(numbers)) for serial, numbers in volumes.items() if len(numbers) > 1)


def _was_shipped(parcel: OutgoingParcel) -> bool:
    return parcel.sent.state in (SentState.SENT, SentState.ARRIVING)


def _changes(parcel: OutgoingParcel, notice: ShipNotice) -> tuple[str, ...] | None:
    """How the notice differs from the shipment before; None if there was none."""
    if not _was_shipped(parcel):
        return None
    before = {f"seal of volume {v.number}": v.seal for v in parcel.volumes}
    before |= {"carrier": parcel.sent.carrier, "tracking": parcel.sent.tracking}
    present = {f"seal of volume {n}": serial for n, serial in sorted(notice.seals.items())}
    present |= {"carrier": notice.carrier, "tracking": notice.tracking}
    return tuple(
        f"{what} {new} ({before.get(what) or 'none'} before)"
        for what, new in present.items()
        if new != before.get(what, "")
    )


def _mark_sent(connection: Connection, site: Site, parcel: OutgoingParcel, notice: ShipNotice) -> None:
    name = parcel.sent.parcel
    text = f"carrier {notice.carrier or '-'}, tracking {notice.tracking or '-'}"
    if not sent_event(connection, site, name, SentEvent.SENT, text, carrier=notice.carrier, tracking=notice.tracking):
        raise RefusedError(
            f"another command has recalled or ended {name} meanwhile",
            hint=f"courier parcel log {name} says what happened to it",
            code=Code.WRONG_STATE,
        )


def _enqueue(connection: Connection, parcel: OutgoingParcel, messages: Sequence[Envelope]) -> int:
    """Queue every message for every destination; return how many are new.

    Those that were queued before, and are not acknowledged, go again now: who ships again misses them there.
    """
    count = 0
    for code in parcel.packing.destinations:
        for message in messages:
            if enqueue(connection, message, code, priority=parcel.packing.priority):
                count += 1
            else:
                send_again(connection, now(), site=code, sha256=sha256_hex(message.encode()))
    return count


def _record_seals(connection: Connection, parcel: OutgoingParcel, notice: ShipNotice) -> None:
    for v in parcel.volumes:
        if v.number in notice.seals:
            parcels.put_sent_volume(connection, replace(v, seal=notice.seals[v.number]))


def _custody(parcel: OutgoingParcel, notice: ShipNotice) -> list[Happened]:
    """The custody entries of a shipment: what was not recorded when the parcel was shipped before."""
    put_on = {v.number: v.seal for v in parcel.volumes if v.seal}
    new = tuple(SealMark(volume=n, serial=s) for n, s in sorted(notice.seals.items()) if put_on.get(n) != s)
    things = [Happened(event="sealed", volumes=tuple(seal.volume for seal in new), seals=new)] if new else []
    before = (parcel.sent.carrier, parcel.sent.tracking)
    if not _was_shipped(parcel) or new or (notice.carrier, notice.tracking) != before:
        things.append(Happened(event="handed-over", to=notice.carrier, tracking=notice.tracking))
    return things
