"""Sharing custody entries: every site of a parcel gets the whole ledger of it.

A receiver sends its entries to the parcel's sender, the sender sends them to every destination: in batches, with the
next ``channel sync``. An entry that came from a site, or was sent to it, is not sent there again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import CourierError, RefusedError
from courier.parcel.custody_ledger import Keeper, is_known, judge
from courier.parcel.states import SentEvent, SentState
from courier.parcel.transitions import FINDING, log_entry, sent_event
from courier.site.catalog import custody as rows
from courier.site.catalog import messages, parcels
from courier.site.catalog.custody import KeptEntry
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.text import harmless, plural, volumes
from formats.documents import custody as custody_doc
from formats.documents.custody import CustodyBatch, CustodyEntry
from formats.documents.notice import TYPE as NOTICE_TYPE
from formats.documents.notice import ShipNotice
from formats.envelope import Envelope, parse_envelope

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
            unannounced = _unannounced(connection, parcel, peers)
            if unannounced == set(peers) and peers:
                continue
            peers = [peer for peer in peers if peer not in unannounced]
            kept = rows.due_of_parcel(connection, parcel)
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
                rows.note_shared(connection, one, peers, due=int(bool(unannounced)))
    return count


def _unannounced(connection: Connection, parcel: str, peers: list[str]) -> set[str]:
    """The sites to which the notice of a parcel still waits here: they do not know the parcel yet."""
    found = set()
    for peer in peers:
        for message in messages.queued(connection, peer):
            if message.type == NOTICE_TYPE:
                body = messages.read(connection, message.sha256, peer, 0, message.size)
                if ShipNotice.parse(parse_envelope(body).payload).parcel == parcel:
                    found.add(peer)
    return found


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
    with site.catalogue.reading() as connection:
        _check_concerned(connection, site, batch)
    trust, judged, faults = site.trust(), [], []
    for data in batch.entries:
        try:
            judged.append(judge(trust, data, parcel=batch.parcel))
        except CourierError as error:
            faults.append(error.message)
    with site.catalogue.writing() as connection:
        keeper = Keeper(connection, trust, came_from=batch.site)
        for one in judged:
            try:
                if keeper.keep(one):
                    _note_arrival(connection, site, batch, one.entry)
            except CourierError as error:
                faults.append(error.message)
        if faults:
            more = f"; and {plural(len(faults) - 1, 'more such fault')}" if len(faults) > 1 else ""
            text = f"custody entry passed on by {batch.site}: {faults[0]}{more}"
            parcels.write_log(connection, log_entry(site, batch.parcel, FINDING, text))
    return ""


def _check_concerned(connection: Connection, site: Site, batch: CustodyBatch) -> None:
    """Raise `RefusedError` unless a batch is from the parcel's sender, or here at the sender from a destination.

    The parcel must be known here. Its sender tells of its custody after the notice was handed over.
    """
    ours = batch.parcel.startswith(site.code)
    goes_to = [goes.site for goes in parcels.destinations(connection, batch.parcel)] if ours else [batch.parcel[:3]]
    if batch.site not in goes_to:
        raise RefusedError(
            f"custody entries of {batch.parcel} by {batch.site}, which is neither its sender nor a destination",
            hint=f"ask {batch.site} how it came by the parcel",
            code=Code.NOT_CONCERNED,
        )
    if not is_known(connection, batch.parcel):
        raise RefusedError(
            f"custody entries of {batch.parcel} by {batch.site}, which has announced no such parcel here",
            hint=f"ask {batch.site} to ship it again: courier parcel ship {batch.parcel}",
            code=Code.NOT_ANNOUNCED,
        )


def _note_arrival(connection: Connection, site: Site, batch: CustodyBatch, entry: CustodyEntry) -> None:
    """Note that our parcel is arriving, where the entry says that a destination has volumes of it."""
    if entry.event == "received" and entry.site == batch.site and batch.parcel.startswith(site.code):
        what = harmless(volumes(entry.volumes), 200) if entry.volumes else "volumes of it"
        sent_event(connection, site, batch.parcel, SentEvent.ARRIVAL, f"{entry.site} has {what}")
