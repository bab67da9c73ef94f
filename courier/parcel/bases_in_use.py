"""The package versions that parcels which arrive here build on: they stay until these are imported or given up."""

from __future__ import annotations

from contextlib import suppress

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.parcel.states import ReceivedState
from courier.site.catalog import parcels
from courier.site.home import Site
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope
from formats.errors import FormatError

_WAITS = (ReceivedState.ARRIVING, ReceivedState.HELD, ReceivedState.COMPLETE)


def bases_in_use(site: Site) -> dict[tuple[str, int], str]:
    """For each version that a parcel which arrives here builds on, that parcel."""
    with site.catalogue.reading() as connection:
        rows = [row for row in parcels.all_received(connection) if row.state in _WAITS]
    found: dict[tuple[str, int], str] = {}
    for row in rows:
        # A spool that is damaged is said where it is used; what it builds on is not known until then.
        with suppress(OSError, FormatError):
            envelope = parse_envelope((site.incoming(row.parcel, row.build) / "packing-list.json").read_bytes())
            for base in PackingList.parse(envelope.payload).bases:
                found.setdefault((base.package, base.version), row.parcel)
    return found


def base_in_use(package: str, version: int, parcel: str) -> RefusedError:
    """The error for a version that cannot go, because a parcel which arrives here builds on it."""
    return RefusedError(
        f"{package}:{version} is what {parcel} builds on, which arrives here and is not imported yet",
        hint=f"courier parcel show {parcel} says what it waits for; courier parcel discard {parcel} gives it up",
        code=Code.BASE_IN_USE,
    )
