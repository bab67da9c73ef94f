"""Encryption: stock age and pyrage decrypt our files and we theirs; a file is complete only when it is closed."""

from __future__ import annotations

import contextlib
import gc
import hmac
import io
import pickle
import random
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from age_files import ENCRYPTED_CHUNK, HEADER, OURS, SEED, content, decrypt, encrypt
from hypothesis import given, settings
from hypothesis import strategies as st
from stock import stock_tool

from formats.age import CHUNK, EncryptingWriter, Identity, encrypted_size, open_encrypted, parse_recipient
from formats.age.header import parse_header
from formats.archive import ArchiveReader, Member, archive_size, write_archive
from formats.errors import FormatError, MalformedError, TooLargeError

BORDERS = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 1, 16 * CHUNK, 17 * CHUNK, 17 * CHUNK + 1]
BORDERS += [33 * CHUNK, 50 * CHUNK + 7]


class Forward(io.RawIOBase):
    """A file that can only be written forward."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        view = memoryview(cast(bytes, data))
        self.taken += view
        return len(view)


class FullError(io.BytesIO):
    """A disk with room for ``room`` bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: object, /) -> int:
        if self.tell() + len(cast(bytes, data)) > self.room:
            raise OSError(28, "No space left on device")
        return super().write(cast(bytes, data))


# Stock tools


@pytest.mark.parametrize("size", BORDERS)
def test_stock_age_opens_what_we_encrypt(size: int, tmp_path: Path) -> None:
    encrypted, key = tmp_path / "encrypted.age", tmp_path / "key"
    key.write_text(OURS.to_text() + "\n")
    with encrypted.open("wb") as out:
        out.write(encrypt(content(size)))
    done = subprocess.run([stock_tool("age"), "-d", "-i", str(key), str(encrypted)], check=True, capture_output=True)
    assert done.stdout == content(size)


@pytest.mark.parametrize("size", BORDERS)
def test_we_open_what_stock_age_encrypts(size: int) -> None:
    other = Identity.generate().recipient
    command = [stock_tool("age"), "-r", other, "-r", OURS.recipient]
    done = subprocess.run(command, check=True, capture_output=True, input=content(size))
    assert decrypt(done.stdout) == content(size)


@pytest.mark.parametrize("size", BORDERS)
def test_pyrage_opens_what_we_encrypt_and_we_what_it_encrypts(size: int) -> None:
    pyrage = pytest.importorskip("pyrage")
    theirs = pyrage.x25519.Identity.from_str(OURS.to_text())
    assert str(theirs.to_public()) == OURS.recipient
    assert pyrage.decrypt(encrypt(content(size)), [theirs]) == content(size)
    assert decrypt(pyrage.encrypt(content(size), [theirs.to_public()])) == content(size)


def test_identities_are_those_of_stock_age_keygen() -> None:
    done = subprocess.run([stock_tool("age-keygen")], check=True, capture_output=True, text=True)
    _, public, secret = done.stdout.splitlines()
    identity = Identity.from_text(secret)
    assert identity.recipient == public.removeprefix("# public key: ")
    assert identity.to_text() == secret
    command = [stock_tool("age-keygen"), "-y"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, input=OURS.to_text())
    assert done.stdout.strip() == OURS.recipient


def test_several_recipients_get_one_ciphertext_which_each_opens(tmp_path: Path) -> None:
    sites = [Identity.generate() for _ in range(5)]
    encrypted = encrypt(content(100_000), *(site.recipient for site in sites))
    assert len(encrypted) == encrypted_size(100_000, 5)
    assert [decrypt(encrypted, site) for site in sites] == [content(100_000)] * 5
    key = tmp_path / "key"
    for site in sites:
        key.write_text(site.to_text())
        command = [stock_tool("age"), "-d", "-i", str(key)]
        done = subprocess.run(command, check=True, capture_output=True, input=encrypted)
        assert done.stdout == content(100_000)


# Keys


def test_an_identity_never_shows_itself() -> None:
    secret = OURS.to_text()
    shown = f"{OURS} {OURS!r} {[OURS]} {OURS:}"
    assert OURS.recipient in shown
    assert secret not in shown.upper()
    with pytest.raises(TypeError):
        pickle.dumps(OURS)


@pytest.mark.parametrize("how", ["one character", "lower case", "a recipient", "post-quantum", "nothing", "short"])
def test_what_is_no_identity_is_refused_and_not_quoted(how: str) -> None:
    secret = OURS.to_text()
    text = {
        "one character": secret[:-1] + ("Q" if secret[-1] != "Q" else "P"),
        "lower case": secret.lower(),
        "a recipient": OURS.recipient,
        "post-quantum": "AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR",
        "nothing": "",
        "short": secret[:-8],
    }[how]
    with pytest.raises(MalformedError) as caught:
        Identity.from_text(text)
    assert not text or (text not in str(caught.value) and text[20:40] not in str(caught.value))


