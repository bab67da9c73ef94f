"""Acknowledgements: signed lists of the messages that a site took or refused; till then the sender keeps them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import CourierError
from courier.parcel.transitions import REFUSED_THERE, log_entry
from courier.site.catalog import messages, parcels, sites
from courier.site.catalog.messages import Message
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from formats.documents import acknowledgement as acknowledgement_doc
from formats.documents import card as card_doc
from formats.documents.acknowledgement import AcknowledgedMessage, Acknowledgement
from formats.documents.fields import Heading
from formats.envelope import Envelope, parse_envelope, verified_keys
from formats.errors import FormatError
from formats.records import read

if TYPE_CHECKING:
    from sqlalchemy import Connection

CURABLE = {
    Code.UNKNOWN_SITE,
    Code.REVOKED_SITE,
    Code.BAD_SIGNATURE,
    Code.UNKNOWN_KEY,
    Code.KEY_NOT_VALID,
    Code.CLOCK,
    Code.CARD_NOT_CHAINED,
    Code.NOT_ANNOUNCED,
}
"""Codes of refusals that another message (a card, a ship notice), the operator or time may cure: they are not
acknowledged, so that the message comes again and is judged anew."""

MAX_QUEUED = 8
"""Acknowledgements that wait for one site. Beyond that nothing more is queued, and the next names all that is owed."""


def acknowledge(site: Site) -> int:
    """Queue one acknowledgement for each site that is owed one and has an address; return the messages named."""
    count = 0
    with site.catalogue.reading() as connection:
        reachable = {address.site for address in sites.addresses(connection)}
        owed = messages.owed(connection, acknowledgement_doc.MAX_ITEMS)
        queued = Counter(one.site for one in messages.queued(connection) if one.type == acknowledgement_doc.TYPE)
    for code, box in owed.items():
        if code not in reachable or code == site.code or queued[code] >= MAX_QUEUED:
            continue
        word = Acknowledgement(site=site.code, to=code, issued_ns=now(), messages=tuple(map(_item, box)))
        envelope = site.sign(word.payload(), acknowledgement_doc.TYPE)
        with site.catalogue.writing() as connection:
            enqueue(connection, envelope, code)
            for message in box:
                messages.owe(connection, message, None)
        count += len(box)
    return count


def _item(message: Message) -> AcknowledgedMessage:
    reason = message.reason[: acknowledgement_doc.MAX_REASON]
    refused, waits = (reason, "") if message.state != "taken" else ("", reason)
    return AcknowledgedMessage(message=message.sha256, refused=refused, waits=waits)


def take_acknowledgement(site: Site, word: Acknowledgement, _envelope: Envelope) -> str:
    """Settle those messages to a site that it acknowledges; return an empty text, as nothing waits for a person."""
    with site.catalogue.writing() as connection:
        for item in word.messages:
            message = messages.find(connection, "out", item.message, word.site)
            if message is None:
                continue
            state, reason = ("dead", f"{word.site} refused it: {item.refused}") if item.refused else ("settled", "")
            # Read before it is settled: a settled message has no body any more.
            parcel = _parcel_of(connection, message) if item.refused or item.waits else ""
            if messages.settle(connection, message, state=state, reason=reason, now_ns=now()) and parcel:
                _log_answer(connection, site, message, item, parcel)
    return ""


def _parcel_of(connection: Connection, message: Message) -> str:
    """The ID of the parcel that a message of ours is about; empty where it is about none, or its body is gone."""
    body = messages.read(connection, message.sha256, message.site, 0, message.size)
    if not body:
        return ""
    return read(Heading, parse_envelope(body).head).parcel or ""


def _log_answer(connection: Connection, site: Site, message: Message, item: AcknowledgedMessage, parcel: str) -> None:
    """Note in a parcel's log that a message of ours about it was refused, or waits for a person, at the other site."""
    event, how = (REFUSED_THERE, "by") if item.refused else ("waits-there", "at")
    text = f"our {message.kind}, {how} {message.site}: {item.refused or item.waits}"
    parcels.write_log(connection, log_entry(site, parcel, event, text))


def sure_sender(site: Site, body: bytes, error: CourierError) -> str:
    """The site that a refused message is surely from and may be told; empty for strangers and for what may be cured."""
    if error.code in CURABLE:
        return ""
    try:
        envelope = parse_envelope(body)
        heading = read(Heading, envelope.head)
        code = (heading.site if envelope.payload_type == card_doc.TYPE else heading.sender) or ""
        keys = [key.key for key in site.trust().site(code).card.keys]
        return code if verified_keys(envelope, keys) and code != site.code else ""
    except (FormatError, CourierError):
        return ""
