"""What ``--compress best`` makes, against 7-Zip and zstd: `python benchmarks/bench_best.py [--size MB] [--folder DIR]`.

Files of this machine's own system (``--from``, by default /usr/bin and /usr/lib) are copied up to ``--size`` megabytes,
picked by the digest of their path. Their archives are built by courier with ``best``, and as zstd members of level 19;
``7z a -mx5`` packs the same files, and ``zstd -19`` a tar of them. Then all of ours is unpacked, by courier and by
``7z x``. Every side is a process of its own, uses all processors, and reads from the page cache; memory is its peak.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from bench_archive import measure

from courier.parcel.archive_plan import ARCHIVE_LIMIT, Content, plan_archives
from courier.parcel.recipes import PACKS, RECIPES, ArchiveRecipe, compose
from courier.sending.archive_builder import ArchiveBuilder
from courier.site.store.block_sums import sums_of
from formats.archive import ArchiveReader
from formats.codecs import CODECS, COMPRESSIONS, STORE, Codec
from formats.digest import chunks


def sample(sources: Sequence[Path], folder: Path, size: int) -> None:
    """Copy files, picked by the digest of their path, until there are ``size`` bytes."""
    found = [path for source in sources for path in source.rglob("*") if path.is_file() and not path.is_symlink()]
    left = size
    for path in sorted(found, key=lambda path: hashlib.sha256(str(path).encode()).digest()):
        length = path.stat().st_size
        if 0 < length <= left // 4 or 0 < length <= 1 << 20 <= left:
            target = folder / str(path).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            left -= length


def contents(folder: Path, codec: Codec) -> tuple[list[Content], dict[str, Path]]:
    """What is to be packed, in the order of a listing, and where each content is."""
    made, places = [], {}
    files = (path for path in folder.rglob("*") if path.is_file())
    for path in sorted(files, key=lambda path: path.relative_to(folder).parts):
        with path.open("rb") as source:
            sha256 = hashlib.file_digest(source, "sha256").hexdigest()
            if sha256 in places:
                continue
            places[sha256] = path
            size = path.stat().st_size
            coding = codec.name if codec.saves(source, size) else STORE.name
        name = path.relative_to(folder).as_posix()
        made.append(Content(sha256=sha256, size=size, mtime_ns=0, folder="HQ100001-1", path=name, coding=coding))
    return made, places


class _Files:
    """Files by their SHA-256, as what archives are composed from."""

    def __init__(self, places: dict[str, Path]) -> None:
        self._places = places

    def has(self, sha256: str, size: int) -> bool:
        return sha256 in self._places

    def lacking(self, contents: Iterable[tuple[str, int]]) -> Iterator[str]:
        return (sha256 for sha256, _ in contents if sha256 not in self._places)

    def open_content(self, sha256: str) -> BinaryIO:
        return self._places[sha256].open("rb")

    def block_crcs(self, sha256: str, size: int) -> bytes:
        with self.open_content(sha256) as source:
            _, _, sums = sums_of(chunks(source))
        return sums.crcs if sums is not None else b""

    def small(self, digest: bytes) -> bytes | None:
        return None


def build(folder: Path, out: Path, codec: Codec, level: int) -> None:
    """Build the archives of ``folder`` as a parcel's, and write them into ``out``."""
    found, places = contents(folder, codec)
    for place in (PACKS, RECIPES):
        (out / "build" / place).mkdir(parents=True)

    files = _Files(places)
    builder = ArchiveBuilder(out / "build", files, level=level, encryptor=None, progress=lambda _: None)
    for built in builder.build(list(plan_archives(found, ARCHIVE_LIMIT))):
        recipe = ArchiveRecipe.load(out / "build", built.number)
        if recipe is None:
            sys.exit(f"archive {built.number}: its recipe cannot be read")
        path = out / f"{recipe.number:06d}.7z"
        with compose(recipe, out / "build", files.open_content, None) as source, path.open("wb") as archive:
            for data in chunks(source):
                archive.write(data)
    shutil.rmtree(out / "build")


