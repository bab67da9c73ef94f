"""What a delta ships, against casync, xdelta3 and rsync: `python benchmarks/bench_delta.py --pairs DIR [--make]`.

``DIR`` holds pairs of files, ``NAME.old`` and ``NAME.new``. With ``--make`` they are made there first, from two
versions of Debian packages that apt can download here: two trees, each as ext4 in a raw image, the same as qcow2,
squashfs, WIM (XPRESS, and solid LZMS, which nothing helps), and two kernels' modules as a tar. Tools that are missing
are passed over.

Every side is a process of its own. Bytes are what would have to travel: of ours the patch and its lines, packed as in
the contents; of casync the chunks that the old store lacks, and the index; of xdelta3 its file (only where its window
holds the old image: it dies above 2 GiB); of ``rsync --only-write-batch`` its batch. Memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from bench_archive import measure

from formats.delta.encode import find_steps, used_bases, write_steps
from formats.delta.match import Base, Index
from formats.delta.rows import DELTA_LINES, RecipeRow

XDELTA_LIMIT = 2 << 30
KERNELS = ("linux-image-6.1.0-47-amd64", "linux-image-6.1.0-50-amd64")
PACKAGES = [
    "curl",
    "git",
    "git-man",
    "perl-base",
    "libc6",
    "libc-bin",
    "libc6-dev",
    "libc-l10n",
    "libglib2.0-0",
    "openssl",
    "libssl3",
    "libpython3.11-stdlib",
    "libpython3.11-minimal",
    "python3.11-minimal",
    "bsdutils",
    "util-linux",
    "libkrb5-3",
    "libgnutls30",
    "libsystemd0",
    "systemd",
    "udev",
    "libxml2",
    "vim-common",
    "vim-runtime",
    "libperl5.36",
    "perl-modules-5.36",
    "libcurl4",
    "imagemagick-6-common",
    "libmagickcore-6.q16-6",
    "wget",
    "sudo",
    "openssh-client",
    "openssh-server",
    "libx11-6",
    "ca-certificates",
    "bind9-libs",
    "libsqlite3-0",
    "tzdata",
]
STAMP = "@1700000000"


def own(old: Path, new: Path, out: Path) -> None:
    """Make a recipe and its patch as ``parcel create`` does; write both to ``out``, packed."""
    with old.open("rb") as base, new.open("rb") as source:
        sha256 = hashlib.file_digest(base, "sha256").hexdigest()
        index = Index([Base(sha256=sha256, size=old.stat().st_size, source=base)])
        index.fill()
        steps = find_steps(source, new.stat().st_size, index)
        used = used_bases(steps, index.bases)
        lines, count = io.BytesIO(), 0
        with out.open("wb") as patch, gzip.GzipFile(fileobj=lines, mode="wb") as packed:
            for row in write_steps(source, index, steps, used, patch):
                packed.write(DELTA_LINES.encode([row]))
                count += 1
            size = patch.tell()
            first = RecipeRow(
                sha256=hashlib.file_digest(source, "sha256").hexdigest(),
                of=new.stat().st_size,
                patch="0" * 64,
                size=size,
                bases=((sha256, old.stat().st_size),),
                steps=count,
            )
            packed.write(DELTA_LINES.encode([first]))
            packed.close()
            patch.write(lines.getvalue())


def casync(old: Path, new: Path, work: Path) -> tuple[int, float, float]:
    """(bytes, seconds, MiB) of casync; the time is that of the new image alone."""
    measure(["casync", "make", f"--store={work}/a.castr", f"{work}/old.caibx", str(old)])
    seconds, memory = measure(["casync", "make", f"--store={work}/b.castr", f"{work}/new.caibx", str(new)])
    there = {path.name for path in (work / "a.castr").rglob("*.cacnk")}
    chunks = [path for path in (work / "b.castr").rglob("*.cacnk") if path.name not in there]
    return sum(path.stat().st_size for path in [*chunks, work / "new.caibx"]), seconds, memory


def xdelta(old: Path, new: Path, work: Path) -> tuple[int, float, float]:
    """The same of xdelta3, whose window holds all of the old image."""
    window = max(1 << 20, old.stat().st_size)
    command = ["xdelta3", "-e", "-f", "-B", str(window), "-s", str(old), str(new), str(work / "x.vcdiff")]
    seconds, memory = measure(command)
    return (work / "x.vcdiff").stat().st_size, seconds, memory


def rsync(old: Path, new: Path, work: Path) -> tuple[int, float, float]:
    """The same of rsync, which writes a compressed batch and changes nothing."""
    shutil.copyfile(old, work / "image")
    shutil.copyfile(new, work / "from")
    batch = f"--only-write-batch={work}/batch"
    seconds, memory = measure(
        ["rsync", "-z", "--no-whole-file", "--ignore-times", batch, f"{work}/from", f"{work}/image"]
    )
    return (work / "batch").stat().st_size, seconds, memory


def compare(name: str, old: Path, new: Path) -> None:
    """Print a table for one pair."""
    size = new.stat().st_size
    print(f"{name}: {size:,} bytes, before {old.stat().st_size:,}")
    with tempfile.TemporaryDirectory(dir=old.parent) as folder:
        work = Path(folder)
        seconds, memory = measure([sys.executable, __file__, "--own", str(old), str(new), str(work / "own")])
        ours = (work / "own").stat().st_size
        whole = subprocess.run(["zstd", "-3", "-q", "-f", str(new), "-o", str(work / "whole")], check=True)
        print(f"  {'courier':8} {ours:14,} bytes {seconds:8.1f} s {memory:6.0f} MiB", end="")
        print(
            f"   {ours / (work / 'whole').stat().st_size:.3f} of it in full (zstd -3)" if not whole.returncode else ""
        )
        for peer in (casync, xdelta, rsync):
            tool = "xdelta3" if peer is xdelta else peer.__name__
            if not shutil.which(tool) or (peer is xdelta and old.stat().st_size >= XDELTA_LIMIT):
                print(f"  {tool:8} not measured: not installed, or its window is too small")
                continue
            with suppress(subprocess.CalledProcessError):
                theirs, its_seconds, its_memory = peer(old, new, work)
                print(
                    f"  {tool:8} {theirs:14,} bytes {its_seconds:8.1f} s {its_memory:6.0f} MiB"
                    f"   ours {ours / theirs:.2f} of its bytes, {seconds / its_seconds:.2f} of its time"
                )


def run(*command: object, where: Path | None = None) -> str:
    """Run a command; what it prints."""
    text = [str(word) for word in command]
    return subprocess.run(text, cwd=where, check=True, stdout=subprocess.PIPE, text=True).stdout


def download(package: str, folder: Path, version: str = "") -> None:
    """Unpack a version of a package (the newest, where none is named) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        wanted = f"{package}={version}" if version else package
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", wanted, where=Path(place))
        for deb in Path(place).glob("*.deb"):
            run("dpkg-deb", "-x", deb, folder)


