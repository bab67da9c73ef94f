"""The key of a parcel that is not on its media: made when it is built, sealed to its destinations, found again there.

The parcel's files are sealed for one fresh age identity. The sender keeps it with the build, owner-only; it leaves the
site only inside an age file sealed to the destinations, in the ship notice or in a key release.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError, explain
from courier.parcel.encryption import network_identity, opened
from courier.parcel.notices import verified_notices
from courier.site.catalog import letters
from courier.site.clock import now
from courier.site.home import Site
from formats.age import Identity
from formats.documents import release as release_doc
from formats.documents.packing import PackingList
from formats.documents.release import ParcelKey
from formats.errors import FormatError, NotForUsError

if TYPE_CHECKING:
    pass


def identities_for(site: Site, packing: PackingList) -> list[Identity]:
    """What opens a sealed parcel here; none where its key has not come yet.

    Raises `RefusedError` when a key came that is not this parcel's, or is sealed for others.
    """
    if packing.key == "media":
        return site.keyring.identities()
    if packing.source == site.code:
        return [network_identity(site.outgoing(packing.parcel))]
    encrypted = _encrypted_key(site, packing)
    return [_open(site, encrypted, packing)] if encrypted else []


def _encrypted_key(site: Site, packing: PackingList) -> bytes:
    if packing.key == "on-arrival":
        with site.catalogue.reading() as connection:
            kept = letters.find(connection, "release", packing.parcel, packing.source)
        if kept is None:
            return b""
        release, _ = site.trust().verify(
            kept.envelope,
            release_doc.KIND,
            now_ns=now(),
            where=f"key release of {packing.parcel}",
            arrived_ns=kept.at_ns,
        )
        return release.key if release.build == packing.build else b""
    notices = verified_notices(site, site.trust(), packing)
    return next((n.key for n in reversed(notices) if n.key and n.build == packing.build), b"")


def _open(site: Site, encrypted: bytes, packing: PackingList) -> Identity:
    try:
        with opened(io.BytesIO(encrypted), site.keyring.identities()) as source:
            key = ParcelKey.parse(source.read(1 << 16))
        identity = Identity.from_text(key.identity)
    except FormatError as error:
        # It was sealed for the keys on our card of that time, which may have been lost since.
        again = "courier parcel ship there" if packing.key == "network" else "courier parcel arrived here"
        hint = (
            f"once {packing.source} has this site's present card, {again}" if isinstance(error, NotForUsError) else ""
        )
        raise explain(error, where=f"key of {packing.parcel}", hint=hint) from None
    if (key.parcel, key.build) != (packing.parcel, packing.build):
        raise RefusedError(
            f"the key that came for {packing.parcel} is of {key.parcel}, or of another build",
            hint=f"ask {packing.source} to ship it again: courier parcel ship {packing.parcel}",
            code=Code.WRONG_KEY,
        )
    return identity
