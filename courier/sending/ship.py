"""The sender's journey, last step: mark a parcel sent, and queue what travels by network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.states import SentEvent, SentState, VolumeState, after_sent
from courier.parcel.transitions import sent_event
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.sending.parcel_key import encrypt_parcel_key, withdraw_key
from courier.site.catalog import parcels
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue, was_queued
from formats.blocks import ranges
from formats.documents import notice as notice_doc
from formats.documents import package as package_doc
from formats.documents import supersession as supersession_doc
from formats.documents.custody import SealMark
from formats.documents.notice import PackageRef, ShipNotice
from formats.documents.package import PackageDefinition
from formats.documents.supersession import Supersession

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from courier.site.catalog.parcels import SentParcel


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipment:
    """What `ship_parcel` did, or would do: the notice, how many messages it queued for the next ``channel sync``, and
    the parcel's state then.

    ``changes``: what is other than when it was shipped before, None where it was not. ``superseded``: the parcel that
    it replaces, or empty. ``unsealed``: volumes without a seal, where the key is released for the seals reported.
    ``shared_seals``: (serial number, volumes) where several have the same.
    """

    notice: ShipNotice
    queued: int
    state: str
    changes: tuple[str, ...] | None
    superseded: str
    unsealed: tuple[int, ...]
    shared_seals: tuple[tuple[str, tuple[int, ...]], ...]


def ship_parcel(
    site: Site,
    parcel: OutgoingParcel,
    *,
    carrier: str = "",
    tracking: str = "",
    seals: Mapping[int, str] | None = None,
    dry_run: bool = False,
) -> Shipment:
    """Mark a parcel Sent and queue its package definitions and ship notice; again: queue them again.

    ``dry_run``: only judge whether it may be, and say what it would do.

    Raises `RefusedError` while a volume is not written and read back, when its state forbids it, or when the clock and
    the signing key do not agree.
    """
    site.check_key()
    name, packing = parcel.sent.parcel, parcel.packing
    seals = dict(seals or {})
    for number in seals:
        if not 1 <= number <= packing.volumes:
            raise NotFoundError(f"{name} has no volume {number}", hint=f"its volumes are 1 to {packing.volumes}")
    unwritten = [v.number for v in parcel.volumes if v.state != VolumeState.WRITTEN]
    # First what no writing would change.
    awaits_writing = parcel.sent.state == SentState.BUILT and unwritten
    if after_sent(parcel.sent.state, SentEvent.SENT) is None and not awaits_writing:
        arrived = ": every destination has it" if parcel.sent.state == SentState.CONFIRMED else ""
        raise RefusedError(f"{name} is {parcel.sent.state}{arrived}", hint="create a new parcel", code=Code.WRONG_STATE)
    if unwritten:
        spans = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges(unwritten))
        raise RefusedError(
            f"{name}: volumes not written and read back yet: {spans}",
            hint=f"courier parcel write {name} --layout iso --out DIR",
            code=Code.NOT_WRITTEN,
        )
    with site.catalogue.reading() as connection:
        carried = parcels.sent_packages(connection, name)
    if not carried:
        raise RefusedError(
            f"{name}: which packages it carries is not known here any more",
            hint="it was rebuilt from sealed media: create a new parcel",
            code=Code.PACKAGES_UNKNOWN,
        )
    for code in packing.destinations:
        site.trust().site(code)
    seals = {v.number: v.seal for v in parcel.volumes if v.seal} | seals
    notice = ShipNotice(
        parcel=name,
        source=site.code,
        destinations=packing.destinations,
        issued_ns=now(),
        packing_list=parcel.sent.packing_list,
        build=parcel.sent.build,
        volumes=packing.volumes,
        priority=packing.priority,
        packages=tuple(PackageRef(package=p, version=v, listing=listing) for p, v, listing, _ in carried),
        carrier=carrier or parcel.sent.carrier,
        tracking=tracking or parcel.sent.tracking,
        seals=seals,
        key=encrypt_parcel_key(site, parcel, packing.destinations) if packing.key == "network" else b"",
    )
    envelopes = [site.sign(_issued_now(site, definition), package_doc.TYPE) for _, _, _, definition in carried]
    envelopes.append(site.sign(notice.payload(), notice_doc.TYPE))
    with site.catalogue.reading() as connection:
        old = _replaced(connection, parcel)
        told = [goes.site for goes in parcels.destinations(connection, old.parcel)] if old and old.build else []
        new = [
            (code, one) for code in packing.destinations for one in envelopes if not was_queued(connection, one, code)
        ]
    unsealed = tuple(number for number in range(1, packing.volumes + 1) if number not in seals)
    shipment = Shipment(
        notice=notice,
        queued=len(new) + len(told),
        state=after_sent(parcel.sent.state, SentEvent.SENT) or parcel.sent.state,
        changes=_changes(parcel, notice),
        superseded=old.parcel if old else "",
        unsealed=unsealed if packing.key == "on-arrival" else (),
        shared_seals=_shared_seals(seals),
    )
    if dry_run:
        return shipment
    with site.catalogue.writing() as connection:
        text = f"carrier {notice.carrier or '-'}, tracking {notice.tracking or '-'}"
        if not sent_event(
            connection, site, name, SentEvent.SENT, text, carrier=notice.carrier, tracking=notice.tracking
        ):
            raise RefusedError(
                f"another command has recalled or ended {name} meanwhile",
                hint=f"courier parcel log {name} says what happened to it",
                code=Code.WRONG_STATE,
            )
        queued = sum(
            enqueue(connection, envelope, code, priority=packing.priority)
            for code in packing.destinations
            for envelope in envelopes
        )
        for v in parcel.volumes:
            if v.number in seals:
                parcels.put_sent_volume(connection, replace(v, seal=seals[v.number]))
        record(connection, site, name, *_custody(parcel, notice))
        if parcel.sent.supersedes and parcel.sent.state == SentState.WRITTEN:
            queued += _supersede(connection, site, parcel.sent.supersedes, name)
    return replace(shipment, queued=queued)


def _shared_seals(seals: Mapping[int, str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Serial numbers that several volumes have: one seal on a box that holds them, or a slip."""
    bearers: dict[str, list[int]] = {}
    for number, serial in sorted(seals.items()):
        bearers.setdefault(serial, []).append(number)
    return tuple((serial, tuple(numbers)) for serial, numbers in bearers.items() if len(numbers) > 1)


