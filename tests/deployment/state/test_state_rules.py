"""The rules of a capture: which paths a pattern names, judged against a slow and plain reading of the same words."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courier.deployment.state_rules import Pattern, make_rules, read_rules
from courier.errors import UsageError

NAMES = st.text("ab.", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4)
PARTS = st.one_of(st.just("**"), st.text("ab*?.", min_size=1, max_size=3).filter(lambda p: p not in (".", "..")))
PATTERNS = st.lists(PARTS, min_size=1, max_size=4)


def plain(pattern: list[str], path: list[str]) -> bool:
    """Whether a pattern names a path exactly."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        rest = pattern[1:]
        if not rest:
            return bool(path)
        return any(plain(rest, path[n:]) for n in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and plain(pattern[1:], path[1:])


def named(pattern: list[str], path: list[str]) -> bool:
    """Whether it names the path, or a folder that the path is in."""
    return any(plain(pattern, path[:n]) for n in range(1, len(path) + 1))


@given(pattern=PATTERNS, path=PATHS)
def test_a_pattern_names_what_its_words_say(pattern: list[str], path: list[str]) -> None:
    assert Pattern("/".join(pattern)).matches("/".join(path)) == named(pattern, path)


@given(pattern=PATTERNS, path=PATHS, below=PATHS)
def test_a_folder_is_entered_wherever_something_in_it_may_be_named(
    pattern: list[str], path: list[str], below: list[str]
) -> None:
    if named(pattern, [*path, *below]):
        assert Pattern("/".join(pattern)).may_reach_into("/".join(path))


@given(include=PATTERNS, exclude=PATTERNS, path=PATHS)
def test_what_is_excluded_stays_out_whatever_includes_it(
    include: list[str], exclude: list[str], path: list[str]
) -> None:
    rules = make_rules(["/".join(include)], ["/".join(exclude)])
    text = "/".join(path)
    assert rules.takes(text) == (named(include, path) and not named(exclude, path))


@pytest.mark.parametrize(
    ("pattern", "path", "is_named"),
    [
        ("home/*/Documents", "home/anna/Documents/a/b", True),
        ("home/*/Documents", "home/anna/b/Documents", False),
        ("**/*.tmp", "x.tmp", True),
        ("**/*.tmp", "a/b/x.tmp", True),
        ("home/**", "home", False),
        ("[ab]?[!x]/c", "b1y/c", True),
        ("[ab]?[!x]/c", "b1x/c", False),
        ("[[]x[]]", "[x]", True),
        ("a-[0-9-]", "a--", True),
        ("Users", "users", False),
        ("/home/", "home/x", True),
        (".*", ".profile", True),
        ("*", "line\nfeed", True),
    ],
)
def test_examples(pattern: str, path: str, is_named: bool) -> None:
    assert Pattern(pattern).matches(path) is is_named


@pytest.mark.parametrize("text", ["", "/", "a/../b", "home\\anna", "[a", "[z-a]", "x" * 5000, "a\0b", "."])
def test_a_text_that_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Pattern(text)


def test_a_file_of_rules_is_read() -> None:
    rules = read_rules('include = ["home/*"]\nexclude = ["**/.cache"]\nlargest = "2MB"\n')
    assert rules.takes("home/anna/x") and not rules.takes("home/anna/.cache/y") and not rules.takes("etc/passwd")
    assert rules.is_too_large(2_000_001) and not rules.is_too_large(2_000_000)


@pytest.mark.parametrize(
    "text",
    [
        "include = 3",
        "include = [3]",
        "include = []",
        "exclude = ['a']",
        "include = ['a']\nlargest = true",
        "include = ['a']\nlargest = -1",
        "include = ['a']\nlargest = 'many'",
        "include = ['a']\ninclud = ['b']",
        "include = ",
    ],
)
def test_a_file_that_has_no_rules_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_rules(text)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("**/a/" * 30 + "x", "a/" * 200 + "y"),
        ("*a" * 60 + "x", "a" * 255),
        ("**/*a*a*a*b/" * 10 + "x", ("a" * 100 + "/") * 40 + "y"),
    ],
)
def test_no_pattern_takes_longer_than_one_waits(pattern: str, path: str) -> None:
    began = time.monotonic()
    assert not Pattern(pattern).matches(path)
    Pattern(pattern).may_reach_into(path)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("text", ["include = " + "[" * 10_000, "largest = " + "9" * 10_000])
def test_rules_that_no_reader_takes_are_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match="no TOML"):
        read_rules(text)
