"""The judgement of a client's cache: what goes, what never goes, and when a placing is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from courier.distribution.cache_rules import (
    DEFAULT_MINIMUM_AGE,
    DEFAULT_SIZE,
    RETRIES,
    Held,
    Limits,
    Reason,
    Verdict,
    judge,
    oldest_first,
    retry_times,
    why_not,
)

MINUTE = 60 * 10**9
NOW = 10**18

ENTRIES = st.lists(
    st.builds(
        Held,
        package=st.integers(1, 5).map(lambda n: f"HQ1{n:05X}"),
        version=st.integers(1, 3),
        bytes=st.integers(0, 20),
        referenced_ns=st.integers(-10, 4000).map(lambda age: NOW - age * MINUTE),
        locked=st.booleans(),
        persisted=st.booleans(),
    ),
    unique_by=lambda one: (one.package, one.version),
    max_size=8,
)
LIMITS = st.builds(
    Limits, size=st.integers(1, 60), minimum_age=st.sampled_from([0, 1, 60, 1440, 10080]), reserve=st.integers(0, 10)
)
ASKED = given(st.integers(0, 70), ENTRIES, LIMITS, st.none() | st.integers(0, 80), st.integers(0, 10))


def judged(size: int, held: list[Held], limits: Limits, free: int | None, unusable: int) -> Verdict:
    return judge(size, held, limits, now_ns=NOW, free=free, unusable=unusable)


def fits_without(size: int, staying: int, gone: int, limits: Limits, free: int | None) -> bool:
    return staying + size <= limits.size and (free is None or free + gone - size >= limits.reserve)


def movable(one: Held, limits: Limits) -> bool:
    return not one.locked and not one.persisted and NOW - one.referenced_ns >= limits.minimum_age * MINUTE


@ASKED
def test_locked_persisted_and_young_entries_never_go(
    size: int, held: list[Held], limits: Limits, free: int | None, unusable: int
) -> None:
    verdict = judged(size, held, limits, free, unusable)
    assert all(movable(one, limits) for one in verdict.evict)
    assert {one.entry for one in verdict.blocked} == {one for one in held if not movable(one, limits)}


@ASKED
def test_it_fits_exactly_when_what_may_go_is_enough_and_nothing_goes_otherwise(
    size: int, held: list[Held], limits: Limits, free: int | None, unusable: int
) -> None:
    verdict = judged(size, held, limits, free, unusable)
    gone = sum(one.bytes for one in held if movable(one, limits))
    staying = sum(one.bytes for one in held) + unusable - gone
    assert verdict.fits == (size <= limits.size and fits_without(size, staying, gone, limits, free))
    if not verdict.fits:
        assert verdict.evict == ()
        assert verdict.short > 0
    else:
        gone = sum(one.bytes for one in verdict.evict)
        assert fits_without(size, sum(one.bytes for one in held) + unusable - gone, gone, limits, free)


@ASKED
def test_the_oldest_go_first_and_no_more_than_are_needed(
    size: int, held: list[Held], limits: Limits, free: int | None, unusable: int
) -> None:
    verdict = judged(size, held, limits, free, unusable)
    oldest = [one for one in oldest_first(held) if movable(one, limits) and one.bytes]
    assert list(verdict.evict) == oldest[: len(verdict.evict)]
    if verdict.evict:
        gone = sum(one.bytes for one in verdict.evict[:-1])
        staying = sum(one.bytes for one in held) + unusable - gone
        assert not fits_without(size, staying, gone, limits, free)


@ASKED
def test_larger_than_the_whole_cache_is_told_apart(
    size: int, held: list[Held], limits: Limits, free: int | None, unusable: int
) -> None:
    verdict = judged(size, held, limits, free, unusable)
    assert verdict.too_large == (size > limits.size)
    assert not (verdict.too_large and verdict.fits)


@ASKED
def test_what_would_have_to_go_would_be_enough_where_entries_alone_are_in_the_way(
    size: int, held: list[Held], limits: Limits, free: int | None, unusable: int
) -> None:
    verdict = judged(size, held, limits, free, unusable)
    asked = sum(one.bytes for one in verdict.would_have_to_go)
    everything = sum(one.bytes for one in held)
    if not verdict.fits and not verdict.too_large and fits_without(size, unusable, everything, limits, free):
        assert fits_without(size, everything + unusable - asked, asked, limits, free)


def entry(number: int, *, age: int, size: int = 10, locked: bool = False, persisted: bool = False) -> Held:
    return Held(
        package=f"HQ1{number:05X}",
        version=1,
        bytes=size,
        referenced_ns=NOW - age * MINUTE,
        locked=locked,
        persisted=persisted,
    )


def test_the_defaults_are_the_documented_ones() -> None:
    assert Limits().size == DEFAULT_SIZE == 5120 * 10**6
    assert Limits().minimum_age == DEFAULT_MINIMUM_AGE == 1440


def test_an_entry_may_go_from_the_very_minute_of_its_minimum_age() -> None:
    young = why_not(entry(1, age=1439), Limits(), now_ns=NOW)
    assert young is not None
    assert (young.reason, young.until_ns) == (Reason.YOUNG, NOW + MINUTE)
    assert why_not(entry(1, age=1440), Limits(), now_ns=NOW) is None


def test_an_entry_that_is_locked_and_young_is_called_locked() -> None:
    for one, reason in [
        (entry(1, age=0, locked=True, persisted=True), Reason.LOCKED),
        (entry(1, age=0, persisted=True), Reason.PERSISTED),
    ]:
        found = why_not(one, Limits(), now_ns=NOW)
        assert found is not None
        assert found.reason is reason


def test_blocked_entries_are_passed_over_and_younger_ones_go() -> None:
    held = [entry(1, age=9000, locked=True), entry(2, age=8000), entry(3, age=7000), entry(4, age=6000)]
    verdict = judge(15, held, Limits(size=40), now_ns=NOW)
    assert [one.package for one in verdict.evict] == ["HQ100002", "HQ100003"]


def test_retries_come_every_four_hours_eighteen_times() -> None:
    times = retry_times(NOW)
    assert len(times) == RETRIES == 18
    assert {b - a for a, b in zip((NOW, *times), times, strict=False)} == {4 * 60 * MINUTE}
    assert retry_times(NOW, seconds=60, count=2) == (NOW + MINUTE, NOW + 2 * MINUTE)
    assert len(retry_times(NOW, seconds=60, count=1_000_000)) == 1000
