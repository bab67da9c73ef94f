"""What the tests of stand-alone media share: a site with an image, drivers and a boot image, and sets of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journey import Home, add, make_home, noise, run, write_files
from stock import stock_file

CAPACITY = "14MB"
"""Makes two discs of the image."""


def grub() -> Path:
    """The loader of GRUB for UEFI, as Debian has it."""
    return stock_file("/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi")


def bios_options() -> list[object]:
    """ISOLINUX, for discs and sticks."""
    files = [
        stock_file("/usr/lib/ISOLINUX/isolinux.bin"),
        stock_file("/usr/lib/ISOLINUX/isohdpfx.bin"),
        stock_file("/usr/lib/syslinux/modules/bios/ldlinux.c32"),
    ]
    return [part for file in files for part in ("--bios-loader", file)]


def efi_options() -> list[object]:
    """GRUB, for discs and sticks."""
    return ["--efi-loader", grub()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A site with packages, and the sequence that uses them."""

    home: Home
    root: Path
    image: str
    drivers: str
    boot: str
    sequence: Path

    def create(self, out: Path, *more: object, code: int = 0, capacity: str | None = CAPACITY) -> dict[str, Any]:
        """Make a set; returns the document that is printed."""
        media = ("--capacity", capacity) if capacity else ()
        return self.home(*self.words(), *media, "--out", out, *more, code=code)

    def words(self) -> list[object]:
        """The command that makes a set, without a medium, a folder and loaders."""
        return [
            *("standalone", "create", "--package", self.image, "--sequence", self.sequence),
            *("--boot-image", self.boot),
        ]

    def card(self) -> Path:
        """The card of the site."""
        return self.root / "hq" / "HQ1.card"


def sequence_text(image: str, drivers: str, *, more: str = "") -> str:
    """A sequence that puts an image on the whole disk, and drivers into a folder."""
    return f"""
name = "From discs"

[[step]]
type = "apply-image"
name = "Put the image onto the disk"
package = "{image}"
whole-disk = true

[[step]]
type = "install-driver"
name = "Drivers"
package = "{drivers}"
to = "drivers"
{more}
"""


def made_site(root: Path, *, image: bytes | None = None) -> Made:
    """A site with an image of 6 MB unless given, drivers in folders, and a boot image that is none really."""
    (root / "hq").mkdir()
    home = make_home(root / "hq", "HQ1")
    files = write_files(root / "image", disk_raw=noise(6_000_000, 1) if image is None else image)
    drivers = write_files(root / "drivers", a_inf=b"a" * 100, b_sys=noise(70_000, 2), empty=b"")
    boot = write_files(root / "boot", vmlinuz=noise(300_000, 3), initrd_img=noise(500_000, 4))
    ids = [add(home, folder, name=name) for folder, name in ((files, "Image"), (drivers, "Drivers"), (boot, "Boot"))]
    sequence = root / "sequence.toml"
    sequence.write_text(sequence_text(ids[0], ids[1]))
    return Made(home=home, root=root, image=ids[0], drivers=ids[1], boot=ids[2], sequence=sequence)


def images(document: dict[str, Any]) -> list[Path]:
    """The images of a set that was made."""
    return [Path(disc["path"]) for disc in document["discs"]]


def verify(*arguments: object, code: int = 0) -> dict[str, Any]:
    """Verify discs; returns the document that is printed."""
    return run("standalone", "verify", *arguments, "--json", code=code).document
