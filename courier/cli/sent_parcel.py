"""What ``courier parcel show`` tells of a parcel that this site made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from courier.cli.console import Console, time_text
from courier.cli.parcel_network import say_sends, send_document
from courier.cli.planned_parcel import volume_cell
from courier.text import plural, size_text, volumes
from formats.records import format_time

if TYPE_CHECKING:
    from courier.sending.network_record import NetworkSend
    from courier.sending.outgoing_parcel import OutgoingParcel
    from courier.sending.usable import UsablePackage
    from courier.site.catalog.parcels import SentMedium, SentTo, SentVolume
    from courier.site.home import Site
    from formats.documents.packing import PackingList
    from formats.documents.receipt import Receipt
    from formats.documents.repair import RepairRequest

_KEYS = {
    "media": "its key is on the media",
    "network": "its key travels with the ship notice",
    "on-arrival": "its key is released when the arrival is reported",
}
SHOWN = 20
"""Packages of a parcel of which each is shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shown:
    """All that is shown. ``media``: every one that was written."""

    outgoing: OutgoingParcel
    packages: Sequence[tuple[str, int]]
    to: Sequence[SentTo]
    seals: Mapping[str, Mapping[int, str]]
    arrived: Mapping[str, Mapping[int, int]]
    lost: Mapping[str, Sequence[int]]
    media: Sequence[SentMedium]
    requests: Sequence[tuple[Path, RepairRequest]]
    parts: Mapping[str, Receipt]
    sends: Mapping[str, NetworkSend]
    usable: Sequence[UsablePackage]

    @property
    def sets(self) -> dict[tuple[int, str, str], list[int]]:
        """The numbers of the volumes that were written, by edition, layout, and the folder or drive they are in."""
        found: dict[tuple[int, str, str], list[int]] = {}
        for medium in self.media:
            folder = medium.path if medium.in_drive else str(Path(medium.path).parent)
            found.setdefault((medium.edition, medium.layout, folder), []).append(medium.number)
        return found


def show_sent(console: Console, site: Site, outgoing: OutgoingParcel) -> None:
    """Show a parcel of ours: its destinations, its volumes, and what waits for the operator."""
    from courier.cli.custody import warn_of_seals

    shown = _gather(site, outgoing)
    _say(console, shown)
    warnings = warn_of_seals(console, site, outgoing.sent.parcel)
    console.result({**_document(shown), "seal_warnings": warnings})


def _gather(site: Site, outgoing: OutgoingParcel) -> _Shown:
    from courier.sending.arrivals_there import volumes_arrived
    from courier.sending.confirmation import part_of
    from courier.sending.network_record import sends_of
    from courier.sending.release import waiting_reports
    from courier.sending.repair_answer import waiting_requests
    from courier.sending.usable import usable_packages
    from courier.site.catalog import parcels

    name, edition = outgoing.sent.parcel, outgoing.sent.edition
    with site.catalogue.reading() as connection:
        to = parcels.destinations(connection, name)
        parts = {one.site: part_of(connection, name, one.site) for one in to}
        return _Shown(
            outgoing=outgoing,
            packages=[(p, v) for p, v, _, _ in parcels.sent_packages(connection, name)],
            to=to,
            seals=parcels.seals(connection, name, edition),
            arrived=volumes_arrived(site, name),
            lost=waiting_reports(site, outgoing),
            media=parcels.written_media(connection, name),
            requests=[(path, request) for path, request in waiting_requests(site, outgoing)],
            sends=sends_of(site, name),
            usable=usable_packages(site, outgoing),
            parts={code: receipt for code, receipt in parts.items() if receipt is not None},
        )


def _say(console: Console, shown: _Shown) -> None:
    sent, packing = shown.outgoing.sent, shown.outgoing.packing
    name = sent.parcel
    console.say(f"{name}: {sent.state}, priority {sent.priority}, made {time_text(sent.created_ns)}")
    console.say(f"Packages: {', '.join(f'{p}:{v}' for p, v in shown.packages)}")
    if packing.bases:
        console.say(f"Delta on {packing.based_on}, which its destinations hold")
    console.say(_media_text(packing))
    say_usable(console, shown.usable, packing)
    encrypted = f"Encrypted; {_KEYS[packing.key]}." if packing.encrypted else "Not encrypted."
    console.say(encrypted)
    for to in shown.to:
        _say_destination(console, shown, to)
    common = _common_seals(shown)
    rows = [
        (
            volume_cell(packing.spares, v.number),
            v.state,
            size_text(v.bytes),
            v.layout or "-",
            time_text(v.written_ns),
            common.get(v.number, "-"),
        )
        for v in shown.outgoing.volumes
    ]
    console.table(("VOLUME", "STATE", "SIZE", "LAYOUT", "WRITTEN", "SEAL"), rows)
    for (edition, layout, folder), numbers in shown.sets.items():
        of = f"edition {edition}, " if edition != sent.edition else ""
        console.say(f"Written ({of}{layout}): {volumes(numbers)}, {folder}")
    for path, request in shown.requests:
        console.say(f"{request.site} asks for {plural(request.count, 'block')}: courier parcel answer {path} --yes")
    for code, lost in shown.lost.items():
        console.say(
            f"{code} has reported {volumes(lost)} as lost, and waits for the key: "
            f"courier parcel release {name} --to {code}; or courier parcel recall {name}"
        )


def _media_text(packing: PackingList) -> str:
    spares = len(packing.spares)
    parity = packing.parity and not spares
    more = f", {spares} of them spare" if spares else ""
    on_each = ", with parity on each" if parity else ""
    each, all_of_it = size_text(packing.capacity), plural(packing.volumes, "volume")
    return f"Media: {packing.media}, {each} each; {all_of_it}{more}{on_each}"


