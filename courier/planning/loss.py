"""The risk that media are lost or damaged on the way, and what spare volumes and parity change in it. Pure.

The model is simple, and printed with every figure: each medium is lost with one probability, and else damaged in part
with another, independently of all others. Parity on a medium repairs partial damage; of a group with M spare volumes
any M may be lost. What cannot be repaired costs another shipment (or blocks by network, which is not counted here).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb


@dataclass(frozen=True, kw_only=True, slots=True)
class Odds:
    """Probabilities for one medium: ``lost`` (or not readable at all), and otherwise ``damaged`` in part."""

    lost: float = 0.01
    damaged: float = 0.02

    def gone(self, *, parity: bool) -> float:
        """The probability that a medium does not bring its content, with parity of its own or without."""
        return self.lost if parity else self.lost + (1 - self.lost) * self.damaged

    def text(self, *, parity: bool) -> str:
        """The model in words."""
        repaired = "parity on it repairs" if parity else "no parity on it repairs"
        return (
            f"each medium is lost with a probability of {self.lost:.2%}, and else damaged in part with "
            f"{self.damaged:.2%}, which {repaired}; media are independent of each other"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Risk:
    """The probability that a shipment is incomplete when it arrives, between 0 and 1."""

    planned: float
    """With the spares and the parity that are planned."""
    bare: float
    """Without spare volumes and without parity on the media."""
    parity_only: float
    one_spare: float
    """With parity on the media, and one spare volume in each group of the planned size."""


def too_many_lost(members: int, spares: int, probability: float) -> float:
    """The probability that more than ``spares`` of ``members`` media fail, each with ``probability``."""
    kept = sum(
        comb(members, lost) * probability**lost * (1 - probability) ** (members - lost)
        for lost in range(min(spares, members) + 1)
    )
    return max(0.0, 1 - kept)


def any_fails(risks: Iterable[float]) -> float:
    """The probability that at least one of several independent things fails."""
    good = 1.0
    for risk in risks:
        good *= 1 - risk
    return max(0.0, 1 - good)


def risk_of(data_media: int, groups: Sequence[tuple[int, int]], odds: Odds, *, parity: bool) -> Risk:
    """The risk of a shipment of ``data_media`` without spares.

    ``groups``: (media, spares among them) of each group of spare volumes; without any, every medium has to arrive.
    """
    gone, bare = odds.gone(parity=parity), odds.gone(parity=False)
    sizes = [members - spares for members, spares in groups] or [data_media]
    planned = any_fails(too_many_lost(members, spares, gone) for members, spares in groups or [(data_media, 0)])
    return Risk(
        planned=planned,
        bare=too_many_lost(data_media, 0, bare),
        parity_only=too_many_lost(data_media, 0, odds.gone(parity=True)),
        one_spare=any_fails(too_many_lost(size + 1, 1, odds.gone(parity=True)) for size in sizes),
    )
