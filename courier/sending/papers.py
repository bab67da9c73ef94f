"""Waybill and packing note of a parcel of this site, from what the catalogue knows of its shipments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from courier.parcel.custody_ledger import view_ledger
from courier.parcel.label_page import care_words, medium_words
from courier.parcel.paper import write_paper
from courier.parcel.shipping_papers import Consignment, draw_packing_note, draw_waybills
from courier.sending.labels import SetOfMedia, packages_words, sets_wanted, site_names
from courier.sending.outgoing_parcel import OutgoingParcel, check_not_withdrawn
from courier.site.home import Site
from courier.text import volumes
from formats.documents.custody import CustodyEntry
from formats.records import format_time


def write_waybill(
    site: Site,
    parcel: OutgoingParcel,
    out: Path,
    *,
    page: tuple[float, float],
    to: Sequence[str] = (),
    names: bool = True,
    font: Path | None = None,
) -> int:
    """Print a waybill for each shipment (set of media) to ``to``, or to all destinations; return how many pages.

    Raises as `courier.sending.labels.write_labels` does.
    """
    consignments = _consignments(site, parcel, to, names=names)
    lines = view_ledger(site, parcel.sent.parcel).lines
    shipments = [
        (one, [_entry_words(line.entry) for line in lines if line.proved and line.entry.copy in (0, one.copy)])
        for one in consignments
    ]
    title = f"Waybill of {parcel.sent.parcel}"
    write_paper(out, page, title, lambda paper: draw_waybills(paper, page, shipments), font=font)
    return len(shipments)


def write_packing_note(
    site: Site,
    parcel: OutgoingParcel,
    out: Path,
    *,
    page: tuple[float, float],
    to: Sequence[str] = (),
    names: bool = True,
    font: Path | None = None,
) -> int:
    """Print the packing note of each set of media to ``to``, or to all destinations; return how many sets.

    Raises as `courier.sending.labels.write_labels` does.
    """
    notes = _consignments(site, parcel, to, names=names)
    title = f"Packing note of {parcel.sent.parcel}"
    write_paper(out, page, title, lambda paper: draw_packing_note(paper, page, notes), font=font)
    return len(notes)


def _consignments(site: Site, parcel: OutgoingParcel, to: Sequence[str], *, names: bool) -> list[Consignment]:
    """What papers say of each set of media to ``to``, or to all destinations; ``names``: of sites and packages too."""
    check_not_withdrawn(parcel)
    sets = sets_wanted(site, parcel, copy=None, to=to)
    called = site_names(site) if names else {}
    what = tuple(packages_words(site, parcel.packing.parcel, names=names))
    return [_consignment(parcel, one, called, what) for one in sets]


def _consignment(
    parcel: OutgoingParcel, one: SetOfMedia, called: Mapping[str, str], what: tuple[str, ...]
) -> Consignment:
    packing = parcel.packing
    return Consignment(
        parcel=packing.parcel,
        copy=one.copy,
        source=f"{packing.source} {called.get(packing.source, '')}".strip(),
        to=tuple(f"{code} {called.get(code, '')}".strip() for code in one.sites),
        volumes=packing.volumes,
        spares=packing.spares,
        medium=medium_words(packing.media),
        what=what,
        care=care_words(packing.media),
        priority=packing.priority,
        carrier=one.carrier,
        tracking=one.tracking,
        seals=one.seals,
        shipped_ns=one.shipped_ns,
        packing_list=parcel.sent.packing_list,
    )


def _entry_words(entry: CustodyEntry) -> str:
    """An entry of the ledger in a line: what happened to which volumes, who wrote it, and when."""
    which = f" {volumes(entry.volumes)}" if entry.volumes else ""
    to = f" to {entry.to}" if entry.to else ""
    return f"{format_time(entry.at_ns)[:16]}Z  {entry.site}  {entry.operator}: {entry.event}{which}{to}"
