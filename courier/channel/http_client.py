"""Asking another site's server: one signed request and its answer, asked again where the server says so."""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from courier.channel.request_signatures import Head, sign_head
from courier.channel.transport import EnoughError, PausedError, RejectedError, check_going_on
from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, UnreachableError, UsageError
from courier.site.outbox import PART
from formats.envelope import PublicKey, Signer

if TYPE_CHECKING:
    import ssl

    import httpx

REQUEST_SECONDS = 120
"""An answer that is not whole after this time is given up."""
EXCHANGE_SECONDS = 600
"""How long one exchange waits for one server in all; the pauses that our own limits ask for do not count. What is left
then follows with the next exchange, so that no server keeps the others waiting."""
LOOK_SECONDS = 0.2
"""How often a wait looks whether it is to stop."""
MAX_ANSWER = PART + (64 << 10)
"""Bytes of the largest answer: one part of a message, or a list of messages."""
TRIES_WHEN_TOO_FAST = 8
LONGEST_PAUSE_SECONDS = 30
"""The longest pause that a server may ask for."""
SMALLER_HINT = "smaller parts help on a slow line: channel address set ... --cap 8KB/s"
KEPT_HINT = "the messages are kept and go with the next: courier channel sync"


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestKey:
    """Who asks: our site code, and the key that signs our requests."""

    source: str
    key: PublicKey
    signer: Signer


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteServer:
    """Another site's server, and how our requests to it are signed.

    ``older_keys`` gives our keys before the present one: a server that has not got our new card yet knows only those.
    ``ca``: file of the certificate authority to trust; empty for those of the system.
    """

    url: str
    site: str
    present_key: RequestKey
    older_keys: Callable[[], Sequence[RequestKey]] = tuple
    ca: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A server's answer; names of ``headers`` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def value(self, name: str) -> Any:
        """A field of an answer in JSON, or None."""
        try:
            document = json.loads(self.body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return None
        return document.get(name) if isinstance(document, dict) else None

    @property
    def problem(self) -> tuple[str, str]:
        """(code, message) of an error that the server explained; empty texts where it did not."""
        error = self.value("error")
        if not isinstance(error, dict):
            return "", ""
        return str(error.get("code", ""))[:40], str(error.get("message", ""))[:200]


def require_httpx() -> None:
    """Raise `NotFoundError` unless the extra that HTTPS needs is installed."""
    try:
        import httpx  # noqa: F401
    except ImportError:
        raise NotFoundError(
            "http(s) addresses need the extra 'channel', which is not installed",
            hint="pip install 'courier-parcels[channel]'",
            code=Code.EXTRA_MISSING,
        ) from None


def tls_context(ca: str) -> ssl.SSLContext:
    """The TLS context that trusts the authorities in PEM file ``ca`` (empty: the system's); raises `UsageError`."""
    import ssl

    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{ca}: no certificates can be read from it: {error}", hint="give a PEM file: --ca FILE"
        ) from None


