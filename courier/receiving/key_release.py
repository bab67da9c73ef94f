"""The key of a parcel that comes by network: kept once the sender has released it."""

from __future__ import annotations

from courier.parcel.transitions import log_entry
from courier.site.catalog import letters, parcels
from courier.site.catalog.letters import letter_of
from courier.site.home import Site
from formats.documents.release import KeyRelease
from formats.envelope import Envelope, parse_envelope


def take_key_release(site: Site, release: KeyRelease, envelope: Envelope) -> str:
    """Keep the key that the sender released, unless the one that is here is as new; return an empty text."""
    with site.catalogue.writing() as connection:
        before = letters.find(connection, "release", release.parcel, release.source)
        if before is not None and _issued_ns(before.envelope) >= release.issued_ns:
            return ""
        letters.keep(connection, letter_of("release", release.parcel, release.source, envelope))
        parcels.write_log(connection, log_entry(site, release.parcel, "key", f"released by {release.source}"))
    return ""


def _issued_ns(envelope: bytes) -> int:
    return KeyRelease.parse(parse_envelope(envelope).payload).issued_ns
