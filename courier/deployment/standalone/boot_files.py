"""What a set boots by: the operator's boot image and loaders, and the configuration that is written for the loaders.

A boot image is a package of the store. One of Linux has a kernel and an initrd; one of Windows PE a ``boot.wim``, and
is put onto the disc as it is. Loaders come from files that the operator names, or else from the boot package.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from courier.errors import RefusedError, UsageError
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from formats.digest import sha256_hex
from formats.disk.hybrid import ISOLINUX_MBR
from formats.documents.listing import FileEntry
from formats.documents.standalone import MAX_BOOT_FILE, SET, BootFile, Layout
from formats.fat import FatFile, FatLayout, write_fat
from formats.iso import BootImage
from formats.iso.boot import BIOS, EFI, MAX_EFI_IMAGE, without_table

System = Literal["linux", "windows"]
EFI_LOADER = "EFI/BOOT/BOOTX64.EFI"
"""Path at which UEFI looks for a loader on a removable medium (UEFI 2.10, 3.5.1.1)."""
EFI_IMAGE = "boot/efi.img"
KERNEL, INITRD = "boot/vmlinuz", "boot/initrd.img"
_KERNEL = re.compile(r"(vmlinuz|bzimage|linux)([-.].*)?", re.IGNORECASE)
_INITRD = re.compile(r"(initrd|initramfs)([-.].*)?", re.IGNORECASE)
_ISOLINUX_MARK = b"\xfb\xc0\x78\x70"  # bytes 64 to 67 of an isolinux.bin that starts from a stick as well
SERIAL = "115200"


@dataclass(frozen=True, kw_only=True, slots=True)
class BootItem:
    """A file of disc 1 that the computer starts by: how the set list names it, and what opens it."""

    file: BootFile
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, kw_only=True, slots=True)
class BootPlan:
    """What disc 1 boots by. ``images`` are for El Torito; ``mbr`` is the program that a BIOS starts from a stick.

    ``notes``: what the operator has to know.
    """

    system: System
    items: tuple[BootItem, ...]
    images: tuple[BootImage, ...]
    mbr: bytes
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """A file that is at hand: of the boot package, or named by the operator."""

    name: str
    size: int
    sha256: str
    open: Callable[[], BinaryIO]

    @property
    def base(self) -> str:
        return self.name.rpartition("/")[2].lower()

    def read(self) -> bytes:
        if self.size > MAX_BOOT_FILE:
            raise RefusedError(f"{self.name}: {self.size:,} bytes are no boot loader", hint="check which file it is")
        with self.open() as source:
            return source.read()


def plan_boot(
    site: Site,
    stored: StoredPackage,
    *,
    layout: Layout,
    bios: Sequence[Path],
    efi: Sequence[Path],
    serial: bool,
    created_ns: int,
) -> BootPlan:
    """What disc 1 boots by, from the boot image ``stored``; ``bios`` and ``efi`` are the loaders that were named.

    ``serial``: loaders and kernel use the first serial port besides the screen. ``layout``: a stick is started by its
    EFI loader alone. Raises `RefusedError` where the package is no boot image, or nothing could start it, `UsageError`.
    """
    found = list(_of_package(site, stored))
    names = [source.base for source in found]
    named = _Loaders(bios=[_named(path) for path in bios], efi=[_named(path) for path in efi])
    if "boot.wim" in names:
        return _windows(stored, found, named, layout, created_ns)
    return _linux(stored, found, named, layout, serial, created_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaders:
    bios: list[_Source]
    efi: list[_Source]


def _of_package(site: Site, stored: StoredPackage) -> Iterable[_Source]:
    for entry in site.store.entries(stored.listing):
        if isinstance(entry, FileEntry):
            yield _Source(
                name=entry.path, size=entry.size, sha256=entry.sha256, open=_content(site, entry.sha256, entry.size)
            )


def _content(site: Site, sha256: str, size: int) -> Callable[[], BinaryIO]:
    return lambda: site.store.open_content(sha256) if size else io.BytesIO()


def _named(path: Path) -> _Source:
    if not path.is_file():
        raise UsageError(f"{path} is not a file", hint="name the file of the loader")
    if path.stat().st_size > MAX_BOOT_FILE:
        raise RefusedError(f"{path}: too large for a boot loader", hint="check which file it is")
    data = path.read_bytes()
    return _of_bytes(path.name, data)


def _of_bytes(name: str, data: bytes) -> _Source:
    return _Source(name=name, size=len(data), sha256=sha256_hex(data), open=lambda: io.BytesIO(data))


def _item(path: str, source: _Source) -> BootItem:
    return BootItem(file=BootFile(path=path, size=source.size, sha256=source.sha256), open=source.open)


def _with_table(path: str, data: bytes) -> BootItem:
    sha256 = sha256_hex(without_table(data))
    return BootItem(file=BootFile(path=path, size=len(data), sha256=sha256, table=True), open=lambda: io.BytesIO(data))


def _linux(
    stored: StoredPackage,
    found: Sequence[_Source],
    named: _Loaders,
    layout: Layout,
    serial: bool,
    created_ns: int,
) -> BootPlan:
    kernel = _only(stored, [one for one in found if _KERNEL.fullmatch(one.base)], "kernel (vmlinuz)")
    initrd = _only(stored, [one for one in found if _INITRD.fullmatch(one.base)], "initrd (initrd.img)")
    items = [_item(KERNEL, kernel), _item(INITRD, initrd)]
    images: list[BootImage] = []
    mbr = b""
    notes: list[str] = []
    console = f"quiet console=tty0 console=ttyS0,{SERIAL}n8" if serial else "quiet console=tty0"
    if layout == "iso":
        bios = named.bios or [one for one in found if one.base in _BIOS_NAMES or one.base.endswith(".c32")]
        loader, mbr = _bios(bios, items, console, serial)
        if loader:
            images.append(loader)
        else:
            notes.append("It starts by UEFI only: no loader for BIOS was named (--bios-loader isolinux.bin).")
        if loader and not mbr:
            notes.append("Copied to a stick it does not start by BIOS; for that add --bios-loader isohdpfx.bin.")
    else:
        notes.append(
            "A stick of this layout starts by UEFI; for BIOS copy a disc image of --layout iso onto the stick."
        )
    efi = named.efi or [one for one in found if one.base in _EFI_NAMES]
    grub = _of_bytes("grub.cfg", _grub_config(console, serial).encode())
    if efi:
        tree = _efi_tree(efi, grub)
        items += [_item(path, source) for path, source in tree.items()]
        if layout == "iso":
            image = _of_bytes(EFI_IMAGE, _efi_image(tree, created_ns))
            items.append(_item(EFI_IMAGE, image))
        images.append(BootImage(path=EFI_IMAGE if layout == "iso" else EFI_LOADER, platform=EFI))
        notes.append(
            "With Secure Boot the firmware starts it only where it trusts the signature of the EFI loader; what the "
            "loader starts (kernel, initrd) is not covered by the signature of the set."
        )
    elif layout == "iso":
        notes.append("It starts by BIOS only: no loader for UEFI was named (--efi-loader grubx64.efi).")
    items.append(_item("boot/grub/grub.cfg", grub))
    if not images:
        raise _no_loader(layout)
    return BootPlan(system="linux", items=tuple(items), images=tuple(images), mbr=mbr, notes=tuple(notes))


_BIOS_NAMES = {"isolinux.bin", "eltorito.img", "cdboot.img", "isohdpfx.bin"}
_EFI_NAMES = {"bootx64.efi", "grubx64.efi", "shimx64.efi", "gcdx64.efi", "mmx64.efi"}


def _only(stored: StoredPackage, found: Sequence[_Source], what: str) -> _Source:
    if len(found) == 1:
        return found[0]
    name = f"{stored.package}:{stored.version}"
    if not found:
        raise RefusedError(
            f"{name} is no boot image: it has no {what}",
            hint="a boot image has vmlinuz and initrd.img, or a boot.wim; docs/standalone.md tells how to make one",
        )
    names = ", ".join(one.name for one in found[:5])
    raise RefusedError(f"{name}: more than one {what}: {names}", hint="a boot image has one of each")


def _bios(
    given: Sequence[_Source], items: list[BootItem], console: str, serial: bool
) -> tuple[BootImage | None, bytes]:
    """Add the loader for BIOS and its files to ``items``; returns its entry for El Torito, and the MBR for a stick."""
    modules = [one for one in given if one.base.endswith(".c32")]
    starts = [one for one in given if one.base == "isohdpfx.bin"]
    loaders = [one for one in given if one not in modules and one not in starts]
    if not loaders:
        return None, b""
    if len(loaders) > 1:
        names = ", ".join(one.name for one in loaders)
        raise UsageError(f"more than one loader for BIOS: {names}", hint="name one, with its .c32 files")
    loader = loaders[0].read()
    if loaders[0].base != "isolinux.bin":
        if starts:
            raise UsageError(
                "isohdpfx.bin starts isolinux.bin only", hint="leave it out, or name isolinux.bin as the loader"
            )
        items.append(_with_table("boot/bios.img", loader))
        return BootImage(path="boot/bios.img", platform=BIOS, sectors=4, table=True), b""
    if not any(one.base == "ldlinux.c32" for one in modules):
        raise UsageError(
            "isolinux.bin needs its module ldlinux.c32",
            hint="name it as well: --bios-loader ldlinux.c32 (Debian: /usr/lib/syslinux/modules/bios)",
        )
    items.append(_with_table("isolinux/isolinux.bin", loader))
    items += [_item(f"isolinux/{one.base}", one) for one in modules]
    items.append(_item("isolinux/isolinux.cfg", _of_bytes("cfg", _isolinux_config(console, serial).encode())))
    mbr = starts[0].read() if starts else b""
    if mbr and len(mbr) != ISOLINUX_MBR:
        raise UsageError(
            f"{starts[0].name} has {len(mbr)} bytes, where that program has {ISOLINUX_MBR}",
            hint="take isohdpfx.bin of the isolinux that isolinux.bin is of",
        )
    if mbr and loader[64:68] != _ISOLINUX_MARK:
        raise UsageError(
            "this isolinux.bin cannot be started from a stick", hint="leave isohdpfx.bin out, or take a newer one"
        )
    return BootImage(path="isolinux/isolinux.bin", platform=BIOS, sectors=4, table=True), mbr


def _isolinux_config(console: str, serial: bool) -> str:
    return (
        f"{f'SERIAL 0 {SERIAL}' if serial else ''}\nDEFAULT courier\nPROMPT 0\nTIMEOUT 0\n"
        f"LABEL courier\n  KERNEL /{KERNEL}\n  INITRD /{INITRD}\n  APPEND {console}\n"
    ).lstrip("\n")


def _grub_config(console: str, serial: bool) -> str:
    terminal = f"serial --unit=0 --speed={SERIAL}\nterminal_output console serial\n" if serial else ""
    return f"{terminal}search --no-floppy --file --set=root /{SET}\nlinux /{KERNEL} {console}\ninitrd /{INITRD}\nboot\n"


def _efi_tree(given: Sequence[_Source], grub: _Source) -> dict[str, _Source]:
    """The loader at its place, other loaders beside it, and the configuration wherever they look for it."""
    order = ("bootx64.efi", "shimx64.efi", "gcdx64.efi", "grubx64.efi")
    ranked = sorted(given, key=lambda one: order.index(one.base) if one.base in order else len(order))
    first, *others = ranked
    if len(ranked) > 1 and first.base not in order:
        raise UsageError(
            "which EFI loader is started first?", hint=f"call it BOOTX64.EFI: {', '.join(one.name for one in ranked)}"
        )
    tree = {EFI_LOADER: first}
    tree |= {f"EFI/BOOT/{one.base}": one for one in others}
    # Debian's monolithic loaders look in the second place, others beside themselves.
    for path in ("EFI/BOOT/grub.cfg", "EFI/debian/grub.cfg"):
        tree[path] = grub
    return tree


def _efi_image(tree: Mapping[str, _Source], created_ns: int) -> bytes:
    """A FAT file system of these files: the EFI system partition of a disc."""
    files = [FatFile(path=path, size=source.size, open=source.open) for path, source in tree.items()]
    plan = FatLayout([(file.path, file.size) for file in files], kind=16)
    # In the image that is copied to a stick a partition has whole blocks of the disc.
    size = -(-plan.size // 2048) * 2048
    if size > MAX_EFI_IMAGE:
        raise RefusedError(
            f"the EFI loaders take {size:,} bytes, where a disc starts {MAX_EFI_IMAGE:,} at most",
            hint="take a smaller loader, or --layout usb",
        )
    out = io.BytesIO()
    write_fat(out, plan, files, label="EFI", serial=created_ns // 10**9, created_ns=created_ns)
    return out.getvalue().ljust(size, b"\0")


def _windows(
    stored: StoredPackage, found: Sequence[_Source], named: _Loaders, layout: Layout, created_ns: int
) -> BootPlan:
    """Windows PE: the package as it is, with its own loaders."""
    by_base: dict[str, list[_Source]] = {}
    for one in found:
        by_base.setdefault(one.base, []).append(one)
    wim = _only(stored, by_base["boot.wim"], "boot.wim")
    inside = wim.name.lower().startswith("sources/")
    items = [_item("sources/boot.wim" if one is wim and not inside else one.name, one) for one in found]
    have = {item.file.path.lower() for item in items}
    images: list[BootImage] = []
    bios = named.bios or by_base.get("etfsboot.com", [])
    if layout == "iso" and bios:
        path = next((one.name for one in found if one is bios[0]), "boot/etfsboot.com")
        if path.lower() not in have:
            items.append(_item(path, bios[0]))
        images.append(BootImage(path=path, platform=BIOS, sectors=8))
    efi = named.efi or by_base.get("efisys.bin", []) or by_base.get("bootx64.efi", [])
    if efi:
        if efi[0].base.endswith(".efi"):
            if EFI_LOADER.lower() not in have:
                items.append(_item(EFI_LOADER, efi[0]))
            image = _of_bytes(EFI_IMAGE, _efi_image({EFI_LOADER: efi[0]}, created_ns))
        else:
            image = efi[0]
            if layout == "iso" and EFI_LOADER.lower() not in have:
                raise RefusedError(
                    f"{stored.package}:{stored.version} has no {EFI_LOADER}, which a stick is started by",
                    hint="put EFI/BOOT/BOOTX64.EFI of Windows PE into the package",
                )
        if layout == "iso":
            path = next((one.name for one in found if one is image), EFI_IMAGE)
            if path.lower() not in have:
                items.append(_item(path, image))
            images.append(BootImage(path=path, platform=EFI))
        else:
            images.append(BootImage(path=EFI_LOADER, platform=EFI))
    if not images:
        raise _no_loader(layout)
    notes = (
        "Windows PE starts as it is in the package: courier does not put its client into boot.wim. Its startnet.cmd "
        "has to call: courier standalone extract, then courier deploy run; no test of courier starts Windows PE.",
        "Copied to a stick it starts by UEFI only.",
    )
    return BootPlan(system="windows", items=tuple(items), images=tuple(images), mbr=b"", notes=notes)


def _no_loader(layout: Layout) -> RefusedError:
    if layout == "usb":
        return RefusedError(
            "no EFI loader for the stick is named, and the boot image has none",
            hint="--efi-loader /usr/lib/grub/x86_64-efi/monolithic/grubx64.efi (Debian: grub-efi-amd64-bin)",
        )
    return RefusedError(
        "no boot loader is named, and the boot image has none",
        hint="--bios-loader isolinux.bin --bios-loader ldlinux.c32, or --efi-loader grubx64.efi, or both",
    )
