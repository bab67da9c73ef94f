"""What the locks of a home are about, in plain words. Pure."""

from __future__ import annotations

from courier.errors import BusyError

_THINGS = {
    "parcels/in/lock": "the place where parcels arrive",
    "parcels/out/lock": "the parcels that are made here",
    "parcels/lock": "the rebuilding of the catalogue",
    "parcels/delta/lock": "the comparing with what is held",
    "channel/sends/lock": "what goes by network",
    "channel/lock": "the exchange of messages",
    "channel/server/lock": "the server of the channel",
    "keys/lock": "the keys and settings",
    "watch/lock": "the watch",
    "store": "the store of packages",
    "store/lock": "the store of packages",
    "backup/lock": "the folder of backups",
    "locks/doctor": "the doctor's own lock",
}


def held_by(what: str, who: str) -> BusyError:
    """The error of a command that wants what another holds; ``who``: that other one, empty where it is not known."""
    return BusyError(
        f"another command holds {what}{f': {who}' if who else ''}",
        hint="wait for it to end, then run this command again",
    )


def held_thing(name: str) -> str:
    """What a lock is about, in plain words. ``name``: the path of its file in the home."""
    folder, _, last = name.rpartition("/")
    if name in _THINGS:
        return _THINGS[name]
    if folder == "locks" and last.startswith("point-"):
        return f"point {last.removeprefix('point-')}"
    if folder == "locks" and last.startswith("arriving-"):
        parcel, volume = last.removeprefix("arriving-"), ""
        if "-volume-" in parcel:
            parcel, _, volume = parcel.partition("-volume-")
        named = "-".join(parcel.split("-")[:2])
        return f"volume {volume.rpartition('-')[2]} of {named}" if volume else f"the spool of {named}"
    if folder.rpartition("/")[2].startswith(".courier-tmp-"):
        return f"a scratch folder in {folder.rpartition('/')[0]}"
    if folder.startswith("parcels/out/") and folder.count("/") == 2:
        return f"parcel {folder.rpartition('/')[2]}"
    return f"{folder or name} of the home"
