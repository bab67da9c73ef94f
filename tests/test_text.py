"""Texts from outside are printed and logged harmless, and none fills a screen or a log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection

import pytest

from courier.channel.refusal_log import RefusalLog
from courier.cli.app import main
from courier.cli.console import Console
from courier.errors import UsageError
from courier.text import MAX_MESSAGE_TEXT, harmless, size_text, volumes

ESCAPES = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202ereversed\nsecond line\r"


def is_harmless(printed: str, lines: int) -> bool:
    return printed.replace("\n", "").isprintable() and len(printed.splitlines()) == lines


def test_a_harmless_text_is_one_line_of_a_sane_length() -> None:
    assert harmless(ESCAPES).isprintable()
    assert harmless("good") == "good"
    assert harmless("x" * 100, 10) == "xxxxxxxxxx... (90 characters more)"
    assert len(harmless("\x1b" * 10**6)) < 5 * MAX_MESSAGE_TEXT


def test_whatever_way_a_text_is_printed_it_is_harmless(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console, long = Console(), ESCAPES + "x" * 10**6
    console.warn(long, hint=long)
    console.error(UsageError(long, hint=long))
    console.errors([(long, UsageError(long, hint=long))] * 2, {})
    printed = capsys.readouterr().err
    assert is_harmless(printed, lines=8)
    assert len(printed) < 8 * 2 * MAX_MESSAGE_TEXT
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "y"

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("courier.cli.console._is_terminal", lambda _: True)
    console.confirm(long)
    console.change_media(long)
    assert all(is_harmless(question, lines=1) for question in asked)
    assert len(asked) == 2


def test_the_trace_of_an_unforeseen_error_is_harmless(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise ValueError(ESCAPES)

    monkeypatch.setattr("courier.cli.app.command_tree", lambda: fail)
    monkeypatch.setattr(sys, "argv", ["courier"])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().err
    assert printed.replace("\n", "").isprintable()
    assert "Traceback" in printed


def test_what_a_stranger_says_of_his_address_is_cut_short() -> None:
    said: list[str] = []
    log = RefusalLog(said.append, now=lambda: 0)
    log.of_stranger(ESCAPES + "x" * 5000, ESCAPES + "y" * 5000)
    assert len(said) == 1
    assert is_harmless(said[0], lines=1)
    assert len(said[0]) < 600


def test_the_log_of_a_warning_has_its_hint(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("courier")
    logger.addHandler(caplog.handler)
    try:
        Console().warn("something is odd", hint="do this")
    finally:
        logger.removeHandler(caplog.handler)
    assert "something is odd (do this)" in caplog.messages


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1500, "1.5 kB"), (10**15, "1000.0 TB")]
)
def test_a_number_of_bytes_for_people(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("numbers", "text"), [({3}, "volume 3"), ([2, 1, 3], "volumes 1 to 3"), ((7, 1, 2), "volumes 1 to 2, 7")]
)
def test_volumes_are_named_by_their_numbers_with_ranges(numbers: Collection[int], text: str) -> None:
    assert volumes(numbers) == text