def make(folder: Path) -> None:
    """Make the pairs, from the newest versions of packages and those before them."""
    for package in PACKAGES:
        rows = [line.split("|") for line in run("apt-cache", "madison", package).splitlines()]
        versions = list(dict.fromkeys(row[1].strip() for row in rows))
        for side, version in (("old", versions[-1]), ("new", versions[0])) if versions else ():
            download(package, folder / f"tree-{side}", version)
    for side, kernel in zip(("old", "new"), KERNELS, strict=True):
        download(kernel, folder / f"kernel-{side}")
        shutil.copytree(
            folder / f"kernel-{side}" / "lib", folder / f"tree-{side}" / "lib", dirs_exist_ok=True, symlinks=True
        )
        sort = ("--sort=name", f"--mtime={STAMP}", "--owner=0", "--group=0")
        run("tar", *sort, "-cf", folder / f"modules-tar.{side}", "-C", folder / f"kernel-{side}", ".")
        images(folder, side, folder / f"tree-{side}")


def images(folder: Path, side: str, tree: Path) -> None:
    """Make images of every kind of one tree."""
    for path in [tree, *tree.rglob("*")]:
        run("touch", "-h", "-d", STAMP, path)
    uuid = "11111111-2222-3333-4444-555555555555"
    raw = folder / f"ext4.{side}"
    raw.unlink(missing_ok=True)
    run("truncate", "-s", "1G", raw)
    run("mkfs.ext4", "-q", "-d", tree, "-U", uuid, "-E", f"hash_seed={uuid}", raw)
    if shutil.which("qemu-img"):
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, folder / f"qcow2.{side}")
    if shutil.which("mksquashfs"):
        out = folder / f"squashfs.{side}"
        run("mksquashfs", tree, out, "-noappend", "-quiet", "-no-progress", "-mkfs-time", STAMP[1:], "-processors", "1")
    if shutil.which("wimlib-imagex"):
        for name, options in (("wim-xpress", ("--compress=xpress",)), ("wim-solid", ("--solid",))):
            run("wimlib-imagex", "capture", tree, folder / f"{name}.{side}", *options, "--threads=1")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, help="folder of the pairs")
    parser.add_argument("--make", action="store_true", help="make them first")
    parser.add_argument("--only", default="", help="only the pair of this name")
    parser.add_argument("--own", type=Path, nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.own:
        own(*args.own)
        return
    if args.pairs is None:
        parser.error("give --pairs DIR")
    if args.make:
        make(args.pairs)
    for old in sorted(args.pairs.glob("*.old")):
        if args.only in ("", old.stem) and old.with_suffix(".new").exists():
            compare(old.stem, old, old.with_suffix(".new"))


if __name__ == "__main__":
    main()
