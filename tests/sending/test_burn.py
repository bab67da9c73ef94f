"""Burning: the command of each system, and discs (files in their place) that are burnt and read back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from journey import add, create, make_sites, run
from stock import stock_tool

from courier.errors import DamagedError, NotFoundError, UsageError
from courier.sending import burn

IMAGE = Path("/srv/my discs/HQ1_000042_V001.iso")


def only(*names: str) -> object:
    """In place of `shutil.which`: finds these programs alone."""
    return lambda name: f"/usr/bin/{name}" if name in names else None


@pytest.mark.parametrize(
    ("system", "installed", "command"),
    [
        ("linux", ("xorriso", "growisofs"), "xorriso -as cdrecord -v dev=/dev/sr0 blank=as_needed padsize=300k "),
        ("linux", ("growisofs",), "growisofs -dvd-compat -Z '/dev/sr0=/srv/my discs/HQ1_000042_V001.iso'"),
        ("linux", (), "xorriso -as cdrecord -v dev=/dev/sr0 blank=as_needed padsize=300k "),
        ("darwin", (), "hdiutil burn '/srv/my discs/HQ1_000042_V001.iso'"),
        ("win32", (), 'isoburn.exe /Q D: "'),
    ],
)
def test_the_command_of_each_system(
    system: str, installed: tuple[str, ...], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", only(*installed))
    assert burn.burn_words(IMAGE, system=system).startswith(command)


def test_what_cannot_be_burnt_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "sr0"
    there.touch()
    with pytest.raises(UsageError, match="Linux"):
        burn.check_burning("D:", 1, attended=True, system="win32")
    with pytest.raises(NotFoundError, match="no such drive"):
        burn.check_burning(str(tmp_path / "sr9"), 1, attended=True, system="linux")
    monkeypatch.setattr("shutil.which", only("xorriso"))
    with pytest.raises(UsageError, match="2 discs"):
        burn.check_burning(str(there), 2, attended=False, system="linux")
    burn.check_burning(str(there), 2, attended=True, system="linux")
    monkeypatch.setattr("shutil.which", only("growisofs"))
    burn.check_burning(str(there), 1, attended=False, system="linux")
    with pytest.raises(NotFoundError, match="xorriso is not installed"):
        burn.check_burning("stdio:x", 1, attended=False, system="linux")


@pytest.mark.parametrize("found", [b"", b"a" * 99, b"a" * 99 + b"b", b"b" + b"a" * 99])
def test_a_disc_that_does_not_hold_the_image_is_found(found: bytes, tmp_path: Path) -> None:
    image, disc = tmp_path / "image", tmp_path / "disc"
    image.write_bytes(b"a" * 100)
    disc.write_bytes(found)
    with pytest.raises(DamagedError) as caught:
        burn.compare(image, disc, lambda _: None)
    assert caught.value.code == "read-back"
    disc.write_bytes(b"a" * 100 + bytes(2048))
    told: list[int] = []
    burn.compare(image, disc, told.append)
    assert sum(told) == 100


def test_a_volume_is_burnt_read_back_and_taken_for_what_it_is(tmp_path: Path) -> None:
    stock_tool("xorriso")
    hq = make_sites(tmp_path, "HQ1", "BR1").hq
    source = tmp_path / "image.bin"
    source.write_bytes(os.urandom(900_000))
    parcel = create(hq, add(hq, source), capacity="863KB", redundancy="none")
    disc = tmp_path / "disc.img"
    one = ("parcel", "write", parcel, "--layout", "iso", "--out", tmp_path / "out", "--volume", 1)
    assert "To burn an image: xorriso" in hq.says(*one)
    done = hq(*one, "--burn", f"stdio:{disc}")
    assert done["burnt"] == [1]
    image = Path(done["volumes"][0]["path"]).read_bytes()
    assert disc.read_bytes()[: len(image)] == image
    # Once more, over what is there: what was killed can be given again.
    assert hq(*one, "--burn", f"stdio:{disc}")["burnt"] == [1]
    verdict = run("parcel", "verify", disc, "--card", tmp_path / "HQ1.card", "--json").document
    assert [(v["number"], v["state"]) for v in verdict["volumes"]] == [(1, "good")]
    assert any("burnt in stdio:" in line["text"] for line in hq("parcel", "log", parcel)["log"])
    failed = hq.fails(*one, "--burn", f"stdio:{tmp_path}/no/such/folder/disc.img", code=4)
    assert failed["code"] == "burn-failed"
    several = ("parcel", "write", parcel, "--layout", "iso", "--out", tmp_path / "out")
    assert "--volume 1" in hq.fails(*several, "--burn", f"stdio:{disc}", code=2)["hint"]
    assert hq.fails(*several[:-2], "--out", tmp_path, "--layout", "folder", "--burn", "x", code=2)["hint"]
