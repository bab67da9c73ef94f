"""The HTTPS transport: messages to and from another site's server, in parts that go on where they were cut."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from courier.channel.request_signatures import Head, sign_head
from courier.channel.transport import MAX_MESSAGE, Outgoing, Pace, PausedError, RejectedError, Unlimited
from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, UnreachableError, UsageError
from courier.files import make_folder
from courier.site.outbox import PART
from formats.envelope import PublicKey, Signer

if TYPE_CHECKING:
    import httpx

REQUEST_SECONDS = 120
"""A reply that is not whole after so long is given up."""
MAX_REPLY = PART + (64 << 10)
TRIES_WHEN_TOO_FAST = 8
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,10})-([0-9]{1,10})/([0-9]{1,10})")
SMALLER = "smaller parts help on a slow line: channel address set ... --cap 8KB/s"
KEPT = "the messages are kept and go with the next: courier channel sync"


@dataclass(frozen=True, kw_only=True, slots=True)
class Signing:
    """Who asks: our code, and the key that signs our requests."""

    source: str
    key: PublicKey
    signer: Signer


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def value(self, name: str) -> Any:
        """A field of a JSON reply, or None."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return document.get(name) if isinstance(document, dict) else None

    @property
    def problem(self) -> tuple[str, str]:
        """(code, message) of an error that the server explained."""
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


