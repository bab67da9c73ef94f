"""Bech32 as BIP 173 has it: its own examples, and every wrong character found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.age.bech32 import decode, encode
from formats.errors import FormatError, MalformedError

EMPTY_OF_BIP173 = ["A12UEL5L", "a12uel5l"]
DATA_OF_BIP173 = {
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw": ("abcdef", "00443214c74254b635cf84653a56d7c675be77df"),
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w": (
        "split",
        "c5f38b70305f519bf66d85fb6cf03058f3dde463ecd7918f2dc743918f2d",
    ),
}
WRONG_OF_BIP173 = [
    "\x201nwldj5",
    "\x7f1axkwrx",
    "\x801eym55h",
    "an84characterslonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1569pvx",
    "pzry9x0s0muk",
    "1pzry9x0s0muk",
    "x1b4n0q5v",
    "li1dgmt3",
    "de1lg7wt\xff",
    "A1G7SGD8",
    "10a06t8",
    "1qzzfhee",
]


@pytest.mark.parametrize("text", EMPTY_OF_BIP173)
def test_a_valid_string_without_data_is_read(text: str) -> None:
    assert decode(text) == (text[0], b"")


@pytest.mark.parametrize(("text", "expected"), DATA_OF_BIP173.items())
def test_a_valid_string_is_read_and_written_just_so(text: str, expected: tuple[str, str]) -> None:
    prefix, data = expected
    assert decode(text) == (prefix, bytes.fromhex(data))
    assert encode(prefix, bytes.fromhex(data)) == text


@pytest.mark.parametrize("text", WRONG_OF_BIP173)
def test_an_invalid_string_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        decode(text)


@pytest.mark.parametrize(
    "text",
    [
        "age1qdd35qf",
        "age1qpu0j2ex",
        f"age1{'q' * 51}pfwgqrs",
    ],
)
def test_groups_of_five_bits_that_are_no_whole_bytes_are_refused(text: str) -> None:
    """The checksum fits; what is left beside whole bytes is five bits, or two, or four that are not zero."""
    with pytest.raises(MalformedError, match="padding"):
        decode(text)


def test_mixed_case_is_refused() -> None:
    text = encode("age", bytes(32))
    for mixed in (text[:-1] + text[-1].upper(), "AGE" + text[3:]):
        with pytest.raises(MalformedError, match="case"):
            decode(mixed)


@given(st.binary(max_size=40), st.sampled_from(["a", "age", "age-secret-key-"]), st.booleans())
def test_what_is_written_is_read(data: bytes, prefix: str, upper: bool) -> None:
    text = encode(prefix, data)
    assert decode(text.upper() if upper else text) == (prefix.upper() if upper else prefix, data)


@given(st.binary(min_size=32, max_size=32), st.data())
def test_up_to_four_wrong_characters_are_found(data: bytes, draw: st.DataObject) -> None:
    text = encode("age", data)
    places = draw.draw(st.sets(st.integers(4, len(text) - 1), min_size=1, max_size=4))
    wrong = list(text)
    for place in places:
        others = "qpzry9x8gf2tvdw0s3jn54khce6mua7l".replace(text[place], "")
        wrong[place] = draw.draw(st.sampled_from(others))
    with pytest.raises(MalformedError):
        decode("".join(wrong))


@given(st.text(max_size=100))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        decode(text)
    except FormatError as error:
        assert isinstance(error, MalformedError)