def unpack(archives: Path, out: Path) -> None:
    """Unpack every archive in ``archives`` into ``out``."""
    for archive in sorted(archives.glob("*.7z")):
        with archive.open("rb") as source:
            reader = ArchiveReader(source)
            for number, member in enumerate(reader.members()):
                (out / member.name).parent.mkdir(parents=True, exist_ok=True)
                with (out / member.name).open("wb") as target:
                    for data in chunks(reader.open(number)):
                        target.write(data)


def archive_with_tar(folder: Path, path: Path) -> None:
    """Write a tar of ``folder``."""
    with tarfile.open(path, "w") as target:
        target.add(folder, arcname=".")


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    return sum(item.stat().st_size for item in path.glob("*")) if path.is_dir() else path.stat().st_size


def compare(folder: Path, work: Path, seven: str, zstd: str) -> None:
    """Pack ``folder`` in each way, unpack ours, and print a line for each."""
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    count = sum(path.is_file() for path in folder.rglob("*"))
    tar, mine, before = work / "sample.tar", work / "best", work / "zstd"
    archive_with_tar(folder, tar)
    mine.mkdir()
    before.mkdir()
    best = COMPRESSIONS["best"]
    ways: list[tuple[str, list[str], Path]] = [
        ("courier best", own("--build", folder, mine, best.codec.name, best.level), mine),
        ("7z a -mx5", [seven, "a", "-mx5", "-bd", str(work / "peer.7z"), f"{folder}/."], work / "peer.7z"),
        ("courier zstd 19", own("--build", folder, before, "zstd", 19), before),
        ("zstd -19 of a tar", [zstd, "-19", "-T0", "-q", str(tar), "-o", str(work / "peer.zst")], work / "peer.zst"),
    ]
    print(f"{total / 1e6:.0f} MB in {count:,} files")
    sizes, speeds = {}, {}
    for name, command, result in ways:
        seconds, memory = measure(command)
        sizes[name], speeds[name] = size_of(result), total / 1e6 / seconds
        print(
            f"  {name:18} {sizes[name] / 1e6:8.2f} MB {sizes[name] / total:6.2%} {speeds[name]:7.2f} MB/s"
            f" {memory:6.0f} MiB",
            flush=True,
        )
    for name in list(sizes)[1:]:
        print(
            f"  ratio: {sizes['courier best'] / sizes[name]:.4f} of the bytes of {name},"
            f" {speeds['courier best'] / speeds[name]:.2f} times its speed"
        )
    archives = [str(path) for path in sorted(mine.glob("*.7z"))]
    readers = {"courier": own("--unpack", mine, work / "out"), "7z x": [seven, "x", archives[0], f"-o{work / 'peer'}"]}
    times = {}
    for name, command in readers.items():
        times[name], memory = measure(command)
        print(f"  unpack: {name:10} {total / 1e6 / times[name]:7.2f} MB/s {memory:6.0f} MiB")
    subprocess.run([seven, "t", *archives[:1]], check=True, stdout=subprocess.DEVNULL)
    print(f"  ratio: unpacking takes {times['courier'] / times['7z x']:.2f} of 7z x")


def own(*arguments: object) -> list[str]:
    """This file as a process of its own."""
    return [sys.executable, __file__, *map(str, arguments)]


def main() -> None:
    """Run one side, or compare all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=300, help="megabytes")
    parser.add_argument("--folder", help="where to work")
    parser.add_argument("--from", dest="sources", nargs="+", type=Path, default=[Path("/usr/bin"), Path("/usr/lib")])
    parser.add_argument("--build", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--unpack", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        folder, out, codec, level = options.build
        return build(Path(folder), Path(out), CODECS[codec], int(level))
    if options.unpack:
        return unpack(*options.unpack)
    seven, zstd = shutil.which("7zz") or shutil.which("7z"), shutil.which("zstd")
    if seven is None or zstd is None:
        sys.exit("needs 7-Zip and zstd")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        started = time.perf_counter()
        work = Path(name)
        (work / "sample").mkdir()
        sample(options.sources, work / "sample", options.size * 1_000_000)
        compare(work / "sample", work, seven, zstd)
        print(f"  {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