def say_usable(console: Console, usable: Sequence[UsablePackage], packing: PackingList) -> None:
    """Say with which volumes each package can be used there, where packages are imported before the rest comes."""
    if packing.volumes < 2 or len(usable) < 2:
        return
    for one in usable[:SHOWN]:
        console.say(f"  {one.name} is {one.text}")
    if len(usable) > SHOWN:
        console.say(f"  and {plural(len(usable) - SHOWN, 'further package')}: --json lists them")


def _say_destination(console: Console, shown: _Shown, to: SentTo) -> None:
    name, several = shown.outgoing.sent.parcel, len(shown.to) > 1
    if to.shipped_ns is None:
        rest = f" --to {to.site}" if several else ""
        answer = f", confirmed {time_text(to.confirmed_ns)}" if to.receipt else ""
        console.say(f"To {to.site}: not shipped yet{answer} (courier parcel ship {name}{rest})")
    else:
        which = f"set {to.copy} of the media, " if several else ""
        answer = f"confirmed {time_text(to.confirmed_ns)}" if to.receipt else "no receipt yet"
        console.say(
            f"To {to.site}: {which}carrier {to.carrier or '-'}, tracking {to.tracking or '-'}, shipped "
            f"{time_text(to.shipped_ns)}, {answer}"
        )
    if several and (seals := shown.seals.get(to.site)):
        console.say(f"  seals: {', '.join(f'{number}={serial}' for number, serial in seals.items())}")
    if arrived := shown.arrived.get(to.site):
        first, last = min(arrived.values()), max(arrived.values())
        when = time_text(first) if first == last else f"{time_text(first)} to {time_text(last)}"
        console.say(f"  arrived there: {volumes(arrived)}, {when}")
    if send := shown.sends.get(to.site):
        say_sends(console, send)
    if part := shown.parts.get(to.site):
        taken = ", ".join(f"{one.package}:{one.version}" for one in part.packages)
        left = ", ".join(f"{one.package}:{one.version}" for one in part.outstanding)
        why = f", {part.ended} there" if part.ended else ""
        console.say(
            f"  in its store, by its receipt of {time_text(part.issued_ns)}: {taken}; not imported: {left}{why}"
        )


def _common_seals(shown: _Shown) -> dict[int, str]:
    """The seals of the volumes, by number, where all sets of the media have the same; else none."""
    shipped = [shown.seals.get(to.site, {}) for to in shown.to if to.shipped_ns]
    return dict(shipped[0]) if shipped and all(seals == shipped[0] for seals in shipped) else {}


def _same(values: Sequence[str]) -> str:
    return values[0] if values and all(value == values[0] for value in values) else ""


def _document(shown: _Shown) -> dict[str, Any]:
    sent, packing = shown.outgoing.sent, shown.outgoing.packing
    common = _common_seals(shown)
    shipped = [to for to in shown.to if to.shipped_ns]
    return {
        "parcel_id": sent.parcel,
        "state": sent.state,
        "priority": sent.priority,
        "made": format_time(sent.created_ns),
        "carrier": _same([to.carrier for to in shipped]),
        "tracking": _same([to.tracking for to in shipped]),
        "build": sent.build,
        "media": packing.media,
        "capacity": packing.capacity,
        "spares": sorted(packing.spares),
        "encrypted": packing.encrypted,
        "key": packing.key,
        "bases": [{"package_id": base.package, "version": base.version} for base in packing.bases],
        "to": [
            {
                "site": to.site,
                "confirmed": to.receipt is not None,
                "confirmed_at": format_time(to.confirmed_ns) if to.confirmed_ns else None,
                "shipped": format_time(to.shipped_ns) if to.shipped_ns else None,
                "copy": to.copy,
                "carrier": to.carrier,
                "tracking": to.tracking,
                "seals": [{"volume": n, "serial": s} for n, s in shown.seals.get(to.site, {}).items()],
                "arrived": [{"volume": n, "at": format_time(at)} for n, at in shown.arrived.get(to.site, {}).items()],
                "lost": list(shown.lost.get(to.site, ())),
                "by_network": send_document(shown.sends[to.site]) if to.site in shown.sends else None,
                "part": _part(shown.parts.get(to.site)),
            }
            for to in shown.to
        ],
        "packages": [{"package_id": p, "version": v} for p, v in shown.packages],
        "usable": [
            {"package_id": one.package, "version": one.version, "volumes": list(one.volumes)} for one in shown.usable
        ],
        "volumes": [_volume(v, packing, common.get(v.number, "")) for v in shown.outgoing.volumes],
        "media_written": [
            {"edition": m.edition, "number": m.number, "layout": m.layout, "path": m.path, "at": _time(m.written_ns)}
            for m in shown.media
        ],
        "requests": [{"path": str(p), "site": r.site, "blocks": r.count} for p, r in shown.requests],
    }


def _part(receipt: Receipt | None) -> dict[str, Any] | None:
    """What a destination has imported before the rest came, as its last partial receipt says."""
    if receipt is None:
        return None
    return {
        "at": format_time(receipt.issued_ns),
        "imported": [
            {"package_id": one.package, "version": one.version, "outcome": str(one.outcome)} for one in receipt.packages
        ],
        "outstanding": [{"package_id": one.package, "version": one.version} for one in receipt.outstanding],
        "ended": receipt.ended or None,
    }


def _volume(v: SentVolume, packing: PackingList, seal: str) -> dict[str, Any]:
    return {
        "number": v.number,
        "of": packing.volumes,
        "spare": v.number in packing.spares,
        "path": v.path,
        "bytes": v.bytes,
        "state": v.state,
        "layout": v.layout,
        "written": _time(v.written_ns),
        "seal": seal,
    }


def _time(ns: int | None) -> str | None:
    return format_time(ns) if ns else None
