"""Attacks on encrypted files are refused: bits flipped, cuts, chunks rearranged, headers exchanged, endless headers."""

from __future__ import annotations

import base64
import contextlib
import hmac
import io
import subprocess
from collections.abc import Iterator

import pytest
from age_files import ENCRYPTED_CHUNK, HEADER, LONG, LONG_ENCRYPTED, OURS, SEED, decrypt, encrypt
from hypothesis import given, settings
from hypothesis import strategies as st
from stock import stock_tool

from formats.age import CHUNK, Identity, open_encrypted
from formats.age.header import MAX_HEADER, KeySource, derive
from formats.errors import (
    DigestMismatchError,
    FormatError,
    MalformedError,
    NotForUsError,
    TooLargeError,
    UnknownFormatError,
)


def attacked(encrypted: bytes, *, error: type[FormatError] | tuple[type[FormatError], ...] = FormatError) -> str:
    """Asserts that the file is refused when it is opened or read whole, and that nothing wrong comes out before."""
    with pytest.raises(error) as caught, open_encrypted(io.BytesIO(encrypted), [OURS]) as reader:
        while data := reader.read(CHUNK):
            assert data in LONG
    return str(caught.value)


def chunks_of(encrypted: bytes, header: int = HEADER) -> tuple[bytes, list[bytes]]:
    start = header + 16
    return encrypted[:start], [
        encrypted[at : at + ENCRYPTED_CHUNK] for at in range(start, len(encrypted), ENCRYPTED_CHUNK)
    ]


def test_every_bit_flipped_is_refused() -> None:
    encrypted = encrypt(b"forty-two bytes that nobody may have altered")
    for at in range(len(encrypted)):
        for bit in range(8):
            altered = bytearray(encrypted)
            altered[at] ^= 1 << bit
            with pytest.raises(FormatError):
                decrypt(bytes(altered))


def test_every_cut_is_refused() -> None:
    encrypted = encrypt(b"forty-two bytes that nobody may have cut off")
    for end in range(len(encrypted)):
        with pytest.raises(FormatError):
            decrypt(encrypted[:end])


def test_a_cut_at_a_chunk_border_is_refused_before_anything_is_read() -> None:
    start, chunks = chunks_of(LONG_ENCRYPTED)
    for count in range(1, len(chunks)):
        with pytest.raises(MalformedError, match=rf"chunk {count - 1}: .*cut off"):
            open_encrypted(io.BytesIO(start + b"".join(chunks[:count])), [OURS])
    with pytest.raises(MalformedError, match="ends within a chunk"):
        open_encrypted(io.BytesIO(start), [OURS])


@pytest.mark.parametrize("more", [b"\0", b"\0" * 15, b"\0" * 16, b"\0" * 17, bytes(CHUNK), LONG_ENCRYPTED])
def test_a_file_with_something_behind_it_is_refused(more: bytes) -> None:
    for size in (0, 10, CHUNK, 3 * CHUNK):
        attacked(encrypt(LONG[:size]) + more, error=(MalformedError, DigestMismatchError))


def rearrangements(chunks: list[bytes]) -> Iterator[list[bytes]]:
    yield [chunks[1], chunks[0], *chunks[2:]]
    yield [*chunks[:5], chunks[6], chunks[5], *chunks[7:]]
    yield [*chunks[:5], *chunks[6:]]
    yield chunks[1:]
    yield [*chunks[:5], chunks[5], *chunks[5:]]
    yield [*chunks[:-1], chunks[-2], chunks[-1]]
    yield [*chunks, chunks[-1]]
    yield [*chunks[:20], chunks[-1]]


def test_chunks_in_another_order_dropped_or_doubled_are_refused() -> None:
    start, chunks = chunks_of(LONG_ENCRYPTED)
    for other in rearrangements(chunks):
        attacked(start + b"".join(other), error=(MalformedError, DigestMismatchError))


def test_chunks_and_headers_of_another_file_are_refused() -> None:
    start, chunks = chunks_of(LONG_ENCRYPTED)
    other_start, other_chunks = chunks_of(encrypt(LONG))
    attacked(start + b"".join([*chunks[:3], other_chunks[3], *chunks[4:]]), error=DigestMismatchError)
    attacked(start + b"".join([*chunks[:-1], other_chunks[-1]]), error=DigestMismatchError)
    attacked(other_start + b"".join(chunks), error=DigestMismatchError)
    attacked(start[:HEADER] + other_start[HEADER:] + b"".join(chunks), error=DigestMismatchError)


def test_a_recipient_taken_out_or_put_in_is_found() -> None:
    other = Identity.generate()
    encrypted = encrypt(b"content", other.recipient, OURS.recipient)
    assert b"\n-> X25519 " in encrypted[:100]
    without = encrypted[:22] + encrypted[22 + 98 :]
    attacked(without, error=DigestMismatchError)
    grease = encrypted[:22] + b"-> grease\n\n" + encrypted[22:]
    attacked(grease, error=DigestMismatchError)


