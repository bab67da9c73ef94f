"""Codecs: how the members of an archive are compressed and read back."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def load_zstd() -> Any:
    """The zstd module: the standard library's from Python 3.14 on, its backport before."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        from backports import zstd
    return zstd
