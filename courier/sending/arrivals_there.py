"""What a sender knows of a parcel at each destination: which volumes arrived there, and when."""

from __future__ import annotations

from courier.parcel.custody_ledger import view_ledger
from courier.site.home import Site


def volumes_arrived(site: Site, parcel: str) -> dict[str, dict[int, int]]:
    """By site, the time (nanoseconds since 1970, UTC) at which each volume is said to have arrived there first.

    Taken from the custody entries of these sites whose signatures are verified.
    """
    arrived: dict[str, dict[int, int]] = {}
    for line in view_ledger(site, parcel).lines:
        entry = line.entry
        if line.proved and entry.event == "received" and entry.site != site.code:
            for number in entry.volumes:
                arrived.setdefault(entry.site, {}).setdefault(number, entry.at_ns)
    return arrived
