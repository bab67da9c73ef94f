"""State is captured and restored as it was; what cannot be read is said; a point cannot change what comes back."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from journey import environment
from state_samples import EVERYTHING, MIGRATION, Bench, described, full_tree, refusing

from courier.deployment import state_objects, state_tree
from courier.deployment.shared_files import write_new
from courier.deployment.state_capture import capture
from courier.deployment.state_keys import MigrationKeys
from courier.deployment.state_manifest import manifest_rows
from courier.deployment.state_objects import ObjectWriter
from courier.deployment.state_restore import files_of, restore
from courier.deployment.state_rules import make_rules
from courier.deployment.state_store import MigrationFolder
from courier.deployment.state_walk import preview
from courier.errors import (
    BusyError,
    CourierError,
    DamagedError,
    NoSpaceError,
    NotFoundError,
    RefusedError,
    StoppedError,
    UsageError,
)
from courier.packages.tree_root import TreeRoot
from formats.age import Identity
from formats.documents.state import MANIFEST, FileRow, ZerosRow


@pytest.fixture
def bench(quick: Path, tmp_path: Path) -> Bench:
    # Some file systems in memory know no attributes of users; names and flushes are the same.
    folder = quick / tmp_path.name
    folder.mkdir()
    return Bench.make(folder)


# --- as it was ------------------------------------------------------------------------------------------------------


def test_everything_comes_back_as_it_was(bench: Bench) -> None:
    full_tree(bench.source)
    done = bench.capture()
    assert done.is_complete and not done.left
    back = bench.restore()
    assert described(bench.target) == described(bench.source)
    assert (back.files, back.bytes, back.aside) == (done.files, done.bytes, 0)


def test_attributes_and_holes_come_back(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path)
    path = bench.source / "file"
    with path.open("wb") as out:
        out.seek(32 << 20)
        out.write(b"end")
    if not hasattr(os, "setxattr"):
        pytest.skip("elsewhere: no extended attributes on this system")
    os.setxattr(path, "user.origin", b"\0\xff")
    os.setxattr(bench.source, "user.top", b"1")
    bench.capture()
    bench.restore()
    assert described(bench.target) == described(bench.source)
    assert os.getxattr(bench.target / "file", "user.origin") == b"\0\xff"
    assert (bench.target / "file").stat().st_blocks * 512 < 1 << 20


def test_only_what_the_rules_take_is_captured(bench: Bench) -> None:
    for name in ("home/a/x.txt", "home/a/.cache/y", "home/b/huge", "etc/passwd"):
        path = bench.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1" * (2000 if path.name == "huge" else 10))
    os.mkfifo(bench.source / "home" / "a" / "pipe")
    (bench.source / "home").chmod(0o711)
    rules = make_rules(["home/*", "srv"], ["**/.cache"], 1000)
    done = bench.capture(rules)
    assert [(one.path, one.why) for one in done.left] == [("home/a/pipe", "special"), ("home/b/huge", "large")]
    assert done.is_complete and done.unmatched == ("srv",)
    seen = preview(bench.source, rules)
    assert (seen.files, seen.bytes, seen.left, seen.unmatched) == (1, 10, list(done.left), ["srv"])
    bench.restore()
    assert set(described(bench.target)) == {b"home", b"home/a", b"home/a/x.txt", b"home/b"}
    assert stat.S_IMODE((bench.target / "home").stat().st_mode) == 0o711


def test_rules_that_name_nothing_are_no_capture(bench: Bench) -> None:
    (bench.source / "x").write_bytes(b"1")
    with pytest.raises(NotFoundError, match="nothing that the rules name"):
        bench.capture(make_rules(["hoem/*"]))
    assert not bench.folder.key_ids()


def test_our_own_folders_are_not_captured(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path)
    (bench.source / "x").write_bytes(b"1")
    done = capture(bench.place(), tmp_path, EVERYTHING, work=bench.root / "work")
    assert done.files == 1


# --- what cannot be read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ETXTBSY])
def test_what_cannot_be_read_is_listed_and_makes_the_capture_partial(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (bench.source / "locked").write_bytes(b"1")
    (bench.source / "open").write_bytes(b"2")
    with monkeypatch.context() as patched:
        patched.setattr(TreeRoot, "open", refusing(bench.source / "locked", number))
        done = bench.capture()
    assert not done.is_complete
    assert [(one.path, one.why) for one in done.left] == [("locked", "unread")]
    assert os.strerror(number) in done.left[0].reason
    back = bench.restore()
    assert back.unread == 1 and set(described(bench.target)) == {b"open"}
    # Once it can be read, the same capture again is complete, and writes only what was not there.
    again = bench.capture()
    assert again.is_complete and (again.number, again.written) == (2, 1)
    assert bench.restore().unread == 0 and set(described(bench.target)) == {b"locked", b"open"}


def test_a_file_that_changes_while_it_is_read_is_listed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bench.source / "log"
    path.write_bytes(b"1")
    real = ObjectWriter.put

    def grows(self: ObjectWriter, content: bytes) -> str:
        with path.open("ab") as out:
            out.write(b"more")
        return real(self, content)

    monkeypatch.setattr(ObjectWriter, "put", grows)
    done = bench.capture()
    assert [(one.path, one.reason) for one in done.left] == [("log", "it changed while it was read")]
    assert not done.is_complete


def test_a_folder_that_cannot_be_listed_makes_the_capture_partial(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.source / "closed").mkdir()
    (bench.source / "x").write_bytes(b"1")
    real = TreeRoot.names

    def names(self: TreeRoot, name: str) -> list[str]:
        if name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return real(self, name)

    monkeypatch.setattr(TreeRoot, "names", names)
    done = bench.capture()
    assert not done.is_complete and [one.path for one in done.left] == ["closed"]


# --- again, and after a kill -----------------------------------------------------------------------------------------


def test_a_capture_that_finds_nothing_new_is_the_one_that_is_there(bench: Bench) -> None:
    full_tree(bench.source)
    first, again = bench.capture(), bench.capture()
    assert (again.is_new, again.number, again.written) == (False, first.number, 0)


def test_a_later_capture_takes_nothing_away_from_an_earlier_one(bench: Bench) -> None:
    (bench.source / "a").write_bytes(b"1")
    (bench.source / "b").write_bytes(b"2")
    bench.capture()
    (bench.source / "b").unlink()
    second = bench.capture()
    assert (second.number, second.before, second.written) == (2, 2, 0)
    bench.restore()
    assert set(described(bench.target)) == {b"a"}
    bench.restore(number=1)
    assert set(described(bench.target)) == {b"a", b"b"}
    with pytest.raises(NotFoundError, match="no capture 3"):
        bench.restore(number=3)


def test_a_client_that_lost_its_key_begins_anew_and_the_newest_capture_counts(bench: Bench) -> None:
    (bench.source / "a").write_bytes(b"1")
    bench.capture()
    (bench.source / "a").write_bytes(b"22")
    done = bench.capture(work="another")
    assert done.number == 2 and len(bench.folder.key_ids()) == 2
    bench.restore()
    assert (bench.target / "a").read_bytes() == b"22"


def test_a_computer_that_captures_for_itself_goes_on_without_its_work_folder(bench: Bench) -> None:
    (bench.source / "a").write_bytes(b"1" * 5000)
    bench.capture()
    again = bench.capture(work="after the wipe", identity=bench.destination.to_text())
    assert (again.is_new, again.written) == (False, 0)


CAPTURE = """
import os, signal, sys
from pathlib import Path
from courier.deployment import state_objects, state_store
from state_samples import Bench, EVERYTHING
from formats.age import Identity

