"""The drill: lose volumes and damage the others of a real parcel, on paper, and follow what would mend what.

Nothing of the parcel is read but its packing list, and nothing is touched. The choice is random and told by its seed,
so that a drill can be run again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from courier.errors import UsageError
from courier.parcel.parity_plan import promise
from courier.parcel.parity_repair import BlockAt, ParcelParity, RepairPlan, blocks_to_request, plan_repair
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.text import plural

MAX_TRIALS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Mend:
    """What one parity group gave back: ``blocks`` in ``stripes``; ``worst``: most blocks bad in one of those stripes.

    ``by`` names the group, ``parity`` is how many bad blocks a stripe of it survives.
    """

    by: str
    blocks: int
    stripes: int
    worst: int
    parity: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One simulated loss and what became of it: ``left`` archive blocks that parity cannot give back.

    ``scratch``: damage was one run on each volume, not scattered. ``asked`` blocks of ``asked_bytes`` would have to
    come by network for parity to mend the rest.
    """

    seed: int
    lost: tuple[int, ...]
    scratch: bool
    bad: int
    bad_content: int
    mends: tuple[Mend, ...]
    left: tuple[BlockAt, ...]
    asked: int
    asked_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Drill:
    """All trials of a drill, and the ``promises`` of the parcel's parity groups, in words."""

    parcel: str
    volumes: int
    promises: tuple[str, ...]
    trials: tuple[Trial, ...]

    @property
    def mended(self) -> bool:
        """Whether parity would have mended every trial."""
        return not any(trial.left for trial in self.trials)


def parse_share(text: str) -> float:
    """``1%`` or ``0.5%`` as a share; raises `UsageError`."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = -1.0
    if not text.strip().endswith("%") or not 0 <= share < 1:
        raise UsageError(f"--damage {text}: not a share", hint="write it like 1% or 0.5%, less than 100%")
    return share


def run_drill(parcel: OutgoingParcel, *, lose: int, damage: float, trials: int, seed: int) -> Drill:
    """Simulate ``trials`` times: ``lose`` volumes lost, the share ``damage`` of each other volume's blocks bad.

    Damage is scattered in the odd trials, one run on each volume in the even ones. Raises `UsageError`.
    """
    packing = parcel.packing
    if not 0 <= lose <= packing.volumes:
        raise UsageError(
            f"--lose {lose}: the parcel has {plural(packing.volumes, 'volume')}", hint=f"0 to {packing.volumes}"
        )
    if not lose and not damage:
        raise UsageError("nothing is to be lost or damaged", hint="give --lose N, --damage 1%, or both")
    if not 1 <= trials <= MAX_TRIALS:
        raise UsageError(f"--trials {trials}", hint=f"1 to {MAX_TRIALS}")
    parity = ParcelParity(packing)
    done = tuple(_trial(parcel, parity, lose, damage, seed, n) for n in range(1, trials + 1))
    return Drill(
        parcel=parcel.sent.parcel,
        volumes=packing.volumes,
        promises=tuple(promise(group.record, group.geometry) for group in parity.groups),
        trials=done,
    )


def _trial(
    parcel: OutgoingParcel,
    parity: ParcelParity,
    lose: int,
    damage: float,
    seed: int,
    number: int,
) -> Trial:
    chance = random.Random(f"{seed}/{number}")
    lost = sorted(chance.sample(range(1, parcel.packing.volumes + 1), lose))
    bad = [block for volume in lost for block in parity.blocks_on(volume)]
    scratch = number % 2 == 0
    for volume in range(1, parcel.packing.volumes + 1) if damage else ():
        if volume in lost:
            continue
        blocks = list(parity.blocks_on(volume))
        # At least one where any damage is asked for, else small volumes would come away unharmed.
        count = max(1, round(len(blocks) * damage)) if blocks else 0
        if scratch and count:
            start = chance.randrange(len(blocks) - count + 1)
            bad += blocks[start : start + count]
        else:
            bad += chance.sample(blocks, count)
    plan = plan_repair(parity, bad)
    asked = blocks_to_request(parity, bad) if plan.left else ()
    sizes, block = parcel.packing.files(), parcel.packing.block_size
    return Trial(
        seed=seed,
        lost=tuple(lost),
        scratch=scratch,
        bad=len(bad),
        bad_content=sum(map(parity.is_archive, bad)),
        mends=tuple(_mends(parity, plan)),
        left=plan.left,
        asked=len(asked),
        asked_bytes=sum(min(block, sizes[at.file].size - at.block * block) for at in asked),
    )


def _mends(parity: ParcelParity, plan: RepairPlan) -> Iterator[Mend]:
    for step in plan.steps:
        group = parity.groups[step.group]
        spares = group.record.spares
        yield Mend(
            by=f"spare volumes {', '.join(map(str, spares))}"
            if spares
            else f"parity on volume {group.record.volumes[0]}",
            blocks=sum(column < group.geometry.data for columns in step.rows.values() for column in columns),
            stripes=len(step.rows),
            worst=max(map(len, step.rows.values())),
            parity=group.geometry.parity,
        )
