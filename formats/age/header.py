"""The keys and the header of the age format, age-encryption.org/v1 (https://c2sp.org/age), for X25519 recipients.

A header is text: a version line, for each recipient a stanza that holds the file key encrypted for it, and a MAC of all
that, made with the file key. Stanzas of other kinds are ignored, as the specification asks; X25519 stanzas must be well
formed. Each meaning has one spelling: base64 is canonical and without padding, recipients are in lower case, identities
in upper case.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from formats.age.bech32 import decode, encode
from formats.errors import DigestMismatchError, MalformedError, NotForUsError, TooLargeError, UnknownFormatError

MAX_HEADER = 256 << 10
"""Bytes in the largest header that is written or read (2,600 recipients)."""
FILE_KEY_SIZE = 16
NONCE_SIZE = 16

_VERSION_LINE = b"age-encryption.org/v1\n"
_VERSION = re.compile(rb"age-encryption\.org/[!-~]+\n")
_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"
_ARGUMENT = re.compile(rb"[!-~]+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*")
_LINE = 64
_KEY_SIZE = 32
_WRAPPED_SIZE = FILE_KEY_SIZE + 16
WRAP_NONCE = bytes(12)
"""A wrap key is used once."""
_X25519_INFO = b"age-encryption.org/v1/X25519"
_SEED_SALT = b"courier-encryption/1"


def derive(secret: bytes, *, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA-256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


class Identity:
    """A private X25519 key, which decrypts what is encrypted to its ``recipient``. Only `to_text` shows it."""

    __slots__ = ("_private", "_public")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _KEY_SIZE:
            raise MalformedError(f"an identity has {_KEY_SIZE} bytes")
        self._private = X25519PrivateKey.from_private_bytes(secret)
        self._public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Identity:
        """A new identity from the system's random source."""
        return cls(secrets.token_bytes(_KEY_SIZE))

    @classmethod
    def from_text(cls, text: str) -> Identity:
        """The identity that ``AGE-SECRET-KEY-1...`` stands for; raises `MalformedError`, which never quotes it."""
        prefix, secret = decode(text)
        if prefix != "AGE-SECRET-KEY-":
            raise MalformedError("not an X25519 identity (AGE-SECRET-KEY-1...)")
        return cls(secret)

    def to_text(self) -> str:
        """The secret as text, ``AGE-SECRET-KEY-1...``, for a key file or an encrypted message and nothing else."""
        return encode("age-secret-key-", self._private.private_bytes_raw()).upper()

    @property
    def recipient(self) -> str:
        """The public key to which others encrypt, ``age1...``."""
        return encode("age", self._public)

    def __repr__(self) -> str:
        return f"<Identity of {self.recipient}>"

    def unwrap(self, share: bytes, wrapped: bytes) -> bytes | None:
        """The file key in the stanza with the ephemeral ``share``, or None if the stanza is for another recipient."""
        secret = _exchange(self._private, share)
        key = derive(secret, salt=share + self._public, info=_X25519_INFO)
        try:
            return ChaCha20Poly1305(key).decrypt(WRAP_NONCE, wrapped, None)
        except InvalidTag:
            return None


def parse_recipient(text: str) -> bytes:
    """The 32 bytes of a recipient, ``age1...``.

    Raises `MalformedError`, also for a point of low order (RFC 7748, 6.1).
    """
    prefix, point = decode(text)
    if prefix != "age" or len(point) != _KEY_SIZE:
        raise MalformedError("not an X25519 recipient (age1...)")
    # Anybody can decrypt what is encrypted to a point of low order.
    _exchange(X25519PrivateKey.from_private_bytes(bytes(_KEY_SIZE)), point)
    return point


