"""``courier doctor`` names what is wrong, and mends what can safely be mended; `package verify` of a share."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from journey import Home, Sites, add, make_sites, noise, write_files

from courier.care import doctor_channel, doctor_home
from courier.files import locked
from courier.site.clock import now


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def found(home: Home, *options: str, code: int = 10) -> list[dict[str, Any]]:
    return list(home("doctor", *options, code=code)["findings"])


def only(home: Home, *options: str, code: int = 10) -> dict[str, Any]:
    (one,) = found(home, *options, code=code)
    return dict(one)


def test_nothing_is_wrong_with_a_home_in_use(sites: Sites) -> None:
    add(sites.hq, write_files(sites.root / "files", a_txt=b"small", b_bin=noise(100_000)))
    sites.sync()
    assert sites.hq("doctor")["findings"] == []
    assert "Nothing is wrong." in sites.hq.says("doctor")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("name", "area"), [("keys/recipient.key", "keys"), ("site.json", "rights"), (".", "rights")])
def test_what_others_can_read_is_closed(sites: Sites, name: str, area: str) -> None:
    path = sites.hq.path / name
    path.chmod(0o755)
    if area == "keys":  # the identity signs nothing; and what is left to be thought of is said after mending too
        assert "can open what is encrypted for this site" in found(sites.hq)[0]["means"]
    first, *others = found(sites.hq)
    assert (first["area"], first["mendable"], first["mended"]) == (area, True, False)
    # A key that others can read is not used either.
    assert [one["area"] for one in others] == ["keys"] * name.startswith("keys")
    assert path.stat().st_mode & 0o077
    assert only(sites.hq, "--mend", code=0)["mended"]
    assert not path.stat().st_mode & 0o077
    assert found(sites.hq, code=0) == []


def test_an_index_that_tells_of_other_contents_than_the_packs_is_made_anew(sites: Sites) -> None:
    package = add(sites.hq, write_files(sites.root / "files", a_txt=b"one", b_txt=b"two"))
    with closing(sqlite3.connect(sites.hq.path / "store" / "packs" / "index.sqlite")) as index:
        index.execute("DELETE FROM content")
        index.commit()
    before = {one["what"] for one in found(sites.hq)}
    assert "the index of the store and its packs tell 2 contents differently" in before
    assert f"{package}: the content of 2 files is missing" in before
    one = only(sites.hq, "--mend", code=0)
    assert one["mended"]
    assert found(sites.hq, code=0) == []
    sites.hq("package", "verify")


def test_content_that_is_gone_is_named_with_its_package(sites: Sites) -> None:
    package = add(sites.hq, write_files(sites.root / "files", b_bin=noise(100_000)))
    sites.hq.large_files()[0].unlink()
    assert only(sites.hq)["what"] == f"{package}: the content of 1 file is missing"
    assert only(sites.hq, "--mend")["mended"] is False


def test_leftovers_go_unless_a_command_is_at_work(sites: Sites) -> None:
    left = sites.hq.path / "store" / ".courier-tmp-1"
    left.mkdir()
    with locked(sites.hq.path / "parcels" / "out" / "lock"):
        assert only(sites.hq)["area"] == "leftovers"
    assert only(sites.hq, "--mend", code=0)["mended"]
    assert not left.exists()


def test_the_copy_of_the_catalogue_that_a_killed_backup_left_is_found(sites: Sites) -> None:
    folder = sites.hq.path / "backup"
    folder.mkdir(exist_ok=True)
    left = folder / ".courier-tmp-1-catalogue.sqlite"
    left.write_bytes(b"secrets")
    assert only(sites.hq, "--mend", code=0)["area"] == "leftovers"
    assert not left.exists()


def test_a_disk_without_locks_and_a_full_one_are_named(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(doctor_home, "locked", refused)
        (one,) = doctor_home.look_at_locks(sites.hq.path)
    assert one.area == "locks"
    monkeypatch.setattr(doctor_home, "free_space", lambda _: 1)
    (one,) = doctor_home.look_at_space(sites.hq.path)
    assert one.what.endswith("has 1 byte free")


def test_a_way_that_is_gone_and_a_clock_that_is_behind_are_named(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    (sites.root / "share").rename(sites.root / "elsewhere")
    assert only(sites.hq)["what"] == f"the folder {sites.root / 'share'} to BR1 is not there"
    (sites.root / "elsewhere").rename(sites.root / "share")
    monkeypatch.setattr(doctor_channel, "now", lambda: now() - 3600 * 10**9)
    assert only(sites.hq)["area"] == "clock"


def test_a_damaged_catalogue_is_named(sites: Sites) -> None:
    path = sites.hq.path / "catalogue.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        # An index that lacks rows of its table: what it finds is no longer sure, and nothing else tells.
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, '(listing)', '(name)') WHERE name = 'ix_package_listing'"
        )
        connection.commit()
    add_failed = sites.hq.ran("package", "add", *[_file(sites.root)], "--name", "x", code=None)
    assert add_failed.code in (0, 1, 4)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, '(name)', '(listing)') WHERE name = 'ix_package_listing'"
        )
        connection.commit()
    assert "catalogue" in {one["area"] for one in found(sites.hq)}


def _file(root: Path) -> Path:
    path = root / "one"
    path.write_bytes(b"one")
    return path


def test_a_share_of_the_contents_is_read_and_all_of_them_must_be_there(sites: Sites) -> None:
    files = {f"f{n}_bin": noise(70_000, n) for n in range(40)}
    add(sites.hq, write_files(sites.root / "files", **files))
    large = sites.hq.large_files()
    for path in large:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    failed = sites.hq.ran("package", "verify", "--read-data-subset", "20%", code=4).document
    (package,) = failed["packages"]
    assert 0 < len(package["problems"]) < len(large)
    large[0].unlink(missing_ok=True)
    for wrong in ("5", "0%", "101%", "x%"):
        assert sites.hq.fails("package", "verify", "--read-data-subset", wrong, code=2)["code"] == "usage"
