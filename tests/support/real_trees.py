"""Real things that operators ship: the files of Debian packages, disks, images, a vendor's driver folder."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
from layers import LAYERS
from source_trees import groups_of_names
from stock import stock_tool

ILLEGAL_ON_WINDOWS = (
    "con",
    "nul.inf",
    "trailing.",
    "trailing ",
    "a:b",
    "what?",
    "back\\slash",
    "star*",
    'quo"te',
    "p|pe",
)


def debian_root(root: Path, downloads: Path) -> Path:
    """A new folder with the files of `LAYERS`, unpacked one over the other as an installer does.

    ``.ci/run`` fetches the packages into the folder that ``COURIER_DEB_CACHE`` names; otherwise apt is asked. Skips
    where they cannot be had.
    """
    unpack = stock_tool("dpkg-deb")
    kept = os.environ.get("COURIER_DEB_CACHE")
    folder = Path(kept) if kept else downloads
    if not kept:
        folder.mkdir()
        done = subprocess.run(
            [stock_tool("apt-get"), "-q", "download", *LAYERS], cwd=folder, capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"apt-get cannot download {' '.join(LAYERS)}: {done.stderr.decode()[-200:]}")
    root.mkdir()
    for layer in LAYERS:
        (package,) = folder.glob(f"{layer}_*.deb")
        subprocess.run([unpack, "-x", package, root], check=True)
    return root


def ext4_disk(path: Path, source: Path, size: int) -> Path:
    """A raw disk of ``size`` bytes with an ext4 file system of these files, sparse."""
    with path.open("wb") as file:
        file.truncate(size)
    command = [stock_tool("mkfs.ext4"), "-q", "-F", "-d", source, path]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return path


def images(folder: Path, source: Path) -> Path:
    """A folder of images as operators keep them: raw, qcow2 and VHDX disk, WIM and ESD, the latter two hard-linked."""
    folder.mkdir()
    raw = ext4_disk(folder / "disk.raw", source, 64 << 20)
    for kind, name in (("qcow2", "disk.qcow2"), ("vhdx", "disk.vhdx")):
        subprocess.run([stock_tool("qemu-img"), "convert", "-O", kind, raw, folder / name], check=True)
    wimlib = stock_tool("wimlib-imagex")
    for name, options in (("install.wim", ()), ("install.esd", ("--solid",))):
        command = [wimlib, "capture", str(source), str(folder / name), "Image", "--unix-data", *options]
        subprocess.run(command, check=True, capture_output=True)
    (folder / "latest.wim").symlink_to("install.wim")
    (folder / "sources").mkdir()
    (folder / "sources" / "install.wim").hardlink_to(folder / "install.wim")
    return folder


def drivers(root: Path, count: int) -> Path:
    """A vendor's driver folder of ``count`` files: nested, many alike, some empty, some with names Windows forbids."""
    rng = random.Random(count)
    for number in range(count):
        folder = root / f"class {number % 17:02d}" / f"vendor-{number % 101:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"drv{number:05d}.{('inf', 'sys', 'cat', 'dll')[number % 4]}"
        path.write_bytes(
            b""
            if number % 97 == 0
            else b"[Version]\r\n" * 40
            if number % 4 == 0
            else rng.randbytes(rng.randrange(4000))
        )
        path.chmod((0o644, 0o600, 0o755, 0o444)[number % 4])
        os.utime(path, ns=(1_600_000_000_000_000_000 + number * 1_000_003,) * 2)
    for name in ILLEGAL_ON_WINDOWS:
        (root / name).write_bytes(name.encode())
    return root


def told(command: str, folder: Path) -> str:
    """What a shell pipeline prints in a folder."""
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout


def same_by_stock_tools(one: Path, other: Path) -> None:
    """Content, kinds, targets, permissions, times and hard links are the same, and it takes no more room."""
    done = subprocess.run(
        [stock_tool("diff"), "-r", "--no-dereference", one, other], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # Permissions and link counts of all but links, whose permissions nothing sets; the times of everything.
    for find in (
        "find . -mindepth 1 ! -type l -printf '%P %y %m %s %T@\\n'",
        "find . -mindepth 1 -type l -printf '%P -> %l %T@\\n'",
        "find . -mindepth 1 -type f -printf '%P %n\\n'",
    ):
        assert told(f"{find} | LC_ALL=C sort", one) == told(f"{find} | LC_ALL=C sort", other)
    command = f"{stock_tool('getfattr')} -R -d -m - --absolute-names . 2>/dev/null | grep -v '^# file' | sort -u"
    assert told(command, one) == told(command, other)
    assert groups_of_names(one) == groups_of_names(other)
    rooms = [int(told("du -s --block-size=1 .", folder).split()[0]) for folder in (one, other)]
    # Folders take as many bytes as the file system likes.
    assert rooms[1] <= rooms[0] * 1.05 + (4 << 20)
