"""The site's side: points and their limits, places, release and deletion, recovery, and the commands."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from journey import run
from state_samples import EVERYTHING, described, full_tree

from courier.deployment import state_migrations, state_points
from courier.deployment.state_capture import capture
from courier.deployment.state_migrations import all_migrations, purge, recover, release, take_over
from courier.deployment.state_place import identity_of, state_place_for
from courier.deployment.state_points import NewStatePoint, add_point, remove_point
from courier.deployment.state_restore import restore
from courier.errors import BusyError, CourierError, DamagedError, NoSpaceError, NotFoundError, RefusedError, UsageError
from courier.files import locked
from courier.site.catalog import computers, state
from courier.site.catalog.computers import Association, Computer, KnownComputer
from courier.site.clock import now
from courier.site.home import Site, create_site
from courier.site.rotation import rotate_key
from formats.documents.deployment import StatePlace

DAY_NS = 86_400 * 10**9


@pytest.fixture
def site(quick: Path, tmp_path: Path) -> Iterator[Site]:
    folder = quick / tmp_path.name
    folder.mkdir()
    made = create_site(folder / "home", code="HQ1", name="Head office")
    with made.catalogue.writing() as connection:
        names = ("OLD", "NEW", "OTHER", "SELF", *(f"C{n}" for n in range(6)))
        computers.put(
            connection,
            [
                KnownComputer(
                    row=Computer(
                        name=name, guid="", client_class="", group_name="", protected=0, identity="", added_ns=1
                    )
                )
                for name in names
            ],
        )
    associate(made, "OLD", "NEW")
    yield made
    made.close()


def associate(site: Site, source: str, destination: str) -> None:
    with site.catalogue.writing() as connection:
        computers.associate(connection, Association(source=source, destination=destination, made_ns=1))


def folder(site: Site, name: str) -> Path:
    return site.home.parent / name


def point(site: Site, name: str = "P1", /, **changes: object) -> state.StatePoint:
    values: dict[str, object] = {"name": name, "path": folder(site, name), "max_clients": 2, "min_free": "0"}
    return add_point(site, NewStatePoint(**{**values, **changes}))  # type: ignore[arg-type]


def captured(site: Site, name: str = "OLD", content: bytes = b"1") -> StatePlace:
    """Capture a computer's state by its client, which has no site."""
    place = state_place_for(site, name, captures=True, restores=False)
    assert place is not None
    source = folder(site, f"source-{name}")
    source.mkdir(exist_ok=True)
    (source / "file").write_bytes(content)
    capture(place, source, EVERYTHING, work=folder(site, f"work-{name}"))
    return place


def states(site: Site) -> list[str]:
    take_over(site)
    return [row.state for row in all_migrations(site)]


# --- from capture to deletion ---------------------------------------------------------------------------------------


def test_what_clients_did_is_taken_over_from_the_point(site: Site) -> None:
    point(site)
    assert state_place_for(site, "OLD", captures=False, restores=False) is None
    old = captured(site)
    assert all_migrations(site)[0].state == "begun"  # the client has told nobody
    assert states(site) == ["complete"]
    row = all_migrations(site)[0]
    assert (row.files, row.bytes, row.skipped, row.source, row.destination) == (1, 1, 0, "OLD", "NEW")
    new = state_place_for(site, "new", captures=False, restores=True)
    assert new is not None and (new.migration, new.recipients) == (old.migration, ())
    assert old.identity is None and str(old.migration) not in repr(old)
    restore(new, folder(site, "target"))
    assert states(site) == ["restored"]
    (released,) = release(site, all_migrations(site))
    assert released.released_ns is not None and release(site, all_migrations(site)) == []
    done = purge(site)
    assert [row.source for row in done.deleted] == ["OLD"] and states(site) == ["deleted"]
    assert sorted(path.name for path in folder(site, "P1").iterdir()) == [state_points.MARKER]
    assert purge(site).deleted == ()


