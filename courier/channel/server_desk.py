"""What the server asks of its site: keys of trusted sites, messages to offer, limits, and telling that one has come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from courier.channel.connections import POLL
from courier.channel.delivery import mark_handed_over
from courier.channel.passed import Passed
from courier.channel.schedule import Limits
from courier.site.card import pinned_card
from courier.site.catalog import messages, sites
from courier.site.catalog.messages import Message
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import transfer_piece, transfer_size
from formats.documents import acknowledgement as acknowledgement_doc
from formats.documents import notice as notice_doc
from formats.documents.card import SiteCard
from formats.envelope import PublicKey

FRESH_NS = 10**9
"""How old the server's knowledge of trusted sites may be: a revocation counts after a second."""


@dataclass(kw_only=True, slots=True)
class _Fetched:
    """That a site has a message, to be noted; then the ``message``, or the ``error`` why it could not be noted."""

    site: str
    sha256: str
    noted: bool = False
    message: Message | None = None
    error: Exception | None = None


class ServerDesk:
    """One site as its server knows it; ``arrived`` is called when a message has come into the inbox."""

    def __init__(
        self,
        site: Site,
        *,
        arrived: Callable[[], None],
        clock: Callable[[], int] = now,
        passed: Callable[[Passed], None] = lambda _: None,
    ) -> None:
        """``passed`` is told each message that a site has fetched here, but for acknowledgements."""
        self._passed = passed
        self._site, self.arrived, self._clock = site, arrived, clock
        self._cards: dict[str, SiteCard] = {}
        self._read_ns: int | None = None
        self._noting = threading.Lock()
        self._to_note: deque[_Fetched] = deque()

    @property
    def code(self) -> str:
        """The site's code."""
        return self._site.code

    def key(self, site: str, keyid: str) -> PublicKey | None:
        """A key of a trusted site that is valid now."""
        now_ns = self._clock()
        if self._read_ns is None or not 0 <= now_ns - self._read_ns < FRESH_NS:
            with self._site.catalogue.reading() as connection:
                pinned = sites.everyone(connection)
            self._cards = {one.code: pinned_card(one.card) for one in pinned if not one.revoked}
            self._read_ns = now_ns
        card = self._cards.get(site)
        found = (key for key in card.keys if key.key.keyid == keyid and key.revoked_ns is None) if card else iter(())
        return next((key.key for key in found if key.valid_from_ns <= now_ns < key.valid_until_ns), None)

    def limits(self, site: str) -> Limits | None:
        """The limits of a site's `POLL` address as they are now; None where it has none: it fetches nothing here."""
        with self._site.catalogue.reading() as connection:
            address = sites.find_address(connection, site, POLL)
        return Limits.parse(address.limits) if address else None

    def waiting(self, site: str, limit: int) -> list[tuple[str, int]]:
        """(name, size in bytes) of the messages that a site may fetch now, in order, at most ``limit``."""
        limits, now_ns = self.limits(site), self._clock()
        if limits is None:
            return []
        with self._site.catalogue.reading() as connection:
            due = messages.due(connection, now_ns, site, limit)
        return [(one.name, transfer_size(one)) for one in due if limits.admits(one.priority, now_ns)]

    def piece(self, site: str, limits: Limits, sha256: str, offset: int, length: int) -> tuple[bytes, int] | None:
        """(bytes, size of the whole message) of a message that a site may fetch under ``limits``, or None."""
        with self._site.catalogue.reading() as connection:
            message = messages.named(connection, "out", sha256, site)
            if message is None or message.state not in messages.LIVE:
                return None
            if not limits.admits(message.priority, self._clock()):
                return None
            if message.type != notice_doc.TYPE or message.begun_ns is not None:
                return transfer_piece(connection, message, offset, length), transfer_size(message)
        with self._site.catalogue.writing() as connection:
            # From now on it may have left, unless it was taken back meanwhile.
            if not messages.begin(connection, message, self._clock()):
                return None
            return transfer_piece(connection, message, offset, length), transfer_size(message)

    def fetched(self, site: str, sha256: str) -> None:
        """A site says that it has a message; that is in the catalogue when this returns.

        While one thread commits, others come with more: the next one notes all of that in one transaction.
        """
        mine = _Fetched(site=site, sha256=sha256)
        self._to_note.append(mine)
        with self._noting:
            if not mine.noted:
                self._note([self._to_note.popleft() for _ in range(len(self._to_note))])
        if mine.error is not None:
            raise mine.error
        message = mine.message
        if message is not None and message.type != acknowledgement_doc.TYPE:
            self._passed(Passed(at_ns=now(), out=True, site=site, kind=message.kind, what="fetched"))

    def _note(self, several: list[_Fetched]) -> None:
        error: Exception | None = None
        try:
            with self._site.catalogue.writing() as connection:
                for one in several:
                    one.message = messages.named(connection, "out", one.sha256, one.site)
                    if one.message is not None:
                        mark_handed_over(connection, one.message, self._clock())
        except Exception as failed:
            error = failed
        for one in several:
            one.error, one.noted = error, True

    def taken_before(self, site: str, sha256: str) -> bool:
        """Whether a message of a site was taken in before; if so, its acknowledgement is written anew."""
        with self._site.catalogue.writing() as connection:
            message = messages.named(connection, "in", sha256, site)
            if message is None or message.state != "taken":
                return False
            messages.owe(connection, message, now())
        self.arrived()
        return True
