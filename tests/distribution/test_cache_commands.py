"""``courier cache`` as it is typed: exit codes, the keys that scripts rely on, and clear answers to bad input."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from cache_samples import SIZE, package_folder, set_age
from journey import Ran, run

from courier.files import locked
from courier.site.clock import now


class Cache:
    """A cache in a temporary folder, and packages to place in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "cache"

    def __call__(self, command: str, *words: object, code: int = 0) -> dict[str, Any]:
        return self.ran(command, *words, "--json", code=code).document

    def ran(self, command: str, *words: object, code: int = 0) -> Ran:
        return run("cache", command, *words, "--cache", self.home, code=code)

    def place(self, package: str, *, size: int = SIZE, code: int = 0) -> dict[str, Any]:
        folder = self.root / f"{package}-{size}"
        if not folder.exists():
            package_folder(folder, size=size)
        return self("place", f"{package}:1", "--from", folder, code=code)

    def age(self, package: str, *, minutes: int = 9000) -> None:
        set_age(self.home, package, minutes=minutes, now_ns=now())

    @property
    def held(self) -> list[str]:
        return [entry["package_id"] for entry in self("list")["entries"]]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    found = Cache(tmp_path)
    found("config", "--size", 3 * SIZE, "--reserve", "0")
    return found


def test_a_new_cache_has_the_documented_settings_and_keeps_what_is_set(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    made = cache("config")
    assert (made["size_bytes"], made["minimum_age_minutes"]) == (5_120_000_000, 1440)
    assert cache("config", "--size", "40GB", "--minimum-age", 10080)["size_bytes"] == 40 * 10**9
    assert cache("config")["minimum_age_minutes"] == 10080


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURIER_CACHE", str(tmp_path / "there"))
    assert run("cache", "config", "--json").document["cache"] == str(tmp_path / "there")
    monkeypatch.delenv("COURIER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "platform"))
    assert "courier" in run("cache", "config", "--json").document["cache"]


def test_explain_says_beforehand_what_place_then_does(cache: Cache) -> None:
    for package in ("HQ100001", "HQ100002", "HQ100003"):
        cache.place(package)
    cache.age("HQ100002")
    cache("lock", "HQ100001", "--by", "deployment")
    cache("persist", "HQ100003")
    explained = cache("explain", "HQ100004", "--size", SIZE)
    assert explained["fits"]
    assert [one["package_id"] for one in explained["would_evict"]] == ["HQ100002"]
    reasons = {one["package_id"]: one["reason"] for one in explained["blocked"]}
    assert reasons == {"HQ100001": "locked", "HQ100003": "persisted"}
    placed = cache.place("HQ100004")
    assert placed["placed"]
    assert [one["package_id"] for one in placed["evicted"]] == ["HQ100002"]


def test_a_package_that_does_not_fit_is_exit_code_5_names_what_blocks_and_when_to_retry(cache: Cache) -> None:
    for package in ("HQ100001", "HQ100002", "HQ100003"):
        cache.place(package)
    refused = cache.place("HQ100004", code=5)
    assert (refused["placed"], refused["fits"], refused["evicted"]) == (False, False, [])
    assert {one["reason"] for one in refused["blocked"]} == {"young"}
    assert all(one["until"] for one in refused["blocked"])
    assert len(refused["retry_at"]) == 18
    assert refused["error"]["code"] == "cache-blocked"
    assert cache.held == ["HQ100001", "HQ100002", "HQ100003"]
    explained = cache("explain", "HQ100004", "--size", SIZE)
    assert [one["package_id"] for one in explained["would_have_to_go"]] == ["HQ100001"]


def test_a_package_larger_than_the_cache_is_refused_at_once_and_not_retried(cache: Cache) -> None:
    cache.place("HQ100001")
    cache.age("HQ100001")
    refused = cache.place("HQ100002", size=3 * SIZE + 1, code=5)
    assert refused["error"]["code"] == "cache-too-small"
    assert (refused["too_large"], refused["retry_at"]) == (True, [])
    assert cache.held == ["HQ100001"]
    assert "no retry" in cache.ran("explain", "HQ100002", "--size", "1MB").out


def test_a_young_entry_goes_once_the_minimum_age_is_set_lower(cache: Cache) -> None:
    for package in ("HQ100001", "HQ100002", "HQ100003"):
        cache.place(package)
    cache("config", "--minimum-age", 0)
    assert [one["package_id"] for one in cache.place("HQ100004")["evicted"]] == ["HQ100001"]


def test_names_that_lock_are_taken_back_one_by_one_or_all(cache: Cache) -> None:
    cache.place("HQ100001")
    for name in ("b", "a", "b"):
        entries = cache("lock", "HQ100001:1", "--by", name)["entries"]
    assert entries[0]["locks"] == ["a", "b"]
    assert cache("unlock", "HQ100001", "--by", "a")["entries"][0]["locks"] == ["b"]
    assert cache("unlock", "HQ100001")["entries"][0]["locks"] == []


def test_clear_deletes_all_but_what_is_locked_or_persisted(cache: Cache) -> None:
    for package in ("HQ100001", "HQ100002", "HQ100003"):
        cache.place(package)
    cache("lock", "HQ100001", "--by", "x")
    cache("persist", "HQ100002")
    hint = cache("clear", "HQ100003", "HQ100001", code=3)["error"]["hint"]
    assert hint == f"courier cache unlock HQ100001:1 --cache {cache.home}"
    assert len(cache.held) == 3
    cleared = cache("clear")
    assert cleared["deleted"] == [{"package_id": "HQ100003", "version": 1}]
    assert [one["reason"] for one in cleared["blocked"]] == ["locked", "persisted"]
    cache("unlock", "HQ100001")
    cache("persist", "HQ100002", "--off")
    assert len(cache("clear")["deleted"]) == 2
    assert cache.held == []


def test_a_damaged_entry_is_named_with_exit_code_4_until_it_is_cleared(cache: Cache) -> None:
    cache.place("HQ100001")
    cache.place("HQ100002")
    (cache.home / "HQ100001-1" / "files" / "image.bin").write_bytes(b"other")
    listed = cache("list", code=4)
    assert [Path(one["path"]).name for one in listed["damaged"]] == ["HQ100001-1"]
    assert [one["package_id"] for one in listed["entries"]] == ["HQ100002"]
    assert "HQ100001:1" in listed["error"]["hint"]
    cache("lock", "HQ100001", "--by", "x", code=4)
    cache("clear", "HQ100001")
    assert cache.held == ["HQ100002"]


def test_explain_takes_the_size_from_a_listing(cache: Cache) -> None:
    cache.place("HQ100001")
    listing = cache.home / "HQ100001-1" / "listing"
    assert cache("explain", "HQ100002", "--listing", listing) == cache("explain", "HQ100002", "--size", SIZE)
    # Half of a listing tells no size.
    (cache.home.parent / "cut").write_bytes(listing.read_bytes()[:-10])
    cache.ran("explain", "HQ100002", "--listing", cache.home.parent / "cut", code=4)


def test_files_are_placed_only_as_a_given_listing_has_them(cache: Cache) -> None:
    cache.place("HQ100001")
    listing = cache.home / "HQ100001-1" / "listing"
    digest = hashlib.sha256(listing.read_bytes()).hexdigest()
    folder = cache.root / "HQ100001-1000"
    words = ("HQ100002:1", "--from", folder, "--listing", listing)
    assert cache("place", *words, code=4)["error"]["code"] == "digest-mismatch"
    assert cache("place", *words, "--digest", digest)["placed"]
    (folder / "image.bin").unlink()
    error = cache("place", "HQ100003:1", *words[1:], "--digest", digest, code=4)["error"]
    assert "image.bin" in error["message"]


def test_a_cache_in_use_by_another_program_is_exit_code_9(cache: Cache) -> None:
    cache.place("HQ100001")
    with locked(cache.home / "cache.lock"):
        assert cache("clear", code=9)["error"]["code"] == "busy"
        assert cache.held == ["HQ100001"]


def test_another_user_is_refused_with_exit_code_3(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("elsewhere: users with numbers are of POSIX")
    cache.place("HQ100001")
    monkeypatch.setattr(os, "geteuid", lambda: cache.home.stat().st_uid + 4242)
    for words in (("clear",), ("persist", "HQ100001"), ("config", "--size", "1GB"), ("move", cache.root / "new")):
        assert "belongs to user" in cache(*words, code=3)["error"]["message"]
    assert cache.held == ["HQ100001"]


def test_a_moved_cache_is_found_by_its_old_name(cache: Cache) -> None:
    cache.place("HQ100001")
    moved = cache("move", cache.root / "new")
    assert (moved["entries"], moved["bytes"]) == (1, SIZE)
    assert cache("list", "--verify")["folder"] == str(cache.root / "new")
    assert cache.held == ["HQ100001"]
    assert "already" in cache.ran("move", cache.root / "new").out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("config", "--size", "0"), 2),
        (("config", "--size", "much"), 2),
        (("config", "--size", "-1"), 2),
        (("config", "--minimum-age", "10081"), 2),
        (("explain", "HQ100001", "--size", "0"), 2),
        (("explain", "HQ100001"), 2),
        (("explain", "HQ100001", "--size", "1MB", "--listing", "nowhere"), 2),
        (("explain", "HQ100001", "--listing", "nowhere"), 6),
        (("explain", "nonsense", "--size", "1MB"), 2),
        (("place", "HQ100001", "--from", "."), 2),
        (("place", "HQ100001:0", "--from", "."), 2),
        (("place", "HQ100001:1", "--from", "nowhere"), 2),
        (("place", "HQ100001:1", "--from", ".", "--digest", "0"), 2),
        (("place", "HQ100001:1", "--from", ".", "--listing", "nowhere"), 6),
        (("lock", "HQ100001", "--by", ""), 2),
        (("lock", "HQ100001", "--by", "x" * 201), 2),
        (("lock", "HQ100001", "--by", "x"), 6),
        (("clear", "HQ100001"), 6),
    ],
)
def test_bad_input_is_a_clear_error(cache: Cache, words: tuple[str, ...], code: int) -> None:
    error = cache(*words, code=code)["error"]
    assert error["message"]
    assert error["hint"]


def test_a_cache_that_is_not_there_or_not_readable_is_a_clear_error(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert "no cache at" in cache("list", code=6)["error"]["message"]
    cache("config")
    (cache.home / "cache.json").write_bytes(b"{}")
    assert "cache.json" in cache("list", code=4)["error"]["message"]
    file = tmp_path / "file"
    file.touch()
    cache.home = file / "cache"
    assert cache("list", code=6)
    assert cache("config", code=6)["error"]["hint"]
