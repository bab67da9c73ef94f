"""The header of an age file (age-encryption.org/v1): X25519 recipients, the file key wrapped for each, the MAC.

Other kinds of recipient stanzas are passed over, as the specification asks; none of them is ever written.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from formats import bech32
from formats.errors import FormatError, Malformed, NotForUs, TooLarge, UnknownFormat

VERSION = b"age-encryption.org/v1\n"
FILE_KEY = 16
MAX_HEADER = 1 << 20
MAX_STANZAS = 1000
_X25519_INFO = b"age-encryption.org/v1/X25519"
_ARGUMENT = re.compile(rb"[\x21-\x7e]+")


def hkdf(secret: bytes, *, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, salt, info).derive(secret)


class Identity:
    """A private X25519 key. Its text is a secret: neither `repr` nor an error shows it."""

    def __init__(self, private: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        self._private = private
        self._key = X25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Identity:
        """A new one, from the system's randomness."""
        import secrets

        return cls(secrets.token_bytes(32))

    @classmethod
    def from_text(cls, text: str) -> Identity:
        """From ``AGE-SECRET-KEY-1...``; raises `Malformed` without repeating it."""
        prefix, data = bech32.decode(text)
        if prefix != "age-secret-key-" or len(data) != 32:
            raise Malformed("not an age identity")
        return cls(data)

    def to_text(self) -> str:
        """``AGE-SECRET-KEY-1...``, as age's own identity files hold it."""
        return bech32.encode("age-secret-key-", self._private).upper()

    @property
    def recipient(self) -> str:
        """The recipient that seals for this identity: ``age1...``."""
        return bech32.encode("age", self.public)

    def __repr__(self) -> str:
        return f"Identity({self.recipient})"

    def exchange(self, share: bytes) -> bytes | None:
        """The X25519 shared secret with a share; None for a share of low order (all-zero secret, RFC 7748)."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:
            return None


def parse_recipient(text: str) -> bytes:
    """The 32 bytes of an ``age1...`` recipient; raises `Malformed`."""
    prefix, data = bech32.decode(text)
    if prefix != "age" or len(data) != 32 or text != text.lower():
        raise Malformed("not an age recipient")
    return data


def _b64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _unb64(text: bytes) -> bytes:
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise Malformed("not base64", place="age header") from None
    if _b64(data) != text:
        raise Malformed("base64 not in canonical form", place="age header")
    return data


def _wrap(shared: bytes, share: bytes, public: bytes) -> bytes:
    return hkdf(shared, salt=share + public, info=_X25519_INFO)


def make_header(file_key: bytes, recipients: Sequence[str], ephemerals: Sequence[bytes]) -> bytes:
    """A header that wraps ``file_key`` for each recipient with the ephemeral private key of the same position."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    lines = [VERSION]
    for recipient, private in zip(recipients, ephemerals, strict=True):
        ephemeral, public = Identity(private), parse_recipient(recipient)
        shared = ephemeral.exchange(public)
        if shared is None:
            raise Malformed("age recipient is a point of low order")
        key = _wrap(shared, ephemeral.public, public)
        body = ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None)
        lines.append(b"-> X25519 %b\n%b\n" % (_b64(ephemeral.public), _b64(body)))
    head = b"".join(lines) + b"---"
    return head + b" " + _b64(_mac(file_key, head)) + b"\n"


def header_size(recipients: int) -> int:
    """Bytes of a header for so many recipients."""
    return len(VERSION) + recipients * (len("-> X25519 ") + 43 + 1 + 43 + 1) + len("--- ") + 43 + 1


def _mac(file_key: bytes, head: bytes) -> bytes:
    return hmac.digest(hkdf(file_key, salt=b"", info=b"header"), head, "sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stanza:
    """One recipient stanza: its kind, arguments and body."""

    kind: bytes
    arguments: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """A parsed header: its stanzas, the bytes its MAC covers, the MAC, and its whole length in bytes."""

    stanzas: tuple[Stanza, ...]
    head: bytes
    mac: bytes
    length: int

    def file_key(self, identities: Sequence[Identity]) -> bytes:
        """The file key, by the first identity that opens it; raises `NotForUs`, or `Malformed` for a wrong MAC."""
        if any(stanza.kind == b"scrypt" for stanza in self.stanzas) and len(self.stanzas) > 1:
            raise Malformed("a passphrase stanza beside others", place="age header")
        for stanza in self.stanzas:
            for identity in identities:
                key = _unwrap(stanza, identity)
                if key is not None:
                    if not hmac.compare_digest(_mac(key, self.head), self.mac):
                        raise Malformed("wrong MAC: the header was altered", place="age header")
                    return key
        raise NotForUs("sealed for other recipients")


def _unwrap(stanza: Stanza, identity: Identity) -> bytes | None:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    if stanza.kind != b"X25519":
        return None
    if len(stanza.arguments) != 1:
        raise Malformed("X25519 stanza without just one share", place="age header")
    share = _unb64(stanza.arguments[0])
    if len(share) != 32 or len(stanza.body) != FILE_KEY + 16:
        raise Malformed("X25519 stanza of a wrong size", place="age header")
    shared = identity.exchange(share)
    if shared is None:
        raise Malformed("X25519 share of low order", place="age header")
    try:
        return ChaCha20Poly1305(_wrap(shared, share, identity.public)).decrypt(bytes(12), stanza.body, None)
    except InvalidTag:
        return None


class _HeaderLines:
    """The lines of a header, bounded."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.read = bytearray()

    def next(self) -> bytes:
        line = self._source.readline(4096)
        self.read += line
        if len(self.read) > MAX_HEADER:
            raise TooLarge(f"age header of more than {MAX_HEADER} bytes")
        if not line.endswith(b"\n"):
            raise Malformed("cut short, or a line too long", place="age header")
        return line[:-1]


def read_header(source: BinaryIO) -> Header:
    """Parse the header at the start of ``source``; raises `UnknownFormat`, `Malformed` or `TooLarge`."""
    lines = _HeaderLines(source)
    try:
        version = lines.next() + b"\n"
    except FormatError:
        version = b""
    if version != VERSION:
        raise UnknownFormat("not an age file of version 1", place="age header")
    stanzas: list[Stanza] = []
    line = lines.next()
    while line.startswith(b"-> "):
        kind, *arguments = line[3:].split(b" ")
        if not all(_ARGUMENT.fullmatch(word) for word in (kind, *arguments)):
            raise Malformed("stanza line is not well formed", place="age header")
        body = b""
        while True:
            part = lines.next()
            if len(part) > 64:
                raise Malformed("stanza body line too long", place="age header")
            body += part
            if len(part) < 64:
                break
        stanzas.append(Stanza(kind=kind, arguments=tuple(arguments), body=_unb64(body)))
        if len(stanzas) > MAX_STANZAS:
            raise TooLarge(f"more than {MAX_STANZAS} recipients", place="age header")
        line = lines.next()
    if not stanzas or not line.startswith(b"--- "):
        raise Malformed("no MAC line after one or more stanzas", place="age header")
    mac = _unb64(line[4:])
    if len(mac) != 32:
        raise Malformed("MAC of a wrong size", place="age header")
    head = bytes(lines.read[: len(lines.read) - len(line) - 1]) + b"---"
    return Header(stanzas=tuple(stanzas), head=head, mac=mac, length=len(lines.read))