class HttpTransport:
    """Messages through another site's server (``courier channel serve``). Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        to: str,
        *,
        signing: Signing,
        older: Callable[[], Sequence[Signing]] = tuple,
        spool: Path,
        pace: Pace | None = None,
        ca: str = "",
        wire: httpx.BaseTransport | None = None,
        now: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``spool``: folder for downloads that are not whole. ``ca``: file of the authority to trust, or empty.

        ``older`` gives our keys before the present one: a server that has not got our new card yet knows only those.
        ``wire`` takes the place of the network in tests.
        """
        require_httpx()
        import httpx

        self._url, self._to, self._spool = url.rstrip("/"), to, spool
        self._signing, self._older = signing, older
        self._pace = pace or Unlimited()
        self._now, self._sleep = now, sleep
        self._http = httpx.Client(
            transport=wire,
            verify=trusting(ca) if wire is None and url.startswith("https") else True,
            timeout=httpx.Timeout(60, connect=10),
            headers={"accept-encoding": "identity", "user-agent": "courier"},
            follow_redirects=False,
        )

    def deliver(self, to: str, message: Outgoing) -> None:
        """See `Transport.deliver`; a message of one part goes in one request."""
        offset = 0 if message.size <= PART else self._offset(message)
        steps = 0
        while offset < message.size:
            data = message.read(offset, min(self._pace.block(), PART))
            if not data:
                raise self._unreachable(f"message {message.sha256[:12]} is not kept any more")
            span = f"bytes {offset}-{offset + len(data) - 1}/{message.size}"
            reply = self._ask("PUT", f"/v1/messages/{message.sha256}", body=data, extra={"content-range": span})
            self._pace.moved(len(data))
            steps += 1
            stands = reply.value("offset")
            if reply.status == 201:
                return
            if reply.status not in (202, 409) or not isinstance(stands, int) or not 0 <= stands < message.size:
                raise self._problem(reply)
            # A server that keeps setting us back must not keep us for ever.
            if stands <= offset and steps > 8:
                raise self._unreachable("its upload does not go on")
            offset = stands

    def _offset(self, message: Outgoing) -> int:
        reply = self._ask("GET", f"/v1/uploads/{message.sha256}")
        if reply.status != 200:
            raise self._problem(reply)
        if reply.value("complete") is True:
            return message.size
        offset = reply.value("offset")
        return offset if isinstance(offset, int) and 0 <= offset < message.size else 0

    def fetch(self, own: str) -> Iterator[tuple[str, bytes]]:
        """See `Transport.fetch`; a message that does not come whole is left for the next time."""
        seen: set[str] = set()
        while True:
            self._pace.block()
            reply = self._ask("GET", "/v1/messages")
            if reply.status != 200:
                raise self._problem(reply)
            fresh = [item for item in _listed(reply.value("messages")) if item[0] not in seen]
            came = False
            for sha256, size in fresh:
                seen.add(sha256)
                body = self._download(sha256, size)
                if body is not None:
                    came = True
                    yield sha256, body
            if reply.value("more") is not True:
                self._sweep(seen)
                return
            if not came:
                return

    def _sweep(self, listed: set[str]) -> None:
        """Remove the beginnings of messages that the server does not have any more."""
        for path in self._spool.glob("*.part"):
            if path.stem not in listed:
                path.unlink(missing_ok=True)

    def _download(self, sha256: str, size: int) -> bytes | None:
        if size <= PART:
            data = b""
            while len(data) < size:
                piece = self._piece(sha256, len(data), size)
                if piece is None:
                    return None
                data += piece
            return data if hashlib.sha256(data).hexdigest() == sha256 else None
        path = make_folder(self._spool) / f"{sha256}.part"
        while (here := path.stat().st_size if path.exists() else 0) < size:
            piece = self._piece(sha256, here, size)
            if piece is None:
                return None
            with path.open("ab") as out:
                out.write(piece)
        body = path.read_bytes()
        path.unlink(missing_ok=True)
        return body if hashlib.sha256(body).hexdigest() == sha256 else None

    def _piece(self, sha256: str, start: int, size: int) -> bytes | None:
        """The next piece of a message, or None when it is not there (any more) or not as it was listed."""
        end = min(start + min(self._pace.block(), PART), size) - 1
        reply = self._ask("GET", f"/v1/messages/{sha256}", extra={"range": f"bytes={start}-{end}"})
        if reply.status in (404, 416):
            return None
        span = _CONTENT_RANGE.fullmatch(reply.headers.get("content-range", ""))
        if reply.status != 206:
            raise self._problem(reply)
        self._pace.moved(len(reply.body))
        good = span is not None and (int(span[1]), int(span[3])) == (start, size)
        return reply.body if good and 0 < len(reply.body) <= end - start + 1 else None

    def done(self, own: str, sha256: str) -> None:
        """See `Transport.done`; a server that does not hear it offers the message again, which does no harm."""
        try:
            self._ask("DELETE", f"/v1/messages/{sha256}")
        except CourierError:
            return

    def close(self) -> None:
        """See `Transport.close`."""
        self._http.close()

    def probe(self, *, up: int = 0, down: int = 0) -> None:
        """Move so many bytes up and down (`PART` at most each), to be measured. Raises `UnreachableError`."""
        if up:
            reply = self._ask("POST", "/v1/probe", body=secrets.token_bytes(up))
        else:
            reply = self._ask("GET", "/v1/probe", query=f"bytes={down}")
        if reply.status not in (200, 204) or len(reply.body) != (0 if up else down):
            raise self._problem(reply)

    def _ask(
        self, method: str, path: str, *, query: str = "", body: bytes = b"", extra: dict[str, str] | None = None
    ) -> _Reply:
        """One request, signed; asked again a little later when the server says that it came too fast."""
        for _ in range(TRIES_WHEN_TOO_FAST):
            reply = self._ask_once(method, path, query, body, extra or {})
            if reply.status == 401 and not reply.body:
                reply = self._ask_as_before(method, path, query, body, extra or {}) or reply
            if reply.status != 429:
                return reply
            code, message = reply.problem
            if code == "paused":
                raise PausedError(message, hint="the message waits at the other site until its schedule takes it")
            text = reply.headers.get("retry-after", "1")
            self._sleep(min(int(text), 30) if text.isdecimal() and len(text) < 9 else 1)
        raise self._unreachable("it is busy")

    def _ask_as_before(self, method: str, path: str, query: str, body: bytes, extra: dict[str, str]) -> _Reply | None:
        """Ask a server that knows nobody of our present key with the keys before it; None when it knows none."""
        present = self._signing
        for signing in self._older():
            self._signing = signing
            reply = self._ask_once(method, path, query, body, extra)
            if reply.status != 401 or reply.body:
                return reply
        self._signing = present
        return None

    def _ask_once(self, method: str, path: str, query: str, body: bytes, extra: dict[str, str]) -> _Reply:
        import httpx

        head = Head(method=method, path=path, query=query, headers=extra)
        signed = sign_head(
            head,
            source=self._signing.source,
            to=self._to,
            body=body,
            key=self._signing.key,
            signer=self._signing.signer,
            created=self._now() // 10**9,
            nonce=secrets.token_hex(16),
        )
        headers = {**extra, **signed, "content-length": str(len(body))}
        url = f"{self._url}{path}" + (f"?{query}" if query else "")
        deadline = time.monotonic() + REQUEST_SECONDS
        try:
            with self._http.stream(method, url, content=body, headers=headers) as reply:
                gathered = bytearray()
                # As it comes: what trickles would not fill a chunk of a given size for days.
                for chunk in reply.iter_raw():
                    gathered += chunk
                    if len(gathered) > MAX_REPLY:
                        raise self._unreachable("its answer is too large")
                    if time.monotonic() > deadline:
                        raise self._unreachable(f"its answer is too slow; {SMALLER}")
                names = {name.lower(): value for name, value in reply.headers.items()}
                return _Reply(status=reply.status_code, headers=names, body=bytes(gathered))
        except httpx.HTTPError as error:
            raise self._unreachable(_explained(str(error) or type(error).__name__)) from None

    def _problem(self, reply: _Reply) -> CourierError:
        code, message = reply.problem
        if reply.status == 401 and code == "clock":
            return self._unreachable(f"the clocks differ: {message}")
        if reply.status == 401:
            return self._unreachable(f"it does not know this site's key, or is not {self._to}")
        if reply.status == 408:
            return self._unreachable(f"what was sent did not come there in time; {SMALLER}")
        if reply.status in (400, 411, 413, 416, 422) and message:
            return RejectedError(
                f"{self._url} does not take the message: {message}", hint="the message is tried again later"
            )
        return self._unreachable(f"it answered {reply.status}{f' ({message})' if message else ''}")

    def _unreachable(self, why: str) -> UnreachableError:
        return UnreachableError(f"{self._url}: {_printable(why)}", hint=KEPT)


