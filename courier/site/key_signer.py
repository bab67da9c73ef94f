"""Signing with a private key that is in memory.

securesystemslib's signer makes the same signatures, but loads every kind of signer there is, and with it the libraries
of each that are installed: that took more processor time than most commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """A signature in hexadecimal, as `formats.envelope.Signature` has it."""

    signature: str


class KeySigner:
    """Signs with a private key that is in memory: Ed25519, or ECDSA P-256 with SHA-256, whose signature is DER."""

    def __init__(self, private: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
        self._private = private

    def sign(self, payload: bytes) -> Signed:
        """Sign bytes."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256

        if isinstance(self._private, EllipticCurvePrivateKey):
            return Signed(signature=self._private.sign(payload, ECDSA(SHA256())).hex())
        return Signed(signature=self._private.sign(payload).hex())
