"""Signatures: exact bytes, by a key that is known beforehand, in envelopes any DSSE tool reads."""

from __future__ import annotations

import base64
import hashlib
import json
import tracemalloc
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as Dsse
from securesystemslib.signer import CryptoSigner, Key, SSlibKey

from formats.envelope import (
    MAX_ENVELOPE,
    MAX_SIGNATURES,
    Envelope,
    PublicKey,
    Signer,
    load_public_key,
    parse_envelope,
    sign,
    verified_keys,
    verify,
)
from formats.errors import BadSignatureError, FormatError, MalformedError, TooLargeError
from formats.records import decode, encode

TYPE = "application/vnd.courier.test+json"
PAYLOAD = b'{"hello":"w\xc3\xb6rld"}'


def make_key(private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> tuple[PublicKey, Signer]:
    public = private.public_key()
    key = load_public_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return key, CryptoSigner(private, SSlibKey.from_crypto(public, keyid=key.keyid))


ED, ED_SIGNER = make_key(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
EC, EC_SIGNER = make_key(ec.derive_private_key(12345, ec.SECP256R1()))
OTHER, OTHER_SIGNER = make_key(Ed25519PrivateKey.from_private_bytes(bytes(32)))
BOTH = pytest.mark.parametrize(("key", "signer"), [(ED, ED_SIGNER), (EC, EC_SIGNER)], ids=["ed25519", "p256"])


def spec_pae(payload_type: str, payload: bytes) -> bytes:
    """PAE of the DSSE protocol, version 1: written anew from its text, lengths in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 " + b" ".join([str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def test_what_is_signed_is_the_pre_authentication_encoding_of_the_dsse_protocol() -> None:
    assert spec_pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    for payload_type, payload in ((TYPE, PAYLOAD), ("t\u00fcp", b""), ("", b"\0" * 10)):
        envelope = sign(payload, payload_type, [(ED.keyid, ED_SIGNER)])
        public = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
        public.verify(envelope.signatures[0][1], spec_pae(payload_type, payload))


def test_the_published_dsse_example_is_verified() -> None:
    """The test vector of the protocol's text: ECDSA P-256 over SHA-256, its signature as DER."""
    x = 46950820868899156662930047687818585632848591499744589407958293238635476079160
    y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
    key = load_public_key(
        ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    raw = base64.b64decode("A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==")
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    sig = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    envelope = Envelope(
        payload=b"hello world", payload_type="http://example.com/HelloWorld", signatures=((key.keyid, sig),)
    )
    assert verified_keys(parse_envelope(envelope.encode()), [key]) == [key]


@BOTH
@given(payload=st.binary(max_size=200), payload_type=st.text("abc/+.ü", max_size=50))
def test_an_envelope_comes_out_of_its_bytes_and_is_verified(
    key: PublicKey, signer: Signer, payload: bytes, payload_type: str
) -> None:
    envelope = sign(payload, payload_type, [(key.keyid, signer)])
    data = envelope.encode()
    parsed = parse_envelope(data)
    assert parsed == envelope
    assert parsed.encode() == data
    assert parsed.sha256 == hashlib.sha256(payload).hexdigest()
    assert verify(parsed, [OTHER, key], payload_type=payload_type, place="x") == key
    assert verified_keys(parsed, [OTHER]) == []


@BOTH
def test_every_byte_of_an_envelope_altered_removed_or_added_is_refused(key: PublicKey, signer: Signer) -> None:
    good = sign(PAYLOAD, TYPE, [(key.keyid, signer)]).encode()
    damaged = [
        good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :] for at in range(len(good)) for mask in (1, 32, 128)
    ]
    damaged += [good[:at] + good[at + 1 :] for at in range(len(good))]
    damaged += [good[:at] + byte + good[at:] for at in range(len(good) + 1) for byte in (b"A", b"=", b" ", b"\0")]
    damaged += [good[:at] for at in range(len(good))]
    for bad in damaged:
        if bad == good:
            continue
        with pytest.raises(FormatError):
            verify(parse_envelope(bad), [key], payload_type=TYPE, place="x")


def test_a_refusal_says_where_and_why() -> None:
    envelope = sign(PAYLOAD, TYPE, [(ED.keyid, ED_SIGNER)])
    altered = Envelope(payload=PAYLOAD + b" ", payload_type=TYPE, signatures=envelope.signatures)
    renamed = Envelope(payload=PAYLOAD, payload_type=TYPE, signatures=((OTHER.keyid, envelope.signatures[0][1]),))
    empty = Envelope(payload=PAYLOAD, payload_type=TYPE, signatures=((ED.keyid, b""),))
    for bad, keys, payload_type in (
        (envelope, [OTHER], TYPE),
        (envelope, [], TYPE),
        (envelope, [ED], TYPE + "x"),
        (altered, [ED], TYPE),
        (renamed, [ED, OTHER], TYPE),
        (empty, [ED], TYPE),
    ):
        with pytest.raises(BadSignatureError) as caught:
            verify(parse_envelope(bad.encode()), keys, payload_type=payload_type, place="packing list")
        assert caught.value.place == "packing list"


def test_a_signature_for_one_type_is_none_for_another() -> None:
    envelope = sign(PAYLOAD, TYPE, [(ED.keyid, ED_SIGNER)])
    other = Envelope(payload=PAYLOAD, payload_type=TYPE + "2", signatures=envelope.signatures)
    assert verified_keys(other, [ED]) == []


def test_an_envelope_may_have_several_signatures() -> None:
    signers = [(ED.keyid, ED_SIGNER), (EC.keyid, EC_SIGNER)]
    envelope = parse_envelope(sign(PAYLOAD, TYPE, signers).encode())
    assert verified_keys(envelope, [ED, EC, OTHER]) == [ED, EC]
    assert verify(envelope, [OTHER, EC], payload_type=TYPE, place="x") == EC
    half = Envelope(payload=PAYLOAD, payload_type=TYPE, signatures=(envelope.signatures[0], (EC.keyid, b"x")))
    assert verified_keys(parse_envelope(half.encode()), [ED, EC]) == [ED]


def test_no_two_signatures_are_by_one_key_and_there_are_one_to_four() -> None:
    envelope = sign(PAYLOAD, TYPE, [(ED.keyid, ED_SIGNER)])
    keyid, sig = envelope.signatures[0]
    another = [(f"{n:064x}", b"x") for n in range(MAX_SIGNATURES)]
    parse_envelope(Envelope(payload=b"", payload_type="", signatures=tuple(another)).encode())
    for signatures in ((), ((keyid, sig), (keyid, sig)), ((keyid, sig), (keyid, b"x")), (*another, (keyid, sig))):
        with pytest.raises(MalformedError) as caught:
            parse_envelope(Envelope(payload=PAYLOAD, payload_type=TYPE, signatures=signatures).encode())
        assert caught.value.place == "envelope.signatures"
    doubled = [(ED.keyid, ED_SIGNER), (ED.keyid, ED_SIGNER)]
    for signers in ([], doubled, [(f"{n:064x}", ED_SIGNER) for n in range(MAX_SIGNATURES + 1)]):
        with pytest.raises(MalformedError):
            sign(PAYLOAD, TYPE, signers)


GOOD: dict[str, Any] = decode(sign(PAYLOAD, TYPE, [(ED.keyid, ED_SIGNER)]).encode())
SIG: dict[str, Any] = GOOD["signatures"][0]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"payload": 1}, "envelope.payload"),
        ({"payload": "AB=="}, "envelope.payload"),
        ({"payload": "A"}, "envelope.payload"),
        ({"payload": "AAAA\n"}, "envelope.payload"),
        ({"payload": "AAA"}, "envelope.payload"),
        ({"payload": "AA-_"}, "envelope.payload"),
        ({"payload": "\u0661\u0661\u0661\u0661"}, "envelope.payload"),
        ({"payloadType": None}, "envelope.payloadType"),
        ({"payloadType": "x" * 201}, "envelope.payloadType"),
        ({"signatures": {}}, "envelope.signatures"),
        ({"signatures": [1]}, "envelope.signatures[0]"),
        ({"signatures": [{**SIG, "keyid": SIG["keyid"].upper()}]}, "envelope.signatures[0].keyid"),
        ({"signatures": [{**SIG, "sig": "!"}]}, "envelope.signatures[0].sig"),
        ({"signatures": [{**SIG, "sig": "A" * 2000}]}, "envelope.signatures[0].sig"),
        ({"signatures": [{**SIG, "extra": 1}]}, "envelope"),
        ({"extra": 1}, "envelope"),
    ],
)
def test_an_envelope_has_one_spelling_and_nothing_else_in_it(changes: dict[str, Any], place: str) -> None:
    assert parse_envelope(encode(GOOD)).payload == PAYLOAD
    with pytest.raises(MalformedError) as caught:
        parse_envelope(encode({**GOOD, **changes}))
    assert caught.value.place == place


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_our_errors(data: bytes) -> None:
    for bad in (data, encode({**GOOD, "payload": data.hex()}) + data):
        try:
            assert parse_envelope(bad).encode() == bad
        except FormatError:
            continue


