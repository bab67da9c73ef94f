"""Ship notices that came by network: a parcel is announced, and what its media must agree with is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.states import ReceivedEvent, ReceivedState
from courier.parcel.transitions import begin_received, received_event
from courier.site.catalog import letters, parcels
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.text import plural
from formats.documents.notice import ShipNotice
from formats.envelope import Envelope, parse_envelope

if TYPE_CHECKING:
    from sqlalchemy import Connection


def take_ship_notice(site: Site, notice: ShipNotice, envelope: Envelope) -> str:
    """Keep a notice and note the parcel as announced; return an empty text, as nothing waits for a person.

    Raises `RefusedError` for a notice about another site's parcel.
    """
    if not notice.parcel.startswith(notice.source):
        raise RefusedError(
            f"ship notice by {notice.source} for parcel {notice.parcel}, which is another site's",
            hint="ask the sender",
            code=Code.WRONG_SITE,
        )
    with site.catalogue.writing() as connection:
        if any(_is_as_new(data, notice) for data, _ in parcels.notices(connection, notice.parcel)):
            return ""
        parcels.keep_notice(
            connection,
            notice.parcel,
            notice.packing_list,
            build=notice.build,
            envelope=envelope.encode(),
            received_ns=now(),
        )
        _announce(connection, site, notice)
    return ""


def _is_as_new(data: bytes, notice: ShipNotice) -> bool:
    """Whether the notice in envelope ``data`` is about the same packing list and was issued no earlier."""
    kept = ShipNotice.parse(parse_envelope(data).payload)
    return kept.packing_list == notice.packing_list and kept.issued_ns >= notice.issued_ns


def _announce(connection: Connection, site: Site, notice: ShipNotice) -> None:
    """Note every build of the parcel as announced; one that is not known here begins so, unless it was recalled."""
    text = f"{plural(notice.volumes, 'volume')}, carrier {notice.carrier or '-'}, tracking {notice.tracking or '-'}"
    known = parcels.find_received(connection, notice.parcel)
    for row in known:
        received_event(connection, site, row.parcel, row.build, ReceivedEvent.ANNOUNCED, text)
        if row.state in (ReceivedState.IMPORTED, ReceivedState.IMPORTING) and row.receipt is not None:
            # Who ships again what was imported long ago has lost the receipt, with its home or its catalogue.
            enqueue(connection, parse_envelope(row.receipt), row.source, again=True)
    # A build that was discarded here stands for nothing of another one.
    is_new = all(row.state == ReceivedState.DISCARDED and row.build != notice.build for row in known)
    if is_new and letters.find(connection, "recall", notice.parcel, notice.source) is None:
        announced = ReceivedParcel(
            parcel=notice.parcel,
            build=notice.build,
            source=notice.source,
            state=ReceivedState.ANNOUNCED,
            packing_list=notice.packing_list,
            hold=0,
            first_ns=now(),
            imported_ns=None,
            receipt=None,
        )
        begin_received(connection, site, ReceivedEvent.ANNOUNCED, announced, text)
