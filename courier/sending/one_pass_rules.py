"""Which planned parcels can be built and written in one pass, and what to do with the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.media.reading import Layout
from courier.sending.plan import NO_REDUNDANCY, ParcelPlan


def check_one_pass(plan: ParcelPlan, layout: Layout, outs: Sequence[Path]) -> None:
    """Raise `RefusedError` for a parcel that takes two steps, with the commands that do it."""
    found = _objection(plan, layout)
    if found is None:
        return
    why, instead = found
    steps = f"the same command without --write and --out, then {two_steps(plan.preview.parcel, layout, outs)}"
    raise RefusedError(
        f"one pass cannot make this parcel: {why}",
        hint=f"{instead}; or in two steps: {steps}" if instead else f"in two steps: {steps}",
        code=Code.TWO_STEPS,
    )


def _objection(plan: ParcelPlan, layout: Layout) -> tuple[str, str] | None:
    """Why a parcel takes two steps, and what else would do; None where it does not."""
    if layout == "tape":
        return "a tape cannot keep places for documents that are known last", ""
    if plan.delta is not None:
        return "a delta makes its patches first", "carry everything: --full"
    if plan.request.spares or plan.request.redundancy != NO_REDUNDANCY:
        return "parity is made of archives that are complete", "without parity: --redundancy none, no --spare-volumes"
    if not plan.exact:
        holes = any(member.content.holes for archive in plan.archives for member in archive.members)
        if holes:
            return "files with holes are compressed, to sizes that nobody knows before", ""
        return "content that is compressed has a size that nobody knows before", "without compression: --compress none"
    return None


def two_steps(parcel: str, layout: Layout, outs: Sequence[Path]) -> str:
    """The command that writes the volumes of a parcel that is built."""
    return f"courier parcel write {parcel} --layout {layout}{''.join(f' --out {out}' for out in outs)}"
