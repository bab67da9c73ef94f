"""The Debian packages whose files make a small root tree; ``.ci/run`` downloads what this prints."""

from __future__ import annotations

import subprocess

LAYERS = ("base-files", "passwd", "login", "ipxe", "syslinux-common")
"""Set-id programs, links to anywhere, hard links, boot files."""

KERNEL = "linux-image-amd64"
"""The Debian package that depends on the newest kernel; the kernel itself has its version in the name."""


def kernel_package() -> str:
    """Name of the Debian package of the newest kernel, as apt knows it."""
    said = subprocess.run(["apt-cache", "depends", KERNEL], check=True, capture_output=True, text=True).stdout
    return next(line.split()[-1] for line in said.splitlines() if "Depends: linux-image-" in line)


if __name__ == "__main__":
    print(*LAYERS, kernel_package())
