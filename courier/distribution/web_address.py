"""The address of a web server that has a point: one reading of it for the site that names it and for its clients.

A site signs the addresses of peers, and every client of the branch reads them; so what a client could not use is
refused where it is set.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from courier.errors import UsageError

PORTS = {"http": 80, "https": 443}
"""The schemes there are, and the port of each where the address names none."""
_SIGNED = re.compile("https?://[!-~]{1,1000}")
"""What a statement holds as an address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebAddress:
    """A scheme, a host, a port, and the path below which the point is, without a slash at its end."""

    scheme: str
    host: str
    port: int
    path: str


def parse_web_address(url: str) -> WebAddress:
    """What a URL says. Raises `UsageError`."""
    strange = UsageError(f"{url[:200]!r} is no URL of a point", hint="write it like https://point.example:8443/base")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if ":" not in host:
            host.encode("idna")
    except ValueError:
        raise strange from None
    if parts.scheme not in PORTS or not host.strip(".") or not host.isprintable() or " " in host or port == 0:
        raise strange
    if parts.query or parts.fragment:
        raise strange
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"{host}: a URL with a password in it", hint="give a token with --token-file")
    return WebAddress(scheme=parts.scheme, host=host, port=port or PORTS[parts.scheme], path=parts.path.rstrip("/"))


def check_signed_address(url: str) -> None:
    """Raise `UsageError` for an address that a statement cannot hold, or that no client could use."""
    if not _SIGNED.fullmatch(url):
        raise UsageError(f"{url[:80]!r} is not a URL of a web server", hint="write it like http://10.0.0.5:8080/")
    parse_web_address(url)