@pytest.mark.parametrize("piece", [b"{}", b"[]", b'"ab"'])
def test_an_unsigned_flood_is_refused_before_it_fills_the_memory(piece: bytes) -> None:
    """Whoever holds the medium can write what he likes on it; only what is signed may be large when parsed."""
    flood = b'{"payload":"","payloadType":"","signatures":[' + b",".join([piece] * 1_900_000) + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            parse_envelope(flood)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_an_envelope_beyond_the_limit_is_refused() -> None:
    with pytest.raises(TooLargeError):
        parse_envelope(bytes(MAX_ENVELOPE + 1))


@BOTH
def test_ours_is_verified_by_securesystemslib_and_theirs_by_us(key: PublicKey, signer: Signer) -> None:
    theirs = Dsse(PAYLOAD, TYPE, {})
    theirs.sign(signer)  # type: ignore[arg-type]
    assert verify(parse_envelope(encode(theirs.to_dict())), [key], payload_type=TYPE, place="x") == key
    ours = sign(PAYLOAD, TYPE, [(key.keyid, signer)])
    read = Dsse.from_dict(json.loads(ours.encode()))
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    public: Key = SSlibKey.from_crypto(load_der_public_key(key.der), keyid=key.keyid)
    assert set(read.verify([public], 1)) == {key.keyid}
    assert read.payload == PAYLOAD


