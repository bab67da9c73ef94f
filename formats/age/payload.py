"""The payload of an encrypted file: a nonce of 16 bytes, then chunks of 64 KiB, of which the last may be shorter.

ChaCha20-Poly1305 encrypts and authenticates each chunk, with its number and whether it is the last as the nonce. So a
part can be read without the rest, and a file that was cut, extended or put together from others is detected
(https://c2sp.org/age, Payload). Empty content is one empty chunk; otherwise no chunk is empty.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from formats.age.header import NONCE_SIZE, derive, header_size

CHUNK = 64 << 10
"""Bytes of plain content in every chunk but the last."""
TAG = 16
"""Bytes that encryption adds to a chunk."""
ENCRYPTED_CHUNK = CHUNK + TAG
"""Bytes of every encrypted chunk but the last."""


@cache
def pool() -> ThreadPoolExecutor:
    """The threads that encrypt and decrypt beside the caller's; all open files share them.

    A task given to them waits for nothing but the file that it reads.
    """
    return ThreadPoolExecutor(2, thread_name_prefix="age")


def payload_cipher(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    """The cipher of all chunks of a payload that begins with ``nonce``."""
    return ChaCha20Poly1305(derive(file_key, salt=nonce, info=b"payload"))


def chunk_nonce(number: int, *, last: bool) -> bytes:
    """The nonce of chunk ``number``, counted from 0."""
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def chunk_count(size: int, each: int) -> int:
    """Number of chunks of ``each`` bytes that ``size`` bytes fill, the last perhaps in part."""
    return -(-size // each)


def encrypted_size(plain: int, recipients: int) -> int:
    """Exact bytes of the encrypted file, header included, that ``plain`` bytes make for so many recipients."""
    return header_size(recipients) + NONCE_SIZE + plain + TAG * max(1, chunk_count(plain, CHUNK))
