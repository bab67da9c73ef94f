"""`package add --move`, and file systems where files share blocks: the bytes are safe before the source is gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from journey import Sites, make_sites, noise
from source_trees import posix

from courier.errors import RefusedError
from courier.packages import add as adding
from courier.packages import write_tree
from courier.site.store import staging

pytestmark = posix
LARGE = noise(5 << 20)


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def source_in(root: Path) -> Path:
    (root / "source" / "deep").mkdir(parents=True)
    (root / "source" / "deep" / "large.wim").write_bytes(LARGE)
    (root / "source" / "small").write_bytes(b"small")
    (root / "source" / "link").symlink_to("small")
    return root / "source"


def exported(sites: Sites) -> Path:
    """The package, written out."""
    sites.hq("package", "export", "HQ100001", "--to", sites.root / "out")
    return sites.root / "out"


def stored_files(sites: Sites) -> dict[int, Path]:
    """The large contents of the store, by the number of the file."""
    return {path.stat().st_ino: path for path in (sites.root / "HQ1").rglob("content/*/*")}


def test_a_large_file_is_kept_itself_and_the_source_is_gone(sites: Sites) -> None:
    source = source_in(sites.root)
    number = (source / "deep" / "large.wim").stat().st_ino
    document = sites.hq("package", "add", source, "--name", "X", "--move")
    assert document["left"] == []
    assert list(source.iterdir()) == []
    assert stored_files(sites)[number].stat().st_nlink == 1
    out = exported(sites)
    assert (out / "deep" / "large.wim").read_bytes() == LARGE
    assert (out / "link").readlink() == Path("small")


@pytest.mark.parametrize("why", ["two names", "others may write", "other disk"])
def test_a_file_that_is_not_ours_alone_is_copied(sites: Sites, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_in(sites.root)
    large = source / "deep" / "large.wim"
    number = large.stat().st_ino
    match why:
        case "two names":
            (sites.root / "kept").hardlink_to(large)
        case "others may write":
            large.chmod(0o666)
        case "other disk":
            monkeypatch.setattr(staging, "same_disk", lambda *_: False)
    sites.hq("package", "add", source, "--name", "X", "--move")
    assert not large.exists()
    assert number not in stored_files(sites)
    if why == "two names":
        assert (sites.root / "kept").read_bytes() == LARGE


def test_without_hard_links_it_is_copied(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    source = source_in(sites.root)
    sites.hq("package", "add", source, "--name", "X", "--move")
    assert (exported(sites) / "deep" / "large.wim").read_bytes() == LARGE


def test_the_source_stays_until_the_package_is_recorded(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise RefusedError("the catalogue takes nothing now", hint="wait")

    source = source_in(sites.root)
    with monkeypatch.context() as patched:
        patched.setattr(adding, "_record", stopped)
        sites.hq.fails("package", "add", source, "--name", "X", "--move", code=3)
    assert (source / "deep" / "large.wim").read_bytes() == LARGE
    sites.hq("package", "add", source, "--name", "X", "--move")
    assert (exported(sites) / "deep" / "large.wim").read_bytes() == LARGE


def test_what_changed_after_it_was_read_stays_and_is_named(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    source, record = source_in(sites.root), adding._record

    def changed_meanwhile(*arguments: object) -> None:
        record(*arguments)  # type: ignore[arg-type]
        (source / "small").write_bytes(b"newer")

    monkeypatch.setattr(adding, "_record", changed_meanwhile)
    document = sites.hq("package", "add", source, "--name", "X", "--move")
    assert document["left"] == ["small"]
    assert (source / "small").read_bytes() == b"newer"


@pytest.mark.parametrize("options", [("--expand",), ("--pack",)])
def test_move_is_for_files_as_they_are(sites: Sites, options: tuple[str, ...]) -> None:
    source = source_in(sites.root)
    error = sites.hq.fails("package", "add", source, "--name", "X", "--move", *options, code=2)
    assert error["code"] == "usage"
    assert (source / "small").exists()


def test_files_share_blocks_where_the_file_system_can(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = []

    def share_blocks(source: int, target: int) -> bool:
        shared.append(os.fstat(source).st_size)
        return os.sendfile(target, source, 0, len(LARGE)) == len(LARGE)

    monkeypatch.setattr(staging, "share_blocks", share_blocks)
    monkeypatch.setattr(write_tree, "share_blocks", share_blocks)
    sites.hq("package", "add", source_in(sites.root), "--name", "X")
    assert (exported(sites) / "deep" / "large.wim").read_bytes() == LARGE
    assert shared == [len(LARGE), len(LARGE)]
    stored = next(iter(stored_files(sites).values()))
    stored.write_bytes(LARGE[:-1] + b"?")
    error = sites.hq.fails("package", "export", "HQ100001", "--to", sites.root / "again", code=4)
    assert "differs" in error["message"]
    assert not (sites.root / "again").exists()
