"""Which way content is to take, and the size from which on a courier is the faster. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from courier.planning.quantities import span_text
from courier.text import size_text

ABOUT_EQUAL = 0.1
"""Two ways whose times differ by no more than this part of the longer one are taken as equally fast."""
LARGEST = 10**18
"""Bytes up to which a break-even is looked for."""

Seconds = Callable[[int], int | None]
"""Seconds that a way takes for a number of bytes; None: it never ends."""


class Way(StrEnum):
    """How content gets to another site."""

    NETWORK = "network"
    """All of it over the network."""
    COURIER = "courier"
    """All of it by courier: no network address of the site is known, or none that may be used."""
    BOTH = "both"
    """The content by courier; its definition, and the ship notice, over the network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is to be judged for the site ``code``.

    ``network_seconds``: None where it is not known or never ends, and then ``unknown`` says why in a sentence.
    ``reachable``: whether small messages can go over the network. Costs are None where prices are not given.
    """

    code: str
    size: int
    network_seconds: int | None
    unknown: str
    courier_seconds: int
    reachable: bool
    currency: str = ""
    network_cost: Decimal | None = None
    courier_cost: Decimal | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """The way to take, and why, in one sentence."""

    way: Way
    why: str


def recommend(asked: Question) -> Recommendation:
    """The faster way; the cheaper one where both are about as fast; never an unknown one."""
    carried = Way.BOTH if asked.reachable else Way.COURIER
    took = span_text(asked.courier_seconds)
    tail = "the definitions and the ship notice go over the network" if asked.reachable else ""
    if asked.network_seconds is None:
        why = f"{asked.unknown}; a courier takes {took}" + (f", and {tail}." if tail else ".")
        return Recommendation(way=carried, why=why)
    network = span_text(asked.network_seconds)
    if is_about_equal(asked.network_seconds, asked.courier_seconds):
        return _by_cost(asked, carried)
    if asked.network_seconds < asked.courier_seconds:
        why = f"The network brings {size_text(asked.size)} to {asked.code} in {network}; a courier would take {took}."
        return Recommendation(way=Way.NETWORK, why=why)
    why = f"A courier brings {size_text(asked.size)} to {asked.code} in {took}; the network would take {network}"
    return Recommendation(way=carried, why=f"{why}, and {tail}." if tail else f"{why}.")


def is_about_equal(one: int, other: int) -> bool:
    """Whether two times are close enough that the cost decides."""
    return abs(one - other) <= ABOUT_EQUAL * max(one, other)


def _by_cost(asked: Question, carried: Way) -> Recommendation:
    both = f"Both take about {span_text(asked.network_seconds)}"
    if asked.network_cost is None or asked.courier_cost is None or asked.network_cost == asked.courier_cost:
        return Recommendation(way=Way.NETWORK, why=f"{both}, and over the network nobody has to carry anything.")
    money = asked.currency
    prices = f"{money} {asked.network_cost} over the network, {money} {asked.courier_cost} by courier"
    way = Way.NETWORK if asked.network_cost < asked.courier_cost else carried
    return Recommendation(way=way, why=f"{both}, and the cheaper way is taken: {prices}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakEven:
    """The smallest size in bytes at which a courier is as fast as the network.

    ``bytes`` is 0 where it always is, and None where it never is.
    """

    bytes: int | None

    @property
    def text(self) -> str:
        """In words, for people."""
        if self.bytes is None:
            return "at any size the network is the faster"
        if not self.bytes:
            return "at any size a courier is the faster"
        return f"from {size_text(self.bytes)} on a courier is the faster"


def break_even(network: Seconds, courier: Seconds) -> BreakEven:
    """Where both ways take equally long: looked for from small sizes up, then halved down to the byte.

    Both functions must not fall as the size grows.
    """

    def is_carried(size: int) -> bool:
        sent, carried = network(size), courier(size)
        return carried is not None and (sent is None or sent >= carried)

    low, high = 0, 1
    while not is_carried(high):
        if high >= LARGEST:
            return BreakEven(bytes=None)
        low, high = high, high + high // 4 + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_carried(middle) else (middle, high)
    return BreakEven(bytes=0 if high == 1 else high)
