"""The rates and times that a plan reckons with, each from the best source there is: given, learnt, or assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.media.kinds import DRIVE_SPEED, MEDIA
from courier.planning.courier_time import Carried, Pace, legs_of
from courier.planning.past_shipments import Lessons, PastShipment, usual
from courier.planning.quantities import rate_text, span_text
from courier.text import plural

BUILD_RATE = 100_000_000
"""Bytes a second at which a usual computer builds a parcel: reading, hashing, parity."""
IMPORT_RATE = 80_000_000
"""Bytes a second at which a usual computer verifies content and takes it into its store."""
HAND_OVER_SECONDS = 4 * 3600
TRANSIT_SECONDS = 2 * 24 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What the operator gave, in bytes a second and in seconds; None where nothing was given."""

    transit: int | None = None
    hand_over: int | None = None
    drive: int | None = None
    computer: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reckoned:
    """The pace of a shipment, and in sentences where each part of it comes from."""

    pace: Pace
    assumptions: tuple[str, ...]


def reckon(code: str, kind: str, given: Given, lessons: Lessons) -> Reckoned:
    """The pace of a shipment to a site on media of a kind."""
    drive, about_drive = _drive(kind, given, lessons)
    build, about_build = _build(given, lessons)
    importing = given.computer or IMPORT_RATE
    hand_over = HAND_OVER_SECONDS if given.hand_over is None else given.hand_over
    past = lessons.shipments.get(code, [])
    without = Pace(build=build, drive=drive, importing=importing, hand_over_seconds=0, transit_seconds=0)
    transit, about_transit = _transit(code, given, past, without)
    return Reckoned(
        pace=Pace(build=build, drive=drive, importing=importing, hand_over_seconds=hand_over, transit_seconds=transit),
        assumptions=(
            about_build,
            about_drive,
            f"hand over takes {span_text(hand_over)} ({_source(given.hand_over, '--hand-over')})",
            about_transit,
            f"the computer at {code} imports at {rate_text(importing)} ({_source(given.computer, '--computer-rate')})",
        ),
    )


def _source(value: int | None, option: str) -> str:
    return f"assumed; {option} gives another" if value is None else "given"


def _build(given: Given, lessons: Lessons) -> tuple[int, str]:
    if given.computer is not None:
        return given.computer, f"this computer builds at {rate_text(given.computer)} (given)"
    if lessons.build_rates:
        rate = usual(lessons.build_rates)
        return rate, f"this computer builds at {rate_text(rate)} (learnt from {_parcels(lessons.build_rates)})"
    return BUILD_RATE, f"this computer builds at {rate_text(BUILD_RATE)} (assumed; --computer-rate gives another)"


def _drive(kind: str, given: Given, lessons: Lessons) -> tuple[int, str]:
    if given.drive is not None:
        return given.drive, f"drives write and read at {rate_text(given.drive)} (given); what is written is read back"
    learnt = lessons.write_rates.get(kind)
    if learnt:
        rate = 2 * usual(learnt)  # each byte was written and read back in that time
        volumes = plural(len(learnt), "volume")
        return rate, f"drives write and read at {rate_text(rate)} (learnt from {volumes}, which were read back)"
    rate = MEDIA[kind].speed if kind in MEDIA else DRIVE_SPEED
    return rate, (
        f"drives write and read at {rate_text(rate)} (a typical drive for {kind}; --drive-rate gives another); "
        "what is written is read back"
    )


def _transit(code: str, given: Given, past: Sequence[PastShipment], pace: Pace) -> tuple[int, str]:
    if given.transit is not None:
        return given.transit, f"transit takes {span_text(given.transit)} (given)"
    if past:
        # From ship notice to receipt the media were also read and imported: that is reckoned, and taken off.
        each = []
        for one in past:
            legs = legs_of(Carried(content=one.bytes, bytes=one.bytes, media=one.media), pace)
            each.append(max(0, one.seconds - legs.read - legs.importing))
        seconds = usual(each)
        return seconds, (
            f"transit takes {span_text(seconds)} (learnt from {_parcels(past)} to {code}: from ship notice to receipt, "
            "less reading and import)"
        )
    return TRANSIT_SECONDS, (
        f"transit takes {span_text(TRANSIT_SECONDS)} (assumed, because no parcel to {code} is confirmed yet; "
        "--transit gives another)"
    )


def _parcels(found: Sequence[object]) -> str:
    return plural(len(found), "parcel")