# --- keys -----------------------------------------------------------------------------------------------------------


def test_only_keys_of_the_accepted_kinds_are_loaded() -> None:
    def der(key: Any) -> bytes:
        data: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return data

    for other in (
        der(rsa.generate_private_key(65537, 2048)),
        der(ec.generate_private_key(ec.SECP384R1())),
        der(x25519.X25519PrivateKey.generate()),
        ec.derive_private_key(7, ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
    ):
        with pytest.raises(MalformedError):
            load_public_key(other)
    assert [key.scheme for key in (ED, EC)] == ["ed25519", "ecdsa-sha2-nistp256"]


@given(st.binary(min_size=32, max_size=32))
def test_an_ed25519_key_known_at_a_glance_is_what_the_parser_says_of_it(raw: bytes) -> None:
    der = ED.der[:-32] + raw
    assert load_public_key(der).scheme == "ed25519"
    parsed = load_der_public_key(der)
    assert isinstance(parsed, Ed25519PublicKey)
    assert parsed.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == der


def test_a_fingerprint_is_the_key_id_in_groups_of_four() -> None:
    assert len(ED.fingerprint) == 79
    assert ED.fingerprint.replace(" ", "") == ED.keyid == hashlib.sha256(ED.der).hexdigest()


@given(st.binary(max_size=200), st.integers(0, 90), st.integers(0, 255))
def test_any_bytes_as_a_key_raise_only_our_errors(noise: bytes, at: int, byte: int) -> None:
    for key in (ED, EC):
        for data in (noise, key.der[:at] + bytes([byte]) + key.der[at + 1 :], key.der + noise, noise + key.der):
            try:
                assert load_public_key(data).der == data
            except MalformedError:
                continue


def test_a_large_payload_takes_memory_a_few_times_its_size_not_many_times() -> None:
    data = Envelope(payload=bytes(6 << 20), payload_type=TYPE, signatures=((ED.keyid, b"x"),)).encode()
    tracemalloc.start()
    try:
        parse_envelope(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    finally:
        tracemalloc.stop()
