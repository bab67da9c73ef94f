"""Whoever may write to a point can delay, and can neither hold us up for ever nor lead us to what lies elsewhere."""

from __future__ import annotations

import os
import stat
import tracemalloc
from pathlib import Path

import pytest
from state_samples import Bench

from courier.deployment.state_objects import ObjectWriter
from courier.errors import DamagedError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes and links in folders are of POSIX")


@pytest.fixture
def bench(quick: Path, tmp_path: Path) -> Bench:
    folder = quick / tmp_path.name
    folder.mkdir()
    made = Bench.make(folder)
    (made.source / "letter").write_bytes(b"Dear all")
    (made.source / "other").write_bytes(b"another")
    return made


def a_file(bench: Bench, kind: str) -> Path:
    return bench.objects()[0] if kind == "object" else next(bench.point.rglob(f"*{kind}.age"))


@pytest.mark.parametrize("kind", ["object", "key", "manifest", "record"])
@pytest.mark.parametrize("by", ["pipe", "link", "folder"])
def test_what_is_no_file_is_damage_and_nobody_waits_for_it(bench: Bench, kind: str, by: str) -> None:
    bench.capture()
    path = a_file(bench, kind)
    path.unlink()
    if by == "pipe":
        os.mkfifo(path)
    elif by == "link":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(DamagedError, match="no file"):
        bench.restore()
    assert not bench.target.exists() or not (bench.target / "letter").exists() or kind == "object"


def test_an_object_without_an_end_does_not_fill_the_memory(bench: Bench) -> None:
    bench.capture()
    with bench.objects()[0].open("r+b") as out:
        out.truncate(8 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedError, match="over"):
            bench.restore()
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_damaged_object_is_written_again_in_the_place_of_a_link_or_pipe(bench: Bench) -> None:
    bench.capture()
    one, other = bench.objects()
    one.unlink()
    one.symlink_to("/dev/zero")
    other.unlink()
    os.mkfifo(other)
    bench.capture()
    bench.restore()
    assert (bench.target / "letter").read_bytes() == b"Dear all"


def test_a_link_under_a_temporary_name_is_not_written_through(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is known where the object was there before: a writer may put a link there while a capture runs."""
    mine = bench.root / "mine"
    mine.write_bytes(b"precious")
    mine.chmod(0o600)
    bench.capture()
    real = ObjectWriter.__init__

    def planting(self: ObjectWriter, *given: object, **named: object) -> None:
        real(self, *given, **named)  # type: ignore[arg-type]
        for path in bench.objects():
            path.write_bytes(b"damaged")
            (path.parent.parent / f".courier-tmp-{path.name}").symlink_to(mine)

    monkeypatch.setattr(ObjectWriter, "__init__", planting)
    bench.capture()
    assert mine.read_bytes() == b"precious"
    assert stat.S_IMODE(mine.stat().st_mode) == 0o600
    bench.restore()


def test_a_link_in_the_place_of_the_lock_opens_no_other_file_to_others(bench: Bench) -> None:
    mine = bench.root / "key"
    mine.write_bytes(b"private")
    mine.chmod(0o600)
    bench.folder.path.chmod(0o2770)
    bench.folder.close()
    (bench.folder.path / "lock").unlink()
    (bench.folder.path / "lock").symlink_to(mine)
    with pytest.raises(DamagedError, match="lock"):
        bench.folder.reserve()
    assert stat.S_IMODE(mine.stat().st_mode) == 0o600


@pytest.mark.parametrize("what", ["folder", "key folder", "objects"])
def test_a_folder_that_became_a_link_is_not_written_into(bench: Bench, what: str) -> None:
    bench.capture()
    key_folder = next(path for path in bench.folder.path.iterdir() if path.is_dir())
    victim = bench.root / "elsewhere"
    victim.mkdir()
    folder = {"folder": bench.folder.path, "key folder": key_folder, "objects": key_folder / "objects"}[what]
    moved = folder.rename(bench.root / "moved")
    folder.symlink_to(moved if what == "folder" else victim)
    (bench.source / "new").write_bytes(b"new")
    with pytest.raises(DamagedError):
        bench.capture()
    assert not any(victim.iterdir())
