"""What is kept of a parcel that goes to a site by network: how far it is, and which of its messages are on their way.

One file for each parcel and site, in ``channel/sends`` of the home. It is written after a message was queued: a run
that was killed in between makes the same message again, and that one is queued already.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from courier.files import write_atomic
from courier.site.home import Site
from formats.documents.fields import Parcel
from formats.documents.fields import Site as SiteCode
from formats.errors import FormatError
from formats.records import OPTIONAL, Count, Digest, Key, NamedRecord, Number, Record, Text, Time, read_named

FOLDER = "sends"


@dataclass(frozen=True, kw_only=True, slots=True)
class OnItsWay(Record):
    """A message that was queued and is not known to be acknowledged: its place in the order, its bytes of content."""

    piece: Count
    sha256: Digest
    size: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSend(NamedRecord):
    """A parcel that goes to ``site`` by network.

    ``begun_ns``: when that began (UTC), which is the date of all its messages. ``volumes``: those whose archives go;
    none: all. ``window``: bytes that may be on their way at one time. ``pieces``: how many messages there are;
    ``queued``: of these, counted from the first, how many were queued. ``bytes``: of content in all of them;
    ``arrived``: in those that were acknowledged. ``problem``: what stops it, for people, or empty.
    """

    NAME = "network-send"

    parcel: Parcel
    site: SiteCode
    begun_ns: Annotated[Time, Key("begun")]
    packing_list: Digest
    volumes: tuple[Number, ...]
    window: Number
    pieces: Number
    bytes: Count
    queued: Count = 0
    arrived: Count = 0
    waiting: tuple[OnItsWay, ...] = ()
    problem: Annotated[Text, OPTIONAL] = ""

    @property
    def is_done(self) -> bool:
        """Whether every message was acknowledged."""
        return self.queued == self.pieces and not self.waiting

    @property
    def on_its_way(self) -> int:
        """Bytes of content in messages that are queued, or delivered and not acknowledged."""
        return sum(one.size for one in self.waiting)


def _folder(site: Site) -> Path:
    return site.home / "channel" / FOLDER


def _path(site: Site, parcel: str, code: str) -> Path:
    return _folder(site) / f"{parcel}-{code}.json"


@contextmanager
def sends_locked(site: Site) -> Iterator[None]:
    """Hold the lock of all that goes by network. Raises `BusyError` while another command holds it."""
    with site.locked(_folder(site) / "lock"):
        yield


def read_send(site: Site, parcel: str, code: str) -> NetworkSend | None:
    """What is kept of a parcel that goes to a site by network; None where it does not, or what was kept is damaged."""
    try:
        return read_named(NetworkSend, _path(site, parcel, code).read_bytes())
    except (FileNotFoundError, FormatError):
        return None


def write_send(site: Site, send: NetworkSend) -> None:
    """Keep how far a parcel is, in place of what was kept before; call it under the lock."""
    write_atomic(_path(site, send.parcel, send.site), send.json())


def forget_send(site: Site, send: NetworkSend) -> None:
    """Forget that a parcel goes by network; call it under the lock."""
    _path(site, send.parcel, send.site).unlink(missing_ok=True)


def all_sends(site: Site) -> list[NetworkSend]:
    """Every parcel that goes by network, by parcel and site."""
    found = [read_send(site, *path.stem.rsplit("-", 1)) for path in sorted(_folder(site).glob("*.json"))]
    return [one for one in found if one is not None]


def sends_of(site: Site, parcel: str) -> dict[str, NetworkSend]:
    """How a parcel goes by network, by site."""
    return {one.site: one for one in all_sends(site) if one.parcel == parcel}
