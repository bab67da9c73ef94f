"""Adding a package: what a dry run refuses the run refuses, one walk over the source, and numbers given out once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from journey import Sites, make_sites

from courier.errors import CourierError
from courier.packages.numbering import GivenOut, choose_number
from formats.names import MAX_PACKAGES, MAX_VERSION

posix = pytest.mark.skipif(os.name != "posix", reason="elsewhere: POSIX only")


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def source_in(root: Path) -> Path:
    (root / "source" / "deep" / "deeper").mkdir(parents=True)
    (root / "source" / "a").write_bytes(b"a")
    (root / "source" / "deep" / "deeper" / "b").write_bytes(b"bb")
    return root / "source"


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_the_source_is_walked_once(sites: Sites, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]) -> None:
    source, real, seen = source_in(sites.root), os.scandir, []

    def scandir(path: Any = ".") -> Any:
        if str(path).startswith(str(source)):
            seen.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    sites.hq("package", "add", source, "--name", "X", *more)
    assert seen == ["source", "deep", "deeper"]


def test_a_dry_run_tells_the_bytes_and_adds_nothing(sites: Sites) -> None:
    document = sites.hq("package", "add", source_in(sites.root), "--name", "X", "--dry-run")
    assert document["bytes"] == 3
    assert sites.hq("package", "list")["packages"] == []


@posix
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
@pytest.mark.parametrize("bad", ["pipe", "link", "name", "empty"])
def test_a_dry_run_refuses_what_the_run_refuses(sites: Sites, bad: str, more: tuple[str, ...]) -> None:
    source = source_in(sites.root)
    match bad:
        case "pipe":
            os.mkfifo(source / "pipe")
        case "link":
            (source / "out").symlink_to("../../outside")
        case "name":
            (source / os.fsdecode(b"caf\xe9")).touch()
        case "empty":
            source = sites.root / "empty"
            source.mkdir()
    expected = {"pipe": "special-file", "link": "illegal-name", "name": "illegal-name", "empty": "usage"}
    error = sites.hq.fails("package", "add", source, "--name", "X", *more, code=2 if bad == "empty" else 3)
    assert error["code"] == expected[bad]
    assert sites.hq.contents() == []


# --- numbers ----------------------------------------------------------------------------------------------------------


def given(*, next_version: int = 1, last_package: int = 0, lost: bool = False) -> GivenOut:
    return GivenOut(next_version=next_version, last_package=last_package, lost=lost)


@pytest.mark.parametrize(
    ("package", "version", "before", "chosen"),
    [
        (None, None, given(), ("HQ100001", 1)),
        (None, 7, given(last_package=9), ("HQ10000A", 7)),
        ("HQ100001", None, given(next_version=4), ("HQ100001", 4)),
        ("HQ100001", 9, given(next_version=4), ("HQ100001", 9)),
        ("HQ100001", None, given(next_version=4, lost=True), ("HQ100001", 4)),
        ("HQ100001", 1, given(lost=True), ("HQ100001", 1)),
    ],
)
def test_the_next_number_is_given_or_the_one_that_was_asked_for(
    package: str | None, version: int | None, before: GivenOut, chosen: tuple[str, int]
) -> None:
    assert choose_number("HQ1", package, version, before) == chosen


@pytest.mark.parametrize(
    ("package", "version", "before", "code"),
    [
        (None, 0, given(), "usage"),
        ("nonsense", None, given(), "usage"),
        ("BR100001", None, given(), "foreign-package"),
        ("HQ100001", 3, given(next_version=4), "version-used"),
        ("HQ100001", None, given(next_version=MAX_VERSION + 1), "versions-used-up"),
        (None, None, given(last_package=MAX_PACKAGES), "ids-used-up"),
        (None, None, given(lost=True), "ids-lost"),
        ("HQ100001", None, given(lost=True), "ids-lost"),
    ],
)
def test_no_number_is_given_out_that_another_content_may_have(
    package: str | None, version: int | None, before: GivenOut, code: str
) -> None:
    with pytest.raises(CourierError) as caught:
        choose_number("HQ1", package, version, before)
    assert caught.value.code == code