def test_deletion_counts_from_the_release_and_never_comes_before(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    point(site, delete_after=7 * 86_400)
    captured(site)
    begun = now()

    def at(days: float) -> None:
        monkeypatch.setattr(state_migrations, "now", lambda: begun + int(days * DAY_NS))

    at(1000)
    assert purge(site).deleted == () and states(site) == ["complete"]
    release(site, all_migrations(site))
    at(1006.9)
    ((_, due),) = purge(site).waiting
    assert due == begun + 1007 * DAY_NS
    # Until then the state can still be had, but nothing more is captured into it.
    recover(site, all_migrations(site)[0], folder(site, "recovered"))
    at(1007)
    assert len(purge(site).deleted) == 1


def test_a_released_migration_takes_no_more_captures_and_a_new_place_is_given(site: Site) -> None:
    point(site, delete_after=86_400)
    old = captured(site)
    release(site, all_migrations(site))
    with pytest.raises(NotFoundError, match="released"):
        capture(old, folder(site, "source-OLD"), EVERYTHING, work=folder(site, "work-OLD"))
    again = state_place_for(site, "OLD", captures=True, restores=False)
    assert again is not None and again.migration != old.migration


def test_what_is_captured_after_a_release_that_the_point_did_not_hear_of_is_kept(site: Site) -> None:
    point(site)
    old = captured(site)
    folder(site, "P1").rename(folder(site, "away"))
    release(site, all_migrations(site))
    folder(site, "away").rename(folder(site, "P1"))
    (folder(site, "source-OLD") / "file").write_bytes(b"newer")
    capture(old, folder(site, "source-OLD"), EVERYTHING, work=folder(site, "work-OLD"))
    ((_, error),) = purge(site).failures
    assert error.code == "state-held" and states(site) == ["complete"]
    assert all_migrations(site)[0].bytes == 5
    release(site, all_migrations(site))
    assert len(purge(site).deleted) == 1


def test_a_purge_that_was_killed_is_finished_by_the_next(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    point(site)
    captured(site)
    release(site, all_migrations(site))

    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(state_migrations, "sync_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            purge(site)
    assert states(site) == ["released"]
    assert len(purge(site).deleted) == 1
    assert sorted(path.name for path in folder(site, "P1").iterdir()) == [state_points.MARKER]


def test_a_point_that_is_not_mounted_is_said_and_nothing_is_given_up(site: Site) -> None:
    point(site)
    captured(site)
    assert states(site) == ["complete"]
    folder(site, "P1").rename(folder(site, "away"))
    folder(site, "P1").mkdir()
    assert "cannot be reached" in take_over(site)[0]
    with pytest.raises(NotFoundError, match="is not at"):
        state_place_for(site, "OLD", captures=True, restores=False)
    release(site, all_migrations(site))
    ((_, error),) = purge(site).failures
    assert isinstance(error, NotFoundError) and states(site) == ["released"]
    assert state_points.forget_lost_point(site, "P1") == 1
    assert states(site) == ["deleted"]


def test_a_damaged_record_is_named_when_states_are_listed(site: Site) -> None:
    point(site)
    captured(site)
    (record,) = folder(site, "P1").rglob("*.record.age")
    record.write_bytes(b"rubbish")
    (note,) = take_over(site)
    assert "OLD for NEW" in note
    shutil.rmtree(record.parent.parent)
    with pytest.raises(DamagedError, match="is gone"):
        recover(site, all_migrations(site)[0], folder(site, "recovered"))


# --- places ---------------------------------------------------------------------------------------------------------


def test_without_an_association_nothing_is_captured_or_restored(site: Site) -> None:
    point(site)
    for captures in (True, False):
        with pytest.raises(RefusedError) as caught:
            state_place_for(site, "other", captures=captures, restores=not captures)
        assert caught.value.code == "not-associated" and "courier computer associate" in caught.value.hint
    with pytest.raises(NotFoundError, match="no computer called NOBODY"):
        state_place_for(site, "NOBODY", captures=True, restores=False)
    assert all_migrations(site) == []


def test_the_same_computer_gets_the_same_place_until_it_was_restored(site: Site) -> None:
    point(site)
    first = captured(site)
    again = state_place_for(site, "OLD", captures=True, restores=False)
    assert again is not None and again.migration == first.migration
    new = state_place_for(site, "NEW", captures=False, restores=True)
    assert new is not None
    restore(new, folder(site, "target"))
    # What was restored is never overwritten by a capture of what came after.
    third = state_place_for(site, "OLD", captures=True, restores=False)
    assert third is not None and third.migration != first.migration


def test_policies_of_both_computers_may_be_made_before_the_capture(site: Site) -> None:
    point(site)
    with pytest.raises(NotFoundError, match="no state is kept"):
        state_place_for(site, "NEW", captures=False, restores=True, reserves=False)
    new = state_place_for(site, "NEW", captures=False, restores=True)
    old = captured(site)
    assert new is not None and new.migration == old.migration
    restore(new, folder(site, "target"))


def test_a_computer_captures_and_restores_its_own_state_only_when_associated_with_itself(site: Site) -> None:
    point(site)
    with pytest.raises(RefusedError, match="its state goes to NEW"):
        state_place_for(site, "OLD", captures=True, restores=True)
    associate(site, "SELF", "SELF")
    place = state_place_for(site, "SELF", captures=True, restores=True)
    assert place is not None and place.identity == identity_of(site, "self").to_text()
    assert identity_of(site, "SELF").recipient in place.recipients


def test_a_point_takes_no_more_clients_than_it_may_and_a_release_frees_a_place(site: Site) -> None:
    point(site)
    for n in range(3):
        associate(site, f"C{n}", f"C{n}")
    captured(site, "C0")
    state_place_for(site, "C1", captures=True, restores=False)
    with pytest.raises(RefusedError, match="holds the state of 2 clients") as caught:
        state_place_for(site, "C2", captures=True, restores=False)
    assert caught.value.code == "state-point-full"
    release(site, [row for row in all_migrations(site) if row.source == "C1"])
    state_place_for(site, "C2", captures=True, restores=False)


def test_captures_that_begin_at_once_cannot_pass_the_limit(site: Site) -> None:
    point(site, max_clients=3)
    for n in range(6):
        associate(site, f"C{n}", f"C{n}")

    def begin(n: int) -> bool:
        try:
            state_place_for(site, f"C{n}", captures=True, restores=False)
        except RefusedError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(begin, range(6))) == 3
    assert len(all_migrations(site)) == 3


def test_points_that_do_not_fit_say_why(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError, match="no state migration point"):
        state_place_for(site, "OLD", captures=True, restores=False)
    point(site, "RO", restore_only=True)
    with pytest.raises(RefusedError, match="only restores") as caught:
        state_place_for(site, "OLD", captures=True, restores=False)
    assert caught.value.code == "restore-only"
    point(site, "FULL", min_free="900TB")
    with pytest.raises(NoSpaceError, match=r"FULL is at its minimum of free space \(900.0 TB\); .*RO only restores"):
        state_place_for(site, "OLD", captures=True, restores=False)
    point(site, "GOOD")
    place = state_place_for(site, "OLD", captures=True, restores=False)
    assert place is not None and place.point == "GOOD"


def test_several_that_wait_for_one_computer_are_told_apart(site: Site) -> None:
    point(site)
    captured(site, "OLD", b"1")
    associate(site, "OTHER", "NEW")
    other = captured(site, "OTHER", b"2")
    with pytest.raises(UsageError, match="OLD and of OTHER waits for NEW"):
        state_place_for(site, "NEW", captures=False, restores=True)
    assert other.migration is not None
    place = state_place_for(site, "NEW", captures=False, restores=True, migration=other.migration[:12])
    assert place is not None and place.source == "OTHER"
    with pytest.raises(NotFoundError):
        state_place_for(site, "NEW", captures=False, restores=True, migration="ffff")


# --- the points -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "a b"}, UsageError),
        ({"max_clients": 0}, UsageError),
        ({"min_free": "100%"}, UsageError),
        ({"min_free": "lots"}, UsageError),
        ({"delete_after": -1}, UsageError),
        ({"name": "P1"}, UsageError),
    ],
)
def test_a_point_with_a_wrong_setting_is_refused(
    site: Site, changes: dict[str, object], error: type[CourierError]
) -> None:
    point(site)
    with pytest.raises(error):
        point(site, **{"name": "P2", "path": folder(site, "P2"), **changes})
    assert not folder(site, "P2").exists()


