"""How many bytes a command has had the system write, told beside the bytes of content that it was for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from courier.text import size_text

if TYPE_CHECKING:
    from courier.cli.console import Console

_TOLD = 1 << 20
"""Bytes of the least content for which it is told: with less, the catalogue is most of what is written."""
_COUNTED = re.compile(rb"^write_bytes: (\d+)$", re.MULTILINE)


def written_bytes() -> int | None:
    """The bytes that this process has given file systems to write so far; None where the system does not count them.

    Linux counts what goes to the disk: not what a file shares with another, and nothing in a file system in memory.
    """
    try:
        found = _COUNTED.search(Path("/proc/self/io").read_bytes())
    except OSError:
        return None
    return int(found[1]) if found else None


def say_written(console: Console, content: int) -> dict[str, int]:
    """Tell what the command wrote for ``content`` bytes; return it for JSON, empty where that is not known."""
    written = written_bytes()
    if written is None:
        return {}
    if content >= _TOLD:
        console.say(f"Written to disks: {size_text(written)}, {written / content:.2f} bytes for each of the content.")
    return {"written_bytes": written}
