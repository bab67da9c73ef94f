"""A sealed file made in pieces is, byte for byte, the one that is written in one go."""

from __future__ import annotations

import io
import random

import pytest

from formats.seal import CHUNK, Identity, SealedPieces, SealingWriter

SEED = bytes(range(32))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5])
def test_any_piece_is_that_of_the_written_file(size: int) -> None:
    dice = random.Random(size)
    plain, identity, written = dice.randbytes(size), Identity.generate(), io.BytesIO()
    with SealingWriter(written, [identity.recipient], seed=SEED, context=b"x") as out:
        out.write(plain)
    whole = written.getvalue()
    pieces = SealedPieces(lambda at, length: plain[at : at + length], size, identity.recipient, seed=SEED, context=b"x")
    assert pieces.size == len(whole)
    assert pieces.read(0, len(whole)) == whole
    for _ in range(50):
        at, length = dice.randrange(len(whole) + 10), dice.randrange(200_000)
        assert pieces.read(at, length) == whole[at : at + length]


def test_content_that_is_gone_gives_nothing() -> None:
    pieces = SealedPieces(lambda at, length: b"", 10, Identity.generate().recipient, seed=SEED, context=b"x")
    assert pieces.read(0, 1 << 20) == b""
