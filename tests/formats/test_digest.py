"""The digest that a thread computes beside the caller is that of all bytes given, whatever the pieces."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.digest import SideHash, sha256_hex

PIECES = [1, 1000, 70_000, 300_000, 3 << 20]


@given(st.integers(0, 1 << 32))
@settings(max_examples=15)
def test_pieces_of_any_size_have_the_digest_of_the_whole_at_any_moment(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(rng.choice([0, 1, 1 << 20, 7 << 20]))
    with SideHash() as digest:
        at = 0
        while at < len(data):
            piece = memoryview(data)[at : at + rng.choice(PIECES)]
            digest.update(piece)
            at += len(piece)
            if rng.random() < 0.1:
                assert digest.hexdigest() == sha256_hex(data[:at])
        assert digest.hexdigest() == sha256_hex(data)
        assert digest.count == len(data)


@pytest.mark.parametrize(("size", "threads"), [(0, 0), (1 << 20, 0), (4 << 20, 1)])
def test_only_content_that_is_worth_it_has_a_thread_which_ends_with_the_block(size: int, threads: int) -> None:
    before = threading.active_count()
    with SideHash() as digest:
        digest.update(bytes(size))
        assert threading.active_count() == before + threads
    assert threading.active_count() == before
