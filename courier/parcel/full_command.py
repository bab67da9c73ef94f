"""The command by which a sender sends everything, where a destination does not hold what a delta builds on."""

from __future__ import annotations

from collections.abc import Iterable

from courier.media.kinds import MEDIA
from formats.documents.packing import PackingList


def full_command(versions: Iterable[tuple[str, int]], site: str, packing: PackingList, parcel: str) -> str:
    """The command for these package ``versions``, to ``site``, on media as those of the parcel that it replaces there.

    It does not supersede the parcel, which may be on its way to other sites.
    """
    packages = " ".join(f"{package}:{version}" for package, version in versions)
    medium = f"--media {packing.media}" if packing.media in MEDIA else f"--capacity {packing.capacity}"
    replaces = f" --supersedes {parcel}" if packing.destinations == (site,) else ""
    return f"courier parcel create {packages} --to {site} {medium} --full{replaces}"
