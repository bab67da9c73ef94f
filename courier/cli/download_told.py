"""What commands that fetch from points tell of their sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.cli.console import Console
    from courier.distribution.source import SourceReport


def sources_json(sources: Sequence[SourceReport]) -> dict[str, Any]:
    """The sources as JSON: each, and how many blocks from all of them were refused."""
    return {
        "blocks_refused": sum(one.refused for one in sources),
        "sources": [
            {
                "from": one.name,
                "kind": one.kind,
                "bytes": one.bytes,
                "blocks_refused": one.refused,
                "faults": [{"what": what, "count": count} for what, count in one.faults],
            }
            for one in sources
        ],
    }


def say_sources(console: Console, sources: Sequence[SourceReport]) -> None:
    """Say what came from each source, and what was wrong with it."""
    for source in sources:
        if source.bytes:
            console.say(f"{size_text(source.bytes)} from {source.name}{' (peer)' if source.kind == 'peer' else ''}")
        if source.faults:
            what, count = source.faults[0]
            others = f"; {plural(len(source.faults) - 1, 'other fault')}" if len(source.faults) > 1 else ""
            console.warn(f"{source.name}: {what}{f', {count} times' if count > 1 else ''}{others}")
        if source.refused:
            console.warn(f"{source.name}: {plural(source.refused, 'block')} refused and fetched again")
