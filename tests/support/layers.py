"""The Debian packages whose files make a small root tree; ``.ci/run`` downloads what this prints."""

from __future__ import annotations

LAYERS = ("base-files", "passwd", "login", "ipxe", "syslinux-common")
"""Set-id programs, links to anywhere, hard links, boot files."""

if __name__ == "__main__":
    print(*LAYERS)