def _changes(parcel: OutgoingParcel, notice: ShipNotice) -> tuple[str, ...] | None:
    """What a parcel that was shipped before says otherwise now."""
    if parcel.sent.state not in (SentState.SENT, SentState.ARRIVING):
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


def _replaced(connection: Connection, parcel: OutgoingParcel) -> SentParcel | None:
    """The parcel that this one replaces when it is shipped for the first time, where it still can be replaced."""
    if not parcel.sent.supersedes or parcel.sent.state != SentState.WRITTEN:
        return None
    old = parcels.find_sent(connection, parcel.sent.supersedes)
    return old if old is not None and after_sent(old.state, SentEvent.SUPERSEDED) is not None else None


def _issued_now(site: Site, payload: bytes) -> bytes:
    """A definition settled when the parcel was built, for the present key to sign."""
    definition = PackageDefinition.parse(payload)
    return replace(definition, issued_ns=site.signing_time(definition.issued_ns)).payload()


def _custody(parcel: OutgoingParcel, notice: ShipNotice) -> list[Happened]:
    """What a shipment puts into the custody ledger: what was not said when the parcel was shipped before."""
    put_on = {v.number: v.seal for v in parcel.volumes if v.seal}
    new = tuple(SealMark(volume=n, serial=s) for n, s in sorted(notice.seals.items()) if put_on.get(n) != s)
    things = [Happened(event="sealed", volumes=tuple(seal.volume for seal in new), seals=new)] if new else []
    before = parcel.sent
    again = before.state in (SentState.SENT, SentState.ARRIVING)
    if not again or new or (notice.carrier, notice.tracking) != (before.carrier, before.tracking):
        things.append(Happened(event="handed-over", to=notice.carrier, tracking=notice.tracking))
    return things


def _supersede(connection: Connection, site: Site, old: str, new: str) -> int:
    """``new`` has been shipped in place of ``old``: say so to every destination of ``old``; return how many."""
    sent = parcels.find_sent(connection, old)
    if sent is None:
        return 0
    if not sent_event(connection, site, old, SentEvent.SUPERSEDED, f"by {new}") or not sent.build:
        return 0
    withdraw_key(connection, old)
    codes = tuple(goes.site for goes in parcels.destinations(connection, old))
    word = Supersession(
        parcel=old, build=sent.build, by=new, source=site.code, destinations=codes, issued_ns=now(), reason=""
    )
    envelope = site.sign(word.payload(), supersession_doc.TYPE)
    return sum(enqueue(connection, envelope, code) for code in codes)
