"""The order of the packages in a parcel: its archives are filled in it, and laid onto the volumes.

Each package lies together, so that it is whole after as few volumes as can be. Those that the operator wants first lie
on the first volumes, then the small ones. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from courier.errors import UsageError
from courier.site.catalog.packages import StoredPackage


def package_order(chosen: Collection[StoredPackage], first: Sequence[str]) -> tuple[StoredPackage, ...]:
    """``chosen`` in the order in which they are laid out; ``first``: references such as ``HQ100001:2``, in their order.

    Raises `UsageError` for one of ``first`` that the parcel does not carry.
    """
    urgent: dict[tuple[str, int], int] = {}
    for reference in first:
        meant = [one for one in chosen if reference in (one.package, f"{one.package}:{one.version}")]
        if not meant:
            named = ", ".join(f"{one.package}:{one.version}" for one in chosen)
            raise UsageError(f"--first {reference}: the parcel does not carry it", hint=f"it carries {named}")
        for one in meant:
            urgent.setdefault((one.package, one.version), len(urgent))
    last = len(urgent)
    return tuple(sorted(chosen, key=lambda one: (urgent.get((one.package, one.version), last), one.listing.bytes)))
