"""Entries of packages to test with: one of each kind, and a strategy for whole trees."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from formats.blocks import BLOCK
from formats.digest import sha256_hex
from formats.documents.listing import (
    EMPTY,
    FIRST_TIME,
    LAST_TIME,
    Entry,
    FileEntry,
    FolderEntry,
    HardLinkEntry,
    LinkEntry,
    entry_line,
)
from formats.holes import BLOCK as HOLE_BLOCK
from formats.holes import HoleMap
from formats.records import changed

SHA = sha256_hex(b"x")
TABLE = sha256_hex(b"block table")

times = st.integers(FIRST_TIME, LAST_TIME)
modes = st.integers(0, 0o7777)
components = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
targets = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


def file(path: str, size: int = 1, sha256: str = SHA, **more: Any) -> FileEntry:
    blocks = TABLE if size > BLOCK else ""
    return FileEntry(path=path, size=size, sha256=sha256, **{"mtime_ns": 0, "mode": 0o644, "blocks": blocks, **more})


def folder(path: str) -> FolderEntry:
    return FolderEntry(path=path, mtime_ns=0, mode=0o755)


def link(path: str, target: str = "x") -> LinkEntry:
    return LinkEntry(path=path, target=target, mtime_ns=0)


def hard_link(path: str, first: str) -> HardLinkEntry:
    return HardLinkEntry(path=path, first=first)


def lines(entries: list[Entry]) -> bytes:
    return b"".join(map(entry_line, entries))


@st.composite
def hole_maps(draw: st.DrawFn) -> tuple[HoleMap, int]:
    """A hole map, and the size of the file that it is of."""
    blocks = st.integers(1, 1 << 30).map(lambda n: n * HOLE_BLOCK)
    holes: list[int] = []
    at_end = draw(st.booleans())
    for n in range(draw(st.integers(0, 4))):
        data = draw(blocks) if n else draw(st.just(0) | blocks)
        holes += [data, draw(blocks)]
    if holes and at_end:
        holes[-1] += draw(st.integers(1 - HOLE_BLOCK, HOLE_BLOCK))
        return tuple(holes), sum(holes)
    return tuple(holes), sum(holes) + draw(st.integers(1, 1 << 41))


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """Entries of a package, in listing order."""
    node = st.recursive(
        st.sampled_from(["file", "sparse", "empty", "link", "name"]),
        lambda inner: st.dictionaries(components, inner, max_size=4),
        max_leaves=12,
    )
    entries: list[Entry] = []
    named: dict[str, int] = {}

    def leaf(path: str, kind: str) -> Entry:
        if kind == "link":
            return LinkEntry(path=path, target=draw(targets), mtime_ns=draw(times))
        if kind == "name" and named:
            first = draw(st.sampled_from(sorted(named)))
            named[first] += 1
            return HardLinkEntry(path=path, first=first)
        named[path] = 0
        sha256, size = SHA, draw(st.integers(1, 2**40))
        holes: HoleMap = ()
        if kind == "empty":
            sha256, size = EMPTY, 0
        elif kind == "sparse":
            holes, size = draw(hole_maps())
        return file(path, size, sha256, holes=holes, mtime_ns=draw(times), mode=draw(modes))

    def walk(inner: dict[str, Any], prefix: str) -> None:
        for component in sorted(inner, key=str.encode):
            path, kind = f"{prefix}{component}", inner[component]
            if isinstance(kind, dict):
                entries.append(FolderEntry(path=path, mtime_ns=draw(times), mode=draw(modes)))
                walk(kind, f"{path}/")
            else:
                entries.append(leaf(path, kind))

    walk(draw(st.dictionaries(components, node, max_size=4)), "")
    return [
        changed(entry, further_names=named[entry.path]) if isinstance(entry, FileEntry) else entry for entry in entries
    ]
