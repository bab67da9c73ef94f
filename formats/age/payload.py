"""The payload of a sealed file: a nonce of 16 bytes, then chunks of 64 KiB, the last one shorter or as long.

Each chunk is encrypted and authenticated by ChaCha20-Poly1305 under its number and whether it is the last, so a part
can be read without the rest, and a file cut, extended or put together from others is found out
(https://c2sp.org/age, Payload). An empty content is one empty chunk; else no chunk is empty.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from formats.age.header import NONCE_SIZE, derive, header_size

CHUNK = 64 << 10
"""Bytes of plain content in every chunk but the last."""
TAG = 16
"""Bytes that a chunk grows by."""
ENCRYPTED_CHUNK = CHUNK + TAG
"""Bytes of every sealed chunk but the last."""


@cache
def pool() -> ThreadPoolExecutor:
    """The threads that seal and open beside the caller's, for all files: where hundreds are open, none has its own.

    What is given to them waits for nothing but what it reads.
    """
    return ThreadPoolExecutor(2, thread_name_prefix="seal")


def payload_cipher(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    """The cipher of all chunks of a payload that begins with ``nonce``."""
    return ChaCha20Poly1305(derive(file_key, salt=nonce, info=b"payload"))


def chunk_nonce(number: int, *, last: bool) -> bytes:
    """The nonce of a chunk, counted from 0."""
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def chunk_count(size: int, each: int) -> int:
    """Chunks that ``size`` bytes make at ``each`` bytes a chunk."""
    return -(-size // each)


def encrypted_size(plain: int, recipients: int) -> int:
    """Bytes of the sealed file of ``plain`` bytes for so many recipients, header and all: exact."""
    return header_size(recipients) + NONCE_SIZE + plain + TAG * max(1, chunk_count(plain, CHUNK))
