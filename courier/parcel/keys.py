"""The key of a parcel that is not on its media, and how its destinations find it.

The parcel's files are encrypted for one fresh age identity. The sender keeps it with the build, readable by its owner
alone. It leaves the site only inside an age file encrypted for the destinations, in the ship notice or in a key
release.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from courier.error_codes import Code
from courier.errors import RefusedError, explain
from courier.parcel.encryption import network_identity, opened
from courier.parcel.notices import verified_notices
from courier.site.catalog import letters
from courier.site.clock import now
from courier.site.home import Site
from courier.site.trust import Trust
from formats.age import Identity
from formats.documents import release as release_doc
from formats.documents.notice import ShipNotice
from formats.documents.packing import PackingList
from formats.documents.release import ParcelKey
from formats.errors import FormatError, NotForUsError


def identities_for(site: Site, packing: PackingList) -> list[Identity]:
    """The age identities that decrypt a parcel here; none where its key has not come yet.

    Raises `RefusedError` when a key came that is not this parcel's, or is encrypted for others.
    """
    if packing.key == "media":
        return site.keyring.identities()
    trust = site.trust()
    from_notices = packing.key == "network" and packing.source != site.code
    identity = parcel_identity(site, packing, trust, verified_notices(site, trust, packing) if from_notices else ())
    return [identity] if identity is not None else []


def parcel_identity(site: Site, packing: PackingList, trust: Trust, notices: Sequence[ShipNotice]) -> Identity | None:
    """The age identity of a parcel whose key is not on its media; None where it has not come yet.

    ``notices``: the verified ship notices of the parcel, oldest first. Raises as `identities_for` does.
    """
    if packing.source == site.code:
        return network_identity(site.outgoing(packing.parcel))
    encrypted = _encrypted_key(site, packing, trust, notices)
    return _open(site, encrypted, packing) if encrypted else None


def _encrypted_key(site: Site, packing: PackingList, trust: Trust, notices: Sequence[ShipNotice]) -> bytes:
    if packing.key == "on-arrival":
        with site.catalogue.reading() as connection:
            kept = letters.find(connection, "release", packing.parcel, packing.source)
        if kept is None:
            return b""
        release, _ = trust.verify(
            kept.envelope,
            release_doc.KIND,
            now_ns=now(),
            where=f"key release of {packing.parcel}",
            arrived_ns=kept.at_ns,
        )
        return release.key if release.build == packing.build else b""
    return next((n.key for n in reversed(notices) if n.key and n.build == packing.build), b"")


def _open(site: Site, encrypted: bytes, packing: PackingList) -> Identity:
    try:
        with opened(io.BytesIO(encrypted), site.keyring.identities()) as source:
            key = ParcelKey.parse(source.read(1 << 16))
        identity = Identity.from_text(key.identity)
    except FormatError as error:
        # It was encrypted for the keys on our card of that time, which may have been lost since.
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
