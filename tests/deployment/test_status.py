"""Status messages: what is made is read; what was altered, or made without the key, is not believed."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.deployment.status import MAX_FILE, StatusMessage, file_name, make_status, parse_status, verify_status
from formats.errors import BadSignatureError, FormatError, TooLargeError, UnknownFormatError

KEY = b"k" * 32
MESSAGE = StatusMessage(
    deployment="HQ1-D00001",
    computer="PC-1",
    run="0" * 32,
    number=7,
    step=2,
    outcome="failed",
    message="the disk is too small\nby 5 bytes",
    at_ns=1_800_000_000_123_456_789,
)


def test_a_message_is_read_as_it_was_made() -> None:
    data = make_status(MESSAGE, KEY)
    assert verify_status(parse_status(data), KEY) == MESSAGE
    assert data.count(b"\n") == 2
    assert file_name(MESSAGE) == f"HQ1-D00001.PC-1.{'0' * 32}.000007.status"


def test_the_hmac_is_that_of_rfc_2104_over_the_context_and_the_line() -> None:
    line, mac, _ = make_status(MESSAGE, KEY).split(b"\n")
    assert line.startswith(b'{"at":"2027-01-15T08:00:00.123456789Z","computer":"PC-1","deployment":"HQ1-D00001",')
    inner, outer = (bytes(byte ^ pad for byte in KEY.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    digest = hashlib.sha256(inner + b"courier status 1\n" + line).digest()
    assert mac == b"hmac-sha256 " + hashlib.sha256(outer + digest).hexdigest().encode()


@given(st.data())
def test_no_altered_byte_is_believed(data: st.DataObject) -> None:
    good = make_status(MESSAGE, KEY)
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[place]))
    altered = good[:place] + bytes([other]) + good[place + 1 :]
    with pytest.raises(FormatError):
        verify_status(parse_status(altered), KEY)


def test_another_key_or_none_is_not_believed() -> None:
    for made_with, key in ((b"x" * 32, KEY), (b"", b""), (KEY, b"")):
        with pytest.raises(BadSignatureError):
            verify_status(parse_status(make_status(MESSAGE, made_with)), key)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", FormatError),
        (b"x" * (MAX_FILE + 1), TooLargeError),
        (b"{}\nhmac-sha256 " + b"0" * 64 + b"\n", FormatError),
        (make_status(MESSAGE, KEY) + b"\n", FormatError),
        (make_status(MESSAGE, KEY)[:-1], FormatError),
        (make_status(MESSAGE, KEY).replace(b"status/1", b"status/2"), UnknownFormatError),
        (make_status(MESSAGE, KEY).replace(b'{"at"', b'{ "at"'), FormatError),
        (make_status(MESSAGE, KEY).replace(b'"failed"', b'"broken"'), FormatError),
        (make_status(dataclasses.replace(MESSAGE, computer="../../x"), KEY), FormatError),
    ],
)
def test_what_is_no_message_is_named(data: bytes, kind: type[FormatError]) -> None:
    with pytest.raises(kind):
        parse_status(data)
