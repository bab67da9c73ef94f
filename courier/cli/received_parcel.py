"""A received parcel and its volumes, as JSON and as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from courier.cli.console import Console
from courier.parcel.states import ReceivedState
from courier.text import plural, size_text, volumes

if TYPE_CHECKING:
    from courier.media.reading import Medium
    from courier.parcel.volume_documents import VolumeDocuments
    from courier.receiving.parcel_status import ParcelStatus
    from courier.receiving.progressive import PackageState
    from courier.receiving.volume_result import VolumeResult

OUTCOMES = {
    "imported": "imported",
    "imported-older": "imported; the store has a newer version too",
    "already-held": "is in the store already",
}
"""What became of a package of an imported parcel, for people."""
SHOWN = 20
"""Packages of a parcel of which each is shown."""


def medium_text(medium: Medium, documents: VolumeDocuments) -> str:
    """What is said of a medium when its documents were read."""
    from courier.media.reading import TapeMedium

    first = medium.first_label if isinstance(medium, TapeMedium) else None
    reel = f", reel {first.reel}" if first is not None and first.reel > 1 else ""
    return (
        f"{medium.name}: {documents.packing.parcel} from {documents.packing.source}, volume "
        f"{documents.label.number} of {documents.label.of} ({medium.layout}{reel})"
        + (f", a delta on {documents.packing.based_on}" if documents.packing.bases else "")
    )


def volume_result(volume: VolumeResult) -> dict[str, Any]:
    """A volume that was read, as JSON."""
    return {
        "parcel_id": volume.parcel,
        "number": volume.number,
        "of": volume.of,
        "path": volume.path,
        "bytes": volume.bytes,
        "state": str(volume.state),
        "damaged_blocks": volume.damaged_blocks,
        "bad": [{"file": path, "blocks": [list(span) for span in spans]} for path, spans in volume.bad],
        "findings": list(volume.findings),
        "read": volume.read,
        "lacking": volume.lacking,
    }


def parcel_status(status: ParcelStatus) -> dict[str, Any]:
    """The state of a parcel at its receiver, as JSON."""
    imported = status.imported.packages if status.imported else ()
    return {
        "parcel_id": status.parcel,
        "build": status.build,
        "state": status.state,
        "missing_volumes": list(status.missing_volumes),
        "damaged_blocks": sum(volume.damaged_blocks for volume in status.volumes),
        "missing_blocks": status.missing_blocks,
        "mended_blocks": status.mended,
        "awaiting": list(status.awaiting),
        "elsewhere": status.elsewhere,
        "bases": [{"package_id": base.package, "version": base.version} for base in status.bases],
        "imported": [
            {"package_id": item.package, "version": item.version, "outcome": str(item.outcome)} for item in imported
        ],
        "refusal": status.refusal,
        "not_progressive": status.not_progressive,
        "progressive": status.progressive,
        "packages": [
            {
                "package_id": one.package,
                "version": one.version,
                "outcome": one.outcome or None,
                "missing_volumes": list(one.volumes),
                "awaiting": list(one.waiting),
                "refused": one.refused,
            }
            for one in status.packages
        ],
    }


def say_volume(console: Console, volume: VolumeResult) -> None:
    """Say how a volume was received."""
    from courier.parcel.verdict import spans_text

    where = f"{volume.parcel} volume {volume.number} of {volume.of}"
    if volume.damaged_blocks:
        console.say(f"{where}: {plural(volume.damaged_blocks, 'block')} could not be read correctly from {volume.path}")
        if volume.lacking:
            console.say(f"  of its tape, {volume.lacking} not given")
        for path, spans in volume.bad:
            console.say(f"  {path}: {spans_text(spans)}")
    elif not volume.read:
        console.say(f"{where}: not read again, because all of it is here")
    else:
        console.say(f"{where}: all of it is here and good, {size_text(volume.bytes)}")
    for finding in volume.findings:
        console.warn(f"  note: {finding}")


def say_status(console: Console, status: ParcelStatus) -> None:
    """Say what is still missing, or why the parcel waits, or what was imported."""
    if status.state == ReceivedState.REFUSED:
        what = "the rest of it is not imported" if status.packages else "nothing of it is imported"
        console.say(
            f"{status.parcel}: Refused, {what}; courier parcel log {status.parcel} says why, "
            f"courier parcel discard {status.parcel} deletes its files"
        )
        say_packages(console, status)
        return
    if status.mended:
        rest = "" if status.missing_volumes else "; nothing is missing any more"
        console.say(f"{status.parcel}: {plural(status.mended, 'block')} repaired from parity{rest}")
    if status.missing_volumes:
        console.say(
            f"{status.parcel}: still missing, whole or in part: {volumes(status.missing_volumes)} of {status.of} "
            f"({plural(status.missing_blocks, 'block')})"
        )
        if status.not_progressive:
            console.say(f"  {status.not_progressive}")
        if status.spare:
            console.say(f"  any {plural(status.spare, 'volume')} of the {status.of} may be lost: parity replaces them")
    elif status.awaiting:
        console.say(f"{status.parcel}: all content is here and good; it is held, awaiting:")
        for item in status.awaiting:
            console.say(f"  {item}")
    elif status.imported is None and not status.elsewhere:
        console.say(f"{status.parcel}: {status.state}")
    if status.refusal:
        console.say(f"  {status.source} refused the blocks that were asked for: {status.refusal}")
    if status.elsewhere:
        console.say(f"{status.elsewhere}; whoever ends last goes on with the parcel, and imports it once it can be")
    say_packages(console, status)
    say_imported(console, status, "; its receipt leaves with the next: courier channel sync")


def say_packages(console: Console, status: ParcelStatus) -> None:
    """Say how each package of a parcel stands that is not imported whole."""
    if not status.packages:
        return
    taken = sum(bool(one.outcome) for one in status.packages)
    console.say(f"{status.parcel}: {taken:,} of {plural(len(status.packages), 'package')} imported")
    for one in status.packages[:SHOWN]:
        console.say(f"  {one.name} {package_text(one)}")
    if len(status.packages) > SHOWN:
        console.say(f"  and {plural(len(status.packages) - SHOWN, 'further package')}: --json lists them")


def package_text(one: PackageState) -> str:
    """How a package of an arriving parcel stands, for people."""
    if one.outcome:
        return OUTCOMES[one.outcome]
    if one.refused:
        return f"is not imported: {one.refused}"
    awaited = [volumes(one.volumes)] if one.volumes else []
    awaited += one.waiting
    return f"awaits {'; '.join(awaited)}" if awaited else "is all here"


def say_imported(console: Console, status: ParcelStatus, further: str = "") -> None:
    """Say what was imported. ``further``: what follows on the line that says so."""
    if status.imported is not None:
        what = "imported in part" if status.imported.left else "imported"
        console.say(f"{status.parcel}: {what}{further}")
        for item in status.imported.packages:
            console.say(f"  {item.package}:{item.version} {OUTCOMES[item.outcome]}")
