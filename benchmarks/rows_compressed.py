"""A compressed build of the files of this system as one raw image, against `tar | zstd -3 -T0 | split`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from measure import PIECE, Cost, Machine, Row, courier, flush, run, two_sites


def make_system_image(path: Path, size: int, source: Path = Path("/usr")) -> int:
    """The files of ``source`` one after the other, each at a block of 4,096 bytes as in a file system; the bytes."""
    written = 0
    with path.open("wb") as out:
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                one = Path(folder, name)
                if written >= size:
                    return written
                if one.is_symlink() or not one.is_file() or not os.access(one, os.R_OK):
                    continue
                with one.open("rb") as file:
                    while (left := size - written) > 0 and (data := file.read(min(PIECE, left))):
                        out.write(data)
                        written += len(data)
                room = min(-written % 4096, size - written)
                out.write(bytes(room))
                written += room
    return written


LOOK = """
import sys, time
from formats.codecs.zstd import samples_shrink, zstd_library
zstd_library()
began = time.process_time()
with open(sys.argv[1], "rb") as source:
    samples_shrink(source, source.seek(0, 2))
print(time.process_time() - began)
"""
"""How a plan finds out whether a content shrinks, alone; prints seconds of processor time."""


def rows(work: Path, machine: Machine, quick: bool) -> Iterator[Row]:
    """Time and ratio against zstd; two processors against one."""
    size = make_system_image(work / "image.raw", (128 if quick else 1024) << 20)
    peer = work / "peer"
    peer.mkdir()
    began = run(["sh", "-c", f"tar c image.raw | zstd -q -3 -T0 | split -b 512m - {peer}/part."], cwd=work)
    flushed = flush(peer)
    theirs = Cost(
        seconds=began.seconds + flushed.seconds, processor=began.processor + flushed.processor, peak=began.peak
    )
    packed = sum(path.stat().st_size for path in peer.iterdir())
    two = sorted(os.sched_getaffinity(0))[:2]
    found: dict[int, Cost] = {}
    for count in (2, 1):
        hq, _ = two_sites(work / f"sites{count}")
        courier(hq)("package", "add", work / "image.raw", "--name", "System")
        options = ("--to", "BR1", "--capacity", "25GB", "--redundancy", "none", "--no-encrypt")
        found[count] = courier(hq, processors=two[:count])("parcel", "create", "HQ100001", *options)
        if count == 2:
            archives = sum(path.stat().st_size for path in (hq / "parcels").rglob("packs/*"))
        shutil.rmtree(work / f"sites{count}")
    yield Row(
        item=3,
        name=f"{size >> 20} MiB of a system: compressed build",
        ours=found[2],
        peer=theirs,
        peer_name="tar | zstd -3 -T0 | split",
        target=1.0,
        floor=machine.floor(written=packed, read=0),
    )
    yield Row(
        item=3,
        name="  size after compression, of the peer's",
        ours=found[2],
        value=archives / packed,
        unit="of the peer's bytes",
        target=1.005,
    )
    look = run([sys.executable, "-c", LOOK, work / "image.raw"])
    yield Row(
        item=3,
        name="  looking whether it shrinks, of the processor time",
        ours=look,
        value=float(look.out) / found[2].processor,
        unit="of the processor time of the build",
        target=0.01,
    )
    if len(two) == 2:
        yield Row(
            item=3,
            name="  two processors, as times the speed of one",
            ours=found[2],
            peer=found[1],
            peer_name="the same on one processor",
            target=1.8,
            at_least=True,
        )
    shutil.rmtree(work)