root, where, when = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
owner, name = {"put": (state_objects.ObjectWriter, "put"), "flush": (state_objects.ObjectWriter, "flush"),
               "record": (state_store.MigrationFolder, "finish")}[where]
real, calls = getattr(owner, name), 0

def dies(*arguments, **more):
    global calls
    calls += 1
    if calls == when:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **more)

setattr(owner, name, dies)
state_objects._BATCH_FILES = 4
keys = [Identity.from_text(text) for text in sys.argv[4:6]]
Bench(root=root, destination=keys[0], recovery=keys[1]).capture()
"""


@pytest.mark.parametrize(("where", "when"), [("put", 15), ("flush", 3), ("record", 1)])
def test_a_capture_that_was_killed_goes_on_and_writes_nothing_twice(bench: Bench, where: str, when: int) -> None:
    for n in range(20):
        (bench.source / f"f{n:02}").write_bytes(os.urandom(100))
    keys = [bench.destination.to_text(), bench.recovery.to_text()]
    support = Path(__file__).resolve().parents[2] / "support"
    killed = subprocess.run(
        [sys.executable, "-c", CAPTURE, str(bench.root), where, str(when), *keys],
        env=environment(PYTHONPATH=os.pathsep.join([environment()["PYTHONPATH"], str(support)])),
        check=False,
    )
    assert killed.returncode == -9
    there = {path: path.stat().st_mtime_ns for path in bench.objects()}
    assert there
    with pytest.raises(NotFoundError):
        bench.restore()
    done = bench.capture()
    assert done.written == (20 - len(there)) * 100 and done.number == 1
    assert {path: path.stat().st_mtime_ns for path in there} == there
    bench.restore()
    assert described(bench.target) == described(bench.source)
    assert not list(bench.point.rglob(".courier-tmp-*"))


def test_a_restore_that_was_killed_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    full_tree(bench.source)
    bench.capture()
    monkeypatch.setattr("courier.deployment.state_tree._BATCH_FILES", 2)
    real, left = TreeRoot.rename, 3

    class KilledError(BaseException):
        """What no code of ours clears up after, as after a kill."""

    def dies(self: TreeRoot, name: str, new: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KilledError
        real(self, name, new)

    with monkeypatch.context() as patched:
        patched.setattr(TreeRoot, "rename", dies)
        with pytest.raises(KilledError):
            bench.restore()
    assert list(bench.target.rglob(".courier-tmp-*"))
    back = bench.restore()
    assert back.aside == 0 and back.written < back.bytes
    assert described(bench.target) == described(bench.source)


def test_a_stopped_capture_and_restore_go_on(bench: Bench) -> None:
    full_tree(bench.source)
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        capture(bench.place(), bench.source, EVERYTHING, work=bench.root / "work", stop=stop)
    bench.capture()
    with pytest.raises(StoppedError):
        restore(bench.place(identity=bench.destination.to_text()), bench.target, stop=stop)
    bench.restore()
    assert described(bench.target) == described(bench.source)


def test_an_object_that_was_damaged_meanwhile_is_written_again(bench: Bench) -> None:
    (bench.source / "a").write_bytes(b"1" * 5000)
    bench.capture()
    bench.objects()[0].write_bytes(b"rubbish")
    assert bench.capture().written == 5000
    bench.restore()
    assert described(bench.target) == described(bench.source)


# --- room -----------------------------------------------------------------------------------------------------------


def test_a_point_without_room_is_refused_before_anything_is_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.source / "a").write_bytes(b"1" * 5000)
    monkeypatch.setattr("courier.deployment.state_capture.free_space", lambda _: 1_004_999)
    with pytest.raises(NoSpaceError, match="5,000 bytes"):
        bench.capture(min_free="1000000")
    assert not bench.objects()
    monkeypatch.setattr("courier.deployment.state_capture.free_space", lambda _: 1_005_000)
    bench.capture(min_free="1000000")


def test_a_disk_that_fills_up_ends_with_exit_5_and_goes_on_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(10):
        (bench.source / f"f{n}").write_bytes(os.urandom(100))
    monkeypatch.setattr("courier.deployment.state_objects._BATCH_FILES", 2)
    real, calls = write_new, 0

    def full(path: Path, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(state_objects, "write_new", full)
        with pytest.raises(NoSpaceError, match="is full") as caught:
            bench.capture()
    assert caught.value.exit_code == 5
    assert bench.capture().written == 400
    bench.restore()
    assert described(bench.target) == described(bench.source)


def test_the_minimum_of_free_space_is_kept_in_the_middle_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.source / "a").write_bytes(b"1" * 5000)
    monkeypatch.setattr("courier.deployment.state_objects.free_space", lambda _: 1_000_100)
    with pytest.raises(NoSpaceError, match="in reserve"):
        bench.capture(min_free="1000000")


# --- what stands in the way -----------------------------------------------------------------------------------------


def test_what_stands_in_the_way_is_kept_and_listed(bench: Bench) -> None:
    for name in ("same", "other", "was folder", "folder/x"):
        (bench.source / name).parent.mkdir(exist_ok=True)
        (bench.source / name).write_bytes(b"captured")
    (bench.source / "link").symlink_to("same")
    bench.capture()
    bench.target.mkdir()
    (bench.target / "same").write_bytes(b"captured")
    kept = (bench.target / "same").stat().st_ino
    (bench.target / "other").write_bytes(b"here before")
    (bench.target / "other.before-restore").write_bytes(b"from an earlier time")
    (bench.target / "was folder").mkdir()
    (bench.target / "folder").write_bytes(b"a file")
    (bench.target / "link").write_bytes(b"no link")
    back = bench.restore()
    assert set(back.kept_aside) == {
        "folder.before-restore",
        "link.before-restore",
        "other.before-restore-2",
        "was folder.before-restore",
    }
    assert back.aside == 4
    assert (bench.target / "other.before-restore-2").read_bytes() == b"here before"
    assert (bench.target / "other.before-restore").read_bytes() == b"from an earlier time"
    assert (bench.target / "folder.before-restore").read_bytes() == b"a file"
    assert (bench.target / "same").stat().st_ino == kept
    there = described(bench.target)
    assert all(there[path] == entry for path, entry in described(bench.source).items())
    assert bench.restore().aside == 0


def test_nothing_is_written_through_a_link(bench: Bench) -> None:
    (bench.source / "home").mkdir()
    (bench.source / "home" / "x").write_bytes(b"1")
    bench.capture()
    outside = bench.root / "outside"
    outside.mkdir()
    bench.target.mkdir()
    (bench.target / "home").symlink_to(outside)
    with pytest.raises(RefusedError, match="is a link"):
        bench.restore()
    assert not list(outside.iterdir())


def test_whoever_may_write_to_a_point_may_go_on_with_what_is_there(bench: Bench) -> None:
    bench.point.chmod(0o777)
    (bench.source / "a").write_bytes(b"1")
    other = Bench(root=bench.root, destination=bench.destination, recovery=bench.recovery, migration="f" * 32)
    before = os.umask(0o077)
    try:
        other.folder.reserve()
        other.capture()
    finally:
        os.umask(before)
    for path in [other.folder.path, *other.folder.path.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o444 == 0o444, path
        assert mode & 0o222 == 0o222 or not (path.is_dir() or path.name == "lock"), path


@pytest.mark.parametrize("path", ["a\\..\\x", "C:x", "nul", "end."])
def test_windows_makes_no_name_that_it_would_change(path: str) -> None:
    assert state_tree._name(path, windows=False) == path
    with pytest.raises(RefusedError, match="cannot keep this name"):
        state_tree._name(path, windows=True)


# --- who may read, and what a point can do --------------------------------------------------------------------------


def test_only_the_associated_computer_and_the_site_open_it(bench: Bench) -> None:
    (bench.source / "a").write_bytes(b"1")
    bench.capture()
    with pytest.raises(RefusedError, match="another computer") as caught:
        bench.restore(Identity.generate())
    assert caught.value.exit_code == 3
    bench.restore(bench.recovery)
    shutil.rmtree(bench.target)
    bench.restore()


def test_neither_names_nor_contents_can_be_read_at_the_point(bench: Bench) -> None:
    secret = b"the contents that nobody is to see"
    (bench.source / "a-name-that-nobody-is-to-see").write_bytes(secret)
    bench.capture()
    for path in bench.point.rglob("*"):
        assert "nobody" not in path.name and MIGRATION not in str(path)
        if path.is_file():
            assert b"nobody" not in path.read_bytes() and b"OLD" not in path.read_bytes()


def test_the_same_content_has_another_name_in_another_migration(quick: Path, tmp_path: Path) -> None:
    names = []
    for name in ("one", "two"):
        folder = quick / f"{tmp_path.name}-{name}"
        folder.mkdir()
        bench = Bench.make(folder)
        (bench.source / "a").write_bytes(b"1")
        (bench.source / "b").write_bytes(b"1")
        bench.capture()
        (found,) = bench.objects()  # once, however many files have it
        names.append(found.name)
    assert names[0] != names[1]


def _damage(bench: Bench, path: Path, how: str) -> None:
    others = [one for one in bench.objects() if one != path]
    match how:
        case "altered":
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            path.write_bytes(data)
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "removed":
            path.unlink()
        case "swapped":
            path.write_bytes(others[0].read_bytes())


@pytest.mark.parametrize("how", ["altered", "cut", "removed", "swapped"])
def test_every_file_at_the_point_that_was_damaged_is_found(bench: Bench, how: str) -> None:
    for n in range(3):
        (bench.source / f"f{n}").write_bytes(os.urandom(100))
    bench.capture()
    files = [*bench.objects(), *bench.point.rglob("*manifest.age"), *bench.point.rglob("*record.age")]
    files += bench.point.rglob("key.age")
    assert len(files) == 6
    for path in files:
        before = path.read_bytes()
        _damage(bench, path, how)
        with pytest.raises(CourierError) as caught:
            bench.restore()
        if path.name == "key.age" and how == "swapped":
            expected: type[CourierError] = RefusedError  # that is for another key
        else:
            expected = NotFoundError if how == "removed" and "record" in path.name else DamagedError
        assert type(caught.value) is expected, (path.name, caught.value)
        path.write_bytes(before)
        shutil.rmtree(bench.target, ignore_errors=True)
    bench.restore()


def test_a_capture_of_another_migration_is_not_taken_for_this_one(bench: Bench) -> None:
    """Whoever can write to the point knows the recipients, but not the ID of the migration."""
    (bench.source / "a").write_bytes(b"1")
    bench.capture()
    forged = Bench(root=bench.root, destination=bench.destination, recovery=bench.recovery, migration="f" * 32)
    forged.folder.reserve()
    (forged.source / "a").write_bytes(b"poison")
    forged.capture(work="forger")
    shutil.rmtree(bench.folder.path)
    shutil.move(forged.folder.path, bench.folder.path)
    with pytest.raises(DamagedError, match="another migration"):
        bench.restore()


def test_a_manifest_of_another_capture_is_refused(bench: Bench) -> None:
    (bench.source / "a").write_bytes(b"1")
    bench.capture()
    (bench.source / "b").write_bytes(b"2")
    bench.capture()
    first, second = sorted(bench.point.rglob("*.manifest.age"))
    second.write_bytes(first.read_bytes())
    with pytest.raises(DamagedError, match="not the manifest"):
        bench.restore()
    first_record, second_record = sorted(bench.point.rglob("*.record.age"))
    second_record.write_bytes(first_record.read_bytes())
    with pytest.raises(DamagedError, match="another capture"):
        bench.restore()


# --- mistakes -------------------------------------------------------------------------------------------------------


def test_mistakes_are_refused_with_what_helps(bench: Bench) -> None:
    (bench.source / "a").write_bytes(b"1")
    with pytest.raises(RefusedError, match="only restores"):
        bench.capture(restore_only=True)
    with pytest.raises(UsageError, match="captures nothing"):
        bench.capture(recipients=())
    with pytest.raises(NotFoundError, match="nothing of OLD was captured"):
        bench.restore()
    with pytest.raises(NotFoundError, match="nothing of OLD was captured"):
        bench.restore(migration=None)
    with pytest.raises(NotFoundError, match="is not at"):
        bench.capture(path=str(bench.root / "unmounted"))
    with pytest.raises(NotFoundError, match="does not exist"):
        capture(bench.place(), bench.root / "no", EVERYTHING, work=bench.root / "work")
    with pytest.raises(UsageError, match="not a folder"):
        capture(bench.place(), bench.source / "a", EVERYTHING, work=bench.root / "work")
    with MigrationFolder(bench.point, MIGRATION).working(), pytest.raises(BusyError):
        bench.capture()
    bench.folder.close()
    with pytest.raises(NotFoundError, match="no place for this migration"):
        bench.capture()


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    keys = MigrationKeys.make(MIGRATION)
    path = tmp_path / "manifest"
    rows, name = 12_000, "x" * 1500
    with path.open("wb") as out, keys.encrypting(out) as encrypted:
        for n in range(rows):
            file = FileRow(path=f"{n:06}{name}", mode=0, uid=0, gid=0, mtime_ns=0, size=1, linked=0, attributes=())
            encrypted.write(MANIFEST.line(file) + MANIFEST.line(ZerosRow(size=1)))
    tracemalloc.start()
    try:
        count = sum(len(pieces) for _, pieces in files_of(manifest_rows(path, keys)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == rows and path.stat().st_size > 18_000_000
    assert peak < 16_000_000
