"""Signatures: DSSE envelopes over exact payload bytes (DSSE protocol v1), checked before the payload is parsed.

Signers are the keyring's, and securesystemslib's for tokens; signatures are made and judged with `cryptography` alone,
as nearly every command does that, and securesystemslib takes longer to load than most of them to run. The envelope
itself has one encoding, canonical JSON, so that one document has one byte string; at most `MAX_SIGNATURES` signatures,
no two by one key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Protocol

from formats.errors import BadSignatureError, MalformedError, TooLargeError
from formats.records import Digest, Key, Record, base64_text, encode, format_base64, items, parse_base64, read, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

MAX_SIGNATURES = 4
MAX_ENVELOPE = 64 << 20
"""Bytes of the largest envelope that is read (a packing list of 100,000 archives and 100,000 parity files: 34 MB)."""
MAX_FRAME = 16 << 10
"""Bytes of an envelope beside its payload, at most: what is not signed never takes much memory."""
_HEAD = b'{"payload":"'


class Signature(Protocol):
    """A signature as a signer gives it; securesystemslib's has these fields too."""

    @property
    def signature(self) -> str:
        """The bytes of the signature, in hexadecimal."""


class Signer(Protocol):
    """What signs, its key in a file, the environment or a token: also securesystemslib's `Signer`."""

    def sign(self, payload: bytes) -> Signature:
        """Sign bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicKey:
    """A public key: ``der`` is its SubjectPublicKeyInfo (RFC 5280), ``keyid`` the SHA-256 of that."""

    der: bytes
    scheme: str

    @property
    def keyid(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo, in hexadecimal; its groups of four are the fingerprint."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def fingerprint(self) -> str:
        """The key ID in sixteen groups of four, for reading over the phone."""
        keyid = self.keyid
        return " ".join(keyid[n : n + 4] for n in range(0, 64, 4))


SCHEMES = ("ed25519", "ecdsa-sha2-nistp256")
"""Signature schemes that are accepted (ECDSA for tokens that know no Ed25519)."""
_ED25519 = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """A signed payload, not yet verified: ``signatures`` maps key IDs to signature bytes."""

    payload: bytes
    payload_type: str
    signatures: tuple[tuple[str, bytes], ...]

    def encode(self) -> bytes:
        """The one encoding of this envelope."""
        return encode(
            {
                "payload": format_base64(self.payload),
                "payloadType": self.payload_type,
                "signatures": [{"keyid": keyid, "sig": format_base64(sig)} for keyid, sig in self.signatures],
            }
        )

    @property
    def head(self) -> bytes:
        """The payload's canonical JSON: all of it, or its first line where raw bytes follow (JSON has no newline)."""
        return self.payload.partition(b"\n")[0]

    @property
    def sha256(self) -> str:
        """SHA-256 of the payload: what names the document, whoever signed it."""
        return hashlib.sha256(self.payload).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Signature(Record):
    keyid: Digest
    sig: Annotated[bytes, base64_text(1024)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Frame(Record):
    """An envelope without its payload."""

    payload_type: Annotated[str, Key("payloadType"), text(200)]
    signatures: Annotated[tuple[_Signature, ...], items(1, MAX_SIGNATURES)]


def parse_envelope(data: bytes) -> Envelope:
    """Parse an envelope without judging its signatures; raises `MalformedError` or `TooLargeError`."""
    if len(data) > MAX_ENVELOPE:
        raise TooLargeError(f"envelope of more than {MAX_ENVELOPE} bytes", place="envelope")
    # The payload is cut out before the JSON around it is parsed: base64 holds no quote, and this
    # takes the memory of the payload once, not many times.
    begin = len(_HEAD)
    end = data.find(b'"', begin) if data.startswith(_HEAD) else -1
    if end < 0 or begin + len(data) - end > MAX_FRAME:
        place = "envelope.payload" if end < 0 and data.startswith(_HEAD[:-1]) else "envelope"
        raise MalformedError("not one payload and its signatures", place=place)
    frame = data[:begin] + data[end:]
    head = read(_Frame, frame, place="envelope")
    signatures = tuple((item.keyid, item.sig) for item in head.signatures)
    _check_signers([keyid for keyid, _ in signatures])
    envelope = Envelope(payload=b"", payload_type=head.payload_type, signatures=signatures)
    if envelope.encode() != frame:
        raise MalformedError("holds more than an envelope does", place="envelope")
    return replace(envelope, payload=parse_base64(data[begin:end], place="envelope.payload"))


def _check_signers(keyids: list[str]) -> None:
    if not 1 <= len(keyids) <= MAX_SIGNATURES or len(set(keyids)) != len(keyids):
        raise MalformedError(f"1 to {MAX_SIGNATURES} signatures, each by another key", place="envelope.signatures")


def pre_authentication_encoding(payload: bytes, payload_type: str) -> bytes:
    """The bytes that a signature of an envelope is over: ``PAE`` of the DSSE protocol v1; lengths are in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, signers: Iterable[tuple[str, Signer]]) -> Envelope:
    """Sign ``payload``; ``signers`` are (key ID, signer) pairs, 1 to `MAX_SIGNATURES` (else `MalformedError`)."""
    signed = pre_authentication_encoding(payload, payload_type)
    signatures = tuple((keyid, bytes.fromhex(signer.sign(signed).signature)) for keyid, signer in signers)
    _check_signers([keyid for keyid, _ in signatures])
    return Envelope(payload=payload, payload_type=payload_type, signatures=signatures)


def verified_keys(envelope: Envelope, keys: Iterable[PublicKey]) -> list[PublicKey]:
    """Those of ``keys`` that have validly signed ``envelope``; an empty list when none has."""
    signed = pre_authentication_encoding(envelope.payload, envelope.payload_type)
    by_id = dict(envelope.signatures)
    return [key for key in keys if key.keyid in by_id and _has_signed(key, by_id[key.keyid], signed)]


def _has_signed(key: PublicKey, signature: bytes, signed: bytes) -> bool:
    """Whether ``signature`` is of ``signed`` by ``key``: Ed25519, or ECDSA over SHA-256 (`SCHEMES`)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = _loaded(key.der)
    try:
        if isinstance(public, Ed25519PublicKey):
            if key.scheme != "ed25519":
                return False
            public.verify(signature, signed)
            return True
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
        from cryptography.hazmat.primitives.hashes import SHA256

        if not (isinstance(public, EllipticCurvePublicKey) and key.scheme == "ecdsa-sha2-nistp256"):
            return False
        public.verify(signature, signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=1024)
def _loaded(der: bytes) -> PublicKeyTypes:
    """The key in a SubjectPublicKeyInfo; kept, as a server judges many messages by the keys of some hundred sites."""
    if _is_ed25519(der):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(der[len(_ED25519) :])
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    return load_der_public_key(der)


def _is_ed25519(der: bytes) -> bool:
    """Whether a SubjectPublicKeyInfo is that of an Ed25519 key, in its one canonical form.

    Every command reads its site's card, and the parser for keys of all kinds takes long to load.
    """
    return len(der) == len(_ED25519) + 32 and der.startswith(_ED25519)


def verify(envelope: Envelope, keys: Iterable[PublicKey], *, payload_type: str, place: str) -> PublicKey:
    """The key that signed ``envelope``; raises `BadSignatureError` when none of ``keys`` did or the type is another."""
    if envelope.payload_type != payload_type:
        raise BadSignatureError(f"signed as {envelope.payload_type[:100]!r}, not as {payload_type!r}", place=place)
    good = verified_keys(envelope, keys)
    if not good:
        raise BadSignatureError("not signed by a key that is trusted for it, or altered since", place=place)
    return good[0]


def load_public_key(der: bytes, *, place: str = "key") -> PublicKey:
    """A public key from its SubjectPublicKeyInfo; raises `MalformedError` for other kinds than `SCHEMES`."""
    if _is_ed25519(der):
        return PublicKey(der=der, scheme="ed25519")
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedError("not a public key", place=place) from None
    if isinstance(key, Ed25519PublicKey):
        scheme = "ed25519"
    elif isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        scheme = "ecdsa-sha2-nistp256"
    else:
        raise MalformedError(f"key of a kind that is not accepted (accepted: {', '.join(SCHEMES)})", place=place)
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != der:
        raise MalformedError("public key is not in canonical form", place=place)
    return PublicKey(der=der, scheme=scheme)
