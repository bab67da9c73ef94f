"""Parcels of a few small files, laid out on volumes by hand through `formats` alone, for the restore script to read."""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from content_stores import stored
from solid_archives import opened
from stock import stock_tool

from formats.archive import Member
from formats.archive.view import ArchiveView, Span
from formats.codecs import CODECS, Codec
from formats.digest import sha256_hex
from formats.documents import label, packing
from formats.documents.contents import ContentsWriter, MemberRecord, PackageHeader
from formats.documents.listing import (
    Entry,
    FileEntry,
    FolderEntry,
    HardLinkEntry,
    LinkEntry,
    entry_line,
    path_key,
    write_listing,
)
from formats.documents.packing import FileRecord, PackingList, TableRef, archive_path
from formats.envelope import Envelope
from formats.holes import BLOCK, HoleMap, hole_map
from formats.names import is_portable

PARCEL = "HQ1-000042"
CREATED = 1_795_512_600_123_456_789
PART = 1000
"""Bytes after which a content is cut in these tests."""


@dataclass(frozen=True, slots=True)
class Name:
    """A further name of the file at ``first``."""

    first: str


Tree = Mapping[str, "bytes | str | Name | None"]
"""Path -> content of a file, target of a symbolic link, a further name, or None for a folder."""

NOISE = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(100))
FIRST: Tree = {
    "boot": None,
    "boot/absolute": "/etc/passwd",
    "boot/empty": None,
    "boot/empty.txt": b"",
    "boot/empty.txt too": Name("boot/empty.txt"),
    "boot/loader.sh": b"#!/bin/sh\nexit 0\n",
    "drivers": None,
    "drivers/above": "../../../x/..",
    "drivers/current": "../boot/loader.sh",
    "drivers/image.wim": NOISE,
    "drivers/image.wim too": Name("drivers/image.wim"),
    "drivers/kept =0400": b"may be read, and nothing else",
    "drivers/locked =0000": b"may not even be read",
    "drivers/log.txt": b"a line that shrinks\n" * 200,
    "drivers/na\u0308me": b"decomposed",
    "drivers/n\u00e4me": b"composed",
    "drivers/what?\n*.bin": b"no portable name",
    "drivers/loader": Name("boot/loader.sh"),
    "shut =0500": None,
    "shut =0500/deep =0000": None,
    "shut =0500/deep =0000/file": b"in a folder that nobody enters",
    "shut =0500/deep =0000/link": "file",
    "shut =0500/sudo =6755": b"set-user-ID",
    "sticky =1777": None,
    "\U0001f4bf": b"disc",
}
SECOND: Tree = {
    "again.txt": FIRST["drivers/log.txt"],
    "image.wim": NOISE,
    "tools": None,
    "tools/loader.sh": FIRST["boot/loader.sh"],
    "tools/readme.txt": b"only here, and long enough\n" * 9,
}
TREES = {"HQ100001:2": FIRST, "HQ1000A0:17": SECOND}


def mtime(path: str) -> int:
    """A time of its own, with nanoseconds, for each path: one before 1970, some after 2262 (beyond 64 bits)."""
    if path == "drivers/log.txt":
        return -1_000_000_001
    if path.startswith("tools"):
        return 10_413_792_000_000_000_001
    return 1_500_000_000_000_000_001 + int(sha256_hex(path.encode())[:12], 16)


def mode(path: str) -> int:
    """The permission bits of a path: what its name says at its end, or usual ones."""
    said = re.search(" =([0-7]{4})$", path)
    return int(said[1], 8) if said else 0o755 if path.endswith(".sh") or "." not in path else 0o640


def holes(data: bytes) -> HoleMap:
    """The map of all whole blocks of zeros."""
    runs: list[tuple[int, int]] = []
    for at in range(0, len(data), BLOCK):
        piece = data[at : at + BLOCK]
        if any(piece):
            continue
        if runs and sum(runs[-1]) == at:
            runs[-1] = (runs[-1][0], runs[-1][1] + len(piece))
        else:
            runs.append((at, len(piece)))
    return hole_map(runs)


