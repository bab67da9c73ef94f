"""Signing and verifying requests by a site's key: HTTP Message Signatures (RFC 9421), in one spelling.

Every request but those of public operations carries these fields:

- ``Courier-From`` and ``Courier-To``: the codes of the site that asks and of the site that is asked;
- ``Content-Digest: sha-256=:BASE64:`` of the request's body, the empty one too (RFC 9530);
- ``Signature-Input: courier=(COMPONENTS);created=SECONDS;nonce="HEX";keyid="HEX";alg="ALG";tag="courier-channel-1"``
- ``Signature: courier=:BASE64:``

COMPONENTS are, in this order, ``"@method" "@path" "@query" "courier-from" "courier-to" "content-digest"``, and then
``"content-range"`` and ``"range"`` where the request has them. ``created`` is Unix time; ``nonce`` is 32, ``keyid``
64 lower-case hexadecimal digits (the key ID of the site card); ``alg`` is ``ed25519`` or ``ecdsa-p256-sha256``
(RFC 9421, section 3.3). The signature base is that of section 2.5. The code of the site that is asked is signed too, so
that it cannot pass a request on to a third one. docs/decisions/0016-http-signatures.md says why this is our own code.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from formats.envelope import PublicKey, Signer
from formats.errors import BadSignatureError, MalformedError

TAG = "courier-channel-1"
ALGORITHMS = {"ed25519": "ed25519", "ecdsa-sha2-nistp256": "ecdsa-p256-sha256"}
"""Our names of signature schemes, and those of RFC 9421."""
_ALWAYS = ("@method", "@path", "@query", "courier-from", "courier-to", "content-digest")
_WHEN_PRESENT = ("content-range", "range")
_INPUT = re.compile(
    r'courier=(?P<params>\((?P<names>"[a-z@-]+"(?: "[a-z@-]+")*)\);created=(?P<created>[0-9]{1,11});'
    r'nonce="(?P<nonce>[0-9a-f]{32})";keyid="(?P<keyid>[0-9a-f]{64})";alg="(?P<alg>[a-z0-9-]+)";'
    rf'tag="{TAG}")'
)
_SIGNATURE = re.compile(r"courier=:([A-Za-z0-9+/]{86}==):")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A request without its body. ``query`` is without its question mark; names of ``headers`` are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What a request says of its signature, not verified yet. ``base`` is what was signed, ``created`` Unix seconds."""

    source: str
    to: str
    created: int
    nonce: str
    keyid: str
    alg: str
    digest: bytes
    base: bytes
    signature: bytes


def content_digest(body: bytes) -> str:
    """The Content-Digest field of a body (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def _covered(headers: Mapping[str, str]) -> str:
    names = (*_ALWAYS, *(name for name in _WHEN_PRESENT if name in headers))
    return " ".join(f'"{name}"' for name in names)


def _base(head: Head, params: str) -> bytes:
    derived = {"@method": head.method, "@path": head.path, "@query": f"?{head.query}"}
    names = (*_ALWAYS, *(name for name in _WHEN_PRESENT if name in head.headers))
    lines = [f'"{name}": {derived[name] if name in derived else head.headers[name].strip()}' for name in names]
    return "\n".join([*lines, f'"@signature-params": {params}']).encode()


def sign_head(
    head: Head, *, source: str, to: str, body: bytes, key: PublicKey, signer: Signer, created: int, nonce: str
) -> dict[str, str]:
    """The header fields that sign a request of site ``source`` to site ``to``; ``created`` in Unix seconds."""
    headers = {"courier-from": source, "courier-to": to, "content-digest": content_digest(body)}
    whole = Head(method=head.method, path=head.path, query=head.query, headers={**head.headers, **headers})
    alg = ALGORITHMS[key.scheme]
    params = (
        f'({_covered(whole.headers)});created={created};nonce="{nonce}";keyid="{key.keyid}";alg="{alg}";tag="{TAG}"'
    )
    signature = bytes.fromhex(signer.sign(_base(whole, params)).signature)
    if alg == "ecdsa-p256-sha256":
        signature = _plain_ecdsa(signature)
    headers["signature-input"] = f"courier={params}"
    headers["signature"] = f"courier=:{base64.b64encode(signature).decode()}:"
    return headers


def read_claim(head: Head) -> Claim:
    """What a request says of its signature; raises `MalformedError` for any other spelling than ours."""
    match = _INPUT.fullmatch(head.headers.get("signature-input", ""))
    signature = _SIGNATURE.fullmatch(head.headers.get("signature", ""))
    digest = _DIGEST.fullmatch(head.headers.get("content-digest", ""))
    source, to = head.headers.get("courier-from", ""), head.headers.get("courier-to", "")
    if match is None or signature is None or digest is None or match["names"] != _covered(head.headers):
        raise MalformedError("not signed as a request of this channel is", place="request")
    if not all(re.fullmatch("[A-Z0-9]{3}", code) for code in (source, to)):
        raise MalformedError("no site codes", place="request")
    try:
        base, raw = _base(head, match["params"]), base64.b64decode(signature[1], validate=True)
        wanted = base64.b64decode(digest[1], validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise MalformedError("not signed as a request of this channel is", place="request") from None
    return Claim(
        source=source,
        to=to,
        created=int(match["created"]),
        nonce=match["nonce"],
        keyid=match["keyid"],
        alg=match["alg"],
        digest=wanted,
        base=base,
        signature=raw,
    )


def verify_claim(claim: Claim, key: PublicKey) -> None:
    """Check a request's signature; raises `BadSignatureError`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    public = _load(key.der)
    try:
        if key.keyid != claim.keyid or ALGORITHMS[key.scheme] != claim.alg:
            raise InvalidSignature
        if isinstance(public, Ed25519PublicKey):
            public.verify(claim.signature, claim.base)
        elif isinstance(public, EllipticCurvePublicKey):
            halves = (int.from_bytes(half) for half in (claim.signature[:32], claim.signature[32:]))
            public.verify(encode_dss_signature(*halves), claim.base, ECDSA(SHA256()))
    except InvalidSignature:
        raise BadSignatureError("the request is not signed by that key", place="request") from None


@lru_cache(maxsize=4096)
def _load(der: bytes) -> object:
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    return load_der_public_key(der)


def _plain_ecdsa(der: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    return b"".join(half.to_bytes(32) for half in decode_dss_signature(der))
