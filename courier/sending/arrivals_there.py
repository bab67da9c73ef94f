"""What a sender knows of a parcel at each destination: which volumes arrived there, and when."""

from __future__ import annotations

from collections.abc import Iterable

from courier.parcel.custody import LedgerLine
from courier.parcel.custody_ledger import view_ledger
from courier.site.home import Site


def volumes_arrived(site: Site, parcel: str) -> dict[str, dict[int, int]]:
    """By site, the time (nanoseconds since 1970, UTC) at which each volume is said to have arrived there first.

    Taken from the custody entries of these sites whose signatures are verified.
    """
    return arrived_by(view_ledger(site, parcel).lines, site.code)


def arrived_by(lines: Iterable[LedgerLine], own: str) -> dict[str, dict[int, int]]:
    """As `volumes_arrived`, by the lines of a ledger whose signatures were verified; ``own``: the code of this site."""
    arrived: dict[str, dict[int, int]] = {}
    for line in lines:
        entry = line.entry
        if line.proved and entry.event == "received" and entry.site != own:
            for number in entry.volumes:
                arrived.setdefault(entry.site, {}).setdefault(number, entry.at_ns)
    return arrived
