"""What a planned parcel will likely take once it is compressed, from samples of its contents.

A plan counts with the most that compressed content can take, because it must fit whatever comes. How much it will take
is seen in samples: pieces at equal distances over all the bytes that are to be compressed, compressed as the build
does. The range is that of two standard errors, and a little more: long runs shrink better than samples of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from statistics import fmean, stdev
from typing import BinaryIO

from courier.parcel.archive_plan import Content, PlannedArchive
from courier.parcel.encryption import encrypted_bytes
from courier.parcel.volume_layout import lay_out
from courier.sending.plan import ParcelDraft, ParcelPlan
from courier.sending.volume_source import fixed_sizes
from formats.archive import archive_size
from formats.codecs import COMPRESSIONS, Codec
from formats.documents.packing import PackingList
from formats.holes import data_runs

SAMPLE = 256 << 10
"""Bytes of a sample."""
SAMPLES = 48
"""Most samples that are taken of a parcel."""
_WINDOW_GAIN = 0.05
"""By how much more a whole content may shrink than samples of it do, as a part of its size when compressed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratios:
    """Bytes after compression for a byte before: the ``likely`` ratio, and its range from ``low`` to ``high``."""

    low: float
    likely: float
    high: float


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
    ratios = _ratios(draft)
    if ratios is None:
        return None
    low, likely, high = (_laid_out(draft, plan, ratio) for ratio in (ratios.low, ratios.likely, ratios.high))
    return Estimate(packing=likely, low=low, high=high)


def _laid_out(draft: ParcelDraft, plan: ParcelPlan, ratio: float) -> PackingList:
    """The layout where compressed content takes ``ratio`` of what it may take at most."""
    unknown = "0" * 64
    archives = [(_archive_bytes(one, ratio, len(plan.recipients)), unknown) for one in plan.archives]
    fixed = fixed_sizes(card=len(draft.site.card_envelope), contents=plan.preview.contents.size)
    contents, planned = plan.preview.contents, plan.preview
    return lay_out(plan.request, archives, contents=contents, fixed=fixed, planned=planned).packing


def _archive_bytes(archive: PlannedArchive, ratio: float, recipients: int) -> int:
    members = (
        member.stored(most if member.content.codec.as_is else int(most * ratio))
        for member, most in zip(archive.members, archive.most, strict=True)
    )
    return encrypted_bytes(archive_size(members), recipients)


@lru_cache(1)
def _ratios(draft: ParcelDraft) -> Ratios | None:
    """The ratios of a draft: sampled once for all media that it is planned for."""
    level = COMPRESSIONS[draft.request.compress].level
    return sample_ratios(draft.contents, draft.site.store.open_content, level=level)


def sample_ratios(contents: Sequence[Content], open_content: Callable[[str], BinaryIO], *, level: int) -> Ratios | None:
    """How much the contents that are to be compressed shrink; None where there are none with any bytes.

    ``open_content`` opens a content by its SHA-256; ``level`` is that of the codec.
    """
    ratios = [
        min(1.0, sum(map(len, codec.encode([data], length=len(data), level=level))) / len(data))
        for codec, data in _samples([one for one in contents if not one.codec.as_is], open_content)
        if data
    ]
    if not ratios:
        return None
    likely = fmean(ratios)
    error = 2 * stdev(ratios) / sqrt(len(ratios)) if len(ratios) > 1 else 0.1 * likely
    low = max(0.0, likely * (1 - _WINDOW_GAIN) - error)
    return Ratios(low=low, likely=likely, high=min(1.0, likely * (1 + _WINDOW_GAIN / 2) + error))


def _samples(contents: Sequence[Content], open_content: Callable[[str], BinaryIO]) -> Iterator[tuple[Codec, bytes]]:
    """Pieces at equal distances over the bytes of ``contents`` that are not holes."""
    total = sum(length for content in contents for _, length in data_runs(content.holes, content.size))
    step = max(SAMPLE, -(-total // SAMPLES))
    passed, due = 0, step // 2 if step > SAMPLE else 0
    for content in contents:
        for offset, length in data_runs(content.holes, content.size):
            while due < passed + length:
                # A small content is one sample, however the place falls into it.
                at = offset + max(0, min(due - passed, length - SAMPLE))
                with open_content(content.sha256) as source:
                    source.seek(at)
                    yield content.codec, source.read(min(SAMPLE, offset + length - at))
                due += step
            passed += length
