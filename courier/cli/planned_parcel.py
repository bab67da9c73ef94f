"""A planned or built parcel, as JSON and as lines for people: its volumes, parity and spares, and its likely size."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from courier.cli.console import Console
from courier.text import listed, plural, size_text

if TYPE_CHECKING:
    from courier.sending.delta import DeltaPlan
    from courier.sending.estimate import Estimate
    from courier.sending.plan import ParcelPlan
    from formats.documents.packing import PackingList


def packing_document(packing: PackingList) -> dict[str, Any]:
    """The volumes and archives of a packing list, as JSON."""
    return {
        "parcel_id": packing.parcel,
        "encrypted": packing.encrypted,
        "key": packing.key,
        "media": packing.media,
        "capacity": packing.capacity,
        "bytes": sum(file.size for file in packing.files()),
        "archives": [{"number": file.number, "bytes": file.size, "volume": file.volume} for file in packing.archives],
        "volumes": [
            {
                "number": n,
                "of": packing.volumes,
                "bytes": packing.volume_bytes(n),
                "path": "",
                "state": "Planned",
                "spare": n in packing.spares,
            }
            for n in range(1, packing.volumes + 1)
        ],
    }


def volume_cell(spares: Collection[int], number: int) -> str | int:
    """A volume's number for a table; where there are ``spares``, the numbers of spare volumes, these are marked."""
    if not spares:
        return number
    return f"{number} (spare)" if number in spares else str(number)


def load_text(packing: PackingList) -> str:
    """What the volumes carry: the archives, the parity beside them, and what is on the spare volumes."""
    archives = sum(file.size for file in packing.archives)
    beside = sum(file.size for file in packing.parity if file.volume not in packing.spares)
    spare = sum(file.size for file in packing.parity if file.volume in packing.spares)
    text = f"archives of {size_text(archives)}"
    if beside:
        text += f", parity of {size_text(beside)} beside them ({beside * 100 / archives:.0f}%)"
    if spare:
        text += f", {size_text(spare)} on {plural(len(packing.spares), 'spare volume')}"
    return text


def volumes_text(packing: PackingList) -> str:
    """How many volumes, and which of them are spare: ``4 volumes of 700.0 MB, of which 4 is spare``."""
    text = f"{plural(packing.volumes, 'volume')} of {size_text(packing.capacity)}"
    if packing.spares:
        text += f" (spare: {listed(sorted(packing.spares))})"
    return text


def delta_text(delta: DeltaPlan) -> str:
    """What a delta builds on and saves, and how to do without it."""
    versions = ", ".join(f"{base.package}:{base.version}" for base in delta.bases)
    parts = []
    if delta.left_out:
        parts.append(f"{plural(len(delta.left_out), 'content')} of {size_text(delta.left_out_bytes)} left out")
    if delta.recipes:
        made, of = sum(recipe.content.size for recipe in delta.recipes), len(delta.recipes)
        parts.append(f"{plural(of, 'content')} of {size_text(made)} as {size_text(delta.patch_bytes)} of changes")
    return (
        f"Delta on {versions}, which the destinations hold: {', '.join(parts)}; saves about {size_text(delta.saved)} "
        "(--full carries everything)"
    )


def delta_document(delta: DeltaPlan | None) -> dict[str, Any]:
    """The same as JSON; without a delta it builds on nothing and saves nothing."""
    if delta is None:
        return {"bases": [], "bytes_saved": 0}
    return {
        "bases": [{"package_id": base.package, "version": base.version} for base in delta.bases],
        "bytes_saved": delta.saved,
        "left_out": len(delta.left_out),
        "left_out_bytes": delta.left_out_bytes,
        "made": len(delta.recipes),
        "patch_bytes": delta.patch_bytes,
    }


def say_plan(console: Console, plan: ParcelPlan, estimate: Estimate | None, *, kept: int) -> None:
    """Print what would be built; ``kept``: most bytes that the build takes on this computer's disk."""
    from courier.sending.estimate import archives_bytes

    packing = plan.preview
    request, about = plan.request, "" if plan.exact else "about "
    # Parity comes in steps: less content may, rarely, need more of it.
    at_most = about if plan.exact or request.spares or request.redundancy.share else "at most "
    console.say(
        f"Would build {packing.parcel} for {', '.join(packing.destinations)}: "
        f"{size_text(plan.content_bytes)} of content in {plural(len(packing.archives), 'archive')}; "
        f"{about}{load_text(packing)}; {at_most}{volumes_text(packing)}"
    )
    if estimate is not None:
        likely, low, high = (size_text(archives_bytes(one)) for one in (estimate.packing, estimate.low, estimate.high))
        console.say(
            f"Likely, by samples of the content: archives of {likely} ({low} to {high}), {_volumes_range(estimate)}"
        )
    console.say(f"On this computer's disk it takes {about}{size_text(kept)} until it is confirmed.")
    rows = [
        (
            volume_cell(packing.spares, n),
            len(packing.on_volume(n)),
            size_text(packing.volume_bytes(n)),
            f"{packing.volume_bytes(n) * 100 // packing.capacity}%",
        )
        for n in range(1, packing.volumes + 1)
    ]
    console.table(("VOLUME", "FILES", "PAYLOAD", "OF CAPACITY"), rows)
    found = {} if estimate is None else {"estimate": _estimate_document(estimate)}
    console.result(
        {
            "dry_run": True,
            "exact": plan.exact,
            "content_bytes": plan.content_bytes,
            "kept_bytes": kept,
            **found,
            "delta": delta_document(plan.delta),
            **packing_document(packing),
        }
    )


def _volumes_range(estimate: Estimate) -> str:
    text = plural(estimate.packing.volumes, "volume")
    fewest, *_, most = sorted(one.volumes for one in (estimate.low, estimate.packing, estimate.high))
    return text if fewest == most else f"{text} ({fewest:,} to {most:,})"


def _estimate_document(estimate: Estimate) -> dict[str, Any]:
    from courier.sending.estimate import archives_bytes

    def sizes(packing: PackingList) -> dict[str, int]:
        return {"bytes": archives_bytes(packing), "volumes": packing.volumes}

    return {**sizes(estimate.packing), "least": sizes(estimate.low), "most": sizes(estimate.high)}
