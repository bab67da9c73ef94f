"""What a planned parcel will likely take once it is compressed, from samples of its contents.

A plan counts with the most that compressed content can take, because it must fit whatever comes. How much it will take
is seen in samples (`courier.sending.samples`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.parcel.archive_plan import PlannedArchive
from courier.parcel.encryption import encrypted_bytes
from courier.parcel.volume_layout import lay_out
from courier.sending.plan import ParcelDraft, ParcelPlan
from courier.sending.volume_source import fixed_sizes
from formats.archive import archive_size
from formats.documents.packing import PackingList


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a parcel will likely take, and the ends of the range, as packing lists that a build may come to."""

    packing: PackingList
    low: PackingList
    high: PackingList


def archives_bytes(packing: PackingList) -> int:
    """Bytes of all archives together."""
    return sum(file.size for file in packing.archives)


def estimate_parcel(draft: ParcelDraft, plan: ParcelPlan) -> Estimate | None:
    """Estimate the sizes of a plan that was made of ``draft``; None where they are exact, or nothing can be sampled."""
    if plan.exact:
        return None
    ratios = draft.ratios
    if ratios is None:
        return None
    ends = ratios.low, ratios.likely, ratios.high
    sizes: list[list[int]] = [[] for _ in ends]
    for archive in plan.archives:
        most = archive.most
        for of_all, ratio in zip(sizes, ends, strict=True):
            of_all.append(_archive_bytes(archive, most, ratio, len(plan.recipients)))
    low, likely, high = (_laid_out(draft, plan, of_all) for of_all in sizes)
    return Estimate(packing=likely, low=low, high=high)


def _laid_out(draft: ParcelDraft, plan: ParcelPlan, sizes: Sequence[int]) -> PackingList:
    """The layout where the archives have these sizes."""
    unknown = "0" * 64
    archives = [(size, unknown) for size in sizes]
    fixed = fixed_sizes(card=len(draft.site.card_envelope), contents=plan.preview.contents.size)
    contents, planned = plan.preview.contents, plan.preview
    return lay_out(plan.request, archives, contents=contents, fixed=fixed, planned=planned).packing


def _archive_bytes(archive: PlannedArchive, most: Sequence[int], ratio: float, recipients: int) -> int:
    """Bytes of an archive where compressed content takes ``ratio`` of the ``most`` that it may take."""
    members = (
        member.stored(size if member.content.codec.as_is else int(size * ratio))
        for member, size in zip(archive.members, most, strict=True)
    )
    return encrypted_bytes(archive_size(members), recipients)
