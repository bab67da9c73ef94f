"""Surveys: one walk over the source finds all there is, what a package does not keep, and all that it cannot take."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from source_trees import (
    HARD_LINKS,
    LEAD_NOWHERE,
    LEAD_OUTSIDE,
    LINKS,
    as_root,
    make_deep,
    make_rich_tree,
    ordinary_user,
    posix,
    sparse_file,
)

from courier.errors import NotFoundError, RefusedError, UsageError
from courier.packages import offenders, survey
from courier.packages.survey import SourceEntry, scan_tree
from courier.packages.tree_root import TreeRoot
from formats.names import MAX_DEPTH

pytestmark = posix
DATA = b"content"
ACL = bytes.fromhex("02000000 01000600ffffffff 02000400e8030000 04000400ffffffff 10000400ffffffff 20000000ffffffff")
"""``user::rw-,user:1000:r--,group::r--,mask::r--,other::---`` as Linux keeps it."""


def surveyed(*paths: Path) -> list[SourceEntry]:
    with scan_tree(paths) as tree:
        return list(tree.walk())


def refused(*paths: Path) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        scan_tree(paths)
    return caught.value


# --- what is named on the command line ------------------------------------------------------------------------------


def test_one_folder_is_its_content_and_several_paths_stand_under_their_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/x").write_bytes(b"1")
    (tmp_path / "a.wim").write_bytes(b"22")
    assert [entry.name for entry in surveyed(tmp_path / "b")] == ["x"]
    assert [entry.name for entry in surveyed(tmp_path / "a.wim")] == ["a.wim"]
    assert [entry.name for entry in surveyed(tmp_path / "b", tmp_path / "a.wim")] == ["a.wim", "b", "b/x"]
    with scan_tree([tmp_path / "b", tmp_path / "a.wim"]) as tree:
        assert tree.bytes == 3


def test_a_link_that_is_named_is_followed(tmp_path: Path) -> None:
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "far/away/x").write_bytes(b"1")
    (tmp_path / "far/big.wim").write_bytes(b"22")
    (tmp_path / "folder").symlink_to("far/away")
    (tmp_path / "install.wim").symlink_to("second")
    (tmp_path / "second").symlink_to("far/big.wim")
    assert [entry.name for entry in surveyed(tmp_path / "folder")] == ["x"]
    (entry,) = surveyed(tmp_path / "install.wim")
    assert (entry.name, entry.size, stat.S_ISREG(entry.mode)) == ("install.wim", 2, True)
    several = surveyed(tmp_path / "folder", tmp_path / "install.wim")
    assert [(entry.name, stat.S_IFMT(entry.mode)) for entry in several] == [
        ("folder", stat.S_IFDIR),
        ("folder/x", stat.S_IFREG),
        ("install.wim", stat.S_IFREG),
    ]


@pytest.mark.parametrize("target", ["not there", "dangling"])
def test_a_named_link_that_leads_nowhere_is_refused_by_name(tmp_path: Path, target: str) -> None:
    (tmp_path / "dangling").symlink_to(target)
    with pytest.raises(NotFoundError, match="dangling is a link that leads nowhere"):
        scan_tree([tmp_path / "dangling"])


def test_paths_that_are_not_there_or_have_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").touch()
    with pytest.raises(NotFoundError, match="nothing does not exist"):
        scan_tree([tmp_path / "nothing"])
    with pytest.raises(NotFoundError):
        scan_tree([tmp_path / "a", tmp_path / "nothing"])
    with pytest.raises(UsageError):
        scan_tree([tmp_path / "a/x", tmp_path / "b/x"])


# --- what a package does not keep -----------------------------------------------------------------------------------


def test_special_files_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(DATA)
    for name in "abcd":
        os.mkfifo(tmp_path / f"pipe {name}")
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket is short
        made.bind("talk")
        os.chdir(here)
    with scan_tree([tmp_path]) as tree:
        assert [entry.name for entry in tree.walk()] == ["kept"]
        assert tree.not_kept.counts == {"fifo": 4, "socket": 1}
        assert tree.not_kept.examples == {"fifo": ["pipe a", "pipe b", "pipe c"], "socket": ["talk"]}
        assert tree.not_kept.total == 5
    assert "pipe a: it is a device, socket or pipe" in refused(tmp_path / "pipe a").message


@as_root
def test_devices_and_other_owners_are_counted(tmp_path: Path) -> None:
    for name in ("disk", "null", "user", "group"):
        (tmp_path / name).write_bytes(DATA)
    (tmp_path / "disk").unlink()
    (tmp_path / "null").unlink()
    try:
        os.mknod(tmp_path / "null", 0o620 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(tmp_path / "disk", 0o660 | stat.S_IFBLK, os.makedev(259, 70_000))
    except PermissionError:
        pytest.skip("elsewhere: a user who may make devices")
    os.chown(tmp_path / "user", 1234, os.getegid())
    os.chown(tmp_path / "group", os.geteuid(), 42)
    with scan_tree([tmp_path]) as tree:
        assert tree.not_kept.counts == {"device": 2, "owner": 2}
        assert tree.not_kept.examples == {"device": ["disk", "null"], "owner": ["group", "user"]}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere: Linux only")
def test_attributes_and_access_control_lists_are_counted_however_long_the_path_is(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(DATA)
    names = ["d" * 255] * 15 + ["l" * 150]
    (tmp_path / ("b" * 200)).mkdir()
    deep = tmp_path / ("b" * 200) / "deep"
    make_deep(deep, names)
    here = Path.cwd()
    try:
        os.setxattr(tmp_path / "plain", "user.note", b"x")
        os.setxattr(tmp_path / "plain", "system.posix_acl_access", ACL)
        os.chdir(deep)
        os.chdir("/".join(names[:-1]))
        os.setxattr("l" * 150, "user.note", b"x")
    except OSError:
        pytest.skip("elsewhere: a file system that keeps attributes and access control lists")
    finally:
        os.chdir(here)
    with scan_tree([tmp_path / "plain", deep]) as tree:
        assert tree.not_kept.counts == {"xattr": 2, "acl": 1}
        assert tree.not_kept.examples["acl"] == ["plain"]


# --- links, names and holes -----------------------------------------------------------------------------------------


def test_links_inside_are_kept_as_they_are_and_told_where_they_lead_out_or_nowhere(tmp_path: Path) -> None:
    (tmp_path / "rich").mkdir()
    (tmp_path / "outside").mkdir()
    with scan_tree([make_rich_tree(tmp_path / "rich")]) as tree:
        assert {entry.name: entry.target for entry in tree.walk() if entry.target} == LINKS
        assert tree.links_outside.total == LEAD_OUTSIDE
        assert tree.links_outside.examples["link"] == ["absolute -> /etc/passwd", "outside -> ../../outside"]
        assert tree.links_nowhere.total == LEAD_NOWHERE
        assert tree.links_nowhere.examples["link"] == ["dangling -> not there/at all", "itself -> itself"]


def test_of_a_file_with_several_names_the_first_in_the_listing_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "rich").mkdir()
    with scan_tree([make_rich_tree(tmp_path / "rich")]) as tree:
        further = {entry.name: entry.first for entry in tree.walk() if entry.first}
        assert further == {"empty too.dat": "case/empty too", "empty.dat": "case/empty too",
                           "install.wim": "case/z", "zz.wim": "case/z"}  # fmt: skip
        assert {name: tree.further_names(name) for name in ("case/z", "case/empty too", "run.sh")} == {
            "case/z": 2,
            "case/empty too": 2,
            "run.sh": 0,
        }
        assert len(further) == sum(map(len, HARD_LINKS.values()))


def test_a_file_with_a_further_name_outside_the_package_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_bytes(DATA)
    (tmp_path / "outside").hardlink_to(tmp_path / "source/a")
    with scan_tree([tmp_path / "source"]) as tree:
        assert [(entry.name, entry.first) for entry in tree.walk()] == [("a", "")]
        assert tree.further_names("a") == 0


def test_bytes_and_room_of_a_file_count_once_and_holes_take_no_room(tmp_path: Path) -> None:
    sparse_file(tmp_path / "disk.vhdx")
    (tmp_path / "disk2.vhdx").hardlink_to(tmp_path / "disk.vhdx")
    with scan_tree([tmp_path]) as tree:
        assert tree.bytes == 2 << 30
        assert tree.allocated < 1 << 20
        assert [entry.sparse for entry in tree.walk()] == [True, True]


def test_data_that_the_file_system_compresses_is_no_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, holed = tmp_path / "data.wim", tmp_path / "disk.vhdx"
    whole.write_bytes(b"x" * (1 << 20))
    sparse_file(holed)
    lstat = TreeRoot.lstat

    def compressed(root: TreeRoot, name: str) -> os.stat_result:
        made: Any = lstat(root, name).__reduce__()
        fields, more = made[1]
        return os.stat_result(fields, {**more, "st_blocks": 8})

    monkeypatch.setattr(TreeRoot, "lstat", compressed)
    with scan_tree([tmp_path]) as tree:
        assert 1 << 20 <= tree.allocated < 2 << 20
        assert [entry.sparse for entry in tree.walk()] == [False, True]


def test_holes_that_the_store_fills_with_zeros_count_as_room(tmp_path: Path) -> None:
    with (tmp_path / "small holes").open("wb") as out:
        for at in range(0, 4 << 20, 32 << 10):
            out.seek(at)
            out.write(b"x" * 4096)
    with scan_tree([tmp_path]) as tree:
        assert tree.allocated == tree.bytes
        assert [entry.sparse for entry in tree.walk()] == [True]


# --- what a package cannot take -------------------------------------------------------------------------------------


def test_everything_that_cannot_be_taken_is_named_in_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "LAST_TIME", 2 * 10**18)
    with ordinary_user() as folder:
        (folder / "sub").mkdir()
        for name in ("locked", "sub/locked too", "late", "good"):
            (folder / name).write_bytes(DATA)
        (folder / "locked").chmod(0)
        (folder / "sub/locked too").chmod(0o200)
        (folder / "shut").mkdir(mode=0)
        (folder / os.fsdecode(b"caf\xe9")).touch()
        (folder / "bad link").symlink_to(os.fsdecode(b"caf\xe9"))
        os.utime(folder / "late", ns=(2 * 10**18 + 1,) * 2)
        error = refused(folder)
        (folder / "shut").chmod(0o700)
    assert error.message.count(";") == 5
    assert f"{folder}/locked: it cannot be read (Permission denied)" in error.message
    assert f"{folder}/sub/locked too: it cannot be read" in error.message
    assert f"{folder}/shut: it cannot be read" in error.message
    assert f"{folder}/late: its time is outside the years 1 to 9999" in error.message
    assert "not valid Unicode" in error.message
    assert "bad link: link target is not valid Unicode" in error.message
    assert "good" not in error.message
    assert error.code == "refused"


def test_what_is_inside_a_folder_whose_name_no_package_holds_is_judged_too(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / os.fsdecode(b"th\xe9")).touch()
    (folder / "good").touch()
    error = refused(tmp_path)
    assert error.message.count("not valid Unicode") == 2
    assert (error.code, error.hint) == ("illegal-name", "rename it in the source folder, then add again")


@pytest.mark.parametrize("limit", ["FIRST_TIME", "LAST_TIME"])
def test_a_time_that_no_document_can_tell_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    (tmp_path / "a").write_bytes(DATA)
    monkeypatch.setattr(survey, limit, 0 if limit == "LAST_TIME" else 3 * 10**18)
    error = refused(tmp_path / "a")
    assert "a: its time is outside the years 1 to 9999" in error.message
    assert error.code == "time-out-of-range"


def test_of_very_many_offenders_the_first_are_named_and_the_others_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offenders, "MOST_NAMED", 2)
    for n in range(5):
        (tmp_path / os.fsdecode(b"caf\xe9%d" % n)).touch()
    assert refused(tmp_path).message.endswith("; and 3 more")


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH])
def test_folders_are_surveyed_as_deep_as_a_path_may_be_without_recursion(tmp_path: Path, depth: int) -> None:
    make_deep(tmp_path / "deep", ["d"] * depth)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(250)
    try:
        assert len(surveyed(tmp_path / "deep")) == depth
    finally:
        sys.setrecursionlimit(limit)


def test_one_folder_more_is_refused(tmp_path: Path) -> None:
    make_deep(tmp_path / "deep", ["d"] * (MAX_DEPTH + 1))
    assert f"more than {MAX_DEPTH} folders deep" in refused(tmp_path / "deep").message


def test_a_survey_reads_no_content_and_holds_little_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "_IN_MEMORY", 1000)
    for n in range(40):
        (tmp_path / f"{n:02}").write_bytes(DATA)
    monkeypatch.setattr("courier.packages.tree_root.TreeRoot.open", None)
    with scan_tree([tmp_path]) as tree:
        assert (tree.entries, tree.bytes) == (40, 40 * len(DATA))
        assert [entry.name for entry in tree.walk()] == [f"{n:02}" for n in range(40)]
        assert tree._lines._rolled  # type: ignore[attr-defined]  # what is over the limit is on the disk


def test_a_file_in_a_folder_that_may_only_be_entered_is_taken_and_the_folder_itself_named(tmp_path: Path) -> None:
    with ordinary_user() as folder:
        (folder / "box").mkdir()
        (folder / "box/install.wim").write_bytes(DATA)
        (folder / "box").chmod(0o111)
        try:
            assert [entry.name for entry in surveyed(folder / "box/install.wim")] == ["install.wim"]
            assert "box: it cannot be read (Permission denied)" in refused(folder / "box").message
        finally:
            (folder / "box").chmod(0o700)
