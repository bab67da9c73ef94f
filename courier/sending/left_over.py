"""What killed commands leave in the folders of parcels that this site made, and how it goes away.

Whoever writes into these folders holds the lock of all of them (``parcels/out/lock``), but for answers to repair
requests: each of those works in a scratch folder with a lock of its own, so several go on at one time.
"""

from __future__ import annotations

from pathlib import Path

from courier.files import sweep
from courier.parcel.recipes import PACKS, RECIPES
from courier.site.home import Site
from courier.site.scratch import sweep_left
from formats.names import is_parcel


def sweep_parcels(site: Site, out: Path) -> None:
    """Remove what killed commands left in the folders of all parcels; call it under the lock of ``out`` only."""
    for folder in out.iterdir():
        if folder.is_dir() and is_parcel(folder.name):
            sweep_left(site, folder)
            for place in (folder / RECIPES, folder / PACKS, *folder.glob("parity-*")):
                sweep(place)
