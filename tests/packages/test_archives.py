"""Archives of other tools become packages, and packages become archives that 7-Zip reads, typed as operators do."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from journey import Home, make_sites, noise
from stock import stock_tool

from courier.files import TEMP, locked

PASSWORD = "COURIER_ARCHIVE_PASSWORD"


@pytest.fixture
def hq(tmp_path: Path) -> Home:
    return make_sites(tmp_path).hq


@pytest.fixture
def drivers(tmp_path: Path) -> Path:
    """A vendor's folder, as such folders are."""
    root = tmp_path / "drivers"
    (root / "net" / "x64").mkdir(parents=True)
    (root / "net" / "x64" / "e1000.sys").write_bytes(noise(300_000, 1))
    (root / "net" / "install.sh").write_bytes(b"#!/bin/sh\n" * 900)
    (root / "net" / "install.sh").chmod(0o755)
    (root / "empty").write_bytes(b"")
    (root / "readme ü").symlink_to("net/install.sh")
    return root


def pack(drivers: Path, name: str, *options: str) -> Path:
    path = drivers.parent / name
    subprocess.run([stock_tool("7z"), "a", "-bd", "-snl", *options, str(path), "."], cwd=drivers, check=True)
    return path


def tree(root: Path) -> dict[str, object]:
    return {
        path.relative_to(root).as_posix(): path.readlink()
        if path.is_symlink()
        else path.is_file() and path.read_bytes()
        for path in root.rglob("*")
    }


def exported(hq: Home, package: str, name: str = "exported") -> Path:
    target = hq.path.parent / name
    hq("package", "export", package, "--to", target)
    return target


def added(hq: Home, archive: Path) -> str:
    return str(hq("package", "add", archive, "--expand", "--name", "Drivers")["package_id"])


@pytest.mark.parametrize(
    ("name", "options"), [("a.7z", ()), ("a.zip", ("-tzip",)), ("a.tar", ("-ttar",)), ("a.7z.001", ("-v100k",))]
)
def test_the_members_of_an_archive_become_the_files_of_a_package(
    hq: Home, drivers: Path, name: str, options: tuple[str, ...]
) -> None:
    pack(drivers, name.removesuffix(".001"), *options)
    package = added(hq, drivers.parent / name)
    assert tree(exported(hq, package)) == tree(drivers)
    assert (exported(hq, package, "again") / "net" / "install.sh").stat().st_mode & 0o100


def test_a_folder_and_its_archive_are_one_content(hq: Home, drivers: Path) -> None:
    archive = pack(drivers, "a.7z")
    folder = hq("package", "add", drivers, "--name", "Drivers")
    expanded = hq("package", "add", archive, "--expand", "--name", "Drivers")
    # 7z keeps a hundred nanoseconds, so that the listings may differ in times alone.
    assert (folder["files"], folder["bytes"], folder["entries"]) == (
        expanded["files"],
        expanded["bytes"],
        expanded["entries"],
    )


def test_a_dry_run_tells_how_much_and_takes_nothing_in(hq: Home, drivers: Path) -> None:
    archive = pack(drivers, "a.7z")
    assert hq("package", "add", archive, "--expand", "--name", "D", "--dry-run")["bytes"] == 309_000
    assert hq("package", "list")["packages"] == []


