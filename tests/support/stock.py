"""Stock tools that check our bytes: which Debian package holds each, and where it stands on this machine.

The one list of them: tests ask `stock_tool` for a path, ``.ci/run`` installs what ``stock.py --missing``
prints. A tool that is not here skips its test on an operator's machine and fails it in CI (see ``conftest.py``).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

DEBIAN_PACKAGES = {
    "7z": "p7zip-full",
    "age": "age",
    "age-keygen": "age",
    "apt-get": "apt",
    "bsdtar": "libarchive-tools",
    "busybox": "busybox-static",
    "chromium": "chromium",
    "debugfs": "e2fsprogs",
    "diff": "diffutils",
    "dot": "graphviz",
    "dpkg-deb": "dpkg",
    "fdisk": "fdisk",
    "fsck.ext4": "e2fsprogs",
    "fsck.fat": "dosfstools",
    "getfattr": "attr",
    "git": "git",
    "initdb": "postgresql",
    "genisoimage": "genisoimage",
    "gzip": "gzip",
    "isoinfo": "genisoimage",
    "lighttpd": "lighttpd",
    "man": "man-db",
    "mcopy": "mtools",
    "mdir": "mtools",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.fat": "dosfstools",
    "mkfs.ntfs": "ntfs-3g",
    "mkfs.vfat": "dosfstools",
    "nginx": "nginx",
    "ntfscat": "ntfs-3g",
    "ntfsfix": "ntfs-3g",
    "pdftoppm": "poppler-utils",
    "pdftotext": "poppler-utils",
    "pg_ctl": "postgresql",
    "pkcs11-tool": "opensc",
    "psql": "postgresql-client",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "sfdisk": "fdisk",
    "sgdisk": "gdisk",
    "sha256sum": "coreutils",
    "shasum": "perl",
    "systemd-analyze": "systemd",
    "softhsm2-util": "softhsm2",
    "wimapply": "wimtools",
    "wimcapture": "wimtools",
    "wimlib-imagex": "wimtools",
    "wimverify": "wimtools",
    "tar": "tar",
    "xorriso": "xorriso",
    "zbarimg": "zbar-tools",
    "zip": "zip",
    "zstd": "zstd",
}
"""Tool -> the Debian package that installs it. A new tool is a line here and nothing else."""


DEBIAN_FILES = {
    "/usr/lib/ISOLINUX/isohdpfx.bin": "isolinux",
    "/usr/lib/ISOLINUX/isolinux.bin": "isolinux",
    "/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi": "grub-efi-amd64-bin",
    "/usr/lib/python3/dist-packages/swift/proxy/server.py": "python3-swift",
    "/usr/lib/syslinux/modules/bios/ldlinux.c32": "syslinux-common",
    "/usr/share/OVMF/OVMF_CODE_4M.fd": "ovmf",
    "/usr/share/OVMF/OVMF_VARS_4M.fd": "ovmf",
}
"""File -> the Debian package that installs it: boot loaders, firmware and a library, which no PATH leads to."""


def find_tool(name: str) -> str | None:
    """The path of a tool of the table, or None; looks beyond PATH where Debian keeps administrators' tools."""
    servers = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda folder: -int(folder.parent.name))
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *map(str, servers)]
    return shutil.which(name, path=os.pathsep.join(folders))


def missing() -> list[str]:
    """The Debian packages, sorted, of which a tool is not on this machine."""
    tools = {package for tool, package in DEBIAN_PACKAGES.items() if find_tool(tool) is None}
    return sorted(tools | {package for path, package in DEBIAN_FILES.items() if not Path(path).is_file()})


def stock_tool(name: str) -> str:
    """The path of a tool of the table; skips the test that asks when it is not on this machine."""
    import pytest  # not at the top: .ci/run reads the table before anything is installed

    package = DEBIAN_PACKAGES[name]
    path = find_tool(name)
    if path is None:
        pytest.skip(f"{name} is not on this machine (Debian: apt-get install {package})")
    return path


def stock_file(path: str) -> Path:
    """A file of `DEBIAN_FILES`; skips the test that asks when it is not on this machine."""
    import pytest

    package = DEBIAN_FILES[path]
    if not Path(path).is_file():
        pytest.skip(f"{path} is not on this machine (Debian: apt-get install {package})")
    return Path(path)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--packages"]:
            print(*sorted({*DEBIAN_PACKAGES.values(), *DEBIAN_FILES.values()}))
        case ["--missing"]:
            print(*missing())
        case _:
            sys.exit("usage: python tests/support/stock.py --packages | --missing")
