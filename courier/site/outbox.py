"""The outbox: signed documents queued for other sites, and the bytes in which they travel.

The catalogue keeps the envelope, and beside it what its cover is made with (`courier.site.message_encryption`); a
message is the same as long as its envelope is, however often it was covered. A site whose card has no recipient gets
bare envelopes.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from courier.site.catalog import messages, sites
from courier.site.catalog.messages import Message
from courier.site.clock import now
from courier.site.home import pinned_card
from courier.site.message_encryption import SEED_BYTES, covered
from formats.digest import chunks, sha256_hex
from formats.documents.repair import REQUEST_TYPE, RepairRequest
from formats.envelope import parse_envelope
from formats.errors import UnreadableError
from formats.streams import View

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from formats.envelope import Envelope


def enqueue(connection: Connection, envelope: Envelope, code: str, *, priority: str = "high") -> bool:
    """Queue a document for a site; False when that very one was queued before.

    Definitions and notices have their parcel's priority, answers are high.
    """
    body = envelope.encode()
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
    return messages.put(connection, _cover(message, _recipient(connection, code)))


def was_queued(connection: Connection, envelope: Envelope, code: str) -> bool:
    """Whether `enqueue` would do nothing, as that very document was queued for the site before."""
    there = messages.find(connection, "out", sha256_hex(envelope.encode()), code)
    return there is not None and there.state != "dead"


def withdraw_request(connection: Connection, code: str, parcel: str) -> None:
    """Take back a repair request that was not handed over yet: another replaces it, or nothing is missing any more."""
    for waiting in messages.queued(connection, code):
        if waiting.type == REQUEST_TYPE:
            body = messages.read(connection, waiting.sha256, waiting.site, 0, waiting.size)
            if RepairRequest.parse(parse_envelope(body).payload).parcel == parcel:
                messages.forget(connection, waiting)


def cover_again(connection: Connection, code: str) -> int:
    """Cover what waits for a site anew where it has another recipient than before; return how many messages.

    Keys that the site lost would keep it from reading what was sealed to them.
    """
    recipient, count = _recipient(connection, code), 0
    for message in messages.live(connection, code):
        if message.recipient == recipient:
            continue
        body = messages.read(connection, message.sha256, code, 0, message.size)
        messages.put_cover(connection, _cover(replace(message, body=body), recipient))
        count += 1
    return count


@dataclass(frozen=True, kw_only=True, slots=True)
class Bare:
    """A trusted site to which messages go bare: who carries them can read them. ``waiting``: how many wait so."""

    site: str
    reason: str
    waiting: int
    hint: str


def bare_sites(connection: Connection) -> list[Bare]:
    """The sites to which messages are not sealed, why, and what seals them; in the order of their codes."""
    found = []
    for pinned in sites.everyone(connection):
        if pinned.revoked:
            continue
        waiting = sum(not message.recipient for message in messages.live(connection, pinned.code))
        if pinned_card(pinned.card).recipient is None:
            reason, hint = "its card has no recipient", "ask it for a new card (there: courier site rotate-key)"
        elif waiting:
            reason, hint = "queued by a release that sealed nothing", "they are acknowledged, or expire, as they are"
        else:
            continue
        found.append(Bare(site=pinned.code, reason=reason, waiting=waiting, hint=hint))
    return found


def _recipient(connection: Connection, code: str) -> str:
    """The recipient on a site's pinned card, or empty."""
    pinned = sites.find(connection, code)
    return (pinned_card(pinned.card).recipient or "") if pinned else ""


def _cover(message: Message, recipient: str) -> Message:
    """The message with a cover of its own, and the name it travels by."""
    if not recipient:
        return replace(message, name=message.sha256, recipient="", seed=b"")
    seed = secrets.token_bytes(SEED_BYTES)
    cover, digest = covered(io.BytesIO(message.body), message.size, recipient, seed), hashlib.sha256()
    for piece in chunks(cover, PART):
        digest.update(piece)
    return replace(message, name=digest.hexdigest(), recipient=recipient, seed=seed)


def carried_size(message: Message) -> int:
    """Bytes of a message as it travels."""
    if not message.recipient:
        return message.size
    from formats.age import encrypted_size

    return encrypted_size(message.size, 1)


def carried(connection: Connection, message: Message, offset: int, length: int) -> bytes:
    """A piece of a message as it travels; empty when it is not kept any more."""
    if not message.recipient:
        return messages.read(connection, message.sha256, message.site, offset, length)
    with covered(_Kept(connection, message), message.size, message.recipient, message.seed) as cover:
        cover.seek(offset)
        try:
            return cover.read(length)
        except UnreadableError:
            return b""


class _Kept(View):
    """The envelope of a message as the catalogue keeps it."""

    def __init__(self, connection: Connection, message: Message) -> None:
        super().__init__(message.size)
        self._connection, self._message = connection, message

    def _fill(self, into: memoryview) -> int:
        one = self._message
        piece = messages.read(self._connection, one.sha256, one.site, self._position, len(into))
        into[: len(piece)] = piece
        return len(piece)


PART = 1 << 20
"""Bytes of the largest part that a message is carried in, so that memory is bounded and a cut loses little."""
