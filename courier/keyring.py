"""The site's private keys: signing keys and the identity that content for this site is encrypted to.

Key files are readable by their owner only; a laxer one is refused. Private keys never leave this room: callers get
signers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from courier.errors import NotFound, Refused
from courier.files import make_folder, write_atomic
from formats.envelope import PublicKey, Signer, load_public_key

if TYPE_CHECKING:
    from formats.seal import Identity

IDENTITY = "recipient.key"


class Keyring:
    """The key folder of a site home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def generate(self) -> PublicKey:
        """Make a new Ed25519 signing key, keep it, and return its public half."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
        )

        private = Ed25519PrivateKey.generate()
        public = load_public_key(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        make_folder(self._folder)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_atomic(self._folder / f"{public.keyid}.pem", pem, private=True)
        return public

    def generate_identity(self) -> str:
        """Make a new age identity, keep it, and return its recipient (``age1...``). Older identities are kept too."""
        from formats.seal import Identity

        identity = Identity.generate()
        make_folder(self._folder)
        path = self._folder / IDENTITY
        older = self._read(path).decode() if path.exists() else ""
        write_atomic(path, f"{identity.to_text()}\n{older}".encode(), private=True)
        return identity.recipient

    def identities(self) -> list[Identity]:
        """Every age identity of the site, the newest first."""
        from formats.seal import Identity

        path = self._folder / IDENTITY
        if not path.exists():
            return []
        return [Identity.from_text(line) for line in self._read(path).decode().split()]

    def signer(self, key: PublicKey) -> tuple[str, Signer]:
        """(key ID, signer) of ``key``; raises `NotFound` when its private half is not here."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner, SSlibKey

        path = self._folder / f"{key.keyid}.pem"
        if not path.exists():
            raise NotFound(
                f"the private key {key.keyid[:16]} is not in {self._folder}",
                hint="restore the keys folder from the backup of the site home",
            )
        try:
            private = load_pem_private_key(self._read(path), None)
        except (ValueError, TypeError):
            raise Refused(f"{path}: not a private key", hint="restore it from the backup of the site home") from None
        public = SSlibKey.from_crypto(private.public_key(), keyid=key.keyid)
        return key.keyid, CryptoSigner(private, public)

    def signers(self, keys: Sequence[PublicKey]) -> list[tuple[str, Signer]]:
        """`signer` of each of ``keys``."""
        return [self.signer(key) for key in keys]

    def _read(self, path: Path) -> bytes:
        if os.name == "posix":
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                raise Refused(
                    f"{path} can be read by others (mode {mode:o})",
                    hint=f"chmod 600 {path}; if others had access, rotate the key: courier site rotate-key",
                    code="lax-key-file",
                )
        return path.read_bytes()
