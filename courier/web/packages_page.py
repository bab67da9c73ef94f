"""The packages: every version that is known of, and who has it."""

from __future__ import annotations

from courier.web.pages import Asked, Page

SIZE = 50


def packages(asked: Asked) -> Page:
    """A page of the list."""
    text = asked.text("find")
    snapshot = asked.seen.snapshot
    versions = snapshot.versions if snapshot else ()
    if text:
        wanted = text.casefold()
        versions = [
            one
            for one in versions
            if wanted in f"{one.package}:{one.version}".casefold()
            or (one.stored is not None and wanted in one.stored.name.casefold())
            or text.upper() in one.sites
        ]
    begin = asked.offset(SIZE)
    return Page(
        title="Packages",
        tab="packages",
        part="packages",
        values={
            "own": asked.site.code,
            "rows": versions[begin : begin + SIZE],
            "paging": asked.paging(SIZE, len(versions)),
            "find": text,
            "snapshot": snapshot,
        },
    )
