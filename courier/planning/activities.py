"""What three activities would do to a measured line: filling a distribution point, sending to a site, a download. Pure.

They are the three things that the network is tested for before images are distributed: each cuts content into requests
in its own way, and only what is sent from site to site keeps to the schedule and the caps of the address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from courier.planning.network_time import NO_LIMITS, Line, Timetable, Transfer
from courier.planning.quantities import rate_text

CLIENT_RANGE = 1 << 20
"""Bytes of a range that a client asks for at one time."""
CLIENT_PARALLEL = 4
"""Ranges that a client has under way at one time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """One activity: its ``name`` for scripts, what it is, how it goes, and in a sentence what that rests on."""

    name: str
    what: str
    transfer: Transfer
    rests_on: str


def activities(code: str, line: Line, size: int, files: int, start_ns: int) -> tuple[Activity, ...]:
    """The three activities over the line to a site, each by itself, for ``size`` bytes in so many files."""
    whole = replace(line, limits=NO_LIMITS, piece=max(size, 1))
    ranges = replace(line, limits=NO_LIMITS, piece=CLIENT_RANGE, parallel=CLIENT_PARALLEL)
    rate = rate_text(line.rate)
    return (
        Activity(
            name="point",
            what=f"filling a distribution point at {code}",
            transfer=Timetable(whole, start_ns).transfer(size, files),
            rests_on=f"each file goes whole, in one request, at {rate} and at any hour",
        ),
        Activity(
            name="site",
            what=f"sending from this site to {code}",
            transfer=Timetable(line, start_ns).transfer(size, files),
            rests_on=f"pieces of {line.piece:,} bytes, within the schedule and the caps of the address",
        ),
        Activity(
            name="client",
            what=f"a client at {code} that downloads from a point here",
            transfer=Timetable(ranges, start_ns).transfer(size, files),
            rests_on=f"ranges of {CLIENT_RANGE:,} bytes, {CLIENT_PARALLEL} at a time, at {rate}; it is the only client",
        ),
    )
