"""Files on disk: whole or not at all, one writer at a time, and the system's errors in words."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from courier import files
from courier.error_codes import Code
from courier.errors import BusyError, CourierError, DamagedError, NoSpaceError, NotFoundError, RefusedError, UsageError
from courier.files import (
    RESERVE,
    TEMP,
    atomic_file,
    explain_os,
    flush_files,
    free_space,
    locked,
    make_folder,
    remove_tree,
    require_space,
    sweep,
    sync_folder,
    write_atomic,
)

posix = pytest.mark.skipif(os.name != "posix", reason="elsewhere: POSIX only")


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_atomic(target, b"one")
    write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", [OSError, ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_while_writing_leaves_the_old_content(tmp_path: Path, kind: type[BaseException]) -> None:
    target = tmp_path / "a"
    write_atomic(target, b"old")
    with pytest.raises(kind), atomic_file(target) as out:
        out.write(b"new")
        raise kind
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_while_flushing_or_renaming_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a"
    write_atomic(target, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for place, name in ((os, "fsync"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, fail)
            with pytest.raises(OSError, match="No space"):
                write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_name_appears_with_its_whole_content_only(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with atomic_file(target) as out:
        out.write(b"half")
        out.flush()
        assert not target.exists()
        out.write(b" and half")
        out.seek(0)
        assert out.read() == b"half and half"
    assert target.read_bytes() == b"half and half"


def test_any_name_the_disk_holds_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "\U0001f4bf" * 63, "é" * 127):
        write_atomic(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with atomic_file(target) as first, atomic_file(target) as second:
        first.write(b"first")
        second.write(b"second")
    assert target.read_bytes() == b"first"


@posix
def test_a_private_file_is_its_owners_from_its_first_byte(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with atomic_file(tmp_path / "key", private=True) as out:
            (temporary,) = tmp_path.iterdir()
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
            out.write(b"secret")
        assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    finally:
        os.umask(before)


@posix
def test_every_new_folder_is_flushed_in_the_folder_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut may take the uppermost new folder with all that was flushed below it."""
    flushed: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", flushed.append)
    assert make_folder(tmp_path / "a/b/c") == tmp_path / "a/b/c"
    assert set(flushed) == {tmp_path, tmp_path / "a", tmp_path / "a/b"}
    flushed.clear()
    make_folder(tmp_path / "a/b/c")
    assert flushed == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file/a")


@posix
def test_a_file_system_that_cannot_flush_folders_is_no_error_and_a_failing_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FUSE, CIFS, 9p and WSL have many words for it: media are mounted through them."""
    refusals = ("EINVAL", "ENOTSUP", "EOPNOTSUPP", "EBADF", "ENOSYS", "EACCES", "EPERM")
    numbers = [(getattr(errno, name), False) for name in refusals]
    for number, raises in (*numbers, (errno.EIO, True), (errno.ENOSPC, True)):

        def fsync(_: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            if raises:
                with pytest.raises(OSError, match=os.strerror(number)) as caught:
                    sync_folder(tmp_path)
                assert caught.value.filename == str(tmp_path)
            else:
                sync_folder(tmp_path)


@pytest.mark.parametrize("count", [0, 1, 64, 65])
def test_a_batch_is_flushed_before_it_is_named(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / str(n) for n in range(count)]
    for path in paths:
        path.write_bytes(b"x")
    flushed: list[object] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    monkeypatch.setattr(os, "sync", lambda: flushed.extend(paths), raising=False)
    flush_files(paths)
    assert len(flushed) == count


def test_a_sweep_takes_temporary_names_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "keep").mkdir()
    (tmp_path / f"{TEMP}1").mkdir()
    (tmp_path / f"{TEMP}1/a").touch()
    (tmp_path / f"{TEMP}2").touch()
    (tmp_path / f"x{TEMP}").touch()
    (tmp_path / ".tmp-of another program").touch()
    sweep(tmp_path)
    sweep(tmp_path / "not there")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-of another program", "keep", f"x{TEMP}"]


@posix
def test_removing_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").touch()
    (tmp_path / f"{TEMP}link").symlink_to("folder")
    sweep(tmp_path)
    assert (tmp_path / "folder/file").exists()
    remove_tree(tmp_path / "folder")
    remove_tree(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


# --- locks ----------------------------------------------------------------------------------------------------------

HOLDER = """
import sys
from functools import partial
from pathlib import Path
from courier.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["released", "killed"])
def test_a_second_holder_is_refused_until_the_first_ends_however_it_ends(tmp_path: Path, end: str) -> None:
    lock = tmp_path / "site/lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError) as caught, locked(lock):
            pass
        assert caught.value.code == "busy"
        assert caught.value.hint
        if end == "killed":
            holder.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        else:
            assert holder.stdin is not None
            holder.stdin.close()
        holder.wait()
    with locked(lock):
        pass


