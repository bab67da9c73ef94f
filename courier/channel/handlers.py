"""Acting on a message: each kind of document that comes by network, verified first, and what it changes here.

Every action is idempotent and looks at what the document says, not at its envelope: a document that comes again, or an
older one after a newer, changes nothing. What cannot be acted on is raised, and becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from courier.channel.acknowledgements import take_acknowledgement
from courier.channel.custody_exchange import take_batch
from courier.channel.reports import take_report
from courier.error_codes import Code
from courier.errors import RefusedError, explain
from courier.packages.retirement import take_retirement
from courier.parcel.states import ReceivedEvent, ReceivedState, SentEvent
from courier.parcel.transitions import begin_received, log_entry, received_event, sent_event
from courier.receiving.refuse import refuse_unwanted, take_supersession
from courier.receiving.repair import take_part
from courier.sending.release import judge_arrival
from courier.sending.repair_answer import take_request
from courier.site.catalog import letters, packages, parcels, sites
from courier.site.catalog.letters import Letter
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import cover_again
from courier.site.trust import check_newer_card
from courier.text import plural
from formats.documents import acknowledgement as acknowledgement_doc
from formats.documents import arrival as arrival_doc
from formats.documents import card as card_doc
from formats.documents import custody as custody_doc
from formats.documents import notice as notice_doc
from formats.documents import package as package_doc
from formats.documents import recall as recall_doc
from formats.documents import receipt as receipt_doc
from formats.documents import release as release_doc
from formats.documents import repair as repair_doc
from formats.documents import report as report_doc
from formats.documents import retirement as retirement_doc
from formats.documents import supersession as supersession_doc
from formats.documents.card import SiteCard
from formats.documents.notice import ShipNotice
from formats.documents.package import PackageDefinition
from formats.documents.receipt import Receipt
from formats.documents.release import KeyRelease
from formats.envelope import parse_envelope
from formats.errors import FormatError


def take_message(site: Site, body: bytes) -> tuple[str, str, str]:
    """Verify a message and act on it; return (sender, type, what it waits for here, if a person must decide).

    Acting twice does no harm. Raises `CourierError`.
    """
    try:
        kind = parse_envelope(body).payload_type
    except FormatError as error:
        raise RefusedError(f"message: {error}", hint="ask the sender for it again", code=Code.MALFORMED) from None
    try:
        if kind == repair_doc.REQUEST_TYPE:
            sender, waits = take_request(site, body)
            return sender, kind, waits
        action = _ACTIONS.get(kind)
        if action is None:
            raise RefusedError(
                f"message of unknown type {kind[:100]!r}", hint="update this toolkit", code=Code.UNKNOWN_TYPE
            )
        return action(site, body), kind, ""
    except FormatError as error:
        raise explain(error, where="message") from None


def _take_definition(site: Site, body: bytes) -> str:
    definition, envelope = site.trust().verify(body, package_doc.KIND, now_ns=now())
    with site.catalogue.writing() as connection:
        found = packages.find_definitions(connection, definition.package, definition.version, definition.site)
        kept = found.get(definition.listing.sha256)
        if kept is None or PackageDefinition.parse(parse_envelope(kept[0]).payload).issued_ns < definition.issued_ns:
            packages.keep_definition(
                connection,
                definition.package,
                definition.version,
                definition.site,
                listing=definition.listing.sha256,
                envelope=envelope.encode(),
                received_ns=now(),
            )
    return definition.site


def _take_notice(site: Site, body: bytes) -> str:
    notice, envelope = site.trust().verify(body, notice_doc.KIND, now_ns=now())
    if not notice.parcel.startswith(notice.source):
        raise RefusedError(
            f"ship notice by {notice.source} for parcel {notice.parcel}, which is another site's",
            hint="ask the sender",
            code=Code.WRONG_SITE,
        )
    with site.catalogue.writing() as connection:
        if any(_newer_or_same(data, notice) for data, _ in parcels.notices(connection, notice.parcel)):
            return notice.source
        parcels.keep_notice(
            connection,
            notice.parcel,
            notice.packing_list,
            build=notice.build,
            envelope=envelope.encode(),
            received_ns=now(),
        )
        recalled = letters.find(connection, "recall", notice.parcel, notice.source) is not None
        text = f"{plural(notice.volumes, 'volume')}, carrier {notice.carrier or '-'}, tracking {notice.tracking or '-'}"
        known = parcels.find_received(connection, notice.parcel)
        for row in known:
            received_event(connection, site, row.parcel, row.build, ReceivedEvent.ANNOUNCED, text)
        if not recalled and not known:
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
    return notice.source


def _newer_or_same(data: bytes, notice: ShipNotice) -> bool:
    """Whether the notice in an envelope of ours is of the same layout, and no older."""
    kept = ShipNotice.parse(parse_envelope(data).payload)
    return kept.packing_list == notice.packing_list and kept.issued_ns >= notice.issued_ns


def _take_receipt(site: Site, body: bytes) -> str:
    receipt, envelope = site.trust().verify(body, receipt_doc.KIND, now_ns=now())
    with site.catalogue.writing() as connection:
        sent = parcels.find_sent(connection, receipt.parcel)
        if sent is None or sent.build != receipt.build:
            raise RefusedError(
                f"receipt of {receipt.destination} for {receipt.parcel}, which is not the parcel sent under that ID",
                hint=f"ask {receipt.destination} what it imported",
                code=Code.UNKNOWN_PARCEL,
            )
        carried = {(p, v, listing) for p, v, listing, _ in parcels.sent_packages(connection, receipt.parcel)}
        if carried and carried != {(p.package, p.version, p.listing) for p in receipt.packages}:
            raise RefusedError(
                f"receipt of {receipt.destination} for {receipt.parcel} names other packages than it carries",
                hint=f"ask {receipt.destination} what it imported",
                code=Code.RECEIPT_DISAGREES,
            )
        known = parcels.destinations(connection, receipt.parcel)
        before = next((to.receipt for to in known if to.site == receipt.destination), None)
        if before is not None and Receipt.parse(parse_envelope(before).payload).issued_ns >= receipt.issued_ns:
            return receipt.destination
        kept = parcels.keep_receipt(
            connection, receipt.parcel, receipt.destination, receipt=envelope.encode(), confirmed_ns=receipt.issued_ns
        )
        if not kept:
            raise RefusedError(
                f"receipt of {receipt.destination} for {receipt.parcel}, which was not sent there",
                hint=f"ask {receipt.destination} how it came by the parcel",
                code=Code.NOT_A_DESTINATION,
            )
        outcomes = ", ".join(f"{p.package}:{p.version} {p.outcome}" for p in receipt.packages)
        parcels.write_log(connection, log_entry(site, receipt.parcel, "receipt", f"{receipt.destination}: {outcomes}"))
        confirmed = all(item.receipt is not None for item in parcels.destinations(connection, receipt.parcel))
        if confirmed:
            sent_event(connection, site, receipt.parcel, SentEvent.CONFIRMED, "every destination has answered")
    return receipt.destination


def _take_card(site: Site, body: bytes) -> str:
    code = SiteCard.parse(parse_envelope(body).payload).site
    known = site.trust().site(code)
    card = check_newer_card(body, known.card)
    with site.catalogue.writing() as connection:
        pinned = sites.find(connection, code)
        if pinned is not None and card.serial > pinned.serial:
            sites.pin(connection, replace(pinned, name=card.name, card=body, serial=card.serial))
            cover_again(connection, code)
            text = f"{code} has a new card (serial {card.serial}), signed by the key before it"
            parcels.write_log(connection, log_entry(site, "", "card", text))
    return code


def _take_recall(site: Site, body: bytes) -> str:
    recall, envelope = site.trust().verify(body, recall_doc.KIND, now_ns=now())
    with site.catalogue.writing() as connection:
        if letters.find(connection, "recall", recall.parcel, recall.source) is not None:
            return recall.source
        letter = Letter(
            kind="recall", parcel=recall.parcel, site=recall.source, envelope=envelope.encode(), at_ns=now()
        )
        letters.keep(connection, letter)
        text = f"by {recall.source}: {recall.reason or 'no reason given'}"
        known = parcels.find_received(connection, recall.parcel)
        if not known:
            # It is known here from now on: its media, and commands about it, meet a parcel that is refused.
            refuse_unwanted(connection, site, recall.parcel, recall.build, f"recalled {text}")
        for row in known:
            if row.state == ReceivedState.IMPORTED:
                text += "; it was imported before, and its packages stay"
            else:
                received_event(connection, site, row.parcel, row.build, ReceivedEvent.REFUSED, f"recalled {text}")
        parcels.write_log(connection, log_entry(site, recall.parcel, "recalled", text))
    return recall.source


def _take_arrival(site: Site, body: bytes) -> str:
    arrival, envelope = site.trust().verify(body, arrival_doc.KIND, now_ns=now())
    judge_arrival(site, arrival, envelope)
    return arrival.destination


def _take_release(site: Site, body: bytes) -> str:
    release, envelope = site.trust().verify(body, release_doc.KIND, now_ns=now())
    with site.catalogue.writing() as connection:
        before = letters.find(connection, "release", release.parcel, release.source)
        if (
            before is not None
            and KeyRelease.parse(parse_envelope(before.envelope).payload).issued_ns >= release.issued_ns
        ):
            return release.source
        letter = Letter(
            kind="release", parcel=release.parcel, site=release.source, envelope=envelope.encode(), at_ns=now()
        )
        letters.keep(connection, letter)
        parcels.write_log(connection, log_entry(site, release.parcel, "key", f"released by {release.source}"))
    return release.source


_ACTIONS: dict[str, Callable[[Site, bytes], str]] = {
    acknowledgement_doc.TYPE: take_acknowledgement,
    arrival_doc.TYPE: _take_arrival,
    card_doc.TYPE: _take_card,
    custody_doc.BATCH_TYPE: take_batch,
    notice_doc.TYPE: _take_notice,
    package_doc.TYPE: _take_definition,
    recall_doc.TYPE: _take_recall,
    receipt_doc.TYPE: _take_receipt,
    report_doc.TYPE: take_report,
    retirement_doc.TYPE: take_retirement,
    release_doc.TYPE: _take_release,
    supersession_doc.TYPE: take_supersession,
    repair_doc.PART_TYPE: take_part,
}
