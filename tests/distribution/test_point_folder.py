"""A folder of a point that others write to: no link is followed, in reading, writing or deleting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from courier.distribution.folder import PointFolder
from courier.errors import RefusedError
from formats.documents.point import content_path

SHA = "ab" + "0" * 62
PATH = content_path(SHA)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere: links and pipes are made as POSIX has them")


@pytest.fixture(params=["relative", "by name"])
def folder(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[PointFolder]:
    if request.param == "by name":  # as on a system that opens nothing relative to a folder
        monkeypatch.setattr("courier.distribution.folder._RELATIVE", False)
    (tmp_path / "point").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / SHA).write_bytes(b"secret")
    with PointFolder(tmp_path / "point") as opened:
        yield opened


def put(folder: PointFolder, path: str, data: bytes) -> None:
    new, out = folder.create()
    with out:
        out.write(data)
    assert folder.size(path) is None or path in {PATH}
    folder.place(new, path)
    folder.flush([path])


def test_a_file_appears_under_its_name_when_it_is_placed(folder: PointFolder) -> None:
    new, out = folder.create()
    with out:
        out.write(b"bytes")
    assert folder.size(PATH) is None
    folder.place(new, PATH)
    assert folder.size(PATH) == 5
    with folder.open(PATH) as source:
        assert source.read() == b"bytes"
    assert folder.names("content/ab") == [SHA]
    assert folder.path(PATH).stat().st_mode & 0o777 == 0o644
    assert folder.delete(PATH)
    assert not folder.delete(PATH)


@pytest.mark.parametrize("planted", ["content", "content/ab", PATH])
def test_what_lies_behind_a_planted_link_is_neither_read_nor_deleted(folder: PointFolder, planted: str) -> None:
    outside = folder.folder.parent / "outside"
    if planted != PATH:
        (outside / "ab").mkdir(exist_ok=True)
        (outside / "ab" / SHA).write_bytes(b"secret")
    at = folder.path(planted)
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(outside / SHA if planted == PATH else outside)
    assert folder.size(PATH) is None
    with pytest.raises(FileNotFoundError):
        folder.open(PATH)
    if planted != PATH:
        assert folder.names(planted) == []
        assert not folder.delete(PATH)
    assert (outside / SHA).read_bytes() == b"secret"


@pytest.mark.parametrize("planted", ["content", "content/ab", ".courier", ".courier/new"])
def test_nothing_is_written_through_a_planted_link(folder: PointFolder, planted: str) -> None:
    outside = folder.folder.parent / "outside"
    before = sorted(outside.rglob("*"))
    at = folder.path(planted)
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(outside)
    with pytest.raises(RefusedError, match="link"):
        put(folder, PATH, b"bytes")
    assert sorted(outside.rglob("*")) == before


def test_a_link_in_the_place_of_a_file_is_replaced_and_what_it_named_stays(folder: PointFolder) -> None:
    outside = folder.folder.parent / "outside" / SHA
    folder.path("content/ab").mkdir(parents=True)
    folder.path(PATH).symlink_to(outside)
    put(folder, PATH, b"bytes")
    assert not folder.path(PATH).is_symlink()
    assert folder.path(PATH).read_bytes() == b"bytes"
    assert outside.read_bytes() == b"secret"


def test_a_folder_or_pipe_in_the_place_of_a_file_is_no_file(folder: PointFolder) -> None:
    folder.path(PATH).mkdir(parents=True)
    assert folder.size(PATH) is None
    with pytest.raises(FileNotFoundError):
        folder.open(PATH)
    with pytest.raises(RefusedError):
        put(folder, PATH, b"bytes")
    folder.path(PATH).rmdir()
    os.mkfifo(folder.path(PATH))
    with pytest.raises(FileNotFoundError):
        folder.open(PATH)  # and does not wait for a writer


def test_what_a_kill_left_is_swept(folder: PointFolder) -> None:
    folder.create()[1].close()
    assert folder.names(".courier/new")
    folder.sweep()
    assert folder.names(".courier/new") == []


def test_a_folder_that_another_thread_closes_takes_no_file_of_others_with_it(tmp_path: Path) -> None:
    opened = PointFolder(tmp_path)
    (tmp_path / "other").write_bytes(b"x")
    with opened._entered([]):
        opened.close()
        other = os.open(tmp_path / "other", os.O_RDONLY)  # gets the number that is free now
    assert os.read(other, 1) == b"x"
    os.close(other)
    with pytest.raises(OSError, match="closed already"):
        opened.size("other")
