"""Who may ask the server: a request is judged by its head alone, before a byte of its body is read.

Whoever is not a site that is trusted here learns nothing: everything is answered with 401 and an empty body.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from courier.channel.pace import Meter
from courier.channel.refusal_log import RefusalLog
from courier.channel.request_signatures import Claim, Head, read_claim, verify_claim
from courier.channel.schedule import SECOND_NS
from courier.channel.server_desk import ServerDesk
from formats.errors import FormatError
from formats.records import encode

CLOCK_SECONDS = 300
"""How far the clocks of two sites may differ."""
BURST_SECONDS = 10
"""A site that was silent may ask so many seconds' worth of requests at once."""
NONCES_SWEPT = 8
"""Old nonces that one request forgets at most: more than it adds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """An error that a known site is told: HTTP status, a code for programs, a message, and ``more`` fields.

    Without a code nothing is told but the status.
    """

    status: int
    code: str = ""
    message: str = ""
    more: tuple[tuple[str, object], ...] = ()

    def body(self) -> bytes:
        """The body of the response: canonical JSON, or nothing."""
        return encode({"error": {"code": self.code, "message": self.message}, **dict(self.more)}) if self.code else b""


NOT_KNOWN = Problem(status=401)
"""What anyone gets who is not known here, whatever was asked."""


@dataclass(kw_only=True, slots=True)
class Peer:
    """What is remembered of one trusted site while the server runs.

    ``tokens``: requests that it may make now, counted at ``filled_ns``. ``nonces``: those of its requests, and when
    they came (seconds since 1970). ``meter``: what it fetched last.
    """

    site: str
    tokens: float
    filled_ns: int
    nonces: dict[str, int] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedRequest:
    """A request of a trusted site, without its body; ``digest`` is the SHA-256 that its body must have."""

    peer: Peer
    head: Head
    digest: bytes


class Admission:
    """Judges requests by their heads. Used by one thread only."""

    def __init__(
        self, desk: ServerDesk, refusals: RefusalLog, *, rate: int = 50, now: Callable[[], int] = time.time_ns
    ) -> None:
        """``rate``: requests a second that one site may make in the long run."""
        self._desk, self._refusals, self._rate, self._now = desk, refusals, rate, now
        self._started = now() // SECOND_NS
        self._peers: dict[str, Peer] = {}

    def admit(self, head: Head, address: str) -> SignedRequest | Problem:
        """The request of a trusted site that may go on, or what is answered instead.

        ``address``: the network address it came from, for the log. Raises `CourierError` where the catalogue fails.
        """
        claim = self._verified_claim(head, address)
        if claim is None:
            return NOT_KNOWN
        now_ns = self._now()
        burst = float(BURST_SECONDS * self._rate)
        peer = self._peers.setdefault(claim.source, Peer(site=claim.source, tokens=burst, filled_ns=now_ns))
        problem = self._check_new(claim, peer, now_ns // SECOND_NS) or self._check_rate(peer, now_ns)
        if problem is not None:
            self.refuse(claim.source, problem)
            return problem
        return SignedRequest(peer=peer, head=head, digest=claim.digest)

    def refuse(self, site: str, problem: Problem) -> None:
        """Log that a known site's request is refused, once an hour for each kind of problem."""
        self._refusals.of_site(site, f"refused a request of {site}: {problem.code}")

    def _verified_claim(self, head: Head, address: str) -> Claim | None:
        """What a request says of its signature, if that is right and by a trusted site, for us."""
        try:
            claim = read_claim(head)
            key = self._desk.key(claim.source, claim.keyid)
            if key is None or claim.to != self._desk.code:
                text = f"a request by {claim.source}, whose key is not trusted here"
                self._refusals.of_stranger(address, text)
                return None
            verify_claim(claim, key)
        except FormatError as error:
            self._refusals.of_stranger(address, f"a request that is refused: {error}")
            return None
        return claim

    def _check_new(self, claim: Claim, peer: Peer, seconds: int) -> Problem | None:
        """Refuse what was signed at another time, or came before. Nonces are remembered as long as the time allows."""
        # They are not kept over a restart: what was signed before it is refused instead. A clock that is set back
        # counts as one: what was signed since by clocks that are right is new.
        self._started = min(self._started, seconds)
        if not max(seconds - CLOCK_SECONDS, self._started) <= claim.created <= seconds + CLOCK_SECONDS:
            text = f"signed at {claim.created}, the clock here says {seconds}"
            return Problem(status=401, code="clock", message=text)
        if claim.nonce in peer.nonces:
            return Problem(status=401, code="replayed", message="this very request came before")
        peer.nonces[claim.nonce] = seconds
        for nonce in list(peer.nonces)[:NONCES_SWEPT]:
            if abs(peer.nonces[nonce] - seconds) > 2 * CLOCK_SECONDS:
                del peer.nonces[nonce]
        return None

    def _check_rate(self, peer: Peer, now_ns: int) -> Problem | None:
        """Refuse what comes faster than a site may ask."""
        gained = max(0, now_ns - peer.filled_ns) * self._rate / SECOND_NS
        peer.tokens, peer.filled_ns = min(float(BURST_SECONDS * self._rate), peer.tokens + gained), now_ns
        if peer.tokens < 1:
            return Problem(status=429, code="too-fast", message="more requests than this site may make")
        peer.tokens -= 1
        return None
