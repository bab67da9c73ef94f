"""Many small files: 20,000 of 200 to 8,000 bytes, against tar, sha256sum, 7z and genisoimage."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from measure import Machine, Row, courier, flush, run, together, two_sites


def make_tree(root: Path, files: int) -> int:
    """Files of 200 to 8,000 bytes, a hundred to a folder; the bytes of all."""
    chance = random.Random(18)
    total = 0
    for number in range(files):
        folder = root / f"{number // 100:05}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        data = chance.randbytes(chance.randrange(200, 8001))
        (folder / f"file-{number:07}.dat").write_bytes(data)
        total += len(data)
    return total


def rows(work: Path, machine: Machine, quick: bool) -> Iterator[Row]:
    """Add; create and write; receive and import; export."""
    files = 2_000 if quick else 20_000
    tree, peer = work / "tree", work / "peer"
    total = make_tree(tree, files)
    once, twice = machine.floor(written=total, read=0), machine.floor(written=2 * total, read=total)
    hq, br = two_sites(work / "sites")
    here, there = courier(hq), courier(br)
    peer.mkdir()

    theirs = together(
        run(["tar", "cf", peer / "tree.tar", "tree"], cwd=work),
        run(["sh", "-c", f"find tree -type f -exec sha256sum {{}} + > {peer}/SHA256SUMS"], cwd=work),
        flush(peer),
    )
    add = here("package", "add", tree, "--name", "Small files")
    yield Row(
        item=1, name=f"{files} files: add", ours=add, peer=theirs, peer_name="tar c, sha256sum", target=2, floor=once
    )

    theirs = together(
        run(["7z", "a", "-mx0", peer / "tree.7z", "tree"], cwd=work),
        run(["sha256sum", "tree.7z"], cwd=peer),
        run(["genisoimage", "-quiet", "-J", "-R", "-o", peer / "tree.iso", peer / "tree.7z"]),
        flush(peer),
    )
    options = ("--to", "BR1", "--capacity", "640MB", "--redundancy", "none", "--compress", "none", "--no-encrypt")
    create = here("parcel", "create", "HQ100001", *options)
    write = here("parcel", "write", "HQ1-000001", "--layout", "iso", "--out", work / "iso")
    yield Row(
        item=1,
        name=f"{files} files: create + write",
        ours=together(create, write),
        peer=theirs,
        peer_name="7z a -mx0, sha256sum, genisoimage",
        target=1.5,
        floor=twice,
    )
    yield Row(item=1, name="  of that, create", ours=create)
    yield Row(item=1, name="  of that, write", ours=write)

    out = work / "out"
    out.mkdir()
    theirs = together(
        run(["tar", "xf", peer / "tree.tar"], cwd=out),
        run(["sha256sum", "--quiet", "-c", peer / "SHA256SUMS"], cwd=out),
        flush(out),
    )
    here("parcel", "ship", "HQ1-000001")
    here("channel", "sync")
    there("channel", "sync")
    receive = there("parcel", "receive", work / "iso")
    yield Row(
        item=1,
        name=f"{files} files: receive + import",
        ours=receive,
        peer=theirs,
        peer_name="tar x, sha256sum -c",
        target=2,
        floor=once,
    )
    export = there("package", "export", "HQ100001", "--to", work / "exported")
    run(["diff", "-r", tree, work / "exported"])
    yield Row(
        item=1,
        name=f"{files} files: export",
        ours=export,
        peer=theirs,
        peer_name="tar x, sha256sum -c",
        target=1.5,
        floor=once,
    )
    shutil.rmtree(work)
