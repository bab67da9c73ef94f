"""How much contents shrink, by samples of them.

Samples are pieces at equal distances over all the bytes that are to be compressed, compressed as the build does. The
range is that of two standard errors, and a little more: long runs shrink better than samples of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import BinaryIO

from courier.parcel.archive_plan import Content
from formats.codecs import Codec
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


def sample_ratios(
    contents: Collection[Content], open_content: Callable[[str], BinaryIO], *, level: int
) -> Ratios | None:
    """How much the contents that are to be compressed shrink; None where there are none with any bytes.

    ``open_content`` opens a content by its SHA-256; ``level`` is that of the codec.
    """
    ratios = [
        min(1.0, sum(map(len, codec.encode([data], length=len(data), level=level))) / len(data))
        for codec, data in _samples(contents, open_content)
        if data
    ]
    if not ratios:
        return None
    likely = fmean(ratios)
    error = 2 * stdev(ratios) / sqrt(len(ratios)) if len(ratios) > 1 else 0.1 * likely
    low = max(0.0, likely * (1 - _WINDOW_GAIN) - error)
    return Ratios(low=low, likely=likely, high=min(1.0, likely * (1 + _WINDOW_GAIN / 2) + error))


def _samples(contents: Iterable[Content], open_content: Callable[[str], BinaryIO]) -> Iterator[tuple[Codec, bytes]]:
    """Pieces at equal distances over the bytes of ``contents`` that are compressed and are not holes."""
    total = sum(length for content in _compressed(contents) for _, length in data_runs(content.holes, content.size))
    step = max(SAMPLE, -(-total // SAMPLES))
    passed, due = 0, step // 2 if step > SAMPLE else 0
    for content in _compressed(contents):
        for offset, length in data_runs(content.holes, content.size):
            while due < passed + length:
                # A small content is one sample, however the place falls into it.
                at = offset + max(0, min(due - passed, length - SAMPLE))
                with open_content(content.sha256) as source:
                    source.seek(at)
                    yield content.codec, source.read(min(SAMPLE, offset + length - at))
                due += step
            passed += length


def _compressed(contents: Iterable[Content]) -> Iterator[Content]:
    return (content for content in contents if not content.codec.as_is)
