"""The line to a site as it was measured, within the limits of its address; or in a sentence why it is not known."""

from __future__ import annotations

from dataclasses import dataclass

from courier.channel.connections import POLL
from courier.channel.measurement import Measured
from courier.channel.schedule import Limits, rate_text, week_text
from courier.planning import quantities
from courier.planning.network_time import Line
from courier.site.catalog import sites
from courier.site.home import Site
from courier.site.outbox import PART
from courier.text import plural
from formats.records import format_time

OLD_NS = 30 * 24 * 3600 * 10**9
"""A measurement older than this, a month, is said to be old (nanoseconds)."""
USUAL_TRIP_NS = 50 * 10**6
"""The round trip that is assumed where the rate is given and nothing was measured: 50 milliseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AddressLine:
    """The first address of a site, which is the one that is tried first.

    ``line`` is None where its rate is not known, and then ``unknown`` says why. ``down``: measured bytes a second the
    other way; 0 where not measured. ``reachable``: whether small messages of the priority ever go.
    """

    address: str
    line: Line | None
    down: int
    unknown: str
    reachable: bool
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def address_line(
    site: Site, code: str, *, priority: str, now_ns: int, rate: int | None = None, text: str = ""
) -> AddressLine:
    """The line to a site by its first address, or by that of ``text``.

    ``rate``: bytes a second that the operator gives in place of the measured ones.
    """
    with site.catalogue.reading() as connection:
        known = [one for one in sites.addresses(connection, code) if text in ("", one.address)]
    if not known:
        return AddressLine(
            address="",
            line=None,
            down=0,
            unknown=f"No network address of {code} is known (courier channel address add {code} ADDRESS)",
            reachable=False,
        )
    address = known[0]
    limits, measured = Limits.parse(address.limits), Measured.parse(address.measured)
    reachable = limits.admits(priority, now_ns) or limits.opens_ns(priority, now_ns) is not None
    notes = []
    if address.failures:
        notes.append(f"{address.address} failed {plural(address.failures, 'time')} in a row: courier channel sync")
    unknown = _unknown(site, code, address.address, measured) if rate is None else ""
    if unknown:
        return AddressLine(
            address=address.address, line=None, down=0, unknown=unknown, reachable=reachable, notes=tuple(notes)
        )
    trip_ns = USUAL_TRIP_NS if measured is None else int(measured.round_trip_ms * 10**6)
    up = rate if rate is not None else (measured.up_bytes_per_second if measured else 0)
    if rate is None and measured is not None and now_ns - measured.at_ns > OLD_NS:
        days = (now_ns - measured.at_ns) // (24 * 3600 * 10**9)
        notes.append(f"the line to {code} was measured {days} days ago: courier channel address test {code}")
    return AddressLine(
        address=address.address,
        line=Line(rate=up, trip_ns=trip_ns, piece=PART, limits=limits, priority=priority),
        down=measured.down_bytes_per_second if measured else 0,
        unknown="",
        reachable=reachable,
        assumptions=_assumptions(address.address, limits, measured, up, trip_ns, given=rate is not None),
        notes=tuple(notes),
    )


def _unknown(site: Site, code: str, address: str, measured: Measured | None) -> str:
    """Why the rate of an address is not known; an empty text where it is."""
    if measured is not None and measured.up_bytes_per_second > 0:
        return ""
    if address == POLL:
        return (
            f"{code} fetches from our server, so that only {code} can measure the line (there: courier channel address "
            f"test {site.code}; here give the result by --network-rate RATE)"
        )
    test = f"courier channel address test {code}"
    if measured is None:
        return f"Nobody has measured the line to {code} yet ({test}), so that the network cannot be recommended"
    return f"The last test of the line to {code} got nothing through ({test})"


def _assumptions(
    address: str, limits: Limits, measured: Measured | None, up: int, trip_ns: int, *, given: bool
) -> tuple[str, ...]:
    source = "given"
    if not given and measured is not None:
        source = f"measured on {format_time(measured.at_ns)[:16].replace('T', ' ')} UTC"
    trip = f"a round trip is {trip_ns / 10**6:.1f} ms ({'assumed' if measured is None else 'measured'})"
    return (
        f"the line to {address} carries {quantities.rate_text(up)} ({source}); {trip}",
        f"its schedule is {week_text(limits.week)} ({limits.zone}), its cap {rate_text(limits)}; nothing else uses it",
        f"each file costs a round trip, and so does each piece of {PART:,} bytes",
    )
