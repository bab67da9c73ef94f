"""A computer on the command line: its form as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from courier.site.catalog.computers import KnownComputer


def describe(one: KnownComputer) -> dict[str, Any]:
    """A computer as JSON."""
    return {
        "computer": one.name,
        "guid": one.row.guid,
        "macs": list(one.macs),
        "class": one.row.client_class,
        "group": one.row.group_name,
        "protected": bool(one.row.protected),
        "variables": dict(sorted(one.variables.items())),
    }