def entries(tree: Tree) -> list[Entry]:
    made: list[Entry] = []
    for path in sorted(tree, key=path_key):
        what = tree[path]
        if isinstance(what, bytes):
            made.append(
                FileEntry(
                    path=path,
                    size=len(what),
                    sha256=sha256_hex(what),
                    mtime_ns=mtime(path),
                    mode=mode(path),
                    blocks=stored(what).blocks,
                    holes=holes(what),
                    further_names=list(tree.values()).count(Name(path)),
                )
            )
        elif isinstance(what, Name):
            made.append(HardLinkEntry(path=path, first=what.first))
        elif what is None:
            made.append(FolderEntry(path=path, mtime_ns=mtime(path), mode=mode(path)))
        else:
            made.append(LinkEntry(path=path, target=what, mtime_ns=mtime(path)))
    return made


def zstd(data: bytes) -> bytes:
    return subprocess.run([stock_tool("zstd"), "-cq"], input=data, capture_output=True, check=True).stdout


def stored_members(
    trees: Mapping[str, Tree], codec: Codec | None = None, part_size: int = PART
) -> list[tuple[MemberRecord, bytes]]:
    """The members of a parcel of these packages: each content once, some cut, text encoded by ``codec``.

    Without a codec, text is compressed by the stock zstd.
    """
    made: dict[tuple[str, int], tuple[MemberRecord, bytes]] = {}
    for tree in trees.values():
        for path, content in tree.items():
            if not isinstance(content, bytes) or not content:
                continue
            parts = [content[at : at + part_size] for at in range(0, len(content), part_size)]
            for n, part in enumerate(parts):
                suffix = f".{n + 1:03d}" if len(parts) > 1 else ""
                data, end, coding = part, suffix, "store"
                if path.endswith(".txt") and codec:
                    data = b"".join(codec.encode([part], length=len(part), level=0))
                    end, coding = f"{suffix}{codec.suffix}", codec.name
                elif path.endswith(".txt"):
                    data, end, coding = zstd(part), f"{suffix}.zst", "zstd"
                sha256 = sha256_hex(content)
                name = path + end if is_portable(path + end) else f"content/{sha256}{end}"
                record = MemberRecord(
                    name=name,
                    size=len(data),
                    sha256=sha256,
                    of=len(content),
                    offset=n * part_size,
                    length=len(part),
                    coding=coding,
                )
                made.setdefault((sha256, n), (record, data))
    return list(made.values())


Archiver = Callable[[list[tuple[MemberRecord, bytes]], Path], list[MemberRecord]]


def our_archive(members: list[tuple[MemberRecord, bytes]], path: Path) -> list[MemberRecord]:
    spans = []
    for record, data in members:
        codec, content, member = CODECS[record.coding], data, Member(name=record.name, size=record.size, mtime_ns=0)
        if codec.solid:  # each a group of its own
            content = b"".join(codec.decode(BytesIO(data), record.length, place=""))
            member = Member(name=record.name, size=record.length, mtime_ns=0, packed=record.size)
        spans.append(Span(member=member, crc32=zlib.crc32(content), open=partial(opened, data)))
    with path.open("xb") as out:
        out.write(ArchiveView(spans).read())
    return [record for record, _ in members]


def stock_archive(*options: str) -> Archiver:
    """An archive by stock 7-Zip, whose members stand in an order of its own choice."""

    def make(members: list[tuple[MemberRecord, bytes]], path: Path) -> list[MemberRecord]:
        folder = path.with_name("members")
        for record, data in members:
            (folder / record.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / record.name).write_bytes(data)
        tool = stock_tool("7z")
        subprocess.run([tool, "a", *options, path.resolve(), "."], cwd=folder, check=True, capture_output=True)
        listing = subprocess.run([tool, "l", "-slt", "-ba", "-sccUTF-8", path], check=True, capture_output=True).stdout
        shutil.rmtree(folder)
        by_name = {record.name: record for record, _ in members}
        order = re.findall(r"^Path = (.*)$", listing.decode(), re.M)
        return [by_name[name] for name in order if name in by_name]

    return make


