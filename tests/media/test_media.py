"""Media, as specialists' tools and operators see them: one suite over every layout, and what each layout alone has."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import bagit
import pytest
from journey import (
    Sites,
    add,
    create,
    describe_tree,
    digests_of,
    exported,
    make_sites,
    noise,
    run,
    sent,
)
from journey import write as write_parcel
from stock import stock_tool

from courier.media import reading as media
from courier.media.finding import find_all_media
from courier.media.reading import LAYOUTS
from courier.parcel.archive_plan import take_turns

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def tree(root: Path) -> Path:
    root.mkdir()
    (root / "boot.wim").write_bytes((FIXTURES / "boot.wim").read_bytes())
    (root / "disk.raw").write_bytes((FIXTURES / "disk.raw").read_bytes())
    (root / "empty").mkdir()
    (root / "nothing").touch()
    (root / "Ünïcode \u00a9.txt").write_text("x" * 5000)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("boot.wim")
    return root


# --- every layout -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reading_leaves_a_medium_as_it_was_even_a_read_only_one(sites: Sites, layout: str) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), layout=layout, out=sites.root / "out")
    sites.sync(sites.hq)
    everything = [item for path in volumes for item in (path, *path.rglob("*"))]
    before = [digests_of(path) for path in volumes]
    times = [item.stat().st_mtime_ns for item in everything]
    for item in everything:
        item.chmod(0o555 if item.is_dir() else 0o444)
    sites.br("parcel", "receive", sites.root / "out")
    sites.br("catalog", "rebuild", sites.root / "out")
    run("parcel", "verify", *volumes, "--card", sites.root / "HQ1.card")
    assert [digests_of(path) for path in volumes] == before
    assert [item.stat().st_mtime_ns for item in everything] == times


@pytest.mark.parametrize("layout", LAYOUTS)
def test_unreadable_places_cost_only_their_blocks_and_another_reading_fills_them_in(
    sites: Sites, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sites.root / "noise.bin"
    source.write_bytes(noise(7 << 20))
    package = add(sites.hq, source)
    _, volumes = sent(sites.hq, package, layout=layout, out=sites.root / "out", capacity="20MB", redundancy="none")
    sites.sync()
    with monkeypatch.context() as patch:
        patch.setattr(
            "courier.receiving.receive.find_all_media",
            lambda paths, ask, note: [Scratched(found) for found in REAL_FIND(paths, ask, note)],
        )
        document = sites.br("parcel", "receive", *volumes, code=4)
    assert document["volumes"][0]["bad"][0]["blocks"] == [[2, 2], [5, 5]]
    assert document["damaged_blocks"] == 2
    assert document["missing_volumes"] == [1]
    document = sites.br("parcel", "receive", *volumes)
    assert document["state"] == "Imported"
    assert exported(sites.br, package, sites.root / "x") == exported(sites.hq, package, sites.root / "y")


REAL_FIND = find_all_media


class Scratched:
    """A medium whose blocks 2 and 5 of every archive cannot be read."""

    def __init__(self, medium: media.Medium) -> None:
        self._medium = medium
        self.name = medium.name
        self.layout = medium.layout

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        for path, size, stream in self._medium.walk():
            yield path, size, ScratchedStream(stream) if path.startswith("data/") else stream  # type: ignore[misc]


class ScratchedStream(io.RawIOBase):
    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._at = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = self._stream.seek(offset, whence)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        if any(self._at <= (n << 20) + 1000 < self._at + size for n in (2, 5)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        data = self._stream.read(size)
        self._at += len(data)
        return data


def test_volumes_of_two_editions_and_all_layouts_add_up(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package)
    first = write_parcel(sites.hq, parcel, "tape", sites.root / "small")
    document = sites.hq("parcel", "write", parcel, "--layout", "iso", "--out", sites.root / "cd", "--media", "cd74")
    assert len(document["volumes"]) == 1 < len(first)
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert sites.br("parcel", "receive", first[0])["state"] == "Arriving"
    # The medium may carry what the notice names, or what an earlier edition of the same build carried.
    document = sites.br("parcel", "receive", document["volumes"][0]["path"])
    assert document["state"] == "Imported"
    assert exported(sites.br, package, sites.root / "x") == exported(sites.hq, package, sites.root / "y")


def test_a_folder_of_media_of_every_kind_among_other_things(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package)
    mixed = sites.root / "mixed"
    for number, layout in enumerate(LAYOUTS, 1):
        sites.hq("parcel", "write", parcel, "--layout", layout, "--out", mixed, "--volume", number)
    (mixed / "notes.txt").write_text("tea at four")
    (mixed / "holiday").mkdir()
    # What systems leave on a drive: beside each file, and for themselves.
    (mixed / "._HQ1_000001_V001.iso").write_bytes(b"AppleDouble")
    (mixed / ".Trashes").mkdir()
    # What people leave there.
    (mixed / "courier").mkdir()
    (mixed / "courier" / "courier.whl").write_bytes(b"toolkit")
    (mixed / "gone").symlink_to(sites.root / "nowhere")
    (mixed / "loop.iso").symlink_to("loop.iso")
    document = sites.br("parcel", "receive", mixed)
    assert sorted(one["number"] for one in document["volumes"]) == [1, 2, 3]


def test_volumes_beside_one_that_was_copied_to_the_top_of_the_drive_are_found(sites: Sites) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "drive")
    for path in volumes[0].iterdir():
        path.rename(sites.root / "drive" / path.name)
    volumes[0].rmdir()
    document = sites.br("parcel", "receive", sites.root / "drive")
    assert [one["number"] for one in document["volumes"]] == list(range(1, len(volumes) + 1))
    assert document["missing_volumes"] == []


def test_what_may_not_be_looked_into_on_a_drive_is_passed_over(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), layout="iso", out=sites.root / "drive")
    (sites.root / "drive" / "lost+found").mkdir()
    real = Path.exists

    def exists(path: Path, **more: bool) -> bool:
        if path.parent.name == "lost+found":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, **more)

    monkeypatch.setattr(Path, "exists", exists)
    assert len(sites.br("parcel", "receive", sites.root / "drive")["volumes"]) == len(volumes)


@pytest.mark.parametrize("command", [("parcel", "receive"), ("parcel", "verify"), ("catalog", "rebuild")])
def test_a_medium_that_may_not_be_read_is_told_with_its_remedy(
    sites: Sites, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    disc, real = sites.root / "disc.iso", Path.open
    disc.touch()

    def opened(path: Path, *args: Any, **more: Any) -> Any:
        if path == disc:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *args, **more)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(os, "access", lambda path, _mode: path not in (disc, str(disc)))
    error = sites.br.fails(*command, disc, code=3)
    assert error["code"] == "permission"
    assert "who owns it" in error["hint"]


@pytest.mark.parametrize("name", ["aaa.txt", "aaa"])
def test_what_a_failing_drive_cannot_show_is_named_and_its_volumes_are_taken(
    sites: Sites, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), layout="iso", out=sites.root / "drive")
    bad = sites.root / "drive" / name
    bad.mkdir() if name == "aaa" else bad.touch()
    real, real_open = Path.exists, Path.open

    def exists(path: Path, **more: bool) -> bool:
        if path.parent == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, **more)

    def opened(path: Path, *args: Any, **more: Any) -> Any:
        if path == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real_open(path, *args, **more)

    monkeypatch.setattr(Path, "exists", exists)
    monkeypatch.setattr(Path, "open", opened)
    ran = sites.br.ran("parcel", "receive", sites.root / "drive", code=None)
    assert len(ran.document["volumes"]) == len(volumes)
    assert [one["path"] for one in ran.document["failures"]] == [str(bad)]


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [(errno.EACCES, 3, "who owns it"), (errno.ENODEV, 6, "has a medium in it"), (errno.EIO, 4, "another drive")],
)
def test_a_drive_that_does_not_open_is_told_from_a_medium_that_is_bad(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, number: int, code: int, says: str
) -> None:
    _, (disc,) = sent(
        sites.hq, add(sites.hq, FIXTURES / "boot.wim"), layout="iso", out=sites.root / "m", capacity="9MB"
    )

    def walk(_: object) -> Iterator[tuple[str, int, BinaryIO]]:
        raise OSError(number, os.strerror(number), str(disc))
        yield

    monkeypatch.setattr(media.IsoMedium, "walk", walk)
    error = sites.br.fails("parcel", "receive", disc, code=code)
    assert str(disc) in error["message"]
    assert says in error["hint"]


# --- bad media --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("blank.iso", lambda path: path.write_bytes(bytes(3 << 20)), "blank"),
        ("noise.iso", lambda path: path.write_bytes(noise(3 << 20)), "no disc image"),
        ("empty.iso", lambda path: path.write_bytes(b""), "blank"),
        (
            "foreign.iso",
            lambda path: path.write_bytes((FIXTURES / "bootable.iso").read_bytes()),
            "no volume of a parcel",
        ),
    ],
)
def test_a_disc_that_is_none_of_ours_is_called_so(sites: Sites, name: str, make: object, says: str) -> None:
    path = sites.root / name
    make(path)  # type: ignore[operator]
    ran = sites.br.ran("parcel", "receive", path, code=None)
    assert ran.code in (3, 4)
    assert says in ran.error["message"]
    assert name in ran.error["message"]
    assert ("another drive" in ran.error["hint"]) == (ran.code == 4)
    assert ("parity" in ran.error["hint"]) == (ran.code == 4)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.8, 0.95, 0.999])
def test_a_disc_that_ends_early_gives_what_it_has(sites: Sites, part: float) -> None:
    source = sites.root / "noise.bin"
    source.write_bytes(noise(9 << 20))
    package = add(sites.hq, source)
    _, (disc,) = sent(sites.hq, package, layout="iso", out=sites.root / "out", capacity="20MB", redundancy="none")
    sites.sync()
    whole = disc.read_bytes()
    cut = sites.root / "cut.iso"
    cut.write_bytes(whole[: int(len(whole) * part)])
    ran = sites.br.ran("parcel", "receive", cut, code=4)
    assert ran.document["volumes"][0]["damaged_blocks"] in range(1, 10)
    assert ran.document["missing_volumes"] == [1]
    assert sites.br("parcel", "receive", disc)["state"] == "Imported"


# --- discs ------------------------------------------------------------------------------------------------------------


def test_a_disc_passes_the_tools_of_the_trade(sites: Sites) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, tree(sites.root / "t")), layout="iso", out=sites.root / "out")
    for disc in volumes:
        report = subprocess.run(
            [stock_tool("xorriso"), "-indev", f"stdio:{disc}", "-check_media", "--", "-pvd_info"],
            capture_output=True,
            text=True,
            check=True,
        )
        text = report.stdout + report.stderr
        assert disc.stem in text
        assert "SITE HQ1" in text
        assert "COURIER PARCEL" in text
        subprocess.run([stock_tool("7z"), "t", disc], check=True, capture_output=True)
        for option in ("-R", "-J"):
            listing = subprocess.run(
                [stock_tool("isoinfo"), option, "-f", "-i", disc], capture_output=True, text=True, check=True
            )
            assert "/courier/packing-list.json" in listing.stdout
        target = sites.root / f"{disc.stem}-x"
        subprocess.run([stock_tool("7z"), "x", f"-o{target}", disc], check=True, capture_output=True)
        assert bagit.Bag(str(target)).is_valid()
        for archive in (target / "data" / "archives").glob("*.7z"):
            subprocess.run([stock_tool("7z"), "t", archive], check=True, capture_output=True)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_volume_is_a_bag_with_names_for_any_drive(sites: Sites) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, tree(sites.root / "t")), out=sites.root / "out")
    for number, folder in enumerate(volumes, 1):
        bag = bagit.Bag(str(folder))
        bag.validate()
        assert bag.info["Bag-Group-Identifier"] == "HQ1-000001"
        assert bag.info["Bag-Count"] == f"{number} of {len(volumes)}"
        subprocess.run(
            [stock_tool("sha256sum"), "-c", "--quiet", "manifest-sha256.txt"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        for path in folder.rglob("*"):
            assert path.name.isascii()
            assert not set(path.name) & set('"*/:<>?\\|')
            assert path.stat().st_size < 1 << 32


def test_several_drives_take_turns_and_one_disk_is_not_counted_twice() -> None:
    assert take_turns([10, 10, 10, 10], [25, 25]) == [0, 1, 0, 1]
    assert take_turns([10, 10, 10, 10, 10], [25, 10]) == [0, 1, 0, None, None]
    assert take_turns([10], [0, 0]) == [None]
    assert take_turns([], [5]) == []


# --- restoring without this project -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["folder", "iso", "tape"])
def test_the_script_on_the_volumes_restores_the_packages_without_our_code(sites: Sites, layout: str) -> None:
    original = tree(sites.root / "t")
    package = add(sites.hq, original)
    parcel = create(sites.hq, package, encrypt=False)
    volumes = write_parcel(sites.hq, parcel, layout, sites.root / "out")
    stock_tool("zstd")
    if layout == "iso":
        folders = []
        for disc in volumes:
            folders.append(sites.root / f"{disc.stem}-x")
            subprocess.run([stock_tool("7z"), "x", f"-o{folders[-1]}", disc], check=True, capture_output=True)
    else:
        folders = volumes
    script = sites.root / "elsewhere" / "restore.py"
    script.parent.mkdir()
    script.write_bytes(next(folders[0].glob("*restore.py")).read_bytes())
    target = sites.root / "restored"
    subprocess.run(
        [sys.executable, "-I", "-S", script, "--to", target, *folders],
        check=True,
        cwd=script.parent,
        capture_output=True,
    )
    assert describe_tree(target / package.replace(":", "-")) == exported(sites.hq, package, sites.root / "x")


def test_the_page_asks_for_a_folder_for_each_copied_volume_since_their_names_meet(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), encrypt=False)
    first, second, *_ = write_parcel(sites.hq, parcel, "folder", sites.root / "out")
    meeting = {path.relative_to(first) for path in first.rglob("*") if path.is_file()} & {
        path.relative_to(second) for path in second.rglob("*") if path.is_file()
    }
    assert any((first / name).read_bytes() != (second / name).read_bytes() for name in meeting)
    page = " ".join((first / "RESTORE.txt").read_text("utf-8").split())
    assert "copy each into a folder of its own" in page
    assert "copy the volumes into one folder" not in page


def test_the_page_has_commands_for_linux_macos_and_windows(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), encrypt=False)
    first, *_ = write_parcel(sites.hq, parcel, "folder", sites.root / "out")
    page = (first / "RESTORE.txt").read_text("utf-8")
    assert all(len(line) <= 118 for line in page.splitlines())
    lines = [line.strip() for line in page.splitlines()]
    assert (
        "Windows:  copy /b NAME.001+NAME.002+NAME.003 NAME     (at a command prompt, all parts in their order)" in lines
    )
    assert "certutil -hashfile NAME SHA256" in lines
    for system, tool in (("Linux", "sha256sum"), ("macOS", "shasum")):
        (command,) = (line for line in lines if line.startswith(f"{system}:") and "manifest" in line)
        words = command.removeprefix(f"{system}:").split()
        checked = subprocess.run([stock_tool(tool), *words[1:]], cwd=first, check=False, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        assert "OK" in checked.stdout


def test_a_restore_script_altered_on_the_medium_is_named(sites: Sites) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "out")
    script = volumes[0] / "restore.py"
    script.write_text(script.read_text() + "\nimport os\n")
    ran = run("parcel", "verify", volumes[0], "--card", sites.root / "HQ1.card", "--json", code=4)
    assert "restore.py" in ran.document["volumes"][0]["problems"][0]


def test_a_tape_whose_labels_and_indexes_are_damaged_is_read_and_that_is_said(sites: Sites) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), layout="tape", out=sites.root / "out")
    clean = sites.br("parcel", "verify", *volumes)["volumes"]
    assert [one["notes"] for one in clean[1:]] == [[]] * (len(volumes) - 1)
    (volumes[0] / "00000-VOL1-HDR1.label").unlink()
    (index,) = volumes[0].glob("00001-*")
    index.write_bytes(b"?" * index.stat().st_size)
    (one,) = sites.br("parcel", "verify", volumes[0])["volumes"]
    assert one["problems"] == []
    assert {"tape: reel 1: the index is damaged", "tape: reel 1: the volume label is garbled or missing"} <= set(
        one["notes"]
    )
    (one,) = sites.br("parcel", "receive", volumes[0])["volumes"]
    assert one["damaged_blocks"] == 0
    assert "tape: reel 1: the index is damaged" in one["findings"]


# --- the catalogue from media -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_sender_learns_of_its_parcel_from_its_media(sites: Sites, layout: str) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package, encrypt=False)
    volumes = write_parcel(sites.hq, parcel, layout, sites.root / "out")
    card = sites.root / "HQ1.card"
    lost = sites.hq.path / "catalogue.sqlite"
    for path in lost.parent.glob("catalogue.sqlite*"):
        path.unlink()
    for path in (sites.hq.path / "parcels" / "out" / parcel / "recipes").iterdir():
        path.unlink()
    assert card.exists()
    killed = sites.hq.path / "parcels" / ".courier-tmp-of-a-killed-run"
    killed.mkdir()
    document = sites.hq("catalog", "rebuild", sites.root / "out")
    assert not killed.exists()
    assert [(one["side"], one["new"]) for one in document["volumes"]] == [("sender", True)] + [("sender", False)] * (
        len(volumes) - 1
    )
    shown = sites.hq("parcel", "show", parcel)
    assert shown["packages"] == [{"package_id": package.split(":")[0], "version": 1}]
    assert [one["state"] for one in shown["volumes"]] == ["Written"] * len(volumes)
    # A new parcel does not take the number of the one that was found again.
    (listed,) = sites.hq("parcel", "list")["sent"]
    assert listed.pop("since")[:4] == f"{time.gmtime().tm_year}"
    assert listed == {"parcel_id": parcel, "state": "Written", "to": ["BR1"], "priority": "medium"}


def test_a_parcel_that_was_rebuilt_is_laid_out_with_parity_as_before(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), spare_volumes=1)
    volumes = write_parcel(sites.hq, parcel, "folder", sites.root / "out")
    anew = ("parcel", "write", parcel, "--layout", "folder", "--out", sites.root, "--capacity", "1MB", "--dry-run")
    before = sites.hq(*anew)
    for path in sites.hq.path.glob("catalogue.sqlite*"):
        path.unlink()
    sites.hq("catalog", "rebuild", *volumes)
    assert sites.hq(*anew) == before


def test_no_number_is_allotted_that_a_lost_catalogue_may_have_given_out(sites: Sites) -> None:
    add(sites.hq, FIXTURES / "boot.wim")
    for path in sites.hq.path.glob("catalogue.sqlite*"):
        path.unlink()
    sites.hq("catalog", "rebuild")
    command = ("package", "add", FIXTURES / "disk.raw", "--name", "Other")
    for words, hint in ((), "--id"), (("--id", "HQ100002"), "--version"):
        error = sites.hq.fails(*command, *words, code=3)
        assert (error["code"], f"give {hint}" in error["hint"]) == ("ids-lost", True)
    assert add(sites.hq, FIXTURES / "disk.raw", id="HQ100002", version=1) == "HQ100002:1"
    assert add(sites.hq, FIXTURES / "boot.wim", id="HQ100002") == "HQ100002:2"


def test_of_two_layouts_of_a_parcel_the_last_is_learnt_whichever_is_seen_first(sites: Sites) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    first, last, out = sites.root / "a", sites.root / "b", ("--layout", "folder", "--out")
    write_parcel(sites.hq, parcel, "folder", first)
    (volume,) = sites.hq("parcel", "write", parcel, *out, last, "--capacity", "3MB")["volumes"]
    lost = sites.hq.path / "catalogue.sqlite"
    for path in lost.parent.glob("catalogue.sqlite*"):
        path.unlink()
    document = sites.hq("catalog", "rebuild", first, last, first)
    assert [len(one["notes"]) for one in document["volumes"] if one["path"] == volume["path"]] == [1]
    shown = sites.hq("parcel", "show", parcel)
    assert shown["state"] == "Written"
    assert [(one["number"], one["path"], one["state"]) for one in shown["volumes"]] == [(1, volume["path"], "Written")]
    assert sites.hq("parcel", "write", parcel, *out, last)["volumes"][0]["kept"]


def test_a_receiver_whose_catalogue_is_lost_gives_the_senders_card_in_the_same_command(sites: Sites) -> None:
    _, volumes = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "out")
    sites.sync(sites.hq)
    for path in sites.br.path.glob("catalogue.sqlite*"):
        path.unlink()
    error = sites.br.fails("site", "trust", sites.root / "HQ1.card", code=3)
    assert "courier catalog rebuild --card CARD MEDIUM" in error["hint"]
    error = sites.br.fails("catalog", "rebuild", *volumes, code=3)
    assert (error["code"], "courier catalog rebuild --card CARD MEDIUM" in error["hint"]) == ("unknown-site", True)
    assert not list(sites.br.path.glob("catalogue.sqlite*"))
    card = ("--card", sites.root / "HQ1.card")
    unasked = run("catalog", "rebuild", *volumes, *card, "--home", sites.br.path, code=3)
    assert "by phone" in unasked.err
    assert not list(sites.br.path.glob("catalogue.sqlite*"))
    document = sites.br("catalog", "rebuild", *volumes, *card)
    assert document["pinned"] == ["HQ1"]
    assert {one["side"] for one in document["volumes"]} == {"receiver"}
    assert len(document["volumes"]) == len(volumes)
    # Once more, without a question: this card is pinned now.
    run("catalog", "rebuild", *volumes, *card, "--home", sites.br.path)
    sites.br("channel", "address", "add", "HQ1", sites.root / "share")
    sites.br("channel", "sync")
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"


def test_a_receiver_learns_of_a_parcel_and_then_takes_it_in(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    _, volumes = sent(sites.hq, package, layout="iso", out=sites.root / "out")
    sites.sync()
    document = sites.br("catalog", "rebuild", volumes[0])
    assert document["volumes"][0]["side"] == "receiver"
    assert sites.br("parcel", "receive", sites.root / "out")["state"] == "Imported"
