"""The drill: simulate the loss of volumes and damage to the others, and report what parity would repair.

Only the packing list of the parcel is read, and nothing is changed. The damage is random and follows from a seed, so
that a drill can be repeated.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from courier.errors import UsageError
from courier.parcel.parity_plan import promise
from courier.parcel.parity_repair import BlockAt, ParcelParity, RepairPlan, blocks_to_request, plan_repair
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.text import plural, volumes

MAX_TRIALS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillRequest:
    """What is simulated, ``trials`` times: ``lose`` volumes lost, and ``damage`` to the others.

    ``damage``: the share of each other volume's blocks that is bad, from 0 to 1. ``seed``: the same makes the same
    damage.
    """

    lose: int
    damage: float
    trials: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupRepair:
    """What one parity group repaired: ``blocks`` in ``stripes``, at most ``worst`` bad blocks in one of them.

    ``by`` names the group; ``parity`` is how many bad blocks in a stripe it can repair.
    """

    by: str
    blocks: int
    stripes: int
    worst: int
    parity: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One simulated loss: ``bad`` blocks, ``bad_content`` of them in archives, and how parity repaired them.

    ``scratch``: the damage was one run on each volume, not scattered. ``left``: archive blocks that parity cannot
    repair; if ``asked`` blocks (``asked_bytes``) are fetched by network, it can repair the rest.
    """

    seed: int
    lost: tuple[int, ...]
    scratch: bool
    bad: int
    bad_content: int
    repairs: tuple[GroupRepair, ...]
    left: tuple[BlockAt, ...]
    asked: int
    asked_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Drill:
    """All trials of a drill, and what each parity group of the parcel promises, in words."""

    parcel: str
    volumes: int
    promises: tuple[str, ...]
    trials: tuple[Trial, ...]

    @property
    def all_repaired(self) -> bool:
        """Whether parity would have repaired everything in every trial."""
        return not any(trial.left for trial in self.trials)


def parse_share(text: str) -> float:
    """``1%`` or ``0.5%`` as a share from 0 to 1; raises `UsageError`."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = -1.0
    if not text.strip().endswith("%") or not 0 <= share < 1:
        raise UsageError(f"--damage {text}: not a share", hint="write it like 1% or 0.5%, less than 100%")
    return share


def run_drill(parcel: OutgoingParcel, request: DrillRequest) -> Drill:
    """Simulate what is asked for. Damage is scattered in odd trials, one run on each volume in even ones.

    Raises `UsageError` for numbers that are not possible.
    """
    _check(parcel, request)
    parity = ParcelParity(parcel.packing)
    return Drill(
        parcel=parcel.sent.parcel,
        volumes=parcel.packing.volumes,
        promises=tuple(promise(group.record, group.geometry) for group in parity.groups),
        trials=tuple(_trial(parcel, parity, request, number) for number in range(1, request.trials + 1)),
    )


def _check(parcel: OutgoingParcel, request: DrillRequest) -> None:
    volumes = parcel.packing.volumes
    if not 0 <= request.lose <= volumes:
        raise UsageError(
            f"--lose {request.lose}: the parcel has {plural(volumes, 'volume')}", hint=f"give 0 to {volumes}"
        )
    if not request.lose and not request.damage:
        raise UsageError("nothing is to be lost or damaged", hint="give --lose N, --damage 1%, or both")
    if not 1 <= request.trials <= MAX_TRIALS:
        raise UsageError(f"--trials {request.trials}: not possible", hint=f"give 1 to {MAX_TRIALS}")


def _trial(parcel: OutgoingParcel, parity: ParcelParity, request: DrillRequest, number: int) -> Trial:
    chance = random.Random(f"{request.seed}/{number}")
    scratch = number % 2 == 0
    lost = sorted(chance.sample(range(1, parcel.packing.volumes + 1), request.lose))
    bad = [block for volume in lost for block in parity.blocks_on(volume)]
    if request.damage:
        others = (volume for volume in range(1, parcel.packing.volumes + 1) if volume not in lost)
        for volume in others:
            bad += _damaged(list(parity.blocks_on(volume)), request.damage, chance, scratch=scratch)
    plan = plan_repair(parity, bad)
    asked = blocks_to_request(parity, bad) if plan.left else ()
    sizes, block = parcel.packing.files(), parcel.packing.block_size
    return Trial(
        seed=request.seed,
        lost=tuple(lost),
        scratch=scratch,
        bad=len(bad),
        bad_content=sum(map(parity.is_archive, bad)),
        repairs=tuple(_repairs(parity, plan)),
        left=plan.left,
        asked=len(asked),
        asked_bytes=sum(min(block, sizes[at.file].size - at.block * block) for at in asked),
    )


def _damaged(blocks: list[BlockAt], share: float, chance: random.Random, *, scratch: bool) -> Collection[BlockAt]:
    """The blocks of a volume that are damaged: at least one, or small volumes would never be."""
    count = max(1, round(len(blocks) * share)) if blocks else 0
    if not scratch or not count:
        return chance.sample(blocks, count)
    start = chance.randrange(len(blocks) - count + 1)
    return blocks[start : start + count]


def _repairs(parity: ParcelParity, plan: RepairPlan) -> Iterator[GroupRepair]:
    for step in plan.steps:
        group = parity.groups[step.group]
        spares = group.record.spares
        yield GroupRepair(
            by=f"spare {volumes(spares)}" if spares else f"parity on volume {group.record.volumes[0]}",
            blocks=sum(column < group.geometry.data for columns in step.stripes.values() for column in columns),
            stripes=len(step.stripes),
            worst=max(map(len, step.stripes.values())),
            parity=group.geometry.parity,
        )
