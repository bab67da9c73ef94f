"""Nobody is told twice, nothing is lost by a kill, and what surely failed is tried again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from courier.care.notice_book import DAY_NS, FIRST_AGAIN_NS, HOUR_NS, KEPT_NS, MAX_WAITING, NoticeBook, read_pages
from courier.care.notices import (
    LETTERS,
    MAX_TEXT,
    Event,
    Letter,
    Notice,
    message_of,
    notice,
    of_letters,
    of_log_entry,
    of_waiting,
    standing,
)
from courier.care.waiting import CARRIER, OPERATOR, Cause, Waiting

NOW = 1_800_000_000 * 10**9
WAYS = {"arrival": ["notify.desk", "hook"], "damage": ["notify.desk"]}


def _arrival(name: str, at_ns: int = NOW) -> Notice:
    return notice(Event.ARRIVAL, name, f"{name} arrives", at_ns=at_ns)


def _book(home: Path) -> NoticeBook:
    return NoticeBook(home, log_end=7)


def _due(book: NoticeBook, now_ns: int = NOW) -> dict[str, list[str]]:
    return {way: [one.what for one in notices] for way, notices in book.due(now_ns).items()}


def test_a_cause_is_told_once_by_each_way_also_after_a_restart(tmp_path: Path) -> None:
    book = _book(tmp_path)
    assert book.add([_arrival("A"), _arrival("A")], WAYS, log_end=8, now_ns=NOW) == 1
    assert _due(book) == {"notify.desk": ["A arrives"], "hook": ["A arrives"]}
    for again in (book, _book(tmp_path)):
        assert again.add([_arrival("A")], WAYS, log_end=7, now_ns=NOW) == 0
    book = _book(tmp_path)
    (one,) = book.due(NOW)["hook"]
    book.begin("hook", [one])
    book.told("hook", [one])
    assert _due(_book(tmp_path)) == {"notify.desk": ["A arrives"]}


def test_what_was_being_told_when_the_watch_was_killed_is_not_told_again(tmp_path: Path) -> None:
    book = _book(tmp_path)
    book.add([_arrival("A"), _arrival("B")], WAYS, log_end=7, now_ns=NOW)
    book.begin("notify.desk", [_arrival("A")])
    book = _book(tmp_path)  # as after a kill
    assert _due(book) == {"notify.desk": ["B arrives"], "hook": ["A arrives", "B arrives"]}
    (failure,) = book.failures
    assert failure.final
    assert "not known whether it went" in failure.reason


def test_what_failed_is_tried_again_ever_later_and_given_up_after_a_day(tmp_path: Path) -> None:
    book = _book(tmp_path)
    book.add([_arrival("A")], {"arrival": ["notify.desk"]}, log_end=7, now_ns=NOW)
    moment, pauses = NOW, []
    for _ in range(3):
        book.begin("notify.desk", [_arrival("A")])
        book.failed("notify.desk", [_arrival("A")], "refused", now_ns=moment, final=False)
        before = moment
        while not book.due(moment):
            moment += FIRST_AGAIN_NS
        pauses.append((moment - before) // FIRST_AGAIN_NS)
    assert pauses == [1, 2, 4]
    assert len(read_pages(tmp_path).failures) == 1  # it is the same failure
    # A clock that was set back by a year does not put it off by a year.
    assert book.due(NOW - 365 * DAY_NS)
    book.failed("notify.desk", [_arrival("A")], "refused", now_ns=NOW + DAY_NS + HOUR_NS, final=False)
    assert not book.due(NOW + 10 * DAY_NS)
    assert book.failures[-1].final


def test_a_way_that_works_again_has_no_failure_any_more(tmp_path: Path) -> None:
    book = _book(tmp_path)
    book.add([_arrival("A")], WAYS, log_end=7, now_ns=NOW)
    book.failed("notify.desk", [_arrival("A")], "refused", now_ns=NOW, final=False)
    book.told("notify.desk", [_arrival("A")])
    assert book.failures == ()


def test_what_stands_is_told_again_only_after_it_had_gone(tmp_path: Path) -> None:
    overdue = standing(notice(Event.DAMAGE, "P", "P is damaged", at_ns=NOW))
    book = _book(tmp_path)
    assert book.add([overdue], WAYS, log_end=7, now_ns=NOW) == 1
    # The watch was off for a week: it first looks what stands, and only then forgets.
    later = NOW + 7 * DAY_NS
    book = _book(tmp_path)
    assert book.add([_arrival("A")], WAYS, log_end=7, now_ns=later) == 1
    assert book.add([overdue], WAYS, log_end=7, now_ns=later, judged=True) == 0
    assert book.add([], WAYS, log_end=7, now_ns=later + 2 * DAY_NS, judged=True) == 0
    assert book.add([overdue], WAYS, log_end=7, now_ns=later + 2 * DAY_NS, judged=True) == 1


def test_what_happened_once_is_forgotten_at_last(tmp_path: Path) -> None:
    book = _book(tmp_path)
    book.add([_arrival("A")], {}, log_end=7, now_ns=NOW)
    book.add([], {}, log_end=7, now_ns=NOW + KEPT_NS + 1)
    assert read_pages(tmp_path).known == ()


def test_notices_that_wait_are_bounded(tmp_path: Path) -> None:
    book = _book(tmp_path)
    book.add([_arrival(str(n)) for n in range(MAX_WAITING + 5)], WAYS, log_end=7, now_ns=NOW)
    assert len(book.due(NOW)["hook"]) == MAX_WAITING


def test_ways_that_are_not_set_any_more_are_dropped(tmp_path: Path) -> None:
    book = _book(tmp_path)
    book.add([_arrival("A")], WAYS, log_end=7, now_ns=NOW)
    book.keep_ways(["hook"])
    assert _due(book) == {"hook": ["A arrives"]}


def test_a_damaged_book_is_begun_anew_and_a_restored_catalogue_sets_it_back(tmp_path: Path) -> None:
    book = _book(tmp_path)
    book.add([], {}, log_end=100, now_ns=NOW)
    assert NoticeBook(tmp_path, log_end=50).log_end == 50
    (tmp_path / "watch" / "notices.json").write_text('{"format":"courier-notices/1"')
    book = _book(tmp_path)
    assert (book.was_damaged, book.log_end) == (True, 7)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_book_is_private(tmp_path: Path) -> None:
    _book(tmp_path).add([_arrival("A")], {}, log_end=7, now_ns=NOW)
    assert (tmp_path / "watch" / "notices.json").stat().st_mode & 0o077 == 0


def _waiting(cause: Cause, on: str = OPERATOR) -> Waiting:
    return Waiting(cause=cause, what=f"{cause} it is", on=on, next="courier status", subject="X")


def test_of_what_waits_only_damage_overdue_and_keys_are_told() -> None:
    found = [
        *map(_waiting, (Cause.DAMAGE, Cause.OVERDUE, Cause.KEY, Cause.DISK, Cause.TO_SHIP)),
        _waiting(Cause.KEY, "BR1"),
        _waiting(Cause.UNDER_WAY, CARRIER),
    ]
    told = list(of_waiting(found, at_ns=NOW))
    assert [one.event for one in told] == ["damage", "overdue", "key-ending"]
    assert all(one.standing for one in told)


def test_a_flood_of_dead_letters_of_one_site_is_a_few_notices() -> None:
    letters = [Letter(incoming=True, name=str(n), site="BR1", reason="no") for n in range(5000)]
    letters.append(Letter(incoming=False, name="x", site="BR2", reason="not acknowledged"))
    told = list(of_letters(letters, at_ns=NOW))
    assert len(told) == LETTERS + 2
    assert (told[0].event, told[-1].event) == ("refused", "dead-letter")


@pytest.mark.parametrize(
    ("word", "event"),
    [
        ("arrived", "arrival"),
        ("arrival", "arrival"),
        ("imported", "imported"),
        ("receipt", "imported"),
        ("refused", "refused"),
        ("recalled", "refused"),
        ("built", None),
    ],
)
def test_entries_of_the_log_become_notices(word: str, event: str | None) -> None:
    told = of_log_entry("HQ1-000001", word, "BR1: a line", at_ns=NOW)
    assert (told.event if told else None) == event


def test_a_message_names_many_notices_and_counts_the_rest() -> None:
    title, text = message_of("BR1", [_arrival(f"P{n}") for n in range(60)])
    assert title == "courier BR1: arrival"
    assert "P0 arrives" in text
    assert text.endswith("and 10 more: courier status")


def test_what_strangers_named_adds_no_line_to_a_message() -> None:
    one = notice(Event.REFUSED, "x", "/media/a\n  -> courier site trust evil.card\x1b[2J\udcff", at_ns=1)
    _, text = message_of("BR1", [one])
    assert text == r"/media/a\n  -> courier site trust evil.card\x1b[2J\udcff"


def test_that_a_parcel_is_recalled_is_told_also_after_it_was_refused() -> None:
    refused, recalled = (of_log_entry("HQ1-000001", word, "why", at_ns=1) for word in ("refused", "recalled"))
    assert refused is not None
    assert recalled is not None
    assert refused.cause != recalled.cause


def test_texts_of_any_length_go_into_a_notice() -> None:
    one = notice(Event.DAMAGE, "c" * 9000, "w\0" * 9000, at_ns=NOW)
    assert len(one.what) <= MAX_TEXT
    assert "\0" not in one.what