def test_a_point_has_a_folder_of_its_own(site: Site) -> None:
    row = point(site)
    with pytest.raises(RefusedError, match="another state migration point"):
        point(site, "P2", path=Path(row.path))
    with pytest.raises(NotFoundError, match="does not exist"):
        point(site, "P2", path=folder(site, "no") / "P2")
    with pytest.raises(RefusedError, match="private keys"):
        point(site, "P2", path=site.home / "P2")
    folder(site, "used").mkdir()
    (folder(site, "used") / "letter").write_bytes(b"")
    with pytest.raises(RefusedError, match="'letter'"):
        point(site, "P2", path=folder(site, "used"))


def test_a_point_is_removed_when_it_holds_nothing(site: Site) -> None:
    point(site)
    captured(site)
    with pytest.raises(RefusedError, match="still holds the state of OLD for NEW"):
        remove_point(site, "P1")
    with pytest.raises(RefusedError, match="not lost"):
        state_points.forget_lost_point(site, "P1")
    release(site, all_migrations(site))
    with pytest.raises(RefusedError, match="still holds"):
        remove_point(site, "P1")
    purge(site)
    remove_point(site, "P1")
    point(site)  # the folder is free again


# --- recovery -------------------------------------------------------------------------------------------------------


def test_the_site_recovers_what_the_new_computer_cannot_have_any_more(site: Site) -> None:
    point(site)
    captured(site)
    with site.catalogue.writing() as connection:
        computers.remove(connection, "NEW")
    done = recover(site, all_migrations(site)[0], folder(site, "recovered"))
    assert done.files == 1 and (folder(site, "recovered") / "file").read_bytes() == b"1"
    assert states(site) == ["begun"]  # nobody restored it, and its key is gone


