"""What a WIM says of itself is read as wimlib wrote it; what is none is told apart."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from deploy_client import tree_of, wim_of
from stock import stock_tool

from courier.deployment.run.wim import HEADER, ReadAt, WimImage, is_wim, read_images
from courier.errors import DamagedError, UsageError


def _from(data: bytes) -> ReadAt:
    return lambda at, count: data[at : at + count]


@pytest.mark.parametrize("options", [[], ["--solid"]])
def test_the_images_of_a_wim_and_an_esd_are_read(tmp_path: Path, options: list[str]) -> None:
    target = tmp_path / "made.wim"
    for name, files in (("one", {"a": b"12345", "b": b""}), ("two ü", {"c": bytes(100_000)})):
        tree = tree_of(tmp_path / name, files)
        if name == "one":
            (tree / "again").hardlink_to(tree / "a")
        verb = "append" if target.exists() else "capture"
        more = options if verb == "capture" else []
        command = [stock_tool("wimlib-imagex"), verb, str(tree), str(target), name, *more]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={"LC_ALL": "C.UTF-8"})
    data = target.read_bytes()
    assert is_wim(data[:HEADER], where="x")
    assert read_images(_from(data), where="x") == [
        WimImage(index=1, name="one", bytes=5),
        WimImage(index=2, name="two ü", bytes=100_000),
    ]


def test_a_wim_that_ends_early_or_was_altered_is_called_damaged(tmp_path: Path) -> None:
    data = wim_of(tmp_path, {"a": b"x"})
    at = int.from_bytes(data[80:88], "little")
    for bad in (data[:100], data[:-4], data[:at] + b"\0" * (len(data) - at), data[:72] + b"\xff" * 24 + data[96:]):
        with pytest.raises(DamagedError):
            read_images(_from(bad), where="x")


def test_a_description_that_declares_entities_is_not_parsed() -> None:
    text = '\ufeff<!DOCTYPE x [<!ENTITY a "b">]><WIM><IMAGE INDEX="1"/></WIM>'.encode("utf-16-le")
    head = b"MSWIM\0\0\0".ljust(72, b"\0") + b"".join(
        number.to_bytes(8, "little") for number in (len(text) | 2 << 56, HEADER, len(text))
    )
    with pytest.raises(DamagedError, match="entities"):
        read_images(_from(head.ljust(HEADER, b"\0") + text), where="x")


@pytest.mark.parametrize("head", [b"vhdxfile", b"conectix", b"QFI\xfb", b"KDMV", b"WLPWM\0\0\0"])
def test_an_image_that_has_to_be_converted_first_is_refused_with_the_command(head: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        is_wim(head.ljust(HEADER, b"\0"), where="x")
    assert "qemu-img convert" in caught.value.hint or "wimexport" in caught.value.hint


def test_other_bytes_are_a_raw_image() -> None:
    assert not is_wim(bytes(HEADER), where="x")
