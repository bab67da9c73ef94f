"""The outbox: signed documents queued for other sites, and the bytes that travel.

The catalogue keeps the envelope, and beside it the seed and the recipient of its encryption
(`courier.site.message_encryption`). A message stays the same message while its envelope is the same, however often it
is encrypted anew. A site whose card has no recipient gets its messages unencrypted.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from courier.site.card import pinned_card
from courier.site.catalog import messages, sites
from courier.site.catalog.messages import Message
from courier.site.clock import now
from courier.site.message_encryption import SEED_BYTES, encrypted_message
from formats.digest import chunks, sha256_hex
from formats.documents.repair import REQUEST_TYPE, RepairRequest
from formats.envelope import parse_envelope
from formats.errors import UnreadableError
from formats.streams import View

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formats.envelope import Envelope

PART = 1 << 20
"""Bytes of the largest part in which a message is transferred: memory is bounded, and a cut loses little."""


def enqueue(
    connection: Connection, envelope: Envelope, code: str, *, priority: str = "high", again: bool = False
) -> bool:
    """Queue a document for a site; False when the same document was queued before.

    ``priority``: high, medium or low. Definitions and notices have that of their parcel, answers are high. ``again``: a
    document that the site has acknowledged goes once more; it may have lost what it had.
    """
    body = envelope.encode()
    if again and (there := messages.find(connection, "out", sha256_hex(body), code)) and there.state == "settled":
        messages.forget(connection, there)
    message = Message(
        direction="out",
        sha256=sha256_hex(body),
        site=code,
        type=envelope.payload_type,
        state="queued",
        reason="",
        body=body,
        created_ns=now(),
        settled_ns=None,
        attempts=0,
        priority=priority,
        size=len(body),
    )
    return messages.put(connection, _encrypt(message, _recipient(connection, code)))


def is_waiting(connection: Connection, envelope: Envelope, code: str) -> bool:
    """Whether the same document waits for the site, so that `enqueue` with ``again`` would do nothing."""
    there = messages.find(connection, "out", sha256_hex(envelope.encode()), code)
    return there is not None and there.state in messages.LIVE


def withdraw_request(connection: Connection, code: str, parcel: str) -> None:
    """Take back the repair requests for a parcel that were not handed over yet.

    For when another request replaces them, or nothing is missing any more.
    """
    for waiting in messages.queued(connection, code):
        if waiting.type == REQUEST_TYPE:
            body = messages.read(connection, waiting.sha256, waiting.site, 0, waiting.size)
            if RepairRequest.parse(parse_envelope(body).payload).parcel == parcel:
                messages.forget(connection, waiting)


def is_asked(connection: Connection, code: str, parcel: str) -> bool:
    """Whether a repair request for a parcel is on its way to a site."""
    for waiting in messages.live(connection, code):
        if waiting.type == REQUEST_TYPE:
            body = messages.read(connection, waiting.sha256, waiting.site, 0, waiting.size)
            if RepairRequest.parse(parse_envelope(body).payload).parcel == parcel:
                return True
    return False


def encrypt_again(connection: Connection, code: str) -> int:
    """Encrypt anew what waits for a site and was encrypted to another recipient; return how many messages.

    A site that lost its keys cannot read what was encrypted to them.
    """
    recipient, count = _recipient(connection, code), 0
    for message in messages.live(connection, code):
        if message.recipient == recipient:
            continue
        body = messages.read(connection, message.sha256, code, 0, message.size)
        messages.set_encryption(connection, _encrypt(replace(message, body=body), recipient))
        count += 1
    return count


@dataclass(frozen=True, kw_only=True, slots=True)
class UnencryptedSite:
    """A trusted site whose messages travel unencrypted: whoever carries them can read them.

    ``waiting``: how many such messages wait. ``reason`` and ``hint``: why, and what changes it.
    """

    site: str
    reason: str
    waiting: int
    hint: str


def unencrypted_sites(connection: Connection) -> list[UnencryptedSite]:
    """The trusted sites whose messages travel unencrypted, in the order of their codes."""
    found = []
    for pinned in sites.everyone(connection):
        if pinned.revoked:
            continue
        waiting = messages.count_unencrypted(connection, pinned.code)
        if pinned_card(pinned.card).recipient is None:
            reason, hint = "its card has no recipient", "ask it for a new card (there: courier site rotate-key)"
        elif waiting:
            reason, hint = "queued before its card had a recipient", "they are acknowledged, or expire, as they are"
        else:
            continue
        found.append(UnencryptedSite(site=pinned.code, reason=reason, waiting=waiting, hint=hint))
    return found


def _recipient(connection: Connection, code: str) -> str:
    """The recipient on a site's pinned card, or empty."""
    pinned = sites.find(connection, code)
    return (pinned_card(pinned.card).recipient or "") if pinned else ""


def _encrypt(message: Message, recipient: str) -> Message:
    """The message with a new seed for its encryption, and the name it travels by."""
    if not recipient:
        return replace(message, name=message.sha256, recipient="", seed=b"")
    seed = secrets.token_bytes(SEED_BYTES)
    encrypted, digest = encrypted_message(io.BytesIO(message.body), message.size, recipient, seed), hashlib.sha256()
    for piece in chunks(encrypted, PART):
        digest.update(piece)
    return replace(message, name=digest.hexdigest(), recipient=recipient, seed=seed)


def transfer_size(message: Message) -> int:
    """Bytes of a message as it travels, encrypted where it is."""
    if not message.recipient:
        return message.size
    from formats.age import encrypted_size

    return encrypted_size(message.size, 1)


def transfer_piece(connection: Connection, message: Message, offset: int, length: int) -> bytes:
    """Up to ``length`` bytes at ``offset`` of a message as it travels; empty when it is not kept any more."""
    if not message.recipient:
        return messages.read(connection, message.sha256, message.site, offset, length)
    kept = _KeptEnvelope(connection, message)
    with encrypted_message(kept, message.size, message.recipient, message.seed) as encrypted:
        encrypted.seek(offset)
        try:
            return encrypted.read(length)
        except UnreadableError:
            return b""


class _KeptEnvelope(View):
    """The envelope of a message, read from the catalogue piece by piece."""

    def __init__(self, connection: Connection, message: Message) -> None:
        super().__init__(message.size)
        self._connection, self._message = connection, message

    def _fill(self, into: memoryview) -> int:
        sha256, site = self._message.sha256, self._message.site
        piece = messages.read(self._connection, sha256, site, self._position, len(into))
        into[: len(piece)] = piece
        return len(piece)
