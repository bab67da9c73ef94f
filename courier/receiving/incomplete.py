"""Why a received parcel is not imported yet, as an error with what to do about it."""

from __future__ import annotations

from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, RefusedError
from courier.parcel.states import ReceivedState
from courier.receiving.parcel_status import ParcelStatus
from courier.receiving.receive import Received
from courier.text import plural


def damage_left(done: Received) -> CourierError | None:
    """The error for blocks that the media given did not hold and that parity has not repaired; None without any.

    Volumes that are merely missing are no error. What parity has repaired is no matter of the medium any more; a volume
    of another layout of the parcel has other numbers than the missing ones, but the same archives.
    """
    statuses = {(status.parcel, status.build): status for status in done.parcels}
    bad = [
        volume
        for volume in done.volumes
        if any(path in statuses[volume.parcel, volume.build].incomplete for path, _ in volume.bad)
    ]
    if not bad:
        return None
    first = statuses[bad[0].parcel, bad[0].build]
    reels = next((volume for volume in bad if volume.lacking), None)
    if reels is not None:
        return DamagedError(
            f"{first.parcel}: {plural(first.missing_blocks, 'block')} missing so far; of the tape of volume "
            f"{reels.number}, {reels.lacking} not given",
            hint=f"what was read is kept: give the same command with {reels.lacking} in the drive, or its folder",
            code=Code.REEL_MISSING,
        )
    return DamagedError(
        f"{first.parcel}: {plural(first.missing_blocks, 'block')} missing or damaged so far",
        hint="what is good was kept; read the medium again in another drive; what stays damaged is repaired when more "
        f"volumes have come, or by the sender: courier parcel repair {first.parcel} --from-network",
    )


def not_imported(status: ParcelStatus) -> CourierError | None:
    """The error for a parcel that was to be imported and was not; None where it was, or as much of it as is here."""
    parcel = status.parcel
    if status.progressive and status.imported is not None:
        return None
    if status.missing_blocks or status.missing_volumes:
        return DamagedError(
            f"{parcel} is not complete: {plural(status.missing_blocks, 'block')} missing",
            hint="courier parcel receive MEDIUM, with volume " + ", ".join(map(str, status.missing_volumes[:20])),
            code=Code.INCOMPLETE,
        )
    if status.state == ReceivedState.IMPORTED:
        return None
    if status.state == ReceivedState.DISCARDED:
        return DamagedError(
            f"{parcel} was discarded: nothing of it is here",
            hint="courier parcel receive MEDIUM, with each of its volumes",
            code=Code.INCOMPLETE,
        )
    return RefusedError(
        f"{parcel} is held, awaiting {'; '.join(status.awaiting) or 'media'}",
        hint=f"report the arrival: {status.report}, then courier channel sync; the import follows when the key is here"
        if status.report
        else "courier channel sync fetches what comes by network; the import then follows by itself",
        code=Code.HELD,
    )
