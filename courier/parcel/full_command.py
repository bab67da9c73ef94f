"""The commands by which a sender makes a parcel anew: in full, or just as it is."""

from __future__ import annotations

from collections.abc import Iterable

from courier.media.kinds import MEDIA
from formats.documents.packing import PackingList


def full_command(versions: Iterable[tuple[str, int]], site: str, packing: PackingList, parcel: str) -> str:
    """The command by which everything goes to ``site``, where that does not hold what a delta builds on.

    ``versions``: the packages; it is for media as those of the parcel that it replaces there. It does not supersede the
    parcel, which may be on its way to other sites.
    """
    replaces = f" --supersedes {parcel}" if packing.destinations == (site,) else ""
    return f"{_create(versions, (site,))} {_medium(packing)} --full{replaces}"


def full_command_unseen(versions: Iterable[tuple[str, int]], site: str, *, alone: bool, parcel: str) -> str:
    """As `full_command`, where the packing list is lost, and with it the kind of media.

    ``alone``: it was for no other site.
    """
    return f"{_create(versions, (site,))} --media KIND --full{f' --supersedes {parcel}' if alone else ''}"


def anew_command(versions: Iterable[tuple[str, int]], packing: PackingList) -> str:
    """The command that makes a parcel anew, for the same sites and media, and replaces it."""
    return f"{_create(versions, packing.destinations)} {_medium(packing)} --supersedes {packing.parcel}"


def _create(versions: Iterable[tuple[str, int]], sites: Iterable[str]) -> str:
    packages = " ".join(f"{package}:{version}" for package, version in versions)
    return f"courier parcel create {packages} " + " ".join(f"--to {site}" for site in sites)


def _medium(packing: PackingList) -> str:
    return f"--media {packing.media}" if packing.media in MEDIA else f"--capacity {packing.capacity}"
