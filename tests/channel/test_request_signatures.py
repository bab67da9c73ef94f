"""Requests are signed as RFC 9421 has it: another implementation of it verifies them, and sees what was altered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

pytest.importorskip("http_message_signatures")

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver
from http_message_signatures.algorithms import ECDSA_P256_SHA256, ED25519
from http_message_signatures.exceptions import InvalidSignature
from securesystemslib.signer import CryptoSigner, SSlibKey

from courier.channel.request_signatures import TAG, Head, read_claim, sign_head, verify_claim
from formats.envelope import PublicKey, Signer, load_public_key
from formats.errors import BadSignatureError, MalformedError


@dataclass(kw_only=True)
class Request:
    """A request as that implementation reads it."""

    method: str
    url: str
    headers: dict[str, str]


class Verifier(HTTPMessageVerifier):
    """Leaves the judgement of ``created`` to the server, which has a clock of its own."""

    def validate_created_and_expires(self, *_: Any, **__: Any) -> None:
        pass


def made_key(scheme: str) -> tuple[Any, PublicKey, Signer]:
    """A new key: as the library of keys has it, as a site card names it, and what signs with it."""
    private: Any = (
        ed25519.Ed25519PrivateKey.generate() if scheme == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    )
    public = private.public_key()
    key = load_public_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    signer = CryptoSigner(private, SSlibKey.from_crypto(public, keyid=key.keyid))
    return public, key, signer


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa"])
@pytest.mark.parametrize("query", ["", "bytes=100"])
def test_another_implementation_verifies_our_signatures(scheme: str, query: str) -> None:
    public, key, signer = made_key(scheme)
    head = Head(method="PUT", path="/v1/messages/" + "a" * 64, query=query, headers={"content-range": "bytes 0-3/4"})
    signed = sign_head(
        head, source="HQ1", to="BR1", body=b"body", key=key, signer=signer, created=1_795_000_000, nonce="0" * 32
    )
    request = Request(
        method=head.method,
        url=f"https://br1.example{head.path}{f'?{query}' if query else ''}",
        headers={**head.headers, **signed},
    )
    verifier = Verifier(
        signature_algorithm=ED25519 if scheme == "ed25519" else ECDSA_P256_SHA256,
        key_resolver=MappingKeyResolver(public_keys={key.keyid: public}, private_keys={}),
    )

    def verify(body: bytes) -> None:
        covered = ("@method", "@path", "@query", "courier-from", "courier-to", "content-digest", "content-range")
        (result,) = verifier.verify(request, max_age=None, expect_tag=TAG, require_components=covered, body=body)
        assert result.label == "courier"

    verify(b"body")
    with pytest.raises(InvalidSignature):
        verify(b"bodY")
    request.headers["courier-to"] = "BR2"
    with pytest.raises(InvalidSignature):
        verify(b"body")


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa"])
def test_signatures_of_both_kinds_of_key_hold_and_break(scheme: str) -> None:
    _, key, signer = made_key(scheme)
    head = Head(method="GET", path="/v1/messages", query="", headers={"range": "bytes=0-1"})
    extra = sign_head(
        head, source="HQ1", to="BR1", body=b"", key=key, signer=signer, created=1_795_000_000, nonce="0" * 32
    )
    whole = replace(head, headers={**head.headers, **extra})
    claim = read_claim(whole)
    verify_claim(claim, key)
    # The signature base, written out as RFC 9421 section 2.5 has it.
    alg = "ed25519" if scheme == "ed25519" else "ecdsa-p256-sha256"
    covered = '"@method" "@path" "@query" "courier-from" "courier-to" "content-digest" "range"'
    assert claim.base.decode() == (
        '"@method": GET\n"@path": /v1/messages\n"@query": ?\n"courier-from": HQ1\n"courier-to": BR1\n'
        '"content-digest": sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\n"range": bytes=0-1\n'
        f'"@signature-params": ({covered});created=1795000000;nonce="{"0" * 32}";keyid="{key.keyid}";'
        f'alg="{alg}";tag="courier-channel-1"'
    )
    for broken in (replace(claim, base=claim.base + b" "), replace(claim, signature=bytes(64))):
        with pytest.raises(BadSignatureError):
            verify_claim(broken, key)
    for name in ("signature", "signature-input", "content-digest", "courier-from"):
        with pytest.raises(MalformedError):
            read_claim(replace(whole, headers={**whole.headers, name: whole.headers[name] + "x"}))
