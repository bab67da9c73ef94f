"""What the tests of sealed files share: a key, sealing and opening in memory, one long sealed file."""

from __future__ import annotations

import io
import random

from formats.seal import CHUNK, Identity, open_sealed, seal_stream

SEALED_CHUNK = CHUNK + 16
HEADER = 70 + 98
"""Bytes of the header for one recipient."""
OURS = Identity.generate()
SEED = bytes(range(32))


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def seal(plain: bytes, *recipients: str, seed: bytes | None = None, context: bytes = b"", threads: int = 2) -> bytes:
    """The sealed file, for us if for nobody else."""
    out = io.BytesIO()
    size = seal_stream(
        io.BytesIO(plain), out, recipients or [OURS.recipient], seed=seed, context=context, threads=threads
    )
    assert size == len(out.getvalue())
    return out.getvalue()


def unseal(sealed: bytes, *identities: Identity) -> bytes:
    with open_sealed(io.BytesIO(sealed), identities or [OURS]) as reader:
        return reader.read()


LONG = content(70 * CHUNK + 123)
LONG_SEALED = seal(LONG)