@pytest.mark.parametrize(
    "text",
    [
        OURS.recipient.upper(),
        OURS.recipient[:-1],
        OURS.to_text(),
        "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdwlgqv",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
        "",
    ],
    # Names of their own: the keys are made anew in every process, and all must collect the same tests.
    ids=["upper case", "short", "an identity", "low order", "ssh", "nothing"],
)
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_recipient(text)
    with pytest.raises(MalformedError):
        encrypt(b"", text)


def test_recipients_that_anybody_could_stand_for_are_refused() -> None:
    """The points of low order of RFC 7748: the shared secret would be zeros."""
    from formats.age.bech32 import encode

    for point in (0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18):
        with pytest.raises(MalformedError, match="low order"):
            parse_recipient(encode("age", point.to_bytes(32, "little")))
    assert parse_recipient(OURS.recipient)


def test_a_recipient_twice_none_and_too_many_are_refused() -> None:
    for recipients in ([], [OURS.recipient, OURS.recipient]):
        with pytest.raises(MalformedError):
            EncryptingWriter(io.BytesIO(), recipients)
    with pytest.raises(TooLargeError):
        EncryptingWriter(io.BytesIO(), [f"age1{n}" for n in range(3000)])


# Reproducible files


def test_a_seed_gives_the_same_bytes_however_they_are_written() -> None:
    for size in (0, 1, CHUNK, CHUNK + 1, 40 * CHUNK + 5):
        plain = content(size)
        expected = encrypt(plain, seed=SEED, context=b"a")
        assert encrypt(plain, seed=SEED, context=b"a") == expected
        forward = Forward()
        with EncryptingWriter(cast(BinaryIO, forward), [OURS.recipient], seed=SEED, context=b"a") as writer:
            for at in range(0, size, 50_001):
                writer.write(bytearray(plain[at : at + 50_001]))
        assert forward.taken == expected


def test_what_differs_in_seed_or_context_has_nothing_in_common() -> None:
    plain = bytes(3 * CHUNK)
    other = Identity.generate().recipient
    files = [
        encrypt(plain, seed=SEED, context=b"parcel 1 archive 1"),
        encrypt(plain, seed=SEED, context=b"parcel 1 archive 2"),
        encrypt(plain, seed=bytes(32), context=b"parcel 1 archive 1"),
        encrypt(plain),
        encrypt(plain),
    ]
    for part in (slice(32, 75), slice(76, 120), slice(HEADER, HEADER + 16), slice(HEADER + 16, HEADER + 48)):
        assert len({encrypted[part] for encrypted in files}) == len(files)
    # The payload may be the same for other recipients, the ephemeral keys may not.
    again = encrypt(plain, other, seed=SEED, context=b"parcel 1 archive 1")
    assert again[HEADER:] == files[0][HEADER:]
    assert again[32:75] != files[0][32:75]


def test_keys_are_derived_as_documented() -> None:
    """HKDF by hand (RFC 5869), so that another release rebuilds the same bytes."""

    def by_hand(name: bytes, size: int) -> bytes:
        extracted = hmac.digest(b"courier-encryption/1", SEED, "sha256")
        info = name + b"\0" + sha256(b"context").digest()
        return hmac.digest(extracted, info + b"\1", "sha256")[:size]

    identity = Identity(SEED)
    encrypted = encrypt(b"content", identity.recipient, seed=SEED, context=b"context")
    assert encrypted[HEADER : HEADER + 16] == by_hand(b"payload nonce", 16)
    key = hmac.digest(bytes(32), by_hand(b"file key", 16), "sha256")
    key = hmac.digest(key, b"header\1", "sha256")
    mac = hmac.digest(key, encrypted[: HEADER - 45], "sha256")
    assert parse_header(encrypted).mac == mac
    assert sha256(encrypted).hexdigest() == "148cd0c970e083cda42db08a38021fac24ba9fd5be2359b118069c16db7accbb"


def test_a_seed_comes_with_a_context_and_has_32_bytes() -> None:
    for seed, context in ((SEED, b""), (None, b"context"), (SEED[:16], b"context")):
        with pytest.raises(ValueError, match=r"seed|context"):
            encrypt(b"", seed=seed, context=context)


# Writing


