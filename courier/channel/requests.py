"""The channel's server without its sockets: requests in, replies out.

What it knows of the site it is told by a `Desk`. A request is judged by its head alone before a byte of its body is
read. Whoever is not a site that is trusted here learns nothing: every path answers 401, with the same empty body.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from courier.channel.inbox import FullError, Inbox, OutOfStepError, WrongDigestError
from courier.channel.openapi import ROUTES, Route, description
from courier.channel.pace import Meter
from courier.channel.request_signatures import Claim, Head, read_claim, verify_claim
from courier.channel.schedule import SECOND_NS, Limits
from courier.channel.transport import MAX_MESSAGE
from courier.site.outbox import PART
from formats.envelope import PublicKey
from formats.errors import FormatError
from formats.records import encode

CLOCK_SECONDS = 300
"""How far the clocks of two sites may differ."""
PAGE = 256
"""Messages in one list."""
LONGEST_WAIT_NS = 10 * SECOND_NS
"""A reply is held back so long at most to keep to a cap; beyond that the peer is asked to come again."""
HOUR_NS = 3600 * SECOND_NS
STRANGE_LINES = 100
"""Lines of the log in an hour about what comes from nobody known."""
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,10})-([0-9]{1,10})/([0-9]{1,10})")
_RANGE = re.compile(r"bytes=([0-9]{1,10})-([0-9]{1,10})")


class Desk(Protocol):
    """What the server must be told about its site."""

    @property
    def code(self) -> str:
        """The site's code."""

    def key(self, site: str, keyid: str) -> PublicKey | None:
        """A key of a trusted site that is valid now."""

    def waiting(self, site: str, limit: int) -> list[tuple[str, int]]:
        """(name, size) of messages that a site may fetch now, in order, at most ``limit``."""

    def piece(self, site: str, sha256: str, offset: int, length: int) -> tuple[bytes, int] | None:
        """(bytes, size of the message) of a message that a site may fetch; None when there is none."""

    def fetched(self, site: str, sha256: str) -> None:
        """A site says it has a message."""

    def taken_before(self, site: str, sha256: str) -> bool:
        """Whether a message of a site was taken in before; if so, its acknowledgement is written anew."""

    def limits(self, site: str) -> Limits:
        """The limits of what a site fetches here, as they are now."""

    def arrived(self) -> None:
        """A message has come into the inbox."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer; ``wait_ns``: hold it back so long, to keep to a cap."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    wait_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """A request that may go on: from whom, what, and how many bytes of body are to come."""

    site: str
    route: Route
    message: str
    head: Head
    digest: bytes
    length: int


NOT_KNOWN = Reply(status=401)
"""What anyone gets who is not known here, whatever was asked."""


def problem(status: int, code: str, message: str, **more: object) -> Reply:
    """An error that a known site is told."""
    body = encode({"error": {"code": code, "message": message}, **more})
    headers = (("retry-after", "1"),) if status == 429 else ()
    return Reply(status=status, body=body, headers=headers)


@dataclass(kw_only=True, slots=True)
class _Peer:
    """What is remembered of one trusted site while the server runs."""

    tokens: float
    filled_ns: int
    nonces: dict[str, int] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)


class Service:
    """The server of one site. `admit` runs in one thread only; `handle` may run in many."""

    def __init__(
        self,
        desk: Desk,
        inbox: Inbox,
        *,
        log: Callable[[str], None],
        rate: int = 50,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        """``rate``: requests a second that one site may make in the long run; ten seconds' worth may come at once."""
        self._desk, self._inbox, self._log, self._rate, self._now = desk, inbox, log, rate, now
        self._started = now() // SECOND_NS
        self._peers: dict[str, _Peer] = {}
        self._logged: dict[tuple[str, str], int] = {}
        self._strange: dict[tuple[str, str], int] = {}
        self._openapi = encode(description())

    def admit(self, head: Head, address: str = "") -> Admitted | Reply:
        """Judge a request by its head: a reply, or what to do once its body has come."""
        found = [(route, route.match(head.path)) for route in ROUTES if route.method == head.method]
        route, message = next(((r, m) for r, m in found if m is not None), (None, ""))
        if route is not None and route.public:
            body = self._openapi if route.name == "openapi" else b'{"status":"ok"}'
            return Reply(status=200, body=body)
        who = self._who(head, address)
        if isinstance(who, Reply):
            return who
        claim, peer = who
        if not self._may_ask(peer):
            return self._refuse(claim.source, problem(429, "too-fast", "more requests than this site may make"))
        if route is None:
            return self._refuse(claim.source, problem(404, "not-found", "there is nothing here"))
        return self._admit_body(claim, route, message or "", head)

    def _admit_body(self, claim: Claim, route: Route, message: str, head: Head) -> Admitted | Reply:
        text = head.headers.get("content-length", "0")
        if "transfer-encoding" in head.headers or not re.fullmatch("[0-9]{1,10}", text):
            return self._refuse(claim.source, problem(411, "no-length", "a body must say its length"))
        length = int(text)
        if length > (PART if route.body else 0):
            return self._refuse(claim.source, problem(413, "too-large", f"a part has {PART} bytes at most"))
        return Admitted(site=claim.source, route=route, message=message, head=head, digest=claim.digest, length=length)

    def _who(self, head: Head, address: str) -> tuple[Claim, _Peer] | Reply:
        """The trusted site that signed a request."""
        try:
            claim = read_claim(head)
            key = self._desk.key(claim.source, claim.keyid)
            if key is None or claim.to != self._desk.code:
                self._of_stranger(address, f"a request by {claim.source}, whose key is not trusted here")
                return NOT_KNOWN
            verify_claim(claim, key)
        except FormatError as error:
            self._of_stranger(address, f"a request that is refused: {error}")
            return NOT_KNOWN
        now_ns = self._now()
        seconds = now_ns // SECOND_NS
        peer = self._peers.setdefault(claim.source, _Peer(tokens=10.0 * self._rate, filled_ns=now_ns))
        # Nonces are not kept over a restart: what was signed before it is refused instead. A clock that is set back
        # counts as one: what was signed since by clocks that are right is new.
        self._started = min(self._started, seconds)
        if not max(seconds - CLOCK_SECONDS, self._started) <= claim.created <= seconds + CLOCK_SECONDS:
            text = f"signed at {claim.created}, the clock here says {seconds}"
            return self._refuse(claim.source, problem(401, "clock", text))
        if claim.nonce in peer.nonces:
            return self._refuse(claim.source, problem(401, "replayed", "this very request came before"))
        peer.nonces[claim.nonce] = seconds
        for nonce in list(peer.nonces)[:8]:
            if abs(peer.nonces[nonce] - seconds) > 2 * CLOCK_SECONDS:
                del peer.nonces[nonce]
        return claim, peer

    def _may_ask(self, peer: _Peer) -> bool:
        now_ns = self._now()
        gained = max(0, now_ns - peer.filled_ns) * self._rate / SECOND_NS
        peer.tokens, peer.filled_ns = min(10.0 * self._rate, peer.tokens + gained), now_ns
        if peer.tokens < 1:
            return False
        peer.tokens -= 1
        return True

    def handle(self, asked: Admitted, body: bytes) -> Reply:
        """Act on an admitted request, whose whole body has come."""
        if len(body) != asked.length or hashlib.sha256(body).digest() != asked.digest:
            return self._refuse(asked.site, problem(400, "wrong-digest", "the body is not what was signed"))
        site, message = asked.site, asked.message
        match asked.route.name:
            case "list":
                waiting = self._desk.waiting(site, PAGE + 1)
                found = [{"message": name, "size": size} for name, size in waiting[:PAGE]]
                return Reply(status=200, body=encode({"messages": found, "more": len(waiting) > PAGE}))
            case "read":
                return self._read(asked)
            case "done":
                self._desk.fetched(site, message)
                return Reply(status=204)
            case "offset":
                offset, complete = self._inbox.offset(site, message)
                complete = complete or self._desk.taken_before(site, message)
                return Reply(status=200, body=encode({"offset": offset, "complete": complete}))
            case "write":
                return self._write(asked, body)
            case "upload":
                return Reply(status=204)
            case _:
                match = re.fullmatch("bytes=([0-9]{1,7})", asked.head.query)
                if match is None or int(match[1]) > PART:
                    return self._refuse(site, problem(400, "malformed", f"bytes=N, {PART} at most"))
                return Reply(status=200, body=bytes(int(match[1])))

    def _read(self, asked: Admitted) -> Reply:
        wanted = _RANGE.fullmatch(asked.head.headers.get("range", ""))
        if wanted is None or not int(wanted[1]) <= int(wanted[2]):
            return self._refuse(asked.site, problem(416, "range", "one range of bytes is asked for at a time"))
        start = int(wanted[1])
        limits, now_ns = self._desk.limits(asked.site), self._now()
        meter = self._peers[asked.site].meter
        with meter.lock:
            wait = meter.wait_ns(limits, now_ns)
            if wait > LONGEST_WAIT_NS:
                return problem(429, "too-fast", "the cap of this address is used up for now")
            length = min(int(wanted[2]) - start + 1, limits.block(now_ns, PART))
            found = self._desk.piece(asked.site, asked.message, start, length)
            if found is None:
                return problem(404, "not-found", "no such message waits")
            data, total = found
            if not data:
                return self._refuse(asked.site, problem(416, "range", f"the message has {total} bytes"))
            meter.moved(len(data), now_ns + wait)
        headers = (("content-range", f"bytes {start}-{start + len(data) - 1}/{total}"),)
        return Reply(status=206, body=data, headers=headers, wait_ns=wait)

    def _write(self, asked: Admitted, body: bytes) -> Reply:
        span = _CONTENT_RANGE.fullmatch(asked.head.headers.get("content-range", ""))
        start, last, total = (int(text) for text in span.groups()) if span else (0, 0, 0)
        if span is None or not body or last - start + 1 != len(body) or last >= total:
            return self._refuse(asked.site, problem(400, "malformed", "Content-Range does not fit the body"))
        if total > MAX_MESSAGE:
            return self._refuse(asked.site, problem(413, "too-large", f"a message has {MAX_MESSAGE} bytes at most"))
        try:
            offset = self._inbox.store(asked.site, asked.message, start=start, total=total, data=body)
        except OutOfStepError as error:
            return problem(409, error.code, error.message, offset=error.offset)
        except WrongDigestError as error:
            return self._refuse(asked.site, problem(422, error.code, error.message))
        except FullError as error:
            return self._refuse(asked.site, problem(507, error.code, error.message))
        if offset < total:
            return Reply(status=202, body=encode({"offset": offset}))
        self._desk.arrived()
        return Reply(status=201)

    def _refuse(self, site: str, reply: Reply) -> Reply:
        """Log a refusal of a known site, once an hour for each kind."""
        code = re.search(rb'"code":"([a-z-]+)"', reply.body)
        self._once(site, f"refused a request of {site}: {code[1].decode() if code else reply.status}")
        return reply

    def half_sent(self, asked: Admitted) -> None:
        """The body of a request did not come, or not in time."""
        self._once(asked.site, f"refused a request of {asked.site}: its body did not come")

    def failed(self, who: str, error: Exception) -> Reply:
        """Our own disk or catalogue failed; whoever asked is told to come again, and our operator why."""
        self._once(self._desk.code, f"a request of {who} could not be served: {error}")
        return problem(503, "failed", "this site cannot take it now")

    def garbage(self, address: str) -> None:
        """What came was no HTTP request."""
        self._of_stranger(address, "what came is no HTTP request")

    def _of_stranger(self, address: str, text: str) -> None:
        """Log what anyone may send, `STRANGE_LINES` in an hour: whoever makes up names does not fill our log."""
        now_ns = self._now()
        if len(self._strange) >= STRANGE_LINES:
            self._strange = {line: at_ns for line, at_ns in self._strange.items() if abs(now_ns - at_ns) < HOUR_NS}
        if len(self._strange) < STRANGE_LINES:
            self._log_once(self._strange, address, text)

    def _once(self, who: str, text: str) -> None:
        self._log_once(self._logged, who, text)

    def _log_once(self, logged: dict[tuple[str, str], int], who: str, text: str) -> None:
        now_ns = self._now()
        if (who, text) in logged and abs(now_ns - logged[who, text]) < HOUR_NS:
            return
        if len(logged) >= 1000:
            logged.pop(next(iter(logged)))
        logged[who, text] = now_ns
        self._log(f"{who}: {text}" if who and who not in text else text)
