"""One large image that does not compress, plain and encrypted: the whole journey, and bytes written for each step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from measure import Cost, Machine, Row, courier, flush, make_image, run, together, two_sites

MOST_WRITTEN = 1.05
"""Bytes that a step writes for a byte of the image, at most."""


def stock(work: Path, image: Path) -> tuple[Cost, Cost, Cost]:
    """What an operator does with stock tools: make the set, take it in, and hand out a checked copy."""
    parts, discs, out = work / "parts", work / "discs", work / "out"
    for folder in (parts, discs, out):
        folder.mkdir()
    made = [run(["7z", "a", "-mx0", "-v512m", parts / "image.7z", image])]
    names = sorted(path.name for path in parts.iterdir())
    made.append(run(["openssl", "dgst", "-sha256", *names], cwd=parts))
    made += [run(["genisoimage", "-quiet", "-J", "-R", "-o", discs / f"{name}.iso", parts / name]) for name in names]
    made.append(flush(parts, discs))
    taken = together(
        run(["openssl", "dgst", "-sha256", *names], cwd=parts),
        run(["7z", "x", f"-o{out}", parts / names[0]]),
        flush(out),
    )
    copied = together(
        run(["cp", "--reflink=never", image, out / "copy"]),
        run(["openssl", "dgst", "-sha256", out / "copy"]),
        flush(out / "copy"),
    )
    return together(*made), taken, copied


def rows(work: Path, machine: Machine, quick: bool) -> Iterator[Row]:
    """Plain, then encrypted; two steps, then both in one pass."""
    size = (256 if quick else 2048) << 20
    image = work / "image.wim"
    make_image(image, size)
    peer = work / "peer"
    peer.mkdir()
    made, taken, copied = stock(peer, image)
    shutil.rmtree(peer)
    through = machine.floor(written=size, read=size)
    once = machine.floor(written=size, read=0)
    for encrypt in (False, True):
        kind = "encrypted" if encrypt else "plain"
        place = work / kind
        hq, br = two_sites(place)
        here, there = courier(hq), courier(br)
        add = here("package", "add", image, "--name", "Image")
        # Media of 540 MB hold one archive of half a gigabyte each, as the peer's volumes do.
        seal = "--encrypt" if encrypt else "--no-encrypt"
        options = ("--to", "BR1", "--capacity", "540MB", "--redundancy", "none", seal)
        create = here("parcel", "create", "HQ100001", *options)
        write = here("parcel", "write", "HQ1-000001", "--layout", "iso", "--out", place / "iso")
        yield Row(
            item=2,
            name=f"image, {kind}: create + write",
            ours=together(create, write),
            peer=made,
            peer_name="7z a -mx0 -v512m, openssl dgst, genisoimage",
            target=0.8 if encrypt else 0.6,
            floor=through,
        )
        yield Row(item=2, name="  of that, create", ours=create)
        yield Row(item=2, name="  of that, write", ours=write)
        once_through = here("parcel", "create", "HQ100001", *options, "--write", "iso", "--out", place / "one pass")
        shutil.rmtree(place / "one pass")
        yield Row(
            item=2,
            name=f"image, {kind}: create --write, one pass",
            ours=once_through,
            peer=made,
            peer_name="7z a -mx0 -v512m, openssl dgst, genisoimage",
            target=0.8 if encrypt else 0.6,
            floor=through,
        )
        here("parcel", "ship", "HQ1-000001")
        here("channel", "sync")
        there("channel", "sync")
        receive = there("parcel", "receive", place / "iso")
        yield Row(
            item=5,
            name=f"image, {kind}: receive + import",
            ours=receive,
            peer=taken,
            peer_name="openssl dgst, 7z x",
            target=0.5,
            floor=once,
        )
        export = there("package", "export", "HQ100001", "--to", place / "exported")
        run(["cmp", image, place / "exported" / image.name])
        yield Row(
            item=5,
            name=f"image, {kind}: export",
            ours=export,
            peer=copied,
            peer_name="cp, openssl dgst",
            target=1.0,
            floor=once,
        )
        steps = {"add": add, "create + write": together(create, write), "receive + import": receive, "export": export}
        for step, cost in steps.items():
            yield Row(
                item=5,
                name=f"image, {kind}: bytes written by {step}",
                ours=cost,
                value=cost.written / size,
                unit="bytes for a byte of the image",
                target=MOST_WRITTEN,
            )
        shutil.rmtree(place)
    image.unlink()
