"""Whether a destination can take a parcel, judged by its last report: trust, media, formats, versions held, space.

Pure: no input or output, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from courier.error_codes import Code
from formats.documents.report import SiteReport

FRESH_SECONDS = 3 * 24 * 3600
"""Sites report once a day: a figure older than three of them is too old to build on (seconds)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """What a parcel needs of a destination.

    ``packages``: (ID, version, SHA-256 of its listing). ``archives``: bytes of archives and parity; ``expanded``: bytes
    of the contents when imported. ``documents``: the documents that must be read, name -> major version.
    """

    source: str
    media: str
    packages: Sequence[tuple[str, int, str]]
    archives: int
    expanded: int
    documents: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Objection:
    """Why a parcel should not be built; ``space``: because there is no room for it."""

    code: Code
    message: str
    hint: str
    space: bool = False


def remarks(report: SiteReport, demand: Demand, *, now_ns: int) -> list[str]:
    """What an operator ought to know before a parcel is built, though nothing speaks against it.

    A report that is too old, and points without room for the content: which of them it goes to is the site's choice.
    """
    found = []
    if (days := (now_ns - report.issued_ns) // (24 * 3600 * 10**9)) * 24 * 3600 >= FRESH_SECONDS:
        found.append(
            f"the last report of {report.site} is {days} days old, which is too old to build on: "
            "courier channel sync at both sites"
        )
    for point in report.places[1:]:
        if point.free < demand.expanded + point.reserve:
            kind = "branch point" if point.branch else "distribution point"
            found.append(
                f"{kind} {point.name} of {report.site} has {point.free:,} bytes free and keeps {point.reserve:,} of "
                f"them; the content takes {demand.expanded:,} there, if it goes there"
            )
    return found


def objections(report: SiteReport, demand: Demand) -> list[Objection]:
    """All objections to sending the parcel to the site of ``report``."""
    site, found = report.site, []
    if demand.source not in report.trusts:
        hint = f"courier site card --out CARD; at {site}: courier site trust CARD, then courier channel sync"
        found.append(Objection(code=Code.NOT_TRUSTED_THERE, message=f"{site} does not trust this site", hint=hint))
    if report.media and demand.media not in report.media:
        found.append(
            Objection(
                code=Code.MEDIUM_NOT_READABLE,
                message=f"{site} cannot read media of this kind: {demand.media}",
                hint=f"use a medium it reads: {', '.join(report.media)}",
            )
        )
    too_new = [name for name, major in sorted(demand.documents.items()) if report.reads.get(name, 0) < major]
    if too_new:
        message = f"{site} runs a release that does not read this format: {', '.join(too_new)}"
        found.append(Objection(code=Code.FORMAT_NOT_READABLE, message=message, hint=f"update the toolkit at {site}"))
    held = {(item.package, item.version): item.listing for item in report.packages}
    same = [(p, v) for p, v, listing in demand.packages if held.get((p, v)) == listing]
    if demand.packages and len(same) == len(demand.packages):
        names = ", ".join(f"{p}:{v}" for p, v in same)
        message = f"{site} holds {names} already"
        found.append(Objection(code=Code.ALREADY_HELD, message=message, hint=f"leave out --to {site}"))
    other = [(p, v) for p, v, listing in demand.packages if held.get((p, v), listing) != listing]
    if other:
        names = ", ".join(f"{p}:{v}" for p, v in other)
        message = f"{site} holds {names} with other content, and would not import these"
        hint = f"add the content as a new version, or at {site}: courier package remove {other[0][0]}:{other[0][1]}"
        found.append(Objection(code=Code.VERSION_CONFLICT, message=message, hint=hint))
    store = report.places[0]
    needed = demand.archives + demand.expanded
    if store.free < needed + store.reserve:
        message = f"{site} has {store.free:,} bytes free; {needed:,} and {store.reserve:,} in reserve are needed there"
        hint = f"free {needed + store.reserve - store.free:,} bytes at {site}, then courier channel sync at both sites"
        found.append(Objection(code=Code.NO_SPACE_THERE, message=message, hint=hint, space=True))
    return found
