"""Sharing custody entries: every site of a parcel gets the whole ledger of it.

A receiver sends its entries to the parcel's sender, the sender sends them to every destination: in batches, with the
next ``channel sync``. An entry that came from a site, or was sent to it, is not sent there again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import CourierError, RefusedError
from courier.parcel.custody_ledger import merge
from courier.parcel.states import SentEvent, SentState
from courier.parcel.transitions import FINDING, log_entry, sent_event
from courier.site.catalog import custody as rows
from courier.site.catalog import parcels
from courier.site.catalog.custody import KeptEntry
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from formats.documents import custody as custody_doc
from formats.documents.custody import CustodyBatch, CustodyEntry
from formats.envelope import Envelope

if TYPE_CHECKING:
    from sqlalchemy import Connection

NOT_YET_SENT = (SentState.PLANNED, SentState.BUILT, SentState.WRITTEN)
BATCH_BYTES = 4 << 20
"""Bytes of entries in one batch; a single larger entry goes alone."""


def share_ledgers(site: Site) -> int:
    """Queue the entries that other sites do not have yet; return how many batches."""
    count = 0
    with site.catalogue.reading() as connection:
        waiting = rows.due(connection)
    for parcel in waiting:
        with site.catalogue.writing() as connection:
            peers = _peers(connection, site, parcel)
            if peers is None:
                continue
            kept = [one for one in rows.of_parcel(connection, parcel) if one.due]
            for peer in peers:
                mine = [one for one in kept if peer not in one.shared.split(",")]
                for batch in _batches(mine):
                    word = CustodyBatch(
                        parcel=parcel,
                        site=site.code,
                        to=peer,
                        issued_ns=now(),
                        entries=tuple(one.envelope for one in batch),
                    )
                    envelope = site.sign(word.payload(), custody_doc.BATCH_TYPE)
                    enqueue(connection, envelope, peer)
                    count += 1
            for one in kept:
                rows.note_shared(connection, one, peers, due=0)
    return count


def _batches(kept: list[KeptEntry]) -> list[list[KeptEntry]]:
    batches: list[list[KeptEntry]] = []
    size = 0
    for one in kept:
        if not batches or len(batches[-1]) == custody_doc.MAX_BATCH or size + len(one.envelope) > BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(one)
        size += len(one.envelope)
    return batches


def _peers(connection: Connection, site: Site, parcel: str) -> list[str] | None:
    """The sites that are to have our entries of a parcel; None while it has not left this site."""
    sent = parcels.find_sent(connection, parcel)
    if sent is None:
        return [parcel[:3]] if parcel[:3] != site.code else []
    return None if sent.state in NOT_YET_SENT else [goes.site for goes in parcels.destinations(connection, parcel)]


def take_custody_batch(site: Site, batch: CustodyBatch, _envelope: Envelope) -> str:
    """Add the entries that a site passes on to our ledger; return an empty text.

    An entry that is wrong is passed over and becomes a finding in the parcel's log.
    """
    trust = site.trust()
    with site.catalogue.writing() as connection:
        _check_concerned(connection, site, batch)
        for data in batch.entries:
            try:
                entry = merge(connection, trust, data, parcel=batch.parcel, came_from=batch.site)
            except CourierError as error:
                text = f"custody entry passed on by {batch.site}: {error.message}"
                parcels.write_log(connection, log_entry(site, batch.parcel, FINDING, text))
                continue
            if entry is not None:
                _note_arrival(connection, site, batch, entry)
    return ""


def _check_concerned(connection: Connection, site: Site, batch: CustodyBatch) -> None:
    """Raise `RefusedError` unless a batch is from the parcel's sender, or here at the sender from a destination."""
    ours = batch.parcel.startswith(site.code)
    goes_to = [goes.site for goes in parcels.destinations(connection, batch.parcel)] if ours else [batch.parcel[:3]]
    if batch.site not in goes_to:
        raise RefusedError(
            f"custody entries of {batch.parcel} by {batch.site}, which is neither its sender nor a destination",
            hint=f"ask {batch.site} how it came by the parcel",
            code=Code.NOT_CONCERNED,
        )


def _note_arrival(connection: Connection, site: Site, batch: CustodyBatch, entry: CustodyEntry) -> None:
    """Note that our parcel is arriving, where the entry says that a destination has volumes of it."""
    if entry.event == "received" and entry.site == batch.site and batch.parcel.startswith(site.code):
        numbers = ", ".join(map(str, entry.volumes[:20])) + (" ..." if len(entry.volumes) > 20 else "")
        what = f"volume{'' if len(entry.volumes) == 1 else 's'} {numbers or 'of it'}"
        sent_event(connection, site, batch.parcel, SentEvent.ARRIVAL, f"{entry.site} has {what}")