def check_url(text: str) -> str:
    """An address of a server, ``https://HOST`` or ``https://HOST:PORT``; raises `UsageError`."""
    try:
        parts = urlsplit(text)
        good = (
            bool(parts.hostname) and parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
        )
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        good, port = False, ""
    if not good:
        hint = "write it like https://hq.example.org:8423 (no path: the path of a request is part of what is signed)"
        raise UsageError(f"{text[:100]!r} is not the address of a server", hint=hint)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _listed(value: Any) -> list[tuple[str, int]]:
    """(name, size) of what a server lists, as far as it makes sense."""
    found = []
    for item in value if isinstance(value, list) else []:
        name, size = (item.get("message"), item.get("size")) if isinstance(item, dict) else (None, None)
        named = isinstance(name, str) and re.fullmatch("[0-9a-f]{64}", name)
        if named and isinstance(size, int) and 0 < size <= MAX_MESSAGE:
            found.append((str(name), size))
    return found


def trusting(ca: str) -> Any:
    """The TLS context that trusts the authorities in a PEM file (empty: those of the system); raises `UsageError`."""
    import ssl

    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{ca}: no certificates can be read from it: {error}", hint="give a PEM file: --ca FILE"
        ) from None


def _explained(text: str) -> str:
    """What a failure of the connection means for an operator, where its own words do not say so."""
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "not trusted"
        return f"its certificate is not accepted: {why}; name its own one with channel address set ... --ca FILE"
    if "record layer" in text.lower() or "WRONG_VERSION_NUMBER" in text:
        return f"it does not speak TLS there; is it an http:// address? ({text})"
    return text


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:300]
