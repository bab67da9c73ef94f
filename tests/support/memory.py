"""A bound on the memory that Python takes."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator


@contextlib.contextmanager
def at_most(limit: int) -> Iterator[None]:
    """Fail if the block takes more than ``limit`` bytes at any time, beside what was taken before it."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()