def test_a_damaged_chunk_spoils_what_is_in_it_and_nothing_else() -> None:
    damaged = bytearray(LONG_ENCRYPTED)
    damaged[HEADER + 16 + 30 * ENCRYPTED_CHUNK + 1000] ^= 1
    with open_encrypted(io.BytesIO(damaged), [OURS]) as reader:
        for _ in range(2):
            reader.seek(30 * CHUNK + 5)
            with pytest.raises(DigestMismatchError, match="chunk 30"):
                reader.read(1)
        reader.seek(29 * CHUNK)
        assert reader.read(CHUNK) == LONG[29 * CHUNK : 30 * CHUNK]
        reader.seek(31 * CHUNK)
        assert reader.read(CHUNK) == LONG[31 * CHUNK : 32 * CHUNK]
    with open_encrypted(io.BytesIO(damaged), [OURS]) as reader, pytest.raises(DigestMismatchError, match="chunk 30"):
        reader.read()


def test_another_key_opens_nothing() -> None:
    encrypted = encrypt(b"content")
    for identities in ([], [Identity.generate()], [Identity.generate() for _ in range(3)]):
        with pytest.raises(NotForUsError):
            open_encrypted(io.BytesIO(encrypted), identities)
    assert decrypt(encrypted, Identity.generate(), OURS) == b"content"


def test_other_versions_and_armour_are_unknown_and_garbage_is_malformed() -> None:
    encrypted = encrypt(b"content")
    armour = [stock_tool("age"), "-a", "-r", OURS.recipient]
    armoured = subprocess.run(armour, check=True, capture_output=True, input=b"content").stdout
    attacked(encrypted.replace(b"/v1\n", b"/v2\n", 1), error=UnknownFormatError)
    attacked(armoured, error=UnknownFormatError)
    attacked(b"7z\xbc\xaf\x27\x1c" + bytes(100), error=MalformedError)
    attacked(b"", error=MalformedError)
    attacked(b"age-encryption.org/v1\n--- " + b"A" * 43 + b"\n" + bytes(32), error=MalformedError)


def test_a_passphrase_beside_our_key_is_refused() -> None:
    """Anybody who knows the passphrase could have made the file, so no other recipient may be in it (c2sp.org/age)."""
    keys = KeySource(SEED, b"both")
    encrypted = encrypt(b"content", seed=SEED, context=b"both")

    def with_stanza(stanza: bytes) -> bytes:
        start = encrypted[: HEADER - 48] + stanza + b"---"
        mac = hmac.digest(derive(keys.file_key(), salt=b"", info=b"header"), start, "sha256")
        return start + b" " + base64.b64encode(mac).rstrip(b"=") + b"\n" + encrypted[HEADER:]

    assert decrypt(with_stanza(b"")) == b"content"
    assert decrypt(with_stanza(b"-> other 18\n" + b"A" * 43 + b"\n")) == b"content"
    attacked(with_stanza(b"-> scrypt ajMFur+EJLGaohv/dLRGnw 18\n" + b"A" * 43 + b"\n"), error=MalformedError)


def test_a_header_without_end_is_refused_in_bounded_memory() -> None:
    begin = b"age-encryption.org/v1\n"
    attacked(begin + b"-> x\n\n" * MAX_HEADER, error=(TooLargeError, MalformedError))
    attacked(begin + b"-> " + b"x" * 2 * MAX_HEADER, error=TooLargeError)
    attacked(begin + b"-> x\n" + (b"A" * 64 + b"\n") * MAX_HEADER, error=(TooLargeError, MalformedError))


@settings(max_examples=300)
@given(st.data())
def test_no_bytes_raise_anything_but_our_errors(data: st.DataObject) -> None:
    encrypted = encrypt(b"content", seed=SEED, context=b"fuzz")
    lines = [b"age-encryption.org/v1", b"-> X25519", b"-> X25519 " + b"A" * 43, b"A" * 43, b"-> a b", b"", b"---"]
    lines += [b"--- " + b"A" * 43, b"A" * 64, encrypted[22:76], encrypted[76:119], b"\xff"]
    fuzz = data.draw(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(lines), max_size=12).map(b"\n".join)))
    at, upto = data.draw(st.integers(0, len(encrypted))), data.draw(st.integers(0, len(encrypted)))
    for attempt in (fuzz, b"age-encryption.org/v1\n" + fuzz, encrypted[:at] + fuzz + encrypted[upto:]):
        with contextlib.suppress(FormatError):
            assert decrypt(attempt) == b"content"
