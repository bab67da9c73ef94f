"""A file system that refuses niceties, as shares and FUSE do: the work goes on, with one note for each medium."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from journey import FIXTURES, Home, add, create, describe_tree, make_sites

from courier.media.reading import LAYOUTS
from courier.niceties import REFUSALS, nicety, set_mode, set_time, telling_refusals

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere: folders are not flushed on Windows")

NUMBERS = [errno.EBADF, errno.ENOSYS, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM]


def refuse(monkeypatch: pytest.MonkeyPatch, number: int, *, files: bool = False) -> None:
    """Have the system refuse to flush folders, and to set permissions and times; ``files``: to flush files, too."""
    real = os.fsync

    def fsync(handle: int) -> None:
        if files or stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        real(handle)

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    for place, name in ((os, "utime"), (os, "chmod"), (os, "fchmod"), (Path, "chmod")):
        monkeypatch.setattr(place, name, refused)
    monkeypatch.setattr(os, "posix_fadvise", refused)
    # They are looked up in these sets by the function that they are.
    for known in (os.supports_dir_fd, os.supports_follow_symlinks):
        known.update({os.utime, os.chmod})


def one_note(said: str) -> None:
    assert said.count("Note: the file system at") == 1, said


@pytest.mark.parametrize(
    ("layout", "number"),
    [*(("folder", number) for number in NUMBERS), *((layout, errno.EBADF) for layout in LAYOUTS if layout != "folder")],
)
def test_a_whole_journey_where_niceties_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, number: int
) -> None:
    sites = make_sites(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"content")
    (source / "link").symlink_to("file")
    with monkeypatch.context() as patch:
        refuse(patch, number)
        one_note(sites.hq.says("package", "add", source, "--name", "Refused"))
        parcel = create(sites.hq, "HQ100001:1", encrypt=False)
        one_note(sites.hq.says("parcel", "write", parcel, "--layout", layout, "--out", tmp_path / "media"))
        sites.hq("parcel", "ship", parcel)
        sites.sync()
        one_note(sites.br.says("parcel", "receive", tmp_path / "media"))
        one_note(sites.br.says("package", "export", "HQ100001:1", "--to", tmp_path / "out"))
    assert (tmp_path / "out" / "file").read_bytes() == b"content"
    assert (tmp_path / "out" / "link").readlink() == Path("file")
    assert list(describe_tree(tmp_path / "out")) == ["file", "link"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_file_that_cannot_be_flushed_is_an_error_that_names_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Its bytes may be gone after a power cut: that is no nicety, whatever the error says."""
    hq: Home = make_sites(tmp_path).hq
    parcel = create(hq, add(hq, FIXTURES / "boot.wim"))
    with monkeypatch.context() as patch:
        refuse(patch, number, files=True)
        error = hq.ran("parcel", "write", parcel, "--layout", "folder", "--out", tmp_path / "media", code=None).error
    assert str(tmp_path) in error["message"]
    assert not (tmp_path / "media").exists() or not list((tmp_path / "media").iterdir())


def test_what_is_no_refusal_is_raised_and_names_the_path(tmp_path: Path) -> None:
    for number in (errno.EIO, errno.ENOSPC, errno.EROFS):
        assert number not in REFUSALS
        with pytest.raises(OSError, match=str(tmp_path)), nicety(tmp_path):
            raise OSError(number, os.strerror(number))


def test_a_medium_is_noted_once_with_all_that_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    (tmp_path / "a").touch()
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount" / "b").touch()
    real = Path.is_mount
    monkeypatch.setattr(Path, "is_mount", lambda path: path in (tmp_path, tmp_path / "mount") or real(path))
    refuse(monkeypatch, errno.EPERM)
    with telling_refusals(notes.append):
        for _ in range(3):
            set_mode(tmp_path / "a", 0o600)
            set_time(tmp_path / "a", 0)
        set_time(tmp_path / "mount" / "b", 0)
    assert [f"at {tmp_path} refuses" in notes[0], f"at {tmp_path / 'mount'} refuses" in notes[1]] == [True, True]
    assert "set permissions and to set times (Operation not permitted)" in notes[0]
    assert len(notes) == 2
