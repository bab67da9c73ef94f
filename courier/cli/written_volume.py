"""Volumes that were written: in which layout, as lines for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from courier.cli.console import Console
from courier.text import size_text

if TYPE_CHECKING:
    from courier.media.reading import Layout
    from courier.sending.write import WriteReport, WrittenVolume


def layout_named(name: str, *, burn: bool = False, option: str = "--layout") -> Layout:
    """The layout that ``option`` names. Raises `UsageError`, also for one that is not burnt where it is to be."""
    from courier.errors import UsageError
    from courier.media.reading import LAYOUTS

    if burn and name != "iso":
        raise UsageError("--burn burns ISO images", hint="give --layout iso")
    for layout in LAYOUTS:
        if layout == name:
            return layout
    raise UsageError(f"{option} {name}: there is no such layout", hint=f"give one of {', '.join(LAYOUTS)}")


def say_volume(console: Console, one: WrittenVolume) -> None:
    """Say that a volume is written."""
    reels = f" on {one.reels} reels" if one.reels > 1 else ""
    what = "already written; verified again" if one.kept else f"written{reels} and read back"
    if one.away:
        what = f"written before, on a medium that is not here now; to write it again: --volume {one.number}"
    console.say(f"Volume {one.number} of {one.of}: {one.path}, {size_text(one.bytes)}, {what}")
    console.event({"volume": volume_written(one)})


def say_after_writing(console: Console, parcel: str, done: WriteReport, *, layout: str) -> None:
    """Say what comes next; ``layout``: that of what was written, where it is to be burnt by hand if it is ``iso``."""
    from courier.sending.burn import burn_words

    images = [one for one in done.volumes if not one.away]
    if layout == "iso" and images:
        console.say(f"To burn an image: {burn_words(images[0].path)}")
    if done.state == "Written":
        console.say(f"All volumes are written. Next: courier parcel ship {parcel}")


def volume_written(one: WrittenVolume) -> dict[str, Any]:
    """A volume that is written, as JSON."""
    return {
        "number": one.number,
        "of": one.of,
        "path": str(one.path),
        "bytes": one.bytes,
        "layout": one.layout,
        "state": "Written",
        "kept": one.kept,
        "away": one.away,
        # The reels of a medium that is not here are not counted again; the log of the parcel has their number.
        **({} if one.away else {"reels": one.reels}),
    }
