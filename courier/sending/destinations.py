"""Checking before a parcel is built whether its destinations can take it, by what they reported."""

from __future__ import annotations

from collections.abc import Sequence

from courier.error_codes import Code
from courier.errors import NoSpaceError, RefusedError
from courier.sending.readiness import Demand, Objection, objections, remarks
from courier.site.catalog import reports
from courier.site.clock import now
from courier.site.home import Site
from formats.documents import label, notice, package, packing
from formats.documents.report import SiteReport
from formats.envelope import parse_envelope
from formats.records import format_time

CONTENTS = "contents"
READS = dict.fromkeys((CONTENTS, *(module.KIND.name for module in (label, notice, package, packing))), 1)
"""Documents that this release reads, and the highest major version of each."""


def check_destinations(
    site: Site, destinations: Sequence[str], demand: Demand, *, anyway: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Check a parcel before it is built; return (notes, objections that ``anyway`` overrides).

    ``anyway`` is the operator's reason to build it against all objections. Raises `NoSpaceError` or `RefusedError` for
    the first objection if there is no such reason.
    """
    notes: list[str] = []
    found: list[Objection] = []
    with site.catalogue.reading() as connection:
        retired = reports.retirements(connection)
        reported = {code: reports.find(connection, code) for code in destinations}
    for name, version, _ in demand.packages:
        if (name, version) in retired:
            why = retired[name, version] or "no reason given"
            message = f"{name}:{version} was retired by {name[:3]}: {why}"
            found.append(
                Objection(code=Code.RETIRED, message=message, hint="send a newer version: courier package list")
            )
    for code, kept in reported.items():
        if kept is None:
            notes.append(f"{code} has not reported yet: its space, media and trust are not known")
            continue
        report = SiteReport.parse(parse_envelope(kept[1]).payload)
        notes += remarks(report, demand, now_ns=now())
        against = objections(report, demand)
        as_of = f" (as of {format_time(kept[0])[:16]}Z)"
        found += [
            Objection(code=one.code, message=one.message + as_of, hint=one.hint, space=one.space) for one in against
        ]
    if found and not anyway:
        first = next((one for one in found if not one.space), found[0])
        kind = NoSpaceError if first.space else RefusedError
        hint = f"{first.hint}; or give the reason with --anyway REASON"
        raise kind(first.message, hint=hint, code=first.code)
    return tuple(notes), tuple(one.message for one in found)