class HttpClient:
    """Signed requests to one server. Safe to use from several threads."""

    def __init__(
        self,
        server: RemoteServer,
        *,
        wire: httpx.BaseTransport | None = None,
        now: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], object] = time.sleep,
        stop: threading.Event | None = None,
    ) -> None:
        """``wire`` takes the place of the network in tests; ``now`` gives nanoseconds since 1970.

        Once ``stop`` is set, `ask` ends with a `StoppedError`.
        """
        require_httpx()
        import httpx

        self._server, self._key = server, server.present_key
        self._now, self._sleep, self._stop = now, sleep, stop or threading.Event()
        self._seconds = 0.0
        self._on_network = wire is None
        self._http = httpx.Client(
            transport=wire,
            verify=tls_context(server.ca) if wire is None and server.url.startswith("https") else True,
            timeout=httpx.Timeout(60, connect=10),
            headers={"accept-encoding": "identity", "user-agent": "courier"},
            follow_redirects=False,
        )

    def ask(
        self, method: str, path: str, *, query: str = "", body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """Ask, and ask again a little later where the server says that we ask too fast.

        Raises `UnreachableError`; `PausedError` where the server's own schedule is closed to us, or the server has had
        `EXCHANGE_SECONDS` of this exchange; `StoppedError`.
        """
        if self._seconds > EXCHANGE_SECONDS:
            raise EnoughError(
                f"it has taken {EXCHANGE_SECONDS} seconds of this exchange", hint="what is left follows with the next"
            )
        begun = time.monotonic()
        try:
            return self._ask_patiently(method, path, query=query, body=body, headers=headers)
        finally:
            self._seconds += time.monotonic() - begun

    def _ask_patiently(
        self, method: str, path: str, *, query: str, body: bytes, headers: dict[str, str] | None
    ) -> Answer:
        head = Head(method=method, path=path, query=query, headers=headers or {})
        for _ in range(TRIES_WHEN_TOO_FAST):
            check_going_on(self._stop)
            answer = self._ask_once(head, body)
            if answer.status == 401 and not answer.body:
                answer = self._ask_with_older_keys(head, body) or answer
            if answer.status != 429:
                return answer
            code, message = answer.problem
            if code == Code.PAUSED:
                hint = "the message waits at the other site until the limits of our address there take it"
                raise PausedError(_printable(message), hint=hint)
            text = answer.headers.get("retry-after", "1")
            self._sleep(min(int(text), LONGEST_PAUSE_SECONDS) if text.isdecimal() and len(text) < 9 else 1)
        raise self.unreachable("it is busy")

    def _ask_with_older_keys(self, head: Head, body: bytes) -> Answer | None:
        """Ask a server that does not know our present key with the keys before it; None when it knows none of them."""
        for key in self._server.older_keys():
            self._key = key
            answer = self._ask_once(head, body)
            if answer.status != 401 or answer.body:
                return answer
        self._key = self._server.present_key
        return None

    def _ask_once(self, head: Head, body: bytes) -> Answer:
        signature = sign_head(
            head,
            source=self._key.source,
            to=self._server.site,
            body=body,
            key=self._key.key,
            signer=self._key.signer,
            created=self._now() // 10**9,
            nonce=secrets.token_hex(16),
        )
        headers = {**head.headers, **signature, "content-length": str(len(body))}
        url = f"{self._server.url}{head.path}" + (f"?{head.query}" if head.query else "")
        return self._while_going_on(lambda: self._carry(head.method, url, body, headers))

    def _while_going_on(self, carry: Callable[[], Answer]) -> Answer:
        """The answer, unless we are stopped while it is waited for. Nothing else wakes a thread that waits in a socket,
        so the request has a thread of its own, which is left behind; it ends with the request's own time limits.
        """
        if not self._on_network:
            return carry()
        answers: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()

        def act() -> None:
            try:
                answers.put(carry())
            except Exception as error:  # raised again below, where it is waited for
                answers.put(error)

        threading.Thread(target=act, name="request", daemon=True).start()
        while True:
            with contextlib.suppress(queue.Empty):
                answer = answers.get(timeout=LOOK_SECONDS)
                if isinstance(answer, Exception):
                    raise answer
                return answer
            check_going_on(self._stop)

    def _carry(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        import httpx

        deadline = time.monotonic() + REQUEST_SECONDS
        try:
            with self._http.stream(method, url, content=body, headers=headers) as reply:
                gathered = bytearray()
                # As it comes: a chunk of a given size would not fill for days where bytes trickle.
                for chunk in reply.iter_raw():
                    gathered += chunk
                    if len(gathered) > MAX_ANSWER:
                        raise self.unreachable("its answer is too large")
                    if time.monotonic() > deadline:
                        raise self.unreachable(f"its answer is too slow; {SMALLER_HINT}")
                names = {name.lower(): value for name, value in reply.headers.items()}
                return Answer(status=reply.status_code, headers=names, body=bytes(gathered))
        except httpx.HTTPError as error:
            raise self.unreachable(_explained(str(error) or type(error).__name__)) from None

    def problem(self, answer: Answer) -> CourierError:
        """The error that an answer other than the expected one means."""
        code, message = answer.problem
        if answer.status == 401 and code == "clock":
            return self.unreachable(f"the clocks differ: {message}")
        if answer.status == 401:
            return self.unreachable(f"it does not know this site's key, or is not {self._server.site}")
        if answer.status == 408:
            return self.unreachable(f"the request did not arrive there in time; {SMALLER_HINT}")
        if answer.status in (400, 411, 413, 416, 422) and message:
            return RejectedError(
                f"{self._server.url} does not take the message: {message}", hint="the message is tried again later"
            )
        return self.unreachable(f"it answered {answer.status}{f' ({message})' if message else ''}")

    def nonsense(self, answer: Answer) -> CourierError:
        """The error for an answer with the right status that is not what a server of ours says, whoever sent it."""
        return self.unreachable(
            f"it answered {answer.status} with what no courier server says; is something else there, such as a proxy "
            "or a page to log in?"
        )

    def unreachable(self, why: str) -> UnreachableError:
        """The error that says why this server cannot be used now."""
        return UnreachableError(f"{self._server.url}: {_printable(why)}", hint=KEPT_HINT)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _explained(text: str) -> str:
    """What a failed connection means for an operator, where its own words do not say so."""
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "not trusted"
        return f"its certificate is not accepted: {why}; name its authority with channel address set ... --ca FILE"
    if "record layer" in text.lower() or "WRONG_VERSION_NUMBER" in text:
        return f"it does not speak TLS there; is it an http:// address? ({text})"
    return text


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:300]
