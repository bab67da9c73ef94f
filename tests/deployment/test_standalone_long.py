"""Stand-alone media start a computer, by BIOS and by UEFI, and what they put on its disk starts too.

The computer is qemu without KVM, its operator types on the serial line, and discs are changed as a hand would.
"""

from __future__ import annotations

import os
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
from journey import ROOT, add, digest_of, make_home, write_files
from layers import kernel_package
from standalone_sets import Made, bios_options, efi_options, grub, images
from stock import find_tool, stock_tool
from virtual_machine import VirtualMachine, bootable_disk, started

pytestmark = pytest.mark.long
SPARE = 3_000_000
"""Bytes of the image that the first disc has room for: the rest is on the second."""
WORDS = "four little words more"


def _kernel(folder: Path) -> Path:
    """The Debian package of a kernel; ``.ci/run`` has fetched it, otherwise apt is asked."""
    kept = os.environ.get("COURIER_DEB_CACHE")
    if not kept:
        name = kernel_package()
        done = subprocess.run(
            [stock_tool("apt-get"), "-q", "download", name], cwd=folder, capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"apt-get cannot download {name}: {done.stderr.decode()[-200:]}")
    return next(Path(kept or folder).glob("linux-image-*.deb"))


@pytest.fixture(scope="module")
def disk() -> bytes:
    """The image that is deployed: a disk that says so when it starts."""
    return bootable_disk(grub().read_bytes())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, disk: bytes) -> Made:
    """A site with the image, and a boot image made of Debian's packages as docs/standalone.md says."""
    root = tmp_path_factory.mktemp("site")
    (root / "hq").mkdir()
    home = make_home(root / "hq", "HQ1")
    make: Any = runpy.run_path(str(ROOT / "docs" / "make_boot_image.py"))["make"]
    stock_tool("busybox")
    make(
        root / "boot",
        kernel_package=_kernel(root),
        busybox=Path(find_tool("busybox") or ""),
        card=root / "hq" / "HQ1.card",
    )
    image = add(home, write_files(root / "image", disk_raw=disk), name="Disk")
    boot = add(home, root / "boot", name="Boot image")
    sequence = root / "sequence.toml"
    sequence.write_text(
        'name = "Boot test"\n\n[[step]]\ntype = "apply-image"\nname = "Image"\nwhole-disk = true\n'
        f'package = "{image}"\n'
    )
    return Made(home=home, root=root, image=image, drivers="", boot=boot, sequence=sequence)


def _capacity(made: Made) -> str:
    """A capacity at which what boots fills most of the first disc."""
    boots = sum(path.stat().st_size for path in (made.root / "boot").iterdir()) + 2 * grub().stat().st_size
    return str(boots + SPARE + (2 << 20))


def _blank(path: Path) -> Path:
    with path.open("wb") as out:
        out.truncate(16 << 20)
    return path


@pytest.mark.parametrize("efi", [False, True], ids=["bios", "uefi"])
def test_two_discs_deploy_a_disk_that_starts(made: Made, disk: bytes, tmp_path: Path, efi: bool) -> None:
    words = tmp_path / "words.txt"
    words.write_text(WORDS)
    secret = ["--passphrase-file", words] if efi else []
    one, other = images(
        made.create(tmp_path / "out", *bios_options(), *efi_options(), "--serial", *secret, capacity=_capacity(made))
    )
    target = _blank(tmp_path / "target.img")
    with VirtualMachine(tmp_path / "vm", disk=target, disc=one, efi=efi, memory=1024) as machine:
        machine.expect("courier: starting", 150)
        machine.expect(f"Found {one.stem}, disc 1 of 2, in /dev/sr0: Boot test", 100)
        machine.expect("Signature of HQ1 verified", 10)
        if efi:
            machine.expect("Passphrase: ", 30)
            machine.type(WORDS)
        machine.expect(f"Put in {other.stem} (disc 2 of 2), then press Enter:", 90)
        machine.change_disc(other)
        machine.type("")
        machine.expect(f"{other.stem} is disc 2 of 2 of this set", 40)
        machine.expect("Boot test is on /dev/sda", 60)
        machine.expect("courier: DONE", 10)
        machine.type("")
        machine.wait_for_end(60)
    # The partition is there byte for byte; the table was stretched to the larger disk.
    assert target.read_bytes()[1 << 20 : len(disk) - 33 * 512] == disk[1 << 20 : len(disk) - 33 * 512]
    started(tmp_path / "again", target, efi=efi, seconds=100)


@pytest.mark.parametrize(("layout", "efi"), [("iso", False), ("usb", True)], ids=["image-bios", "fat32-uefi"])
def test_a_stick_is_read_where_it_lies_and_never_deployed_to(
    made: Made, disk: bytes, tmp_path: Path, layout: str, efi: bool
) -> None:
    loaders = [*bios_options(), *efi_options()] if layout == "iso" else efi_options()
    (stick,) = images(made.create(tmp_path / "out", *loaders, "--layout", layout, "--serial", capacity="150MB"))
    before = digest_of(stick)
    target = _blank(tmp_path / "target.img")
    with VirtualMachine(tmp_path / "vm", disk=stick, disc=None, efi=efi, memory=1024, second=target) as machine:
        machine.expect("courier: starting", 150)
        machine.expect(f"Found {stick.stem}, disc 1 of 1, in /dev/sda: Boot test", 100)
        machine.expect("Deploying Boot test to /dev/vda", 60)
        machine.expect("Boot test is on /dev/vda", 60)
        machine.expect("courier: DONE", 10)
        assert "Gathering" not in machine.said
    assert target.read_bytes()[1 << 20 : len(disk) - 33 * 512] == disk[1 << 20 : len(disk) - 33 * 512]
    assert digest_of(stick) == before