@given(st.integers(0, 300 * CHUNK), st.integers(1, 9))
def test_the_size_of_an_encrypted_file_is_known_beforehand(plain: int, recipients: int) -> None:
    whole, rest = divmod(plain, CHUNK)
    chunks = whole + (rest > 0) if plain else 1
    assert encrypted_size(plain, recipients) == 70 + 98 * recipients + 16 + plain + 16 * chunks


@pytest.mark.parametrize("size", BORDERS)
def test_the_size_is_the_size(size: int) -> None:
    assert len(encrypt(content(size))) == encrypted_size(size, 1)


def test_an_encrypted_archive_is_read_member_by_member() -> None:
    members = [Member(name=f"m{n}", size=size, mtime_ns=0) for n, size in enumerate((5, 3 * CHUNK, 2_500_000))]
    plain = io.BytesIO()
    size = write_archive(plain, [(m, lambda m=m: io.BytesIO(content(m.size))) for m in members])  # type: ignore[misc]
    assert size == archive_size(members)
    with open_encrypted(io.BytesIO(encrypt(plain.getvalue())), [OURS]) as reader:
        archive = ArchiveReader(reader)
        assert archive.members() == members
        for member in reversed(members):
            assert archive.open(member.name).read() == content(member.size)


@settings(max_examples=60)
@given(st.lists(st.sampled_from([0, 1, 32, CHUNK - 1, CHUNK, CHUNK + 1, 17 * CHUNK + 3]), max_size=8))
def test_what_was_written_is_the_writers_own(sizes: Sequence[int]) -> None:
    whole, out = b"", io.BytesIO()
    with EncryptingWriter(out, [OURS.recipient]) as writer:
        for number, size in enumerate(sizes):
            scratch = bytearray(random.Random(number).randbytes(size))
            whole += scratch
            assert writer.write(scratch) == size
            scratch[:] = bytes(size)
            assert writer.tell() == len(whole)
    assert decrypt(out.getvalue()) == whole


def test_a_writer_goes_forward_only() -> None:
    with EncryptingWriter(io.BytesIO(), [OURS.recipient]) as writer:
        writer.write(bytes(10))
        assert not writer.seekable()
        with pytest.raises(io.UnsupportedOperation):
            writer.seek(0)
        assert not writer.readable()


@pytest.mark.parametrize("size", [0, 10, CHUNK, 3 * CHUNK, 40 * CHUNK])
@pytest.mark.parametrize("how", ["an error in its block", "abort", "forgotten"])
def test_only_a_closed_encrypted_file_is_whole(size: int, how: str) -> None:
    for out in (io.BytesIO(), Forward()):
        writer = EncryptingWriter(cast(BinaryIO, out), [OURS.recipient])
        if how == "an error in its block":
            with contextlib.suppress(KeyError), writer:
                writer.write(content(size))
                raise KeyError
        else:
            writer.write(content(size))
        if how == "abort":
            writer.abort()
            writer.close()
        del writer
        gc.collect()
        left = out.getvalue() if isinstance(out, io.BytesIO) else bytes(out.taken)
        with pytest.raises(FormatError):
            decrypt(left)


@pytest.mark.parametrize("room", [0, 100, 10_000, 20 * ENCRYPTED_CHUNK, 39 * ENCRYPTED_CHUNK])
def test_a_full_disk_is_told_and_leaves_no_whole_file(room: int) -> None:
    out = FullError(room)
    with (
        pytest.raises(OSError, match="No space"),
        EncryptingWriter(out, [OURS.recipient]) as writer,
    ):
        for _ in range(40):
            writer.write(bytes(CHUNK))
    with pytest.raises(FormatError):
        decrypt(out.getvalue())


def test_an_encrypted_file_that_could_not_be_written_once_never_becomes_whole() -> None:
    out = FullError(10 * ENCRYPTED_CHUNK)
    writer = EncryptingWriter(out, [OURS.recipient])
    with pytest.raises(OSError, match="No space"):
        for _ in range(100):
            writer.write(bytes(CHUNK))
    out.room = 1000 * ENCRYPTED_CHUNK
    with pytest.raises(ValueError, match="closed"):
        writer.write(bytes(CHUNK))
    end = len(out.getvalue())
    writer.close()
    assert len(out.getvalue()) == end
    with pytest.raises(FormatError):
        decrypt(out.getvalue())


def test_closing_ends_an_encrypted_file_once_and_leaves_the_file_open() -> None:
    out = io.BytesIO()
    writer = EncryptingWriter(out, [OURS.recipient])
    writer.write(b"content")
    writer.close()
    writer.close()
    assert not out.closed
    assert decrypt(out.getvalue()) == b"content"
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")
