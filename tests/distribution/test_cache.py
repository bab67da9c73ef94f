"""A client's cache on the disk: placing all or nothing, locks, moves, kills, and what is broken by hand."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import pytest
from cache_samples import NOW, SIZE, held, killed_at, package_folder, place_folder, set_age

from courier.distribution.cache_change import Wanted, lock, persist
from courier.distribution.cache_folder import apply_settings, changing, inventory, open_cache
from courier.distribution.cache_move import move
from courier.distribution.cache_place import copy_of, listing_of, place
from courier.errors import BusyError, DamagedError, NoSpaceError, NotFoundError, RefusedError, UsageError
from courier.files import TEMP

posix = pytest.mark.skipif(os.name != "posix", reason="elsewhere: fork, SIGKILL and owners are of POSIX")


def make_cache(home: Path, *, size: int = 3 * SIZE) -> Path:
    with changing(home, make=True) as cache:
        apply_settings(cache, size=size, reserve=0)
    return home


def full_cache(root: Path) -> Path:
    """A cache with room for three packages that has three; all may go."""
    home = make_cache(root / "cache")
    for number in (1, 2, 3):
        place_folder(home, f"HQ10000{number}", package_folder(root / f"p{number}", seed=number))
        set_age(home, f"HQ10000{number}", minutes=9000 - number)
    return home


def test_a_placed_package_is_the_folder_that_it_came_from(tmp_path: Path) -> None:
    home, source = make_cache(tmp_path / "cache"), package_folder(tmp_path / "p")
    placing = place_folder(home, "HQ100001", source)
    files = home / "HQ100001-1" / "files"
    assert placing.entry is not None
    assert placing.entry.bytes == SIZE
    assert (files / "image.bin").read_bytes() == (source / "image.bin").read_bytes()
    assert (files / "link").readlink() == Path("sub/ten")
    assert (files / "image.bin").stat().st_mtime_ns == (source / "image.bin").stat().st_mtime_ns


def test_the_oldest_goes_for_another_and_its_folder_is_gone(tmp_path: Path) -> None:
    home = full_cache(tmp_path)
    placing = place_folder(home, "HQ100004", package_folder(tmp_path / "p4"))
    assert [one.package for one in placing.evicted] == ["HQ100001"]
    assert held(home) == {"HQ100002-1", "HQ100003-1", "HQ100004-1"}


def test_locked_and_persisted_entries_stay_and_nothing_goes_when_the_rest_is_not_enough(tmp_path: Path) -> None:
    home = full_cache(tmp_path)
    lock(home, Wanted(package="HQ100001"), by="deployment", now_ns=NOW)
    persist(home, Wanted(package="HQ100002"), on=True)
    placing = place_folder(home, "HQ100004", package_folder(tmp_path / "p4", size=2 * SIZE))
    assert placing.entry is None
    assert {one.reason for one in placing.verdict.blocked} == {"locked", "persisted"}
    assert held(home) == {"HQ100001-1", "HQ100002-1", "HQ100003-1"}


def test_a_package_that_is_there_already_counts_as_used_now(tmp_path: Path) -> None:
    home = full_cache(tmp_path)
    assert place_folder(home, "HQ100001", tmp_path / "p1").already
    entry = next(one for one in inventory(open_cache(home)).entries if one.package == "HQ100001")
    assert entry.referenced_ns == NOW
    with pytest.raises(RefusedError, match="other content as HQ100001:1"):
        place_folder(home, "HQ100001", tmp_path / "p2")


def test_a_fill_that_fails_costs_no_entry_and_leaves_nothing(tmp_path: Path) -> None:
    home = full_cache(tmp_path)
    source = package_folder(tmp_path / "p4")

    def fail(target: Path) -> None:
        target.mkdir()
        (target / "image.bin").write_bytes(b"half")
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(source))

    with listing_of(source) as (listing, digest), pytest.raises(OSError, match="error"):
        place(home, "HQ100004", 1, listing=listing, digest=digest, fill=fail, now_ns=NOW)
    assert held(home) == {"HQ100001-1", "HQ100002-1", "HQ100003-1"}
    assert not [path for path in home.iterdir() if path.name.startswith(TEMP)]


def test_files_that_are_not_the_listings_are_never_placed(tmp_path: Path) -> None:
    home, source = make_cache(tmp_path / "cache"), package_folder(tmp_path / "p")
    with listing_of(source) as (listing, digest):
        data = bytearray((source / "image.bin").read_bytes())
        data[5] ^= 1
        (source / "image.bin").write_bytes(data)
        with pytest.raises(DamagedError, match=r"image\.bin is missing or is not as the listing has it"):
            place(home, "HQ100001", 1, listing=listing, digest=digest, fill=copy_of(source, listing), now_ns=NOW)
        with pytest.raises(DamagedError, match="not as its listing has it"):
            place(home, "HQ100001", 1, listing=listing, digest=digest, fill=lambda to: to.mkdir(), now_ns=NOW)
        with pytest.raises(DamagedError, match="its SHA-256 is"):
            place(home, "HQ100001", 1, listing=listing, digest="0" * 64, fill=lambda _: None, now_ns=NOW)
    assert held(home) == set()


def test_a_file_of_several_blocks_gets_a_listing_that_other_sites_would_make(tmp_path: Path) -> None:
    home, source = make_cache(tmp_path / "cache", size=10**8), package_folder(tmp_path / "p", size=(5 << 19) + 7)
    assert place_folder(home, "HQ100001", source).entry is not None
    assert held(home) == {"HQ100001-1"}


def test_a_full_disk_is_judged_like_a_full_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = full_cache(tmp_path)
    monkeypatch.setattr("courier.distribution.cache_place.free_space", lambda _: SIZE // 2)
    placing = place_folder(home, "HQ100004", package_folder(tmp_path / "p4"))
    assert [one.package for one in placing.evicted] == ["HQ100001"]
    monkeypatch.setattr("courier.distribution.cache_place.free_space", lambda _: 0)
    with changing(home) as cache:
        apply_settings(cache, reserve=100 * SIZE)
    assert place_folder(home, "HQ100005", package_folder(tmp_path / "p5")).entry is None
    assert "HQ100004-1" in held(home)


def test_a_disk_that_fills_up_is_named_and_the_entry_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = full_cache(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(NoSpaceError, match=f"the disk of {home} is full"):
            persist(home, Wanted(package="HQ100001"), on=True)
        with pytest.raises(NoSpaceError, match="placing HQ100004:1: the disk of"):
            place_folder(home, "HQ100004", package_folder(tmp_path / "p4"))
    assert held(home) == {"HQ100001-1", "HQ100002-1", "HQ100003-1"}
    assert not any(entry.persisted for entry in inventory(open_cache(home)).entries)


def damage_file(entry: Path) -> None:
    (entry / "files" / "image.bin").write_bytes(b"other")


def remove_record(entry: Path) -> None:
    (entry / "entry.json").unlink()


def add_file(entry: Path) -> None:
    (entry / "files" / "more").write_bytes(b"")


def empty_listing(entry: Path) -> None:
    (entry / "listing").write_bytes(b"")


def rename_entry(entry: Path) -> None:
    entry.rename(entry.with_name("HQ100001-9"))


@pytest.mark.parametrize("damage", [damage_file, remove_record, add_file, empty_listing, rename_entry])
def test_an_entry_changed_by_hand_is_named_and_never_counts_as_good(tmp_path: Path, damage: object) -> None:
    home = full_cache(tmp_path)
    assert callable(damage)
    damage(home / "HQ100001-1")
    found = inventory(open_cache(home))
    assert [one.path.name for one in found.damaged] == ["HQ100001-9" if damage is rename_entry else "HQ100001-1"]
    assert found.damaged[0].problem
    assert {one.name for one in found.entries} == {"HQ100002-1", "HQ100003-1"}
    with pytest.raises(DamagedError, match="HQ100001"):
        lock(home, Wanted(package="HQ100001"), by="x", now_ns=NOW)
    with pytest.raises(DamagedError, match="HQ100001"):
        move(home, tmp_path / "new")


def test_a_damaged_entry_is_replaced_by_placing_it_again(tmp_path: Path) -> None:
    home = full_cache(tmp_path)
    damage_file(home / "HQ100001-1")
    placing = place_folder(home, "HQ100001", tmp_path / "p1")
    assert placing.entry is not None
    assert not placing.already
    assert held(home) == {"HQ100001-1", "HQ100002-1", "HQ100003-1"}


def test_content_changed_with_size_and_time_kept_is_found_by_its_digest(tmp_path: Path) -> None:
    home = full_cache(tmp_path)
    file = home / "HQ100001-1" / "files" / "image.bin"
    before = file.stat()
    file.write_bytes(bytes(before.st_size))
    os.utime(file, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert not inventory(open_cache(home)).damaged
    assert [one.path.name for one in inventory(open_cache(home), digests=True).damaged] == ["HQ100001-1"]
    with pytest.raises(DamagedError):
        move(home, tmp_path / "new")
    assert open_cache(home).content == home


def test_two_programs_do_not_change_one_cache_at_once(tmp_path: Path) -> None:
    home = full_cache(tmp_path)
    with changing(home), pytest.raises(BusyError, match="another program is changing the cache"):
        persist(home, Wanted(package="HQ100001"), on=True)


@posix
def test_only_the_owner_or_root_changes_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = full_cache(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 4242)
    with pytest.raises(RefusedError, match="belongs to user"):
        persist(home, Wanted(package="HQ100001"), on=True)
    assert len(inventory(open_cache(home)).entries) == 3


def test_a_cache_that_was_taken_away_is_not_made_anew_where_its_disk_was(tmp_path: Path) -> None:
    source = package_folder(tmp_path / "p")
    with pytest.raises(NotFoundError, match="is not there"):
        place_folder(tmp_path / "disk" / "cache", "HQ100001", source)
    home = full_cache(tmp_path)
    (home / "cache.json").unlink()
    with pytest.raises(DamagedError, match=r"but no cache\.json"):
        place_folder(home, "HQ100001", source)
    with pytest.raises(UsageError, match="holds other files"):
        place_folder(source, "HQ100001", source)


def test_a_moved_cache_whose_folder_was_taken_away_says_so(tmp_path: Path) -> None:
    home = full_cache(tmp_path)
    move(home, tmp_path / "new")
    (tmp_path / "new").rename(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match="which is not there"):
        place_folder(home, "HQ100004", tmp_path / "p1")


def test_a_move_there_and_back_keeps_every_entry_and_what_is_said_of_it(tmp_path: Path) -> None:
    home = full_cache(tmp_path)
    lock(home, Wanted(package="HQ100002"), by="x", now_ns=NOW)
    before = inventory(open_cache(home)).entries
    for target in (tmp_path / "new", tmp_path / "newer", home):
        assert move(home, target).entries == 3
        assert open_cache(home).content == target
        assert inventory(open_cache(home), digests=True).entries == before
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "newer").exists()
    assert sorted(path.name for path in home.iterdir()) == [
        "HQ100001-1",
        "HQ100002-1",
        "HQ100003-1",
        "cache.json",
        "cache.lock",
    ]


def test_a_cache_moves_into_no_folder_of_others_and_not_into_itself(tmp_path: Path) -> None:
    home = full_cache(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for target in (tmp_path / "other", tmp_path / "other" / "file", home / "sub", tmp_path):
        with pytest.raises(UsageError):
            move(home, target)
    assert held(home) == {"HQ100001-1", "HQ100002-1", "HQ100003-1"}


@posix
@pytest.mark.slow
@pytest.mark.parametrize("back", [False, True], ids=["away", "back"])
def test_a_move_killed_at_any_step_loses_nothing_and_goes_on(tmp_path: Path, back: bool) -> None:
    step = 0
    killed = True
    while killed:
        step += 1
        root = tmp_path / str(step)
        root.mkdir()
        home = full_cache(root)
        target = root / "new"
        if back:
            move(home, target)
            target = home
        killed = killed_at(step, partial(move, home, target))
        assert held(home) == {"HQ100001-1", "HQ100002-1", "HQ100003-1"}
        move(home, target)
        assert open_cache(home).content == target
        assert held(home) == {"HQ100001-1", "HQ100002-1", "HQ100003-1"}
        old = root / "new" if back else home
        assert not old.exists() or {path.name for path in old.iterdir()} <= {"cache.json", "cache.lock"}
    assert step > 30


@posix
@pytest.mark.slow
def test_a_placing_killed_at_any_step_leaves_whole_entries_and_goes_on(tmp_path: Path) -> None:
    step = 0
    killed = True
    source = package_folder(tmp_path / "p4")
    while killed:
        step += 1
        root = tmp_path / str(step)
        root.mkdir()
        home = full_cache(root)
        killed = killed_at(step, partial(place_folder, home, "HQ100004", source))
        assert held(home) >= {"HQ100002-1", "HQ100003-1"}
        place_folder(home, "HQ100004", source)
        assert held(home) == {"HQ100002-1", "HQ100003-1", "HQ100004-1"}
        assert not [path for path in home.iterdir() if path.name.startswith(TEMP)]
    assert step > 10


def test_settings_say_who_set_them_and_wrong_ones_change_nothing(tmp_path: Path) -> None:
    home = make_cache(tmp_path / "cache")
    with changing(home) as cache:
        apply_settings(cache, size=2 * SIZE, minimum_age=60, set_by="HQ1")
        for wrong in ({"size": 0}, {"minimum_age": 10081}, {"reserve": -1}):
            with pytest.raises(UsageError, match="settings of the cache"):
                apply_settings(cache, **wrong)  # type: ignore[arg-type]
    settings = open_cache(home).settings
    assert (settings.size, settings.minimum_age, settings.set_by) == (2 * SIZE, 60, "HQ1")
