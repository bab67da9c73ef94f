"""What the status of a site goes by: facts that were gathered, and nothing else. Pure: the time is one of the facts.

Times are nanoseconds since 1970 (UTC), sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SECOND_NS = 10**9
DAY_NS = 24 * 3600 * SECOND_NS


@dataclass(frozen=True, kw_only=True, slots=True)
class DestinationFacts:
    """One destination of a parcel that was made here.

    ``copy``: the number of its set of media, 0 before it is shipped. ``arrived``: how many volumes arrived there, as
    far as its custody entries say. ``lost``: the volumes that its report names as lost, where the key of the parcel
    waits for the operator's decision. ``usable``: how many of its ``packages`` are in the store there already, while
    the rest is to come. ``sent_bytes``: of the ``network_bytes`` that go there by network, those that arrived;
    ``problem``: what stops these, or empty.
    """

    site: str
    copy: int = 0
    carrier: str = ""
    tracking: str = ""
    shipped_ns: int | None = None
    confirmed_ns: int | None = None
    arrived: int = 0
    lost: tuple[int, ...] = ()
    usable: int = 0
    packages: int = 0
    sent_bytes: int = 0
    network_bytes: int = 0
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SentFacts:
    """A parcel that was made here and has not ended. ``volumes``: how many it has; ``unwritten``: those not written.

    ``layout``: the layout that its kind of medium is meant for. ``problem``: why its files cannot be read, or empty.
    """

    parcel: str
    state: str
    priority: str
    created_ns: int
    destinations: tuple[DestinationFacts, ...]
    volumes: int = 0
    unwritten: int = 0
    layout: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeskFacts:
    """What labels and seals at the desk told of a parcel.

    ``by_label``: volumes that were taken in by their labels, and whose media have not been read; ``since_ns``: when the
    first was. ``broken``: (volume, serial number that was read, when) of each seal that was found to be not the one
    that is due, or broken, and of which nobody has said since what came of it.
    """

    parcel: str
    by_label: tuple[int, ...] = ()
    since_ns: int | None = None
    broken: tuple[tuple[int, str, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedFacts:
    """A build of a parcel that is announced or arrives, and is not imported.

    ``volumes``: how many it has by its notice, 0 where that is not known.
    ``missing``: numbers of the volumes with content that is missing; ``damaged``: of those that came damaged.
    ``awaiting``: what a complete parcel waits for; ``report``: the command that reports its arrival, where the key
    waits for that. ``hold``: the operator did not want it imported by itself. ``usable``: packages of it that are in
    the store already, of ``packages`` that it has; ``refused``: those that may not be imported, and why.
    ``refusal``: of its source, where it refused the blocks that were asked for. ``problem`` as in `SentFacts`.
    """

    parcel: str
    source: str
    state: str
    since_ns: int
    hold: bool = False
    volumes: int = 0
    missing: tuple[int, ...] = ()
    damaged: tuple[int, ...] = ()
    awaiting: tuple[str, ...] = ()
    report: str = ""
    usable: tuple[str, ...] = ()
    packages: int = 0
    refused: tuple[str, ...] = ()
    refusal: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerFacts:
    """A site whose card is pinned and that is trusted.

    ``heard_ns``: when its newest message came. ``queued``: messages that wait for it, the oldest since ``oldest_ns``.
    ``addresses``: (address, failures in a row) by priority. ``key_until_ns``: the end of its signing key.
    """

    code: str
    pinned_ns: int
    key_until_ns: int
    heard_ns: int | None = None
    queued: int = 0
    oldest_ns: int | None = None
    addresses: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class PointFacts:
    """A distribution point. ``short``: (folder, bytes free, bytes to leave free) of each disk that is too full.

    ``unreachable``: folders that cannot be reached now. ``due``: versions that wait to go there by rule.
    """

    name: str
    added_ns: int
    validated_ns: int | None = None
    damaged: int = 0
    packages: int = 0
    short: tuple[tuple[str, int, int], ...] = ()
    unreachable: tuple[str, ...] = ()
    due: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheClassFacts:
    """A class of clients: bytes of its cache, and the versions at points that are larger, with their bytes."""

    name: str
    size: int
    too_large: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StateFacts:
    """A capture of a computer's state that is not released. ``state``: complete, partial, restored and so on."""

    migration: str
    source: str
    destination: str
    state: str
    captured_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentFacts:
    """A deployment that was not removed: its deadline, and how many of its computers have not finished it."""

    deployment: str
    deadline_ns: int
    open: int
    of: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchFacts:
    """The watch of a site, where one ever ran.

    ``running``: it holds its lock. ``ended``: it said that it ended. ``once``: it makes single rounds. ``who``: its
    process, user and computer. ``seen_ns``: its last sign of life. ``step``: what it does. ``trouble``: what fails, and
    is tried again. ``untold``: (way, why) of the services and hooks that failed last, each once.
    """

    running: bool
    ended: bool
    once: bool
    who: str
    started_ns: int
    seen_ns: int
    step: str = ""
    trouble: str = ""
    untold: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteFacts:
    """A site as it stands at ``now_ns``.

    ``counts``: parcels by (``sent`` or ``received``, state), of all. ``desk``: by parcel, where it told
    something. ``usual_to`` and ``usual_from``: seconds that past parcels to, and from, a site took, the value in the
    middle. ``transit_days``: how long a parcel may be under way where the operator has said so; 0: as past parcels
    took. ``free`` and ``reserve``: of the disk of the store. ``packages``: how many versions there are, ``lost`` of
    them without their content, as in a home that was restored; ``package_bytes``: of the others.
    ``dead_letters``: how many. ``contradicted``: stored versions for which their source signed other content.
    ``quarantined``: contents that were found damaged and taken out of use. ``watch``: None where none ever ran.
    """

    site: str
    now_ns: int
    key_until_ns: int
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    sent: tuple[SentFacts, ...] = ()
    received: tuple[ReceivedFacts, ...] = ()
    desk: Mapping[str, DeskFacts] = field(default_factory=dict)
    usual_to: Mapping[str, int] = field(default_factory=dict)
    usual_from: Mapping[str, int] = field(default_factory=dict)
    transit_days: int = 0
    peers: tuple[PeerFacts, ...] = ()
    dead_letters: int = 0
    free: int = 0
    reserve: int = 0
    packages: int = 0
    lost: int = 0
    package_bytes: int = 0
    contradicted: tuple[str, ...] = ()
    quarantined: int = 0
    points: tuple[PointFacts, ...] = ()
    cache_classes: tuple[CacheClassFacts, ...] = ()
    states: tuple[StateFacts, ...] = ()
    deployments: tuple[DeploymentFacts, ...] = ()
    watch: WatchFacts | None = None
