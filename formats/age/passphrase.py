"""Encryption with a passphrase, as ``age --passphrase`` does (https://c2sp.org/age, scrypt recipients).

The header has one stanza, ``scrypt SALT LOG2(N)``, and wraps the file key with the key that scrypt (RFC 7914, r = 8,
p = 1) makes of the passphrase. That of a small secret is one chunk, of 64 KiB at most; larger content is written by
`EncryptingWriter` and read by `open_encrypted`, with a header from here.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from formats.age.header import (
    FILE_KEY_SIZE,
    NONCE_SIZE,
    WRAP_NONCE,
    Header,
    end_of_header,
    from_base64,
    header_mac,
    mac_fits,
    parse_header,
    to_base64,
)
from formats.age.payload import CHUNK, TAG, chunk_nonce, payload_cipher
from formats.errors import DigestMismatchError, MalformedError, NotForUsError, TooLargeError

WORK = 18
"""Binary logarithm of the work factor that is written: 256 MiB of memory, and about a second."""
MAX_WORK = 20
"""The highest that is read: 1 GiB of memory. A file of a stranger asks for no more."""
MAX_SECRET = CHUNK
_SALT_SIZE = 16
_SALT_PREFIX = b"age-encryption.org/v1/scrypt"
_NUMBER = re.compile(rb"[1-9][0-9]?")


def encrypt_secret(secret: bytes, passphrase: str, *, work: int | None = None) -> bytes:
    """The age file of ``secret``, which ``passphrase`` opens.

    ``work``: binary logarithm of the work factor; None for `WORK`.
    """
    work = WORK if work is None else work
    if not passphrase:
        raise MalformedError("an empty passphrase protects nothing")
    if len(secret) > MAX_SECRET or not 1 <= work <= MAX_WORK:
        raise TooLargeError(f"a secret of {len(secret)} bytes with work factor {work}")
    file_key, nonce = (secrets.token_bytes(size) for size in (FILE_KEY_SIZE, NONCE_SIZE))
    header = passphrase_header(file_key, passphrase, work=work)
    return header + nonce + payload_cipher(file_key, nonce).encrypt(chunk_nonce(0, last=True), secret, None)


def decrypt_secret(data: bytes, passphrase: str) -> bytes:
    """The secret in an age file of `encrypt_secret`, or of ``age --passphrase`` where it has at most 64 KiB.

    Raises `NotForUsError` where the passphrase is another, or the file is for keys instead; `TooLargeError` for a work
    factor over `MAX_WORK`, `MalformedError`, and `DigestMismatchError` where the file was altered.
    """
    header = parse_header(data)
    file_key = unwrap_by_passphrase(data, header, passphrase)
    nonce, payload = data[header.size : header.size + NONCE_SIZE], data[header.size + NONCE_SIZE :]
    if len(nonce) != NONCE_SIZE or len(payload) > MAX_SECRET + TAG:
        raise MalformedError("not one chunk", place="payload")
    try:
        return payload_cipher(file_key, nonce).decrypt(chunk_nonce(0, last=True), payload, None)
    except InvalidTag:
        raise DigestMismatchError("altered, damaged, or more than one chunk", place="payload") from None


def passphrase_header(file_key: bytes, passphrase: str, *, work: int | None = None) -> bytes:
    """The header of an age file that wraps ``file_key`` for whoever knows the passphrase; ``work`` as above."""
    salt, work = secrets.token_bytes(_SALT_SIZE), WORK if work is None else work
    wrapped = ChaCha20Poly1305(_key(passphrase, salt, work)).encrypt(WRAP_NONCE, file_key, None)
    start = b"age-encryption.org/v1\n-> scrypt %b %d\n%b\n---" % (to_base64(salt), work, to_base64(wrapped))
    return start + b" %b\n" % to_base64(header_mac(file_key, start))


def is_for_passphrase(header: Header) -> bool:
    """Whether a file is encrypted with a passphrase, and not for keys."""
    return header.stanzas[0].arguments[0] == b"scrypt"


def unwrap_by_passphrase(data: bytes, header: Header, passphrase: str) -> bytes:
    """The file key of the age file that begins with ``data``; its header has been authenticated then.

    Raises as `decrypt_secret` does for what is wrong with the header.
    """
    stanza = header.stanzas[0]
    if stanza.arguments[0] != b"scrypt":
        raise NotForUsError("encrypted for keys, not with a passphrase")
    if len(header.stanzas) > 1 or len(stanza.arguments) != 3 or not _NUMBER.fullmatch(stanza.arguments[2]):
        raise MalformedError("a passphrase stanza of wrong form, or beside others", place="header")
    salt, work = from_base64(stanza.arguments[1], "a salt"), int(stanza.arguments[2])
    if len(salt) != _SALT_SIZE or len(stanza.body) != FILE_KEY_SIZE + TAG:
        raise MalformedError("a passphrase stanza of wrong form", place="header")
    if work > MAX_WORK:
        raise TooLargeError(f"work factor {work}, where {MAX_WORK} is the most that is read", place="header")
    try:
        file_key = ChaCha20Poly1305(_key(passphrase, salt, work)).decrypt(WRAP_NONCE, stanza.body, None)
    except InvalidTag:
        raise NotForUsError("the passphrase does not open it") from None
    if not mac_fits(file_key, data[: end_of_header(header)], header.mac):
        raise DigestMismatchError("altered or damaged: it does not fit its MAC", place="header")
    return file_key


def _key(passphrase: str, salt: bytes, work: int) -> bytes:
    cost = 1 << work
    return hashlib.scrypt(
        passphrase.encode(),
        salt=_SALT_PREFIX + salt,
        n=cost,
        r=8,
        p=1,
        maxmem=128 * 8 * cost + (16 << 20),
        dklen=32,
    )