def test_a_lock_is_held_against_the_same_process_and_freed_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), locked(tmp_path / "lock"):
        with pytest.raises(BusyError), locked(tmp_path / "lock"):
            pass
        raise ValueError("mine")
    with locked(tmp_path / "lock"):
        pass


def test_a_lock_is_held_against_other_threads(tmp_path: Path) -> None:
    def take() -> str | None:
        try:
            with locked(tmp_path / "lock"):
                return None
        except BusyError as error:
            return error.code

    with ThreadPoolExecutor(1) as other:
        with locked(tmp_path / "lock"):
            assert other.submit(take).result() == "busy"
        assert other.submit(take).result() is None


def test_what_a_lock_file_holds_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"kept")
    with locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "lock").read_bytes() == b"kept"
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@posix
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_that_knows_no_locks_is_not_said_to_be_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import fcntl

    def flock(*_: object) -> None:
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="No locks") as caught, locked(tmp_path / "lock"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    error = explain_os(caught.value)
    assert (error.code, error.exit_code) == (Code.NO_LOCKS, 3)
    assert str(tmp_path / "lock") in error.message
    assert "local disk" in error.hint


@posix
def test_a_disk_that_says_eacces_for_a_lock_that_is_held_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def flock(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(BusyError), locked(tmp_path / "lock"):
        pass


# --- space and errors -----------------------------------------------------------------------------------------------


def test_space_is_asked_for_before_the_first_byte(tmp_path: Path) -> None:
    free = free_space(tmp_path / "not/there/yet")
    assert free > 0
    require_space(tmp_path / "not/there/yet", 0, purpose="x")
    with pytest.raises(NoSpaceError) as caught:
        require_space(tmp_path, free * 2, purpose="building the parcel")
    assert "building the parcel" in caught.value.message
    assert caught.value.exit_code == 5


def test_the_reserve_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "free_space", lambda _: RESERVE + 100)
    require_space(tmp_path, 100, purpose="x")
    with pytest.raises(NoSpaceError) as caught:
        require_space(tmp_path, 101, purpose="x")
    assert caught.value.hint.startswith("free 1 bytes")


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, NoSpaceError, 5),
        (errno.EFBIG, NoSpaceError, 5),
        (errno.ENOENT, NotFoundError, 6),
        (errno.EACCES, RefusedError, 3),
        (errno.EROFS, RefusedError, 3),
        (errno.ENAMETOOLONG, UsageError, 2),
        (errno.EISDIR, UsageError, 2),
        (errno.EIO, DamagedError, 4),
        (errno.EMFILE, CourierError, 1),
        (None, CourierError, 1),
    ],
)
def test_errors_of_the_system_are_explained(number: int | None, kind: type[CourierError], code: int) -> None:
    for where in ("/media/x", b"/media/x", Path("/media/x"), None):
        error = OSError(number, os.strerror(number), where) if number is not None else OSError("odd")
        explained = explain_os(error)
        assert type(explained) is kind
        assert explained.exit_code == code
        assert explained.hint
        assert explained.message


def test_a_disk_that_fills_up_is_named_with_what_is_needed_and_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_space", lambda _: 5_000)
    for needed, says in ((1_234_567, "free space there"), (4_000, "out of file entries (df -i) or of a quota")):
        with (
            pytest.raises(
                NoSpaceError, match=f"copying: the disk of {tmp_path} is full .*{needed:,} bytes.* 5,000 are free"
            ) as no,
            files.naming_space(tmp_path, partial(int, needed), purpose="copying"),
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert says in no.value.hint
    with (
        pytest.raises(NoSpaceError, match="takes no file so large"),
        files.naming_space(tmp_path, int, purpose="copying"),
    ):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    with pytest.raises(OSError, match="odd"), files.naming_space(tmp_path, int, purpose="copying"):
        raise OSError(errno.EIO, "odd")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, atomic_file(tmp_path / "gone" / "ledger.jsonl"):
        pass
    assert error.value.filename == str(tmp_path / "gone" / "ledger.jsonl")
    assert error.value.strerror == f"the folder {tmp_path / 'gone'} does not exist"
