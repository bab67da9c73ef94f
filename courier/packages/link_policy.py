"""A site's policy on symbolic links that lead out of their package: kept as they are, or refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.site.home import Site
from courier.text import one_line
from formats.documents.listing import Entry, LinkEntry
from formats.names import leads_outside

_NAMED = 10


def check_links(site: Site, entries: Iterable[Entry], *, where: str) -> Iterator[Entry]:
    """Pass the entries of a listing on; raise `RefusedError` at their end where policy refuses some of the links.

    ``where`` names the package in the error.
    """
    outside: list[str] = []
    count = 0
    for entry in entries:
        if isinstance(entry, LinkEntry) and leads_outside(entry.path, entry.target):
            count += 1
            if count <= _NAMED:
                outside.append(f"{entry.path} -> {entry.target}")
        yield entry
    refuse_links(site, outside, count, where=where)


def refuse_links(site: Site, examples: list[str], count: int, *, where: str) -> None:
    """Raise `RefusedError` where links lead outside, ``count`` of them, and the site's policy refuses that."""
    if count and site.settings.refuse_outside_links:
        more = f", and {count - len(examples):,} more" if count > len(examples) else ""
        raise RefusedError(
            f"{where}: {count:,} links lead out of the package: {', '.join(map(one_line, examples))}{more}",
            hint="this site's policy refuses them; to keep them as they are: courier site policy --outside-links keep",
            code=Code.OUTSIDE_LINKS,
        )