def envelope(payload: bytes, payload_type: str) -> bytes:
    return Envelope(payload=payload, payload_type=payload_type, signatures=(("0" * 64, b"unsigned"),)).encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A parcel laid out on volumes: the packing list and the folder of each volume."""

    packing: PackingList
    volumes: list[Path]


def send(
    root: Path,
    trees: Mapping[str, Tree] = TREES,
    *,
    volumes: int = 2,
    members: int = 3,
    archive: Archiver = our_archive,
    codec: Codec | None = None,
    part_size: int = PART,
    encrypt: Callable[[Path], None] | None = None,
    created: int = CREATED,
    edition: int = 1,
    alter: Callable[[list[bytes]], list[bytes]] = lambda lines: lines,
) -> Sent:
    """Lay a parcel out by hand; ``alter`` changes the lines of its contents before their digest is taken."""
    root.mkdir(parents=True)
    stored = stored_members(trees, codec, part_size)
    runs = [stored[at : at + members] for at in range(0, len(stored), members)]
    buffer = BytesIO()
    writer = ContentsWriter(buffer, parcel=PARCEL, packages=len(trees), archives=len(runs))
    for name, tree in trees.items():
        package, version = name.split(":")
        summary = write_listing(entries(tree), BytesIO())
        header = PackageHeader(package=package, version=int(version), name=f"Image {name} \u00fc", listing=summary)
        writer.package(header, map(entry_line, entries(tree)))
    files = []
    for number, run in enumerate(runs, 1):
        volume = (number - 1) % volumes + 1
        path = root / f"V{volume}" / archive_path(number, encrypted=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        writer.archive(number, archive(run, path))
        if encrypt:
            encrypt(path)
            path = path.with_name(f"{path.name}.age")
        files.append(FileRecord(number=number, size=path.stat().st_size, sha256=digest(path), volume=volume))
    writer.close()
    contents = root / "contents.jsonl.gz"
    lines = gzip.decompress(buffer.getvalue()).splitlines(keepends=True)
    contents.write_bytes(gzip.compress(b"".join(alter(lines)), mtime=0))
    if encrypt:
        encrypt(contents)
        contents = root / "contents.jsonl.gz.age"
    made = PackingList(
        parcel=PARCEL,
        source="HQ1",
        destinations=("BR2",),
        created_ns=created,
        priority="medium",
        edition=edition,
        media="cd80",
        capacity=737_280_000,
        volumes=volumes,
        encrypted=encrypt is not None,
        block_size=1 << 20,
        archives=tuple(files),
        parity=(),
        groups=(),
        contents=TableRef(size=contents.stat().st_size, sha256=digest(contents)),
        blocks=TableRef(size=32 * len(files), sha256="0" * 64),
    )
    folders = [root / f"V{number}" for number in range(1, volumes + 1)]
    for number, folder in enumerate(folders, 1):
        (folder / "courier").mkdir(parents=True)
        shutil.copy(contents, folder / "courier" / contents.name)
        document = label.VolumeLabel(
            parcel=PARCEL,
            source="HQ1",
            number=number,
            of=volumes,
            packing_list=sha256_hex(made.payload()),
            issued_ns=created,
            tags=(),
        )
        (folder / "courier/packing-list.json").write_bytes(envelope(made.payload(), packing.TYPE))
        (folder / "courier/volume-label.json").write_bytes(envelope(document.payload(), label.TYPE))
    contents.unlink()
    return Sent(packing=made, volumes=folders)


def digest(path: Path) -> str:
    return sha256_hex(path.read_bytes())
