"""Signed documents of a size that is known before they are signed, so that a place can be kept for them on a volume.

A signature of Ed25519 has 64 bytes. One of ECDSA has up to 72, and as base64 it nearly always takes as many characters
as those: the few that take less are made again.
"""

from __future__ import annotations

from courier.errors import CourierError
from courier.site.home import Site
from formats.envelope import Envelope

_MOST = {"ed25519": 64, "ecdsa-sha2-nistp256": 72}
_TRIES = 100


def envelope_of_size(site: Site, payload: bytes, payload_type: str) -> bytes:
    """An envelope without a signature, as long as `sign_sized` makes it for a payload as long as this."""
    key = site.card.keys[0].key
    signatures = ((key.keyid, bytes(_MOST[key.scheme])),)
    return Envelope(payload=payload, payload_type=payload_type, signatures=signatures).encode()


def sign_sized(site: Site, payload: bytes, payload_type: str) -> Envelope:
    """Sign a document as `Site.sign` does, with an envelope as long as `envelope_of_size` says."""
    size = len(envelope_of_size(site, payload, payload_type))
    for _ in range(_TRIES):
        envelope = site.sign(payload, payload_type)
        if len(envelope.encode()) == size:
            return envelope
    raise CourierError(
        f"the signing key of {site.code} makes signatures of another length than its scheme has",
        hint="check the token that holds it: courier site show",
    )
