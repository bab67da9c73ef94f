"""Which archives each package of a parcel needs: with them it is usable, whatever else of the parcel is missing.

It follows from the listings of the packages and from what lies in every archive. Both sides work it out once, and keep
it in a file beside the parcel's others; if that is lost, it is worked out anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from courier.files import write_atomic
from courier.parcel.import_checks import PackageVersion
from formats.blocks import ranges
from formats.documents.packing import PackingList

NEEDS = "needs.json"
"""Name of the file."""

Needs = Mapping[PackageVersion, tuple[tuple[int, int], ...]]
"""For each package, in the order of the parcel, ranges of the indices of the archives that hold its content."""


def needs_of(
    packages: Iterable[tuple[PackageVersion, Iterable[str]]], archives: Iterable[tuple[int, Iterable[str]]]
) -> dict[PackageVersion, tuple[tuple[int, int], ...]]:
    """Which archives each package needs, from the SHA-256 of its contents, and of those of every archive, by index.

    ``packages`` are read to their end before ``archives``. A content is remembered by 8 bytes of its digest: were two
    taken for one, a package would wait for an archive more.
    """
    holders: dict[int, int | tuple[int, ...]] = {}
    names: list[PackageVersion] = []
    for name, contents in packages:
        at = len(names)
        names.append(name)
        for sha256 in contents:
            key = _short(sha256)
            known = holders.setdefault(key, at)
            if known != at and not (isinstance(known, tuple) and known[-1] == at):
                holders[key] = (*(known if isinstance(known, tuple) else (known,)), at)
    needed: list[set[int]] = [set() for _ in names]
    for index, contents in archives:
        for sha256 in contents:
            holding = holders.get(_short(sha256), ())
            for at in holding if isinstance(holding, tuple) else (holding,):
                needed[at].add(index)
    return {name: tuple(ranges(sorted(one))) for name, one in zip(names, needed, strict=True)}


def _short(sha256: str) -> int:
    return int(sha256[:16], 16)


def volumes_of(packing: PackingList, archives: Iterable[int]) -> tuple[int, ...]:
    """The numbers of the volumes that hold archives, given by their indices."""
    return tuple(sorted({packing.archives[index].volume for index in archives}))


def indices(spans: Iterable[tuple[int, int]]) -> list[int]:
    """The indices in ranges of them."""
    return [index for first, last in spans for index in range(first, last + 1)]


def write_needs(folder: Path, packing: PackingList, needs: Needs) -> None:
    """Keep what was worked out in ``folder``."""
    rows = [[package, version, [list(span) for span in spans]] for (package, version), spans in needs.items()]
    data = {"contents": packing.contents.sha256, "packages": rows}
    write_atomic(folder / NEEDS, json.dumps(data).encode())


def read_needs(folder: Path, packing: PackingList) -> Needs | None:
    """What was kept in ``folder`` about the contents of a parcel; None where nothing is, or it is damaged."""
    try:
        data = json.loads((folder / NEEDS).read_bytes())
        if data["contents"] != packing.contents.sha256:
            return None
        needs = {
            (str(package), int(version)): tuple((int(first), int(last)) for first, last in spans)
            for package, version, spans in data["packages"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
    top = len(packing.archives)
    inside = all(0 <= first <= last < top for spans in needs.values() for first, last in spans)
    return needs if inside else None