def _exchange(private: X25519PrivateKey, point: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:
        raise MalformedError("an X25519 point of low order") from None


class KeySource:
    """Where the keys of an encrypted file come from: the system's random source, or a seed and a context.

    With a seed of 32 bytes, each key is HKDF-SHA-256 with the salt ``courier-encryption/1`` and the info
    ``NAME 0x00 SHA-256(context) RECIPIENT``. NAME is ``file key`` (16 bytes), ``payload nonce`` (16 bytes) or
    ``ephemeral`` (32 bytes); RECIPIENT is the 32 bytes of the recipient for an ephemeral key, and empty otherwise.
    """

    __slots__ = ("_context", "_seed")

    def __init__(self, seed: bytes | None, context: bytes) -> None:
        if seed is None and context:
            raise ValueError("a context without a seed")
        if seed is not None and (len(seed) != _KEY_SIZE or not context):
            raise ValueError(f"a seed has {_KEY_SIZE} bytes and comes with a context")
        self._seed = seed
        self._context = sha256(context).digest()

    def _draw(self, name: bytes, size: int, recipient: bytes = b"") -> bytes:
        if self._seed is None:
            return secrets.token_bytes(size)
        return derive(self._seed, salt=_SEED_SALT, info=name + b"\0" + self._context + recipient, length=size)

    def file_key(self) -> bytes:
        """The 16 bytes from which the keys of header and payload are derived."""
        return self._draw(b"file key", FILE_KEY_SIZE)

    def payload_nonce(self) -> bytes:
        """The 16 bytes at the beginning of the payload."""
        return self._draw(b"payload nonce", NONCE_SIZE)

    def ephemeral(self, recipient: bytes) -> bytes:
        """The ephemeral X25519 secret of the recipient's stanza."""
        return self._draw(b"ephemeral", _KEY_SIZE, recipient)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stanza:
    """The part of a header that holds the file key for one recipient; the first argument is its kind."""

    arguments: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """A parsed header of ``size`` bytes; ``mac`` covers its first ``size`` - 45 bytes, including the ``---``."""

    stanzas: tuple[Stanza, ...]
    mac: bytes
    size: int


_END_SIZE = 45
"""Bytes after the ``---``: a space, 43 characters of base64 and a line feed."""


def header_size(recipients: int) -> int:
    """Bytes of a header for so many X25519 recipients."""
    return len(_VERSION_LINE) + 98 * recipients + 3 + _END_SIZE


def to_base64(data: bytes) -> bytes:
    """Base64 as headers have it, without padding."""
    return base64.b64encode(data).rstrip(b"=")


def from_base64(text: bytes, what: str) -> bytes:
    """The bytes of ``text``; raises `MalformedError` unless it is spelled as `to_base64` does (RFC 4648, 3.5)."""
    if _BASE64.fullmatch(text):
        try:
            data = base64.b64decode(text + b"=" * (-len(text) % 4))
        except binascii.Error:
            data = b""
        if to_base64(data) == text:
            return data
    raise MalformedError(f"{what} is not canonical base64", place="header")


def header_mac(file_key: bytes, header: bytes) -> bytes:
    """The MAC of a header, over its bytes up to the ``---`` and with it."""
    return hmac.digest(derive(file_key, salt=b"", info=b"header"), header, "sha256")


def mac_fits(file_key: bytes, header: bytes, mac: bytes) -> bool:
    """Whether a MAC is that of a header."""
    return hmac.compare_digest(header_mac(file_key, header), mac)


def end_of_header(header: Header) -> int:
    """Bytes of a header that its MAC covers."""
    return header.size - _END_SIZE


def header_bytes(file_key: bytes, recipients: Sequence[str], keys: KeySource) -> bytes:
    """The header that wraps ``file_key`` for each recipient, ``age1...``, in this order.

    Raises `MalformedError` for an invalid recipient, for one given twice and for none at all, and `TooLargeError` for
    a header over `MAX_HEADER`.
    """
    if not recipients or len(set(recipients)) != len(recipients):
        raise MalformedError("recipients: at least one, each once")
    if header_size(len(recipients)) > MAX_HEADER:
        raise TooLargeError(f"a header over {MAX_HEADER} bytes: {len(recipients)} recipients")
    lines = [_VERSION_LINE]
    for recipient in recipients:
        point = parse_recipient(recipient)
        ephemeral = X25519PrivateKey.from_private_bytes(keys.ephemeral(point))
        share = ephemeral.public_key().public_bytes_raw()
        key = derive(_exchange(ephemeral, point), salt=share + point, info=_X25519_INFO)
        body = ChaCha20Poly1305(key).encrypt(WRAP_NONCE, file_key, None)
        lines.append(b"-> X25519 %b\n%b\n" % (to_base64(share), to_base64(body)))
    start = b"".join(lines) + b"---"
    return b"%b %b\n" % (start, to_base64(header_mac(file_key, start)))


def parse_header(data: bytes) -> Header:
    """Parse the header at the beginning of ``data``, the first `MAX_HEADER` bytes of a file or all of them.

    Raises `UnknownFormatError` for another version of age and for its ASCII armour, `TooLargeError`, `MalformedError`.
    """
    if not data.startswith(_VERSION_LINE):
        if _VERSION.match(data):
            raise UnknownFormatError("another version of the age format than v1", place="header")
        if data.startswith(_ARMOR):
            raise UnknownFormatError("an age file in ASCII armour: only the binary form is read", place="header")
        raise MalformedError("not an age file", place="header")
    at = len(_VERSION_LINE)
    stanzas = []
    while data.startswith(b"-> ", at):
        stanza, at = _parse_stanza(data, at)
        stanzas.append(stanza)
    line, end = _line(data, at)
    if not stanzas or len(line) != 3 + _END_SIZE - 1 or not line.startswith(b"--- "):
        raise MalformedError("neither a stanza nor the last line of a header", place="header")
    return Header(stanzas=tuple(stanzas), mac=from_base64(line[4:], "the MAC"), size=end)


def _parse_stanza(data: bytes, at: int) -> tuple[Stanza, int]:
    line, at = _line(data, at)
    arguments = tuple(line[3:].split(b" "))
    if not all(_ARGUMENT.fullmatch(argument) for argument in arguments):
        raise MalformedError("a stanza's arguments are not words of visible characters", place="header")
    text = bytearray()
    while True:
        line, at = _line(data, at)
        text += line
        if len(line) > _LINE:
            raise MalformedError(f"a line of a stanza's body is over {_LINE} characters", place="header")
        if len(line) < _LINE:
            return Stanza(arguments=arguments, body=from_base64(bytes(text), "a stanza's body")), at


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    """The line at ``at`` without its line feed, and where the next begins."""
    end = data.find(b"\n", at)
    if end >= 0:
        return data[at:end], end + 1
    if len(data) >= MAX_HEADER:
        raise TooLargeError(f"a header over {MAX_HEADER} bytes", place="header")
    raise MalformedError("the file ends in its header", place="header")


def _wrapped_keys(header: Header) -> Iterator[tuple[bytes, bytes]]:
    """Share and wrapped key of each X25519 stanza."""
    for stanza in header.stanzas:
        kind, *rest = stanza.arguments
        if kind == b"scrypt" and len(header.stanzas) > 1:
            raise MalformedError("a passphrase beside other stanzas", place="header")
        if kind != b"X25519":
            continue
        share = from_base64(rest[0], "an ephemeral share") if len(rest) == 1 else b""
        if len(share) != _KEY_SIZE or len(stanza.body) != _WRAPPED_SIZE:
            raise MalformedError("an X25519 stanza of wrong form", place="header")
        yield share, stanza.body


def unwrap_file_key(data: bytes, header: Header, identities: Sequence[Identity]) -> bytes:
    """The file key of the file that begins with ``data``, after its header has been authenticated.

    Raises `NotForUsError` if no identity opens a stanza, `MalformedError` for any X25519 stanza of wrong form or a
    passphrase beside other stanzas, and `DigestMismatchError` if the header was altered or damaged.
    """
    wrapped = list(_wrapped_keys(header))
    for share, body in wrapped:
        for identity in identities:
            file_key = identity.unwrap(share, body)
            if file_key is None:
                continue
            if not mac_fits(file_key, data[: end_of_header(header)], header.mac):
                raise DigestMismatchError("altered or damaged: it does not fit its MAC", place="header")
            return file_key
    raise NotForUsError("encrypted for other keys than those at hand")
