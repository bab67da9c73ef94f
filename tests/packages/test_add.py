"""Adding a package: what a dry run refuses the run refuses, one walk over the source, and numbers given out once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from journey import Sites, add, describe_tree, exported, make_sites, noise
from source_trees import LEAD_NOWHERE, LEAD_OUTSIDE, make_deep, make_rich_tree, ordinary_user, posix, sparse_file

from courier.errors import CourierError
from courier.files import RESERVE
from courier.packages.numbering import GivenOut, choose_number
from courier.packages.tree_root import TreeRoot
from formats.names import MAX_PACKAGES, MAX_VERSION


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def source_in(root: Path) -> Path:
    (root / "source" / "deep" / "deeper").mkdir(parents=True)
    (root / "source" / "a").write_bytes(b"a")
    (root / "source" / "deep" / "deeper" / "b").write_bytes(b"bb")
    return root / "source"


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_the_source_is_walked_once(sites: Sites, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]) -> None:
    source, real, seen = source_in(sites.root), TreeRoot.names, []

    def names(self: TreeRoot, name: str) -> list[str]:
        seen.append(name)
        return real(self, name)

    monkeypatch.setattr(TreeRoot, "names", names)
    sites.hq("package", "add", source, "--name", "X", *more)
    assert seen == ["", "deep", "deep/deeper"]


def test_a_dry_run_tells_the_bytes_and_adds_nothing(sites: Sites) -> None:
    document = sites.hq("package", "add", source_in(sites.root), "--name", "X", "--dry-run")
    assert document["bytes"] == 3
    assert sites.hq("package", "list")["packages"] == []


@posix
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
@pytest.mark.parametrize("bad", ["name", "deep", "empty", "pipes only", "dangling", "nothing"])
def test_a_dry_run_refuses_what_the_run_refuses(sites: Sites, bad: str, more: tuple[str, ...]) -> None:
    source, code, exit_code = source_in(sites.root), "illegal-name", 3
    match bad:
        case "name":
            (source / os.fsdecode(b"caf\xe9")).touch()
        case "deep":
            make_deep(source / "d", ["d"] * 512)
        case "empty":
            source, code, exit_code = sites.root / "empty", "usage", 2
            source.mkdir()
        case "pipes only":
            source, code, exit_code = sites.root / "pipes", "usage", 2
            source.mkdir()
            os.mkfifo(source / "pipe")
        case "dangling":
            source, code, exit_code = sites.root / "link", "not-found", 6
            source.symlink_to("gone")
        case "nothing":
            source, code, exit_code = sites.root / "nothing", "not-found", 6
    error = sites.hq.fails("package", "add", source, "--name", "X", *more, code=exit_code)
    assert error["code"] == code
    if bad == "dangling":
        assert f"{source} is a link that leads nowhere (gone)" in error["message"]
    assert sites.hq.contents() == []


@posix
def test_a_dry_run_tells_all_that_the_run_tells(sites: Sites) -> None:
    (sites.root / "rich").mkdir()
    source = make_rich_tree(sites.root / "rich")
    os.mkfifo(source / "pipe")
    command = ("package", "add", source, "--name", "X")
    dry, says = sites.hq(*command, "--dry-run"), sites.hq.says(*command, "--dry-run").splitlines()
    run = sites.hq(*command)
    told = ("bytes", "not_kept", "links_outside", "links_nowhere")
    assert {key: dry[key] for key in told} == {key: run[key] for key in told}
    assert (run["not_kept"], run["links_outside"], run["links_nowhere"]) == (
        {"fifo": 1},
        LEAD_OUTSIDE,
        LEAD_NOWHERE,
    )
    assert says[:-1] == sites.hq.says(*command).splitlines()[: len(says) - 1]
    assert says[:-1] == [
        "Left out: named pipes, 1 entry: pipe",
        "  --pack keeps all of this, but for sockets, in one tar.",
        "Links that lead out of the package, kept as they are: 2: absolute -> /etc/passwd, outside -> ../../outside",
        "Links that lead nowhere, kept as they are: 2: dangling -> not there/at all, itself -> itself",
    ]


@posix
def test_a_link_on_the_command_line_is_followed(sites: Sites) -> None:
    source = source_in(sites.root)
    (sites.root / "folder").symlink_to("source")
    (sites.root / "install.wim").symlink_to("source/deep/deeper/b")
    folder = sites.hq("package", "add", sites.root / "folder", "--name", "X")
    assert folder["listing"] == sites.hq("package", "add", source, "--name", "X")["listing"]
    file = add(sites.hq, sites.root / "install.wim")
    assert sites.hq("package", "show", file)["bytes"] == 2
    assert list(exported(sites.hq, file, sites.root / "out")) == ["install.wim"]


@posix
def test_everything_that_cannot_be_added_is_named_in_one_run(sites: Sites) -> None:
    with ordinary_user() as folder:
        source = source_in(folder)
        for name in ("a", "deep/deeper/b"):
            (source / name).chmod(0)
        (source / os.fsdecode(b"caf\xe9")).touch()
        hq = make_sites(folder).hq
        for more in ((), ("--dry-run",)):
            error = hq.fails("package", "add", source, "--name", "X", *more, code=3)
            assert f"{source}/a: it cannot be read (Permission denied); " in error["message"]
            assert f"{source}/deep/deeper/b: it cannot be read" in error["message"]
            assert "not valid Unicode" in error["message"]
        assert hq.contents() == []


@posix
def test_a_file_that_changes_while_it_is_added_leaves_nothing_half_taken_in(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, real = source_in(sites.root), TreeRoot.open
    before = sites.hq.state()

    def opened(self: TreeRoot, name: str, flags: int = os.O_RDONLY) -> int:
        if name.endswith("deeper/b"):
            (source / "a").write_bytes(b"another")
            (source / name).unlink()
        return real(self, name, flags)

    monkeypatch.setattr(TreeRoot, "open", opened)
    error = sites.hq.fails("package", "add", source, "--name", "X", code=3)
    assert f"{source}/a: it changed while it was read; " in error["message"]
    assert f"{source}/deep/deeper/b: it vanished while it was read" in error["message"]
    assert sites.hq.state() == before


@posix
def test_holes_that_are_not_to_be_kept_need_their_room(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    (sites.root / "source").mkdir()
    sparse_file(sites.root / "source/disk.vhdx", 64 << 20)
    monkeypatch.setattr("courier.files.free_space", lambda _: RESERVE + (32 << 20))
    command = ("package", "add", sites.root / "source", "--name", "X")
    assert sites.hq.fails(*command, "--no-holes", code=5)["code"] == "no-space"
    document = sites.hq(*command)
    assert document["bytes"] - document["bytes_in_holes"] == 8192


# --- numbers ----------------------------------------------------------------------------------------------------------


def given(*, next_version: int = 1, last_package: int = 0, lost: bool = False) -> GivenOut:
    return GivenOut(next_version=next_version, last_package=last_package, lost=lost)


@pytest.mark.parametrize(
    ("package", "version", "before", "chosen"),
    [
        (None, None, given(), ("HQ100001", 1)),
        (None, 7, given(last_package=9), ("HQ10000A", 7)),
        ("HQ100001", None, given(next_version=4), ("HQ100001", 4)),
        ("HQ100001", 9, given(next_version=4), ("HQ100001", 9)),
        ("HQ100001", None, given(next_version=4, lost=True), ("HQ100001", 4)),
        ("HQ100001", 1, given(lost=True), ("HQ100001", 1)),
    ],
)
def test_the_next_number_is_given_or_the_one_that_was_asked_for(
    package: str | None, version: int | None, before: GivenOut, chosen: tuple[str, int]
) -> None:
    assert choose_number("HQ1", package, version, before) == chosen


@pytest.mark.parametrize(
    ("package", "version", "before", "code"),
    [
        (None, 0, given(), "usage"),
        ("nonsense", None, given(), "usage"),
        ("BR100001", None, given(), "foreign-package"),
        ("HQ100001", 3, given(next_version=4), "version-used"),
        ("HQ100001", None, given(next_version=MAX_VERSION + 1), "versions-used-up"),
        (None, None, given(last_package=MAX_PACKAGES), "ids-used-up"),
        (None, None, given(lost=True), "ids-lost"),
        ("HQ100001", None, given(lost=True), "ids-lost"),
    ],
)
def test_no_number_is_given_out_that_another_content_may_have(
    package: str | None, version: int | None, before: GivenOut, code: str
) -> None:
    with pytest.raises(CourierError) as caught:
        choose_number("HQ1", package, version, before)
    assert caught.value.code == code


def test_a_damaged_version_that_is_added_again_is_whole_again(sites: Sites) -> None:
    source = sites.root / "mended"
    source.mkdir()
    small, large = noise(5_000, 1), noise(300_000, 2)
    (source / "small").write_bytes(small)
    (source / "large").write_bytes(large)
    package = add(sites.hq, source)
    sites.hq.spoil(small, small[::-1])
    (path,) = sites.hq.large_files()
    path.write_bytes(large[::-1])
    assert sites.hq.ran("package", "verify", package, code=4).code == 4
    again = ("package", "add", source, "--name", "Test", "--id", package[:8], "--version", "1")
    assert sites.hq(*again)["listing"] == sites.hq("package", "show", package)["listing"]
    sites.hq("package", "verify", package)
    assert exported(sites.hq, package, sites.root / "out") == describe_tree(source)
