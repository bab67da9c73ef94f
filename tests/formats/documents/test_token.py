"""The label token: its text is fixed to the character, and nothing but what was signed comes out of any text."""

from __future__ import annotations

from base64 import b32encode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey

from formats.documents.token import (
    MAX_EDITION,
    MAX_SITES,
    TYPE,
    LabelToken,
    edition_of_check,
    is_token,
    read_token,
    typed_check,
    write_token,
)
from formats.envelope import PublicKey, Signer, load_public_key, sign, verified_keys
from formats.errors import FormatError, MalformedError

TOKEN = LabelToken(
    parcel="HQ1-000042",
    source="HQ1",
    destinations=("BR1",),
    number=3,
    of=9,
    edition=1,
    copy=1,
    packing_list="ab" * 16,
    issued_ns=1_234_567_890_123_456_789,
)
TEXT = (
    "CP1JBITCAAAFIAAGAAJAAAQAAIREIIPI7PJQEK2XK5LVOV2XK5LVOV2XK5LVOV2WAKCKIY72EINGAOS6B35FEC6DEPG76WNTGFL3ZQKRXVTLSHUCTTXDE73"
    "HZPJJO2BTUV2KB67N4QQZ63UGUOU6VS7H5NWJIKRIVWLWQJ2S3X6ZVEHSFAAZNO6KBI3NEV36"
)
"""`TOKEN`, signed by the Ed25519 key whose seed is 32 bytes of 1: a second implementation has to make the same."""


def _key(private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> tuple[PublicKey, Signer]:
    public = private.public_key()
    key = load_public_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return key, CryptoSigner(private, SSlibKey.from_crypto(public, keyid=key.keyid))


ED = _key(Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
EC = _key(ec.derive_private_key(7, ec.SECP256R1()))


def _text(token: LabelToken, key: tuple[PublicKey, Signer] = ED) -> str:
    public, signer = key
    return write_token(sign(token.payload(), TYPE, [(public.keyid, signer)]), public)


def test_the_token_is_fixed_to_the_character() -> None:
    assert _text(TOKEN) == TEXT
    assert read_token(TEXT).document == TOKEN


@pytest.mark.parametrize("key", [ED, EC], ids=["ed25519", "ecdsa"])
def test_the_envelope_comes_out_as_it_went_in(key: tuple[PublicKey, Signer]) -> None:
    public, signer = key
    envelope = sign(TOKEN.payload(), TYPE, [(public.keyid, signer)])
    packed = read_token(write_token(envelope, public))
    assert packed.envelope([ED[0], EC[0]]) == envelope
    assert verified_keys(packed.envelope([public]), [public]) == [public]


def test_case_and_spaces_do_not_matter() -> None:
    assert read_token(f"  {TEXT.lower()[:70]} {TEXT[70:]}\n") == read_token(TEXT)


def test_only_digits_and_capitals_are_in_it() -> None:
    assert set(TEXT) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    assert is_token(TEXT.lower())
    assert not is_token("A0012345")


def test_every_character_that_was_misread_is_found() -> None:
    for at in range(len(TEXT)):
        for other in ("A" if TEXT[at] != "A" else "B", "8", ""):
            with pytest.raises(MalformedError):
                read_token(TEXT[:at] + other + TEXT[at + 1 :])


def test_two_encodings_of_one_token_are_not_taken() -> None:
    # The last character has bits to spare: 118 bytes are 944 bits, in 189 characters of 5.
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".index(TEXT[-1])
    other = TEXT[:-1] + "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[last ^ 1]
    with pytest.raises(MalformedError):
        read_token(other)
    with pytest.raises(MalformedError):
        read_token(TEXT + "=")


@settings(max_examples=50)
@given(st.text(max_size=30) | st.binary(max_size=130).map(lambda data: "CP1" + b32encode(data).decode().rstrip("=")))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        read_token(text)


def test_what_was_changed_and_given_a_right_check_value_is_not_signed() -> None:
    forged = replace(read_token(TEXT), document=replace(TOKEN, number=4))
    assert verified_keys(forged.envelope([ED[0]]), [ED[0]]) == []
    # And by a key that the card does not name, the ID of the key is none.
    assert verified_keys(read_token(_text(TOKEN, EC)).envelope([ED[0]]), [ED[0], EC[0]]) == []


@pytest.mark.parametrize(
    "token",
    [
        replace(TOKEN, number=10),
        replace(TOKEN, source="BR1"),
        replace(TOKEN, edition=MAX_EDITION + 1),
        replace(TOKEN, destinations=tuple(f"{n:03d}" for n in range(MAX_SITES + 1))),
        replace(TOKEN, destinations=()),
        replace(TOKEN, issued_ns=1 << 63),
    ],
)
def test_a_label_that_cannot_be_is_not_written(token: LabelToken) -> None:
    with pytest.raises(MalformedError):
        _text(token)


def test_many_destinations_come_out_as_they_went_in() -> None:
    token = replace(TOKEN, destinations=tuple(f"B{n:02d}" for n in range(MAX_SITES)), copy=0, edition=MAX_EDITION)
    assert read_token(_text(token)).document == token


def test_the_check_value_finds_slips_and_tells_the_edition() -> None:
    check = typed_check("HQ1-000042", 3, 2)
    assert check == "Y2W2P6"
    assert edition_of_check("HQ1-000042", 3, check.lower()) == 2
    slips = [("HQ1-000043", 3, check), ("HQ1-000042", 4, check), ("HQ1-000042", 3, "Y2W2P7"), ("HQ1-000042", 3, "")]
    assert [edition_of_check(*slip) for slip in slips] == [None] * 4


def test_digits_that_look_like_letters_are_taken_for_them() -> None:
    check = next(c for n in range(1, 300) if set("OIB") & set(c := typed_check("HQ1-000042", n, 1)))
    number = next(n for n in range(1, 300) if typed_check("HQ1-000042", n, 1) == check)
    assert edition_of_check("HQ1-000042", number, check.translate(str.maketrans("OIB", "018"))) == 1