def test_after_a_lost_catalogue_a_point_is_taken_in_by_the_recovery_key(site: Site) -> None:
    row = point(site)
    captured(site)
    with site.catalogue.writing() as connection:
        connection.exec_driver_sql("DELETE FROM state_migration")
    assert state_migrations.adopt(site, dataclasses.replace(row))[0].state == "complete"
    assert state_migrations.adopt(site, row) == []
    found = all_migrations(site)[0]
    assert (found.source, found.destination, found.files) == ("OLD", "NEW", 1)
    recover(site, found, folder(site, "recovered"))


def test_the_recovery_key_is_as_private_as_the_other_keys(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site.keyring.recovery_identities() == []
    recipient = site.keyring.recovery_recipient()
    assert [one.recipient for one in site.keyring.recovery_identities()] == [recipient]
    assert (site.home / "keys" / "state-recovery.key").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("COURIER_KEY_PASSPHRASE", "open sesame")
    locked_site = create_site(folder(site, "locked"), code="LO1", name="Locked", passphrase=True)
    first = locked_site.keyring.recovery_recipient()
    text = (locked_site.home / "keys" / "state-recovery.key").read_text()
    assert text.startswith("-----BEGIN ENCRYPTED") and "AGE-SECRET" not in text
    assert [one.recipient for one in locked_site.keyring.recovery_identities()] == [first]
    locked_site.close()


def test_keys_that_are_rotated_take_the_recovery_key_along(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    point(site)
    captured(site)
    path = site.home / "keys" / "state-recovery.key"
    before = site.keyring.recovery_recipient()
    monkeypatch.setenv("COURIER_KEY_PASSPHRASE", "open sesame")
    rotate_key(site, passphrase=True)
    assert path.read_text().startswith("-----BEGIN ENCRYPTED") and site.keyring.recovery_recipient() == before
    rotate_key(site, lost=True)
    after = site.keyring.recovery_recipient()
    assert after != before
    assert [one.recipient for one in site.keyring.recovery_identities()] == [after, before]
    recover(site, all_migrations(site)[0], folder(site, "recovered"))


# --- the commands ---------------------------------------------------------------------------------------------------


def test_the_commands_from_a_point_to_its_removal(site: Site) -> None:
    home = ("--home", site.home)
    source, target = folder(site, "source"), folder(site, "target")
    full_tree(source)

    def state_command(*words: object, code: int = 0) -> dict[str, object]:
        return run("state", *words, *home, "--json", code=code).document

    assert state_command("list")["migrations"] == []
    assert state_command("purge")["deleted"] == []
    state_command("release", "NEW", code=6)
    state_command("point", "add", "P1", folder(site, "P1"), "--min-free", "1MB", "--delete-after", "7d")
    state_command("point", "add", "P1", folder(site, "P2"), code=2)
    state_command("restore", "NEW", "--into", target, code=6)
    rules = folder(site, "rules.toml")
    rules.write_text('include = ["home/*"]\n')
    seen = state_command("capture", "OLD", "--from", source, "--rules", rules, "--preview")
    assert state_command("list")["migrations"] == []
    done = state_command("capture", "old", "--from", source, "--rules", rules)
    assert (done["complete"], done["files"], done["bytes"]) == (True, seen["files"], seen["bytes"])
    again = state_command("capture", "OLD", "--from", source, "--include", "home/*")
    assert (again["new"], again["written_bytes"]) == (False, 0)
    state_command("release", "NEW", code=3)  # it was never restored, and nobody says yes
    back = state_command("restore", "NEW", "--into", target)
    assert back["files"] == done["files"] and described(target) == described(source)
    state_command("recover", str(done["migration"])[:12], "--into", folder(site, "recovered"))
    assert described(folder(site, "recovered")) == described(source)
    state_command("point", "remove", "P1", code=3)
    assert state_command("release", "NEW")["released"] == [done["migration"]]
    state_command("release", "NEW", code=6)
    state_command("restore", "NEW", "--into", target, code=6)
    waiting = state_command("purge")["waiting"]
    assert isinstance(waiting, list) and len(waiting) == 1


def test_a_name_releases_what_was_restored_and_not_what_waits_beside_it(site: Site) -> None:
    """By a script that answers all questions with yes, too."""
    home = ("--home", site.home, "--json")
    point(site, "P1")
    associate(site, "OLD", "OLD")
    captured(site, "OLD", b"first")
    run("state", "restore", "OLD", "--into", folder(site, "target"), *home)
    later = captured(site, "OLD", b"second")
    done = run("state", "release", "OLD", "--yes", *home).document
    assert len(done["released"]) == 1 and done["kept"] == [later.migration]
    assert states(site)[-1] == "complete"
    assert later.migration
    assert run("state", "release", later.migration[:12], "--yes", *home).document["released"] == [later.migration]


def test_a_partial_capture_ends_with_exit_4_and_its_document(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    point(site)
    source = folder(site, "source")
    source.mkdir()
    for name in ("locked", "open"):
        (source / name).write_bytes(b"1")
    from state_samples import refusing

    from courier.packages.tree_root import TreeRoot

    monkeypatch.setattr(TreeRoot, "open", refusing(source / "locked", 13))
    ran = run("state", "capture", "OLD", "--from", source, "--include", "*", "--home", site.home, "--json", code=4)
    assert ran.error["code"] == "partial-state" and ran.document["unread"] == 1
    assert states(site) == ["partial"]


def test_a_migration_in_use_is_not_deleted(site: Site) -> None:
    point(site)
    captured(site)
    release(site, all_migrations(site))
    (lock,) = folder(site, "P1").glob("*/lock")
    with locked(lock):
        ((_, error),) = purge(site).failures
    assert isinstance(error, BusyError) and os.path.exists(lock)  # noqa: PTH110
    assert len(purge(site).deleted) == 1
