"""What the tests of encrypted files share: a key, encrypting and decrypting in memory, one long encrypted file."""

from __future__ import annotations

import io
import random

from formats.age import CHUNK, EncryptingWriter, Identity, encrypted_size, open_encrypted

ENCRYPTED_CHUNK = CHUNK + 16
HEADER = 70 + 98
"""Bytes of the header for one recipient."""
OURS = Identity.generate()
SEED = bytes(range(32))


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def encrypt(plain: bytes, *recipients: str, seed: bytes | None = None, context: bytes = b"") -> bytes:
    """The encrypted file, for `OURS` unless recipients are given."""
    out = io.BytesIO()
    to = recipients or [OURS.recipient]
    with EncryptingWriter(out, to, seed=seed, context=context) as writer:
        writer.write(plain)
    assert encrypted_size(len(plain), len(to)) == len(out.getvalue())
    return out.getvalue()


def decrypt(encrypted: bytes, *identities: Identity) -> bytes:
    with open_encrypted(io.BytesIO(encrypted), identities or [OURS]) as reader:
        return reader.read()


LONG = content(70 * CHUNK + 123)
LONG_ENCRYPTED = encrypt(LONG)
