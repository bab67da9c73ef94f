"""MAC addresses and GUIDs: every usual form gives the same, and what identifies nobody is refused."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.deployment.identifiers import is_scientific, parse_guid, parse_mac, parse_name, parse_variable, swapped
from courier.errors import UsageError

MACS = st.binary(min_size=6, max_size=6).filter(lambda six: not six[0] & 1 and any(six[1:]))
GUIDS = st.uuids()


@given(MACS, st.booleans())
def test_a_mac_is_read_from_every_usual_form(six: bytes, upper: bool) -> None:
    pairs = [f"{byte:02x}" for byte in six]
    whole = "".join(pairs)
    forms = [
        whole,
        *(sign.join(pairs) for sign in (":", "-", ".", " ", "_")),
        *(sign.join((whole[:4], whole[4:8], whole[8:])) for sign in (".", ":", "-")),
        *(f"{whole[:6]}{sign}{whole[6:]}" for sign in ("-", ":")),
        ":".join(f"{byte:x}" for byte in six),
        f"  {whole}\t",
    ]
    expected = ":".join(pairs).upper()
    for form in forms:
        try:
            assert parse_mac(form.upper() if upper else form) == expected
        except UsageError as error:
            assert "identifies no computer" in error.message


@given(GUIDS, st.booleans())
def test_a_guid_is_read_from_every_usual_form(value: uuid.UUID, upper: bool) -> None:
    text = str(value)
    forms = [text, value.hex, f"{{{text}}}", f"urn:uuid:{text}", f" {text} ", value.bytes.hex(" ")]
    for form in forms:
        try:
            assert parse_guid(form.upper() if upper else form) == text.upper()
        except UsageError as error:
            assert "identifies no computer" in error.message


@given(GUIDS)
def test_the_twin_is_the_same_sixteen_bytes_in_the_order_of_smbios(value: uuid.UUID) -> None:
    twin = swapped(str(value).upper())
    assert twin == str(uuid.UUID(bytes=value.bytes_le)).upper()
    assert swapped(twin) == str(value).upper()


def test_the_example_of_smbios_2_6() -> None:
    """00112233-4455-6677-8899-AABBCCDDEEFF is stored as 33 22 11 00 55 44 77 66 88 99 AA BB CC DD EE FF."""
    assert swapped("00112233-4455-6677-8899-AABBCCDDEEFF") == "33221100-5544-7766-8899-AABBCCDDEEFF"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00:11:22:33:44",
        "00:11:22:33:44:5G",
        "00:11:22-33:44:55",
        "0011223344556",
        "1.12233E+11",
        "FF:FF:FF:FF:FF:FF",
        "00:00:00:00:00:00",
        "01:00:5e:00:00:01",
        "44-45-53-54-00-00",
    ],
)
def test_what_is_no_mac_of_one_card_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_mac(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4C4C4544-0044-3510-8052-B4C04F4A373",
        "4C4C4544-0044-3510-8052-B4C04F4A373G",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "12345678-1234-5678-90AB-CDDEEFAABBCC",
    ],
)
def test_what_is_no_guid_of_one_computer_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_guid(text)


def test_placeholders_are_refused_in_both_orders_of_their_bytes() -> None:
    from courier.deployment.identifiers import _NO_GUIDS

    assert {swapped(guid) for guid in _NO_GUIDS} == set(_NO_GUIDS)


@pytest.mark.parametrize("name", ["PC-1", "a", "x" * 63, "9lives"])
def test_names_of_computers(name: str) -> None:
    assert parse_name(f" {name} ") == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a.b", "a_b", "x" * 64, "ä"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        parse_name(name)


def test_variables_have_two_characters_or_more() -> None:
    assert parse_variable("OS") == "OS"
    for wrong in ("O", "1a", "a b", ""):
        with pytest.raises(UsageError):
            parse_variable(wrong)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("2.19E+26", True),
        ("2,19E+26", True),
        ("1E+11", True),
        ("219E01BE", False),
        ("001122334E55", False),
        ("E+1", False),
    ],
)
def test_numbers_of_a_spreadsheet_are_told_from_digits(text: str, is_one: bool) -> None:
    assert is_scientific(text) is is_one
