"""The sender's journey, last step: mark a parcel sent, and queue what travels by network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from courier.catalog import parcels
from courier.errors import NotFound, Refused
from courier.ledger import Happened, record
from courier.lifecycle import SentEvent, SentState, VolumeState, after_sent
from courier.outbox import enqueue
from courier.outgoing import OutgoingParcel
from courier.parcelkey import seal_parcel_key, withdraw_key
from courier.site import Site, now
from courier.transitions import sent_event
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipment:
    """What `ship_parcel` did: the notice, and how many messages wait for the next ``channel sync``."""

    notice: ShipNotice
    queued: int


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

    ``dry_run``: only judge whether it may be, and count the messages.

    Raises `Refused` while a volume is not written and read back, when its state forbids it, or when the clock and the
    signing key do not agree.
    """
    site.check_key()
    name, packing = parcel.sent.parcel, parcel.packing
    seals = dict(seals or {})
    for number in seals:
        if not 1 <= number <= packing.volumes:
            raise NotFound(f"{name} has no volume {number}", hint=f"its volumes are 1 to {packing.volumes}")
    unwritten = [v.number for v in parcel.volumes if v.state != VolumeState.WRITTEN]
    # First what no writing would change.
    awaits_writing = parcel.sent.state == SentState.BUILT and unwritten
    if after_sent(parcel.sent.state, SentEvent.SENT) is None and not awaits_writing:
        arrived = ": every destination has it" if parcel.sent.state == SentState.CONFIRMED else ""
        raise Refused(f"{name} is {parcel.sent.state}{arrived}", hint="create a new parcel", code="wrong-state")
    if unwritten:
        spans = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges(unwritten))
        raise Refused(
            f"{name}: volumes not written and read back yet: {spans}",
            hint=f"courier parcel write {name} --layout iso --out DIR",
            code="not-written",
        )
    with site.catalogue.reading() as connection:
        carried = parcels.sent_packages(connection, name)
    if not carried:
        raise Refused(
            f"{name}: which packages it carries is not known here any more",
            hint="it was rebuilt from sealed media: create a new parcel",
            code="packages-unknown",
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
        key=seal_parcel_key(site, parcel, packing.destinations) if packing.key == "network" else b"",
    )
    envelopes = [site.sign(_issued_now(site, definition), package_doc.TYPE) for _, _, _, definition in carried]
    envelopes.append(site.sign(notice.payload(), notice_doc.TYPE))
    if dry_run:
        return Shipment(notice=notice, queued=len(envelopes) * len(packing.destinations))
    with site.catalogue.writing() as connection:
        text = f"carrier {notice.carrier or '-'}, tracking {notice.tracking or '-'}"
        if not sent_event(
            connection, site, name, SentEvent.SENT, text, carrier=notice.carrier, tracking=notice.tracking
        ):
            raise Refused(
                f"another command has recalled or ended {name} meanwhile",
                hint=f"courier parcel log {name} says what happened to it",
                code="wrong-state",
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
            _supersede(connection, site, parcel.sent.supersedes, name)
    return Shipment(notice=notice, queued=queued)


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


def _supersede(connection: Connection, site: Site, old: str, new: str) -> None:
    """``new`` has been shipped in place of ``old``: say so to every destination of ``old``."""
    sent = parcels.find_sent(connection, old)
    if sent is None:
        return
    if not sent_event(connection, site, old, SentEvent.SUPERSEDED, f"by {new}") or not sent.build:
        return
    withdraw_key(connection, old)
    codes = tuple(goes.site for goes in parcels.destinations(connection, old))
    word = Supersession(
        parcel=old, build=sent.build, by=new, source=site.code, destinations=codes, issued_ns=now(), reason=""
    )
    envelope = site.sign(word.payload(), supersession_doc.TYPE)
    for code in codes:
        enqueue(connection, envelope, code)
