"""How long distribution points take to serve all clients, and how many points are wanted where. Pure.

A point serves as many clients at one time as it has connections; they share its line, and none is faster than its own.
The others wait for the next round. A point that has several groups serves one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from courier.errors import UsageError
from courier.planning.quantities import span_text
from courier.text import plural

FILE_MS = 5
"""Milliseconds that each file costs a client beside its bytes: a round trip of 20, four requests at one time."""
MOST_CLIENTS = 10**6
MOST_CONNECTIONS = 10**5


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientGroup:
    """Clients of one place or class: how many, and bytes a second of the line of each."""

    name: str
    clients: int
    rate: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingPoint:
    """A distribution point: the groups that it serves, bytes a second of its line, and its most connections."""

    name: str
    groups: tuple[str, ...]
    rate: int
    connections: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What each client fetches."""

    bytes: int
    files: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PointLoad:
    """A point in the plan: how many clients of each group it serves, and seconds until all have everything.

    ``bound``: what holds it up most: ``connections``, ``line`` or ``clients`` (their own lines).
    """

    point: ServingPoint
    clients: tuple[tuple[str, int], ...]
    seconds: int
    bound: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupPlan:
    """A group in the plan.

    ``seconds``: until its last client has everything; None where it has no point. ``wanted``: how many points of the
    usual kind would serve it within the time; None where no number would. ``do``: what to do, or an empty text.
    """

    group: ClientGroup
    points: tuple[str, ...]
    seconds: int | None
    is_in_time: bool
    wanted: int | None
    do: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingPlan:
    """The plan for all groups and points; ``seconds``: until the last client of a group with a point is served."""

    groups: tuple[GroupPlan, ...]
    points: tuple[PointLoad, ...]
    seconds: int

    @property
    def without_point(self) -> tuple[str, ...]:
        """The groups that no point serves."""
        return tuple(one.group.name for one in self.groups if one.seconds is None)

    @property
    def ok(self) -> bool:
        """Whether every client is served in time."""
        return all(one.is_in_time for one in self.groups)


def plan_serving(
    content: Content,
    groups: Sequence[ClientGroup],
    points: Sequence[ServingPoint],
    *,
    usual: ServingPoint,
    within: int,
) -> ServingPlan:
    """Judge who serves whom, and how long it takes.

    ``usual``: the kind of point that is reckoned with where points are wanted. ``within``: seconds in which all clients
    are to be served. Raises `UsageError` for what contradicts itself.
    """
    check_groups(groups, points)
    shares = {group.name: _shares(group, [one for one in points if group.name in one.groups]) for group in groups}
    loads = tuple(_load(content, point, groups, shares) for point in points)
    took = {load.point.name: load.seconds for load in loads}
    judged = tuple(_judged(content, group, shares[group.name], took, usual, within) for group in groups)
    return ServingPlan(groups=judged, points=loads, seconds=max((load.seconds for load in loads), default=0))


def check_groups(groups: Sequence[ClientGroup], points: Sequence[ServingPoint]) -> None:
    """Raise `UsageError` for no group, a name that stands twice, numbers out of range, or a group that is not there."""
    if not groups:
        raise UsageError("no group of clients is given", hint="--clients desk=120,100Mbit/s or --file FILE")
    for what, names in (("group", [one.name for one in groups]), ("point", [one.name for one in points])):
        twice = next((name for name, other in pairwise(sorted(names)) if name == other), None)
        if twice is not None:
            raise UsageError(f"{what} {twice} is given twice", hint="give each name once")
    known = {one.name for one in groups}
    for group in groups:
        if not 1 <= group.clients <= MOST_CLIENTS:
            raise UsageError(f"group {group.name}: {group.clients:,} clients", hint=f"give 1 to {MOST_CLIENTS:,}")
    for point in points:
        if not 1 <= point.connections <= MOST_CONNECTIONS:
            raise UsageError(
                f"point {point.name}: {point.connections:,} connections", hint=f"give 1 to {MOST_CONNECTIONS:,}"
            )
        for name in point.groups:
            if name not in known:
                raise UsageError(
                    f"point {point.name} serves group {name}, which is not given",
                    hint=f"the groups are {', '.join(sorted(known))}",
                )


