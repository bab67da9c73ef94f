"""How long the packs and parity files of a parcel are kept: until it is confirmed, then as the site's quota allows."""

from __future__ import annotations

from dataclasses import dataclass

from courier.errors import BusyError
from courier.parcel.recipes import PACKS
from courier.parcel.states import SentState
from courier.sending.discard_sent import discard_sent
from courier.site.catalog import parcels
from courier.site.home import Site


@dataclass(frozen=True, kw_only=True, slots=True)
class Retained:
    """What `keep_quota` left: ``bytes`` of parcels on our disk, and the ``quota`` in bytes (0: none).

    ``discarded``: (parcel, bytes freed) of each that was discarded. ``over``: bytes over the quota all the same, of
    parcels that are not confirmed yet and stay.
    """

    bytes: int
    quota: int
    discarded: tuple[tuple[str, int], ...]
    over: int


def disk_bytes(site: Site, parcel: str) -> int:
    """Bytes on our disk of the packs and parity files of a parcel we made."""
    folders = [site.outgoing(parcel) / PACKS, *site.outgoing(parcel).glob("parity-*")]
    return sum(path.stat().st_size for folder in folders for path in folder.glob("*") if path.is_file())


def keep_quota(site: Site, *, coming: int = 0) -> Retained:
    """Discard confirmed parcels, oldest confirmation first, until all and ``coming`` bytes are within the quota.

    A parcel is discarded only if every destination has sent its receipt.
    """
    quota = site.settings.parcel_quota
    with site.catalogue.reading() as connection:
        sent = parcels.all_sent(connection)
        to = parcels.all_destinations(connection) if quota else {}
    sizes = {one.parcel: size for one in sent if (size := disk_bytes(site, one.parcel))}
    total, discarded = sum(sizes.values()), []
    if quota:
        confirmed = [
            (max((d.confirmed_ns or 0 for d in to.get(one.parcel, ())), default=0), one.parcel)
            for one in sent
            if one.parcel in sizes
            and one.state == SentState.CONFIRMED
            and all(d.receipt is not None for d in to.get(one.parcel, ()))
        ]
        for _, parcel in sorted(confirmed):
            if total + coming <= quota:
                break
            try:
                freed = discard_sent(site, parcel) or 0
            except BusyError:
                continue  # another command uses its files; the next run discards them
            total -= sizes[parcel]
            discarded.append((parcel, freed))
    over = max(0, total + coming - quota) if quota else 0
    return Retained(bytes=total, quota=quota, discarded=tuple(discarded), over=over)
