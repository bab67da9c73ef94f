"""A folder goes into a package as one tar and comes out as it was, with all that only root may restore."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from journey import Home, make_sites
from stock import stock_tool

from courier.errors import RefusedError
from courier.packages import holes, pack
from courier.packages.offenders import refuse_one
from courier.packages.pack import PackedTree
from formats.holes import data_runs, hole_map

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere: POSIX only")
GIB = 1 << 30
OLD = -1_500_000_000
"""A second and a half before 1970, in nanoseconds."""
as_root = pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="elsewhere: root only")


@pytest.fixture
def hq(tmp_path: Path) -> Home:
    return make_sites(tmp_path).hq


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A folder that anyone may make."""
    root = tmp_path / "rootfs"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "su").write_bytes(b"su" * 5000)
    (root / "bin" / "su").chmod(0o4755)
    (root / "bin.conf").write_bytes(b"sorts between bin and bin/su by bytes")
    (root / "bin" / "su2").hardlink_to(root / "bin" / "su")
    (root / "empty").write_bytes(b"")
    (root / "out").symlink_to("../../../etc/passwd")
    (root / "absolute").symlink_to("/etc/passwd")
    (root / ("long " * 40)).mkdir()
    (root / ("long " * 40) / "ünï").write_bytes(b"text")
    (root / os.fsdecode(b"not utf-8 \xff")).write_bytes(b"bytes")
    os.mkfifo(root / "pipe", 0o640)
    with (root / "sparse").open("wb") as out:
        for offset in (1 << 20, GIB // 2, GIB - 4096):
            out.seek(offset)
            out.write(b"data" * 1024)
    with (root / "hole").open("wb") as out:
        out.truncate(3 << 20)
    (root / "closed").mkdir()
    (root / "closed" / "file").write_bytes(b"x")
    (root / "closed").chmod(0o555)
    os.utime(root / "bin.conf", ns=(1, 1_700_000_000_123_456_789))
    os.utime(root / "empty", ns=(OLD, OLD))
    os.utime(root / "bin", ns=(5, 1_600_000_000_000_000_001))
    os.utime(root / "out", ns=(5, 1_600_000_000_000_000_002), follow_symlinks=False)
    return root


def try_attribute(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError:
        pytest.skip(f"elsewhere: a file system that keeps {name}")


ACL = bytes.fromhex("02000000 01000600ffffffff 02000400e8030000 04000400ffffffff 10000400ffffffff 20000000ffffffff")
"""``user::rw-,user:1000:r--,group::r--,mask::r--,other::---`` as Linux keeps it."""


@pytest.fixture
def full(plain: Path) -> Path:
    """What only root may make."""
    os.chown(plain / "bin.conf", 1234, 54321)
    os.chown(plain / "bin" / "su", 77, 3_000_000)
    (plain / "bin" / "su").chmod(0o6755)  # a change of owner takes the bits away
    os.chown(plain / "out", 55, 66, follow_symlinks=False)
    os.chown(plain / "closed", 9, 9)
    try:
        os.mknod(plain / "null", 0o620 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(plain / "disk", 0o660 | stat.S_IFBLK, os.makedev(259, 70_000))
    except PermissionError:
        pytest.skip("elsewhere: a user who may make devices")
    try_attribute(plain / "bin.conf", "user.note", b"bytes\0\xff = and\nmore")
    try_attribute(plain / "bin.conf", "system.posix_acl_access", ACL)
    try_attribute(plain / "bin", "system.posix_acl_default", ACL)
    try_attribute(plain / "out", "trusted.link", b"on a link")
    os.utime(plain / "bin", ns=(5, 1_600_000_000_000_000_001))
    return plain


def seen(root: Path) -> dict[str, tuple[Any, ...]]:
    """All that a tar keeps, with hard links as groups of paths."""
    names: dict[int, str] = {}
    found = {}
    for path in [root, *sorted(root.rglob("*"))]:
        info = path.lstat()
        kind = stat.S_IFMT(info.st_mode)
        content: object = path.readlink() if kind == stat.S_IFLNK else None
        if kind == stat.S_IFREG:
            content = info.st_size if info.st_size > 10 << 20 else path.read_bytes()
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
        }
        name = path.relative_to(root).as_posix()
        first = names.setdefault(info.st_ino, name)
        device = info.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        owner = info.st_uid, info.st_gid
        found[name] = (oct(info.st_mode), owner, info.st_mtime_ns, first, device, content, attributes)
    return found


def packed(hq: Home, root: Path) -> dict[str, Any]:
    document: dict[str, Any] = hq("package", "add", root, "--pack", "--name", "Root")
    return document


def unpacked(hq: Home, document: dict[str, Any], name: str = "unpacked") -> tuple[Path, dict[str, int]]:
    target = hq.path.parent / name
    return target, hq("package", "export", document["package_id"], "--to", target, "--unpack")["not_restored"]


@as_root
def test_everything_comes_out_as_it_went_in(hq: Home, full: Path) -> None:
    document = packed(hq, full)
    assert document["files"] == document["entries"] == 1
    assert document["bytes"] < 1 << 20, "holes take no room in the store"
    target, lost = unpacked(hq, document)
    assert lost == {}
    assert seen(target) == seen(full)
    for name in ("sparse", "hole"):
        assert (target / name).stat().st_blocks <= (full / name).stat().st_blocks
    with (target / "sparse").open("rb") as one, (full / "sparse").open("rb") as other:
        for offset in (0, 1 << 20, GIB // 2, GIB - 8192):
            one.seek(offset)
            other.seek(offset)
            assert one.read(8192) == other.read(8192)


@as_root
def test_gnu_tar_extracts_the_same(hq: Home, full: Path, tmp_path: Path) -> None:
    document = packed(hq, full)
    hq("package", "export", document["package_id"], "--to", tmp_path / "as-is")
    (tar,) = (tmp_path / "as-is").iterdir()
    assert tar.name == "rootfs.tar"
    (tmp_path / "gnu").mkdir()
    options = ("--numeric-owner", "--xattrs", "--xattrs-include=*", "-p")
    subprocess.run([stock_tool("tar"), "-x", *options, "-f", tar, "-C", tmp_path / "gnu"], check=True)
    ours, theirs = seen(full), seen(tmp_path / "gnu")
    assert theirs == ours
    compared = subprocess.run([stock_tool("tar"), "-df", tar, "-C", full], capture_output=True, text=True, check=False)
    # GNU tar compares names of owners, where it has any, and no times of links; it must not find other content.
    assert "differ" not in compared.stdout.replace("Uid differs", "").replace("Gid differs", ""), compared.stdout


def test_the_same_folder_makes_the_same_bytes(hq: Home, plain: Path) -> None:
    first, again = packed(hq, plain), packed(hq, plain)
    assert first["package_id"] != again["package_id"]
    assert first["listing"] == again["listing"]
    assert len(hq.contents()) == 1
    dry = hq("package", "add", plain, "--pack", "--name", "Root", "--dry-run")
    assert dry["bytes"] == first["bytes"]


def test_members_stand_by_path_and_links_lead_anywhere(hq: Home, plain: Path, tmp_path: Path) -> None:
    document = packed(hq, plain)
    hq("package", "export", document["package_id"], "--to", tmp_path / "as-is")
    with tarfile.open(tmp_path / "as-is" / "rootfs.tar") as archive:
        names = [name.removeprefix("./") for name in archive.getnames()]
        assert archive.getmember("absolute").linkname == "/etc/passwd"
        assert archive.getmember("bin/su2").linkname == "bin/su"
    assert names == sorted(names, key=lambda name: [os.fsencode(part) for part in name.split("/")])


def test_of_very_many_holes_the_longest_are_kept(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (plain / "sparse").open("rb") as source:
        every = holes.find_holes(source.fileno(), GIB)
        if not every:
            pytest.skip("elsewhere: a file system with holes")
        monkeypatch.setattr(holes, "MAX_HOLES", 2)
        assert holes.find_holes(source.fileno(), GIB) == tuple(sorted(sorted(every, key=lambda hole: -hole[1])[:2]))
    assert every == ((0, 1 << 20), ((1 << 20) + 4096, GIB // 2 - (1 << 20) - 4096), (GIB // 2 + 4096, GIB // 2 - 8192))
    assert list(data_runs(hole_map(every), GIB)) == [(1 << 20, 4096), (GIB // 2, 4096), (GIB - 4096, 4096)]


def test_a_dry_run_takes_nothing_in(hq: Home, plain: Path) -> None:
    before = hq.state()
    assert hq("package", "add", plain, "--pack", "--name", "Root", "--dry-run")["dry_run"] is True
    assert hq.state() == before


def test_sockets_are_left_out_and_told(hq: Home, plain: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(plain)  # the path of a socket is short
        one.bind("talk")
        os.chdir("/")
    assert packed(hq, plain)["not_kept"] == {"socket": 1}
    says = hq.says("package", "add", plain, "--pack", "--name", "Root", "--dry-run")
    assert "Left out: sockets, 1 entry: talk" in says
    assert "--pack keeps" not in says


def test_a_folder_as_deep_as_a_path_may_be_long_is_packed(hq: Home, tmp_path: Path) -> None:
    root = tmp_path / "deep"
    deep = root / "/".join("d" * 600)
    deep.mkdir(parents=True)
    (deep / "leaf").write_bytes(b"leaf")
    target, _ = unpacked(hq, packed(hq, root))
    assert (target / deep.relative_to(root) / "leaf").read_bytes() == b"leaf"


def test_all_that_cannot_be_read_is_named_at_once(hq: Home, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pack._opened

    def opened(path: Path, info: os.stat_result, same: bytes) -> Any:
        if path.name in ("su", "empty"):
            raise PermissionError(13, "Permission denied", str(path))
        if path.name == "bin.conf":
            path.unlink(missing_ok=True)
        return real(path, info, same)

    monkeypatch.setattr(pack, "_opened", opened)
    before = hq.state()
    for more in (("--dry-run",), ()):
        message = hq.fails("package", "add", plain, "--pack", "--name", "Root", *more, code=3)["message"]
        for name in ("bin/su", "empty") if not more else ("bin/su", "empty", "bin.conf"):
            assert f"{plain / name}: " in message
    assert hq.state() == before


@pytest.mark.parametrize("change", [b"short", b"longer than it was before", None])
def test_a_file_that_changes_while_it_is_read_is_refused(
    hq: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: bytes | None
) -> None:
    root = tmp_path / "live"
    root.mkdir()
    (root / "log").write_bytes(b"ten bytes.")
    find, calls = holes.find_holes, []

    def changing(descriptor: int, size: int) -> tuple[tuple[int, int], ...]:
        calls.append(size)
        if len(calls) == 2:  # the first is the survey
            (root / "log").write_bytes(change or b"ten others")
        return find(descriptor, size)

    monkeypatch.setattr(pack, "find_holes", changing)
    error = hq.fails("package", "add", root, "--pack", "--name", "Live", code=3)
    assert f"{root / 'log'}: it changed" in error["message"]
    assert hq("package", "list")["packages"] == []


def test_a_file_of_which_nothing_changed_is_read_twice_alike(plain: Path) -> None:
    with PackedTree(plain) as one, PackedTree(plain) as other:
        assert (one.bytes, one.entries) == (other.bytes, other.entries)
    with pytest.raises(RefusedError, match="vanished"):
        list(pack._walk(plain / "nowhere", refuse_one))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("add", "rootfs/empty", "--pack"), 2),
        (("add", "rootfs", "rootfs", "--pack"), 2),
        (("add", "rootfs", "--pack", "--expand"), 2),
        (("add", "nothing", "--pack"), 2),
    ],
)
def test_wrong_use_is_told(
    hq: Home, plain: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int
) -> None:
    monkeypatch.chdir(plain.parent)
    assert hq.fails("package", *arguments, "--name", "R", code=code)["code"] == "usage"


def test_unpacking_wants_a_folder_and_tars(hq: Home, plain: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no tar")
    other = hq("package", "add", tmp_path / "file", "--name", "File")["package_id"]
    assert "no .tar" in hq.fails("package", "export", other, "--to", tmp_path / "x", "--unpack", code=2)["message"]
    assert hq.fails("package", "export", other, "--as", tmp_path / "x.7z", "--unpack", code=2)["code"] == "usage"
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 1000)
    bad = hq("package", "add", tmp_path / "bad.tar", "--name", "Bad")["package_id"]
    hq.fails("package", "export", bad, "--to", tmp_path / "x", "--unpack", code=4)
    assert not (tmp_path / "x").exists()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", data: bytes = b"evil") -> tuple[Any, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data


HOSTILE = {
    "parent": [member("../evil")],
    "parent within": [member("a/../../evil")],
    "absolute": [member("{}/evil")],
    "through a link": [member("d", tarfile.SYMTYPE, "{}"), member("d/evil")],
    "through a relative link": [member("d", tarfile.SYMTYPE, ".."), member("d/evil")],
    "over a link": [member("evil", tarfile.SYMTYPE, "{}/evil"), member("evil")],
    "folder over a link": [member("d", tarfile.SYMTYPE, "{}"), member("d", tarfile.DIRTYPE)],
    "hard link out": [member("e", tarfile.LNKTYPE, "../outside"), member("e")],
    "hard link to an absolute path": [member("e", tarfile.LNKTYPE, "{}/outside")],
    "hard link through a link": [member("d", tarfile.SYMTYPE, "{}"), member("e", tarfile.LNKTYPE, "d/outside")],
    "hard link of a link": [
        member("s", tarfile.SYMTYPE, "{}/evil"),
        member("e", tarfile.LNKTYPE, "s"),
        member("e"),
    ],
    "twice": [member("f"), member("f")],
    "hard link to nothing": [member("e", tarfile.LNKTYPE, "nothing")],
    "folder over a file": [member("f"), member("f/g")],
    "unknown kind": [member("f", b"V")],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_is_written_outside_the_folder(hq: Home, tmp_path: Path, case: str) -> None:
    outside = tmp_path / "outside-folder"
    outside.mkdir(mode=0o750)
    (outside / "outside").write_bytes(b"precious")
    (tmp_path / "outside").write_bytes(b"precious")
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        for info, data in HOSTILE[case]:
            copy = tarfile.TarInfo(info.name.format(outside))
            copy.type, copy.linkname, copy.size = info.type, info.linkname.format(outside), info.size
            copy.mode = 0o777
            archive.addfile(copy, io.BytesIO(data) if info.size else None)
    package = hq("package", "add", tmp_path / "evil.tar", "--name", "Evil")["package_id"]
    before = seen(outside), sorted(path.name for path in tmp_path.iterdir())
    ran = hq.ran("package", "export", package, "--to", tmp_path / "new" / "target", "--unpack", code=None)
    assert ran.code in (3, 4), ran.out
    (tmp_path / "new").rmdir()  # nothing is left in it
    assert (seen(outside), sorted(path.name for path in tmp_path.iterdir())) == before


@pytest.mark.parametrize("end", [1024, 1100, 1536], ids=["between members", "inside a header", "without the end mark"])
def test_a_tar_that_was_cut_short_is_not_unpacked_in_part(hq: Home, tmp_path: Path, end: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, data in (member("a"), member("sub", tarfile.DIRTYPE)):
            archive.addfile(info, io.BytesIO(data))
    (tmp_path / "cut.tar").write_bytes(out.getvalue()[:end])
    package = hq("package", "add", tmp_path / "cut.tar", "--name", "Cut")["package_id"]
    error = hq.fails("package", "export", package, "--to", tmp_path / "x", "--unpack", code=4)
    assert "cut short" in error["message"]
    assert not (tmp_path / "x").exists()


@as_root
def test_what_a_user_cannot_restore_is_counted(hq: Home, full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = packed(hq, full)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    for name in ("lchown", "mknod", "setxattr"):
        monkeypatch.setattr(os, name, forbidden)
    target, lost = unpacked(hq, document)
    assert lost["special file"] == 2
    assert lost["extended attribute"] == 4
    assert lost["set-user-ID or set-group-ID bit"] == 1
    assert lost["owner"] == len(seen(target)) - 1  # su2 is su
    assert (target / "bin" / "su").stat().st_mode & 0o7777 == 0o755
    assert (target / "bin.conf").stat().st_mtime_ns == 1_700_000_000_123_456_789
    says = hq.says("package", "export", document["package_id"], "--to", target.parent / "again", "--unpack")
    assert "Not restored: 4 extended attributes" in says


def test_a_folder_without_members_of_its_own_gets_usual_permissions(hq: Home, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "vendor.tar", "w") as archive:
        info, data = member("a/b/c")
        archive.addfile(info, io.BytesIO(data))
    package = hq("package", "add", tmp_path / "vendor.tar", "--name", "Vendor")
    target, _ = unpacked(hq, package)
    (tmp_path / "usual").mkdir()
    for path in (target, target / "a", target / "a" / "b"):
        assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