def serving_seconds(content: Content, group: ClientGroup, clients: int, point: ServingPoint) -> int:
    """Seconds until ``clients`` of a group have fetched the content from a point."""
    if not clients:
        return 0
    at_once = min(point.connections, clients)
    rounds, rest = divmod(clients, at_once)
    milliseconds = rounds * _round_ms(content, group, at_once, point)
    if rest:
        milliseconds += _round_ms(content, group, rest, point)
    return -(-milliseconds // 1000)


def _round_ms(content: Content, group: ClientGroup, at_once: int, point: ServingPoint) -> int:
    """Milliseconds in which so many clients fetch the content at one time."""
    alone = -(-content.bytes * 1000 // group.rate)
    shared = -(-content.bytes * at_once * 1000 // point.rate)
    return max(alone, shared) + content.files * FILE_MS


def points_wanted(content: Content, group: ClientGroup, usual: ServingPoint, within: int) -> int | None:
    """The fewest points of the usual kind that serve a group within so many seconds; None where no number does."""

    def is_enough(count: int) -> bool:
        return serving_seconds(content, group, -(-group.clients // count), usual) <= within

    if not is_enough(group.clients):
        return None
    low, high = 0, group.clients
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _shares(group: ClientGroup, points: Sequence[ServingPoint]) -> dict[str, int]:
    """How many clients of a group each of its points serves: as many as its part of what all of them get through."""
    if not points:
        return {}
    through = [min(point.rate, point.connections * group.rate) for point in points]
    shares = [group.clients * one // sum(through) for one in through]
    order = sorted(range(len(points)), key=lambda n: (-(group.clients * through[n] % sum(through)), n))
    for n in order[: group.clients - sum(shares)]:
        shares[n] += 1
    return {point.name: share for point, share in zip(points, shares, strict=True)}


def _load(
    content: Content, point: ServingPoint, groups: Sequence[ClientGroup], shares: dict[str, dict[str, int]]
) -> PointLoad:
    served = [(group, shares[group.name][point.name]) for group in groups if point.name in shares[group.name]]
    took = [serving_seconds(content, group, clients, point) for group, clients in served]
    busiest = served[took.index(max(took))] if served else None
    bound = "clients" if busiest is None else _bound(*busiest, point)
    return PointLoad(
        point=point, clients=tuple((group.name, clients) for group, clients in served), seconds=sum(took), bound=bound
    )


def _bound(group: ClientGroup, clients: int, point: ServingPoint) -> str:
    """What holds a point up: its line, its connections where clients wait for one, or the clients' own lines."""
    if min(point.connections, clients) * group.rate > point.rate:
        return "line"
    return "connections" if clients > point.connections else "clients"


def _judged(
    content: Content,
    group: ClientGroup,
    shares: dict[str, int],
    took: dict[str, int],
    usual: ServingPoint,
    within: int,
) -> GroupPlan:
    seconds = max((took[name] for name in shares), default=None)
    wanted = points_wanted(content, group, usual, within)
    is_in_time = seconds is not None and seconds <= within
    do = ""
    if not is_in_time:
        alone = serving_seconds(content, group, 1, usual)
        do = (
            f"even one client alone takes {span_text(alone)}: no number of points is enough"
            if wanted is None
            else f"{plural(wanted, 'point')} of the usual kind would serve it in {span_text(within)}"
        )
        if seconds is None:
            do = f"no point serves it; {do}"
    return GroupPlan(group=group, points=tuple(shares), seconds=seconds, is_in_time=is_in_time, wanted=wanted, do=do)