def test_a_password_comes_from_the_environment(hq: Home, drivers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(drivers, "a.7z", "-psecret", "-mhe=on")
    command = ("package", "add", archive, "--expand", "--name", "D")
    assert hq.fails(*command, code=3)["code"] == "secret-needed"
    monkeypatch.setenv(PASSWORD, "wrong")
    assert "wrong password" in hq.fails(*command, code=3)["message"]
    monkeypatch.setenv(PASSWORD, "secret")
    assert tree(exported(hq, str(hq(*command)["package_id"]))) == tree(drivers)


def test_damaged_cut_and_foreign_files_leave_nothing_behind(hq: Home, drivers: Path) -> None:
    archive = pack(drivers, "a.7z")
    whole = archive.read_bytes()
    before = {path for path in (hq.path / "store").rglob("*") if path.is_file() and path.name != "lock"}
    for data, code in (
        (whole[:-100], 4),
        (whole[:1000] + bytes(50) + whole[1050:], 4),
        (b"no archive at all" * 100, 2),
    ):
        archive.write_bytes(data)
        hq.fails("package", "add", archive, "--expand", "--name", "D", code=code)
    (drivers / "text").write_bytes(b"plain")
    assert "no 7z" in hq.fails("package", "add", drivers / "text", "--expand", "--name", "D", code=2)["message"]
    assert hq.fails("package", "add", drivers, "--expand", "--name", "D", code=6)["code"] == "not-found"
    assert hq.fails("package", "add", archive, drivers, "--expand", "--name", "D", code=2)["code"] == "usage"
    assert hq("package", "list")["packages"] == []
    assert {path for path in (hq.path / "store").rglob("*") if path.is_file() and path.name != "lock"} == before


def test_a_part_that_is_missing_is_told(hq: Home, drivers: Path) -> None:
    pack(drivers, "a.7z", "-v100k")
    (drivers.parent / "a.7z.002").unlink()
    error = hq.fails("package", "add", drivers.parent / "a.7z.001", "--expand", "--name", "D", code=4)
    assert "a part is missing" in error["message"]


@pytest.mark.parametrize("compress", ["none", "fast"])
@pytest.mark.parametrize("size", [None, "1MiB"])
def test_a_package_is_written_as_an_archive_that_7_zip_reads(
    hq: Home, drivers: Path, tmp_path: Path, compress: str, size: str | None
) -> None:
    (drivers / "large").write_bytes(noise(2_500_000, 3))
    package = str(hq("package", "add", drivers, "--name", "Drivers")["package_id"])
    target = tmp_path / "out" / "drivers.7z"
    split = ("--volume-size", size) if size else ()
    document = hq("package", "export", package, "--as", target, "--compress", compress, *split)
    assert len(document["parts"]) == (3 if size else 1)
    assert sorted(map(str, target.parent.iterdir())) == document["parts"]
    subprocess.run([stock_tool("7z"), "x", f"-o{tmp_path / 'x'}", document["path"]], check=True)
    assert tree(tmp_path / "x") == tree(drivers)
    assert (tmp_path / "x" / "net" / "install.sh").stat().st_mode & 0o777 == 0o755
    again = added(hq, Path(document["path"]))
    assert tree(exported(hq, again)) == tree(drivers)


def test_an_export_never_replaces_and_leaves_nothing_half_written(
    hq: Home, drivers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = str(hq("package", "add", drivers, "--name", "Drivers")["package_id"])
    target = tmp_path / "drivers.7z"
    target.write_bytes(b"precious")
    assert hq.fails("package", "export", package, "--as", target, code=3)["code"] == "target-exists"
    assert target.read_bytes() == b"precious"
    target.unlink()
    (tmp_path / f"{TEMP}drivers.7z.001").write_bytes(b"left by a killed run")
    content = max((hq.path / "store" / "content").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    content.write_bytes(bytes(300_000))
    error = hq.fails("package", "export", package, "--as", target, code=4)
    assert "e1000.sys" in error["message"]
    assert [path.name for path in tmp_path.iterdir() if "drivers.7z" in path.name] == []


def test_what_stands_at_a_name_with_any_characters_is_kept(hq: Home, drivers: Path, tmp_path: Path) -> None:
    package = str(hq("package", "add", drivers, "--name", "Drivers")["package_id"])
    (tmp_path / "win[1].7z.001").write_bytes(b"precious")
    target = tmp_path / "win[1].7z"
    command = ("package", "export", package, "--as")
    assert hq.fails(*command, target, "--volume-size", "2MiB", code=3)["code"] == "target-exists"
    assert (tmp_path / "win[1].7z.001").read_bytes() == b"precious"
    (tmp_path / "nowhere.7z").symlink_to(tmp_path / "gone")
    assert hq.fails(*command, tmp_path / "nowhere.7z", code=3)["code"] == "target-exists"
    assert (tmp_path / "nowhere.7z").is_symlink()


def test_two_exports_to_one_file_do_not_meet(hq: Home, drivers: Path, tmp_path: Path) -> None:
    package = str(hq("package", "add", drivers, "--name", "Drivers")["package_id"])
    target = tmp_path / "drivers.7z"
    hq("package", "export", package, "--as", target)
    target.unlink()
    (lock,) = (hq.path / "locks").iterdir()
    with locked(lock):
        assert hq.fails("package", "export", package, "--as", target, code=9)["code"] == "busy"
        hq("package", "export", package, "--as", tmp_path / "other.7z")


def test_what_export_is_asked_for_is_checked(hq: Home, drivers: Path) -> None:
    package = str(hq("package", "add", drivers, "--name", "Drivers")["package_id"])
    for options, message in (
        ((), "nowhere to write to"),
        (("--to", "a", "--as", "b.7z"), "--to and --as cannot be given together"),
        (("--to", "a", "--volume-size", "4GB"), "--volume-size is for an archive"),
        (("--to", "a", "--compress", "none"), "--compress is for an archive"),
        (("--as", "b.7z", "--volume-size", "100kB"), "a part has at least 1 MiB"),
        (("--as", "b.7z", "--compress", "most"), "there is no such method"),
        (("--as", "b.zip"), "what is written is a 7z archive"),
    ):
        error = hq.fails("package", "export", package, *options, code=2)
        assert error["code"] == "usage"
        assert message in error["message"]


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("options", "exit_code", "code"),
    [
        (("--id", "HQ100001", "--version", "1"), 2, "version-used"),
        (("--id", "BR100001"), 3, "foreign-package"),
        (("--id", "nonsense"), 2, "usage"),
    ],
)
def test_a_dry_run_refuses_a_number_that_the_run_refuses(
    hq: Home, drivers: Path, options: tuple[str, ...], exit_code: int, code: str, more: tuple[str, ...]
) -> None:
    hq("package", "add", drivers, "--name", "Drivers")
    archive = pack(drivers, "a.zip", "-tzip")
    command = ("package", "add", archive, "--expand", "--name", "Other", *options, *more)
    assert hq.fails(*command, code=exit_code)["code"] == code


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_dry_run_refuses_an_archive_with_a_file_below_a_file(hq: Home, tmp_path: Path, more: tuple[str, ...]) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("driver", b"a file")
        archive.writestr("driver/below", b"another")
    error = hq.fails("package", "add", tmp_path / "a.zip", "--expand", "--name", "D", *more, code=4)
    assert "its folder is not listed" in error["message"]
    assert hq.contents() == []


def test_a_damaged_tar_packed_by_zstd_is_refused(hq: Home, drivers: Path) -> None:
    archive = drivers.parent / "a.tar.zst"
    subprocess.run([stock_tool("tar"), "-c", "--zstd", "-f", archive, "-C", drivers, "."], check=True)
    damaged = bytearray(archive.read_bytes())
    damaged[1000:1100] = bytes(100)
    archive.write_bytes(damaged)
    error = hq.fails("package", "add", archive, "--expand", "--name", "D", code=4)
    assert "not a tar archive, or damaged" in error["message"]


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_dry_run_refuses_links_in_a_tar_that_policy_refuses(hq: Home, tmp_path: Path, more: tuple[str, ...]) -> None:
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    hq("site", "policy", "--outside-links", "refuse")
    error = hq.fails("package", "add", tmp_path / "links.tar", "--expand", "--name", "X", *more, code=3)
    assert error["code"] == "outside-links"
