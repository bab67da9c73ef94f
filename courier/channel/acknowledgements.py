"""Acknowledgements: what keeps a message in the sender's outbox until the other site has surely acted on it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from courier.errors import CourierError
from courier.parcel.transitions import log_entry
from courier.site.catalog import messages, parcels, sites
from courier.site.catalog.messages import Message
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from formats.documents import acknowledgement as acknowledgement_doc
from formats.documents import card as card_doc
from formats.documents.acknowledgement import AcknowledgedMessage, Acknowledgement
from formats.documents.fields import Heading
from formats.envelope import parse_envelope, verified_keys
from formats.errors import FormatError
from formats.records import read

if TYPE_CHECKING:
    from sqlalchemy import Connection

CURABLE = {"unknown-site", "revoked-site", "bad-signature", "unknown-key", "key-not-valid", "clock", "card-not-chained"}
"""Refusals that another message (a card), the operator or time may cure: not answered, so that the message comes again
and is judged anew."""

MAX_QUEUED = 8
"""Acknowledgements that wait for one site: where they do not go, what is owed beyond them waits to be put together."""


def acknowledge(site: Site) -> int:
    """Queue the acknowledgements that are owed, one to each site that can be reached; return the messages they name."""
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
    refused, waits = (reason, "") if message.state == "refused" else ("", reason)
    return AcknowledgedMessage(message=message.sha256, refused=refused, waits=waits)


def take_acknowledgement(site: Site, body: bytes) -> str:
    """Settle the messages that a site acknowledges, of those that were sent to it; return the site."""
    word, _ = site.trust().verify(body, acknowledgement_doc.KIND, now_ns=now())
    with site.catalogue.writing() as connection:
        for item in word.messages:
            message = messages.find(connection, "out", item.message, word.site)
            if message is None:
                continue
            state, reason = ("dead", f"{word.site} refused it: {item.refused}") if item.refused else ("settled", "")
            # Read before it is settled: a settled message has no body any more.
            parcel = _parcel_of(connection, message) if item.refused or item.waits else ""
            if messages.settle(connection, message, state=state, reason=reason, now_ns=now()) and parcel:
                _log_fate(connection, site, message, item, parcel)
    return word.site


def _parcel_of(connection: Connection, message: Message) -> str:
    """The parcel that a message of ours is about; empty for one about none, and where its body is not kept any more."""
    body = messages.read(connection, message.sha256, message.site, 0, message.size)
    if not body:
        return ""
    return read(Heading, parse_envelope(body).head).parcel or ""


def _log_fate(connection: Connection, site: Site, message: Message, item: AcknowledgedMessage, parcel: str) -> None:
    """Note in a parcel's log that a message about it was refused or waits: who awaits an answer learns it there."""
    kind = message.type.removeprefix("application/vnd.courier.").removesuffix("+json")
    event, how = ("refused-there", "by") if item.refused else ("waits-there", "at")
    text = f"our {kind}, {how} {message.site}: {item.refused or item.waits}"
    parcels.write_log(connection, log_entry(site, parcel, event, text))


def surely_from(site: Site, body: bytes, error: CourierError) -> str:
    """Whom a refused message is surely from, and may be told so; empty for strangers and for what may yet be cured."""
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
