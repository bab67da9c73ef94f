"""Cutting bytes where their content says so (FastCDC 2020), so that the same bytes are cut alike wherever they lie.

The parameters are ours and stay: ``tests/vectors/delta/cuts.json`` has cut points that every release must find again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any, BinaryIO

LEAST_AVERAGE = 2 << 10
LARGEST_AVERAGE = 64 << 10
MOST_PIECES = 1 << 19
"""Pieces of all bases together, about: so many are kept in memory while a content is compared with them."""
_WINDOW = 32 << 20


@cache
def _library() -> Any:
    with warnings.catch_warnings():
        # It warns where it is not compiled; `is_compiled` says so, and doctor asks.
        warnings.simplefilter("ignore")
        import pyfastcdc
    return pyfastcdc


def is_compiled() -> bool:
    """Whether the library that finds cut points is compiled; as plain Python it takes a thousand times as long."""
    return not str(_library().FastCDC.__module__).startswith("pyfastcdc.py")


def average_for(size: int) -> int:
    """The average length of pieces for bases of ``size`` bytes together: a power of two that grows with them."""
    average = LEAST_AVERAGE
    while average < LARGEST_AVERAGE and average * MOST_PIECES < size:
        average *= 2
    return average


def pieces_of(source: BinaryIO, average: int) -> Iterator[bytes]:
    """``source`` from where it stands to its end, cut into pieces from a quarter to four times ``average`` bytes."""
    cutter = _library().FastCDC(
        avg_size=average, min_size=average // 4, max_size=average * 4, normalized_chunking=1, seed=0
    )
    most, pending = average * 4, b""
    while data := source.read(_WINDOW):
        window = pending + data if pending else data
        view, end = memoryview(window), 0
        for piece in cutter.cut_buf(window):
            # Nearer to the end than a piece can be long, what comes next might move the cut.
            if len(window) - piece.offset < most:
                break
            end = piece.offset + piece.length
            yield bytes(view[piece.offset : end])
        pending = window[end:]
    for piece in cutter.cut_buf(pending):
        yield bytes(piece.data)
