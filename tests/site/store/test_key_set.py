"""A set of very many keys: it holds what was added, each under its number, in little memory."""

from __future__ import annotations

import tracemalloc
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.site.store import key_set
from courier.site.store.key_set import KeySet


@given(
    st.lists(st.binary(min_size=2, max_size=2)), st.lists(st.binary(min_size=2, max_size=2)), st.sampled_from([3, 1000])
)
def test_it_holds_what_was_added_and_nothing_else(keys: list[bytes], others: list[bytes], few: int) -> None:
    found, known = KeySet(2), list[bytes]()
    with mock.patch.object(key_set, "_FEW", few):
        for key in keys:
            assert found.add(key) == (key not in known)
            if key not in known:
                known.append(key)
    assert [found[number] for number in range(len(found))] == known
    assert [found.find(key) for key in known] == list(range(len(known)))
    assert [key in found for key in others] == [key in known for key in others]


def test_it_grows_without_losing_a_key_and_takes_less_than_50_bytes_for_a_sha256() -> None:
    tracemalloc.start()
    try:
        found = KeySet(32)
        assert all(found.add(number.to_bytes(32, "little")) for number in range(40_000))
        assert tracemalloc.get_traced_memory()[0] < 40_000 * 50
    finally:
        tracemalloc.stop()
    assert not any(found.add(number.to_bytes(32, "little")) for number in range(40_000))
    assert found.find((40_000).to_bytes(32, "little")) == -1
    assert len(found) == 40_000


def test_a_key_of_another_length_is_refused() -> None:
    found = KeySet(4)
    with pytest.raises(ValueError, match="5 bytes"):
        found.add(b"12345")
