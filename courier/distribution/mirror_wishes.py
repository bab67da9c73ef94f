"""What clients of a branch asked its point for in vain, so that it is fetched: packages on demand.

The server notes a version, as an empty file below ``.courier``, when a client of the branch asks for its definition:
only where the point's own statement names it, so that nobody can make the branch fetch, or note, anything else.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from courier.distribution.folder import PointFolder
from courier.distribution.open_point import read_whole
from courier.errors import UsageError
from formats.documents.point import STATEMENT, PointStatement
from formats.envelope import parse_envelope
from formats.errors import FormatError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PRIVATE = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""The networks of a branch, unless its operator names them: this computer, and addresses that no provider routes."""
WISHES = ".courier/wishes"
_DEFINITION = re.compile("definitions/([A-Z0-9]{3}[0-9A-F]{5})-([1-9][0-9]{0,18})[.]json")
_WISH = re.compile("([A-Z0-9]{3}[0-9A-F]{5})-([1-9][0-9]{0,18})")


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks that an operator names. Raises `UsageError`."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip()))
        except ValueError as error:
            raise UsageError(f"{text[:60]!r} is no network: {error}", hint="write it like 10.0.0.0/8") from None
    return tuple(found)


class Wishes:
    """Notes what the clients in ``networks`` ask the point in ``folder`` for, and it does not have."""

    def __init__(self, folder: Path, networks: Sequence[Network]) -> None:
        self._folder, self._networks = folder, networks
        self._state: tuple[int, ...] = ()
        self._named: frozenset[tuple[str, int]] = frozenset()

    def note(self, path: str, host: str) -> None:
        """Note that the client at ``host`` asked for ``path`` in vain. Raises nothing: it is only a wish."""
        match = _DEFINITION.fullmatch(path)
        if match is None or not self._is_ours(host):
            return
        with contextlib.suppress(OSError), PointFolder(self._folder) as opened:
            if (match[1], int(match[2])) in self._names(opened):
                wish = f"{WISHES}/{match[1]}-{match[2]}"
                if opened.size(wish) is None:
                    opened.write(wish, b"")

    def _is_ours(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def _names(self, opened: PointFolder) -> frozenset[tuple[str, int]]:
        """The versions that the point's statement names; it is read again when it changes."""
        descriptor, info = opened.descriptor(STATEMENT)
        os.close(descriptor)
        state = (info.st_ino, info.st_size, info.st_mtime_ns)
        if state != self._state:
            try:
                statement = PointStatement.parse(parse_envelope(read_whole(opened, STATEMENT)).payload)
                self._named = frozenset((ref.package, ref.version) for ref in statement.packages)
            except FormatError:
                self._named = frozenset()
            self._state = state
        return self._named


def wished(opened: PointFolder) -> list[tuple[str, int]]:
    """The versions that clients asked for: package and version."""
    matches = (_WISH.fullmatch(name) for name in opened.names(WISHES))
    return [(match[1], int(match[2])) for match in matches if match]


def forget_wishes(opened: PointFolder, wishes: Iterable[tuple[str, int]]) -> None:
    """Delete wishes that are fulfilled, or cannot be."""
    for package, version in wishes:
        opened.delete(f"{WISHES}/{package}-{version}")
