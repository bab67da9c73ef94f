"""Each published vector of the age format ends as it says (tests/vectors/age/README.md)."""

from __future__ import annotations

import contextlib
import io
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from formats.age import CHUNK, Identity, open_encrypted
from formats.errors import DigestMismatchError, FormatError, MalformedError, NotForUsError, UnknownFormatError

FOLDER = Path(__file__).parents[2] / "vectors" / "age"
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.name not in ("README.md", ".gitattributes"))

ERRORS: dict[str, tuple[type[FormatError], ...]] = {
    "no match": (NotForUsError,),
    "HMAC failure": (DigestMismatchError,),
    "header failure": (MalformedError, UnknownFormatError),
    "payload failure": (MalformedError, DigestMismatchError),
}
REFUSED = (MalformedError, UnknownFormatError, NotForUsError)
"""What is raised for a file that needs a passphrase or a post-quantum key, and for an armoured one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vector:
    expect: str
    payload: str
    file_key: bytes
    identities: tuple[str, ...]
    others: bool
    encrypted: bytes


def load(name: str) -> Vector:
    head, _, encrypted = (FOLDER / name).read_bytes().partition(b"\n\n")
    pairs = [line.split(": ", 1) for line in head.decode().split("\n")]
    fields = dict(pairs)
    if fields.get("compressed") == "zlib":
        encrypted = zlib.decompress(encrypted)
    identities = [value for key, value in pairs if key == "identity"]
    ours = tuple(text for text in identities if not text.startswith("AGE-SECRET-KEY-PQ-"))
    others = len(ours) < len(identities) or "passphrase" in fields or "armored" in fields
    return Vector(
        expect=fields["expect"],
        payload=fields.get("payload", ""),
        file_key=bytes.fromhex(fields.get("file key", "")),
        identities=ours,
        others=others,
        encrypted=encrypted,
    )


def streamed(vector: Vector) -> bytes:
    """What a reader gives that decrypts chunk after chunk until one is wrong, or the file ends."""
    if not vector.payload:
        return b""
    start = re.search(rb"^--- .*\n", vector.encrypted, re.M)
    assert start is not None
    nonce, payload = vector.encrypted[start.end() :][:16], vector.encrypted[start.end() + 16 :]
    key = HKDF(algorithm=SHA256(), length=32, salt=nonce, info=b"payload").derive(vector.file_key)
    plain = b""
    with contextlib.suppress(InvalidTag):
        for number in range(len(payload) // (CHUNK + 16) + 1):
            chunk = payload[number * (CHUNK + 16) :][: CHUNK + 16]
            try:
                last = len(chunk) < CHUNK + 16
                plain += ChaCha20Poly1305(key).decrypt(number.to_bytes(11, "big") + bytes([last]), chunk, None)
            except InvalidTag:
                plain += ChaCha20Poly1305(key).decrypt(number.to_bytes(11, "big") + b"\1", chunk, None)
                break
    assert sha256(plain).hexdigest() == vector.payload
    return plain


def read_in_pieces(encrypted: bytes, identities: list[Identity], piece: int) -> tuple[bytes, FormatError | None]:
    """What comes out before the error, and the error."""
    plain = b""
    try:
        with open_encrypted(io.BytesIO(encrypted), identities) as reader:
            while data := reader.read(piece):
                plain += data
    except FormatError as error:
        return plain, error
    return plain, None


def test_the_kit_is_whole() -> None:
    kinds = Counter(load(name).expect for name in NAMES if not load(name).others)
    assert kinds == {"success": 14, "no match": 3, "HMAC failure": 1, "header failure": 31, "payload failure": 18}
    assert len(NAMES) == 143


@pytest.mark.parametrize("name", [name for name in NAMES if not load(name).others])
def test_a_vector_ends_as_it_says(name: str) -> None:
    vector = load(name)
    identities = [Identity.from_text(text) for text in vector.identities]
    for piece in (10_000, 3 * CHUNK):
        plain, error = read_in_pieces(vector.encrypted, identities, piece)
        if vector.expect == "success":
            assert error is None
            assert sha256(plain).hexdigest() == vector.payload
        else:
            assert isinstance(error, ERRORS[vector.expect]), error
            # We look at the last chunk first and at more than one at once, so less may come out, but nothing else.
            assert streamed(vector).startswith(plain)


@pytest.mark.parametrize("name", [name for name in NAMES if load(name).others])
def test_what_we_do_not_do_is_refused(name: str) -> None:
    vector = load(name)
    identities = [Identity.from_text(text) for text in vector.identities]
    plain, error = read_in_pieces(vector.encrypted, [*identities, Identity.generate()], CHUNK)
    assert plain == b""
    assert isinstance(error, REFUSED), error
