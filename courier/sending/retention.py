"""How long a built parcel is kept: until every destination's receipt, and then as long as the site's quota allows."""

from __future__ import annotations

from dataclasses import dataclass

from courier.parcel.recipes import PACKS
from courier.parcel.states import SentState
from courier.sending.discard_sent import discard_sent
from courier.site.catalog import parcels
from courier.site.home import Site


@dataclass(frozen=True, kw_only=True, slots=True)
class Retained:
    """Built parcels on our disk after `keep_quota`: their bytes, the quota (0: none), and what was discarded for it.

    ``discarded``: (parcel, bytes). ``over``: bytes that parcels not confirmed yet are over the quota; they stay.
    """

    bytes: int
    quota: int
    discarded: tuple[tuple[str, int], ...]
    over: int


def built_bytes(site: Site, parcel: str) -> int:
    """Bytes of the compressed members and parity files of a parcel we made that lie on our disk."""
    folders = [site.outgoing(parcel) / PACKS, *site.outgoing(parcel).glob("parity-*")]
    return sum(path.stat().st_size for folder in folders for path in folder.glob("*") if path.is_file())


def keep_quota(site: Site, *, coming: int = 0) -> Retained:
    """Discard confirmed parcels, oldest confirmation first, until they and ``coming`` bytes are within the quota.

    A parcel without the receipt of every destination is never discarded here.
    """
    quota = site.settings.parcel_quota
    with site.catalogue.reading() as connection:
        sent = parcels.all_sent(connection)
        to = {one.parcel: parcels.destinations(connection, one.parcel) for one in sent}
    sizes = {one.parcel: size for one in sent if (size := built_bytes(site, one.parcel))}
    total, discarded = sum(sizes.values()), []
    if quota:
        confirmed = [
            (max(d.confirmed_ns or 0 for d in to[one.parcel]), one.parcel)
            for one in sent
            if one.parcel in sizes
            and one.state == SentState.CONFIRMED
            and all(d.receipt is not None for d in to[one.parcel])
        ]
        for _, parcel in sorted(confirmed):
            if total + coming <= quota:
                break
            freed = discard_sent(site, parcel) or 0
            total -= sizes[parcel]
            discarded.append((parcel, freed))
    over = max(0, total + coming - quota) if quota else 0
    return Retained(bytes=total, quota=quota, discarded=tuple(discarded), over=over)
