"""Downloads beside the other entries of a cache: what they replace, what goes for them, and who is at work on them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cache_samples import NOW, SIZE, held, package_folder, place_folder, set_age

from courier.distribution.cache_change import Wanted, clear, parse_wanted
from courier.distribution.cache_download import Staging, make_room, place_staged, staging
from courier.distribution.cache_folder import apply_settings, changing, inventory, open_cache
from courier.distribution.cache_move import move
from courier.distribution.cache_place import Placing, copy_of, listing_of, would_place
from courier.distribution.cache_staged import StagedRecord, is_active, working_on, write_staged
from courier.distribution.seen_statements import SEEN
from courier.errors import BusyError, DamagedError, NotFoundError, UsageError
from courier.files import TEMP
from formats.names import MAX_VERSION


def make_cache(home: Path, *, size: int = 3 * SIZE) -> Path:
    with changing(home, make=True) as cache:
        apply_settings(cache, size=size, reserve=0)
    return home


def downloaded(home: Path, package: str, source: Path) -> Placing:
    """A package that comes as a download does, from a folder."""
    with (
        listing_of(source) as (listing, digest),
        staging(home, package, 1, listing=digest, size=SIZE, now_ns=NOW) as ready,
    ):
        if isinstance(ready, Placing):
            return ready
        ready.listing.write_bytes(listing.read_bytes())
        if (nothing := make_room(home, ready, now_ns=NOW)) is not None:
            return nothing
        copy_of(source, listing)(ready.files)
        return place_staged(home, ready, now_ns=NOW)


def left_over(home: Path, package: str, *, bytes_left: int = 0, started: int = 0) -> Path:
    """What came of a download that nobody is at work on any more."""
    folder = home / "downloads" / f"{package}-1"
    folder.parent.mkdir(exist_ok=True)
    write_staged(folder, StagedRecord(package=package, version=1, listing="0" * 64, bytes=SIZE, started=started))
    (folder / "files").mkdir()
    (folder / "files" / "part").write_bytes(bytes(bytes_left))
    return folder


def damage(home: Path, package: str) -> Path:
    entry = home / f"{package}-1"
    (entry / "files" / "image.bin").unlink()
    return entry


@pytest.mark.parametrize("version", [10**10, MAX_VERSION])
def test_a_version_of_many_digits_is_an_entry_like_any_other(tmp_path: Path, version: int) -> None:
    home = make_cache(tmp_path / "cache")
    place_folder(home, "HQ100001", package_folder(tmp_path / "p"), version=version)
    assert held(home) == {f"HQ100001-{version}"}
    assert parse_wanted(f"HQ100001:{version}") == Wanted(package="HQ100001", version=version)
    assert clear(home, [parse_wanted(f"HQ100001:{version}")]).deleted == (f"HQ100001-{version}",)
    with pytest.raises(UsageError):
        parse_wanted(f"HQ100001:{MAX_VERSION + 1}")


def test_what_another_program_is_writing_about_points_is_not_swept_away(tmp_path: Path) -> None:
    home = make_cache(tmp_path / "cache")
    for name in (f"{TEMP}1-a-{SEEN}", f"{TEMP}1-b-other"):
        (home / name).write_bytes(b"")
    with changing(home):
        pass
    assert [path.name for path in home.iterdir() if path.name.startswith(TEMP)] == [f"{TEMP}1-a-{SEEN}"]


def test_a_download_takes_the_place_of_a_damaged_entry_and_nothing_else_goes_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_cache(tmp_path / "cache", size=2 * SIZE)
    sources = {name: package_folder(tmp_path / name, seed=n) for n, name in enumerate(("HQ100001", "HQ100002"))}
    for package, source in sources.items():
        place_folder(home, package, source)
        set_age(home, package, minutes=9000)
    damage(home, "HQ100001")
    found = inventory(open_cache(home))
    (broken,) = found.damaged
    # The disk is as full as it can be: what is damaged goes first, for its own download, and that is enough.
    monkeypatch.setattr("courier.distribution.cache_place.free_space", lambda _: SIZE - broken.bytes)
    placing = downloaded(home, "HQ100001", sources["HQ100001"])
    assert placing.entry is not None
    assert placing.evicted == ()
    assert held(home) == {"HQ100001-1", "HQ100002-1"}


def test_for_another_package_the_download_goes_and_not_the_damaged_entry_of_the_same_name(tmp_path: Path) -> None:
    home = make_cache(tmp_path / "cache", size=8192 + 2 * SIZE)
    place_folder(home, "HQ100001", package_folder(tmp_path / "p1"))
    entry = damage(home, "HQ100001")
    partial = left_over(home, "HQ100001", bytes_left=4096)
    placing = place_folder(home, "HQ100002", package_folder(tmp_path / "p2", size=8000))
    assert [(one.package, one.staged) for one in placing.evicted] == [("HQ100001", True)]
    assert not partial.exists()
    assert not partial.with_name("HQ100001-1.lock").exists()
    assert [one.path for one in inventory(open_cache(home)).damaged] == [entry]


def test_what_a_download_left_of_a_package_takes_no_room_from_its_placing(tmp_path: Path) -> None:
    home, source = make_cache(tmp_path / "cache", size=SIZE), package_folder(tmp_path / "p")
    partial = left_over(home, "HQ100001", bytes_left=900, started=NOW)
    opened = open_cache(home)
    assert would_place(opened, SIZE, now_ns=NOW, package="HQ100001", version=1).fits
    assert not would_place(opened, SIZE, now_ns=NOW, package="HQ100001", version=2).fits
    assert place_folder(home, "HQ100001", source).entry is not None
    assert not partial.exists()


def test_a_package_that_came_otherwise_meanwhile_is_not_fetched_to_its_end(tmp_path: Path) -> None:
    home, source = make_cache(tmp_path / "cache", size=20 * SIZE), package_folder(tmp_path / "p")
    with (
        listing_of(source) as (_, digest),
        staging(home, "HQ100001", 1, listing=digest, size=SIZE, now_ns=NOW) as ready,
    ):
        assert isinstance(ready, Staging)
        place_folder(home, "HQ100001", source)
        nothing = make_room(home, ready, now_ns=NOW)
        assert nothing is not None
        assert nothing.already
    assert list((home / "downloads").iterdir()) == []


def test_who_looks_whether_a_download_is_running_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "downloads" / "HQ100001-1"
    folder.mkdir(parents=True)
    assert not is_active(folder)
    with working_on(folder):
        assert is_active(folder)
    assert not is_active(folder)
    # Somebody else looks at this very moment, and holds what one holds while looking.
    fcntl = pytest.importorskip("fcntl")
    with folder.with_name("HQ100001-1.lock").open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not is_active(folder)


def test_a_clearing_by_name_says_that_a_download_is_running(tmp_path: Path) -> None:
    home = make_cache(tmp_path / "cache")
    left_over(home, "HQ100001")
    with working_on(home / "downloads" / "HQ100001-1"), pytest.raises(BusyError, match="is being downloaded"):
        clear(home, [Wanted(package="HQ100001")])


def test_what_is_said_of_a_broken_cache_helps(tmp_path: Path) -> None:
    """The remedy that is named is done as it stands, and the cache is there."""
    home = make_cache(tmp_path / "cache")
    (home / SEEN).write_bytes(b"")
    (home / "cache.json").write_bytes(b"{}")
    with pytest.raises(DamagedError) as caught:
        open_cache(home)
    assert f"courier cache config --cache {home}" in caught.value.hint
    elsewhere = tmp_path / "elsewhere"
    (home / "cache.json").unlink()
    with changing(home, make=True):
        pass
    move(home, elsewhere)
    (elsewhere / "cache-content").unlink()
    elsewhere.rmdir()
    with pytest.raises(NotFoundError) as lost:
        open_cache(home)
    assert f"delete {home / 'cache.json'}" in lost.value.hint
    (home / "cache.json").unlink()
    with changing(home, make=True) as made:
        assert made.content == home
