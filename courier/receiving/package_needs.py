"""Which archives each package of a parcel needs, so that it can be imported before the rest of the parcel comes.

It follows from the parcel's contents, which name the files of each package and what lies in every archive. It is
worked out once and kept in the spool, bound to the digest of the contents; if that file is lost, it is worked out anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from courier.errors import explain
from courier.files import write_atomic
from courier.parcel.contents import open_contents
from courier.parcel.import_checks import PackageVersion
from courier.parcel.keys import identities_for
from courier.receiving.spool import Spool
from courier.site.home import Site
from formats.blocks import ranges
from formats.documents.contents import ContentsReader
from formats.documents.listing import FileEntry
from formats.errors import FormatError

NEEDS = "needs.json"
"""Name of the file in a spool."""

Needs = Mapping[PackageVersion, tuple[tuple[int, int], ...]]
"""For each package, in the order of the contents, ranges of the indices of the archives that hold its content."""


def package_needs(site: Site, spool: Spool) -> Needs | None:
    """The archives that each package of a parcel needs; None while the key to its contents has not come.

    Raises `RefusedError` or `DamagedError` for contents that are not what they should be.
    """
    packing = spool.packing
    kept = _read(spool)
    if kept is not None:
        return kept
    identities = identities_for(site, packing) if packing.encrypted else []
    if packing.encrypted and not identities:
        return None
    try:
        with open_contents(site, packing, spool.contents(), identities) as contents:
            needs = needs_of(contents)
    except FormatError as error:
        raise explain(error, where=f"contents of {packing.parcel}") from None
    _write(spool, needs)
    return needs


def needs_of(contents: ContentsReader) -> dict[PackageVersion, tuple[tuple[int, int], ...]]:
    """Read contents to their end, and say which archives each package needs.

    A content is remembered by 8 bytes of its digest. Were two taken for one, a package would wait for an archive more.
    """
    holders: dict[int, int | tuple[int, ...]] = {}
    names: list[PackageVersion] = []
    for header, entries in contents.packages():
        at = len(names)
        names.append((header.package, header.version))
        for entry in entries:
            if isinstance(entry, FileEntry) and entry.size:
                key = _short(entry.sha256)
                known = holders.setdefault(key, at)
                if known != at and not (isinstance(known, tuple) and known[-1] == at):
                    holders[key] = (*(known if isinstance(known, tuple) else (known,)), at)
    archives: list[set[int]] = [set() for _ in names]
    for number, members in contents.archives():
        for member in members:
            holding = holders.get(_short(member.sha256), ())
            for at in holding if isinstance(holding, tuple) else (holding,):
                archives[at].add(number - 1)
    return {name: tuple(ranges(sorted(needed))) for name, needed in zip(names, archives, strict=True)}


def _short(sha256: str) -> int:
    return int(sha256[:16], 16)


@dataclass(kw_only=True, slots=True)
class WholeArchives:
    """Which archives of a spool are here whole; each is looked at once."""

    spool: Spool
    known: dict[int, bool]

    def missing(self, needed: Sequence[tuple[int, int]]) -> list[int]:
        """The indices of the archives among ``needed`` of which blocks are missing."""
        return [index for first, last in needed for index in range(first, last + 1) if not self._is_whole(index)]

    def _is_whole(self, index: int) -> bool:
        if index not in self.known:
            self.known[index] = self.spool.state(index).whole
        return self.known[index]


def whole_archives(spool: Spool) -> WholeArchives:
    """Which archives of a spool are here whole, as of now."""
    return WholeArchives(spool=spool, known={})


def volumes_of(spool: Spool, archives: Collection[int]) -> tuple[int, ...]:
    """The numbers of the volumes that hold archives, given by their indices."""
    return tuple(sorted({spool.packing.archives[index].volume for index in archives}))


def _write(spool: Spool, needs: Needs) -> None:
    rows = [[package, version, [list(span) for span in spans]] for (package, version), spans in needs.items()]
    data = {"contents": spool.packing.contents.sha256, "packages": rows}
    write_atomic(spool.folder / NEEDS, json.dumps(data).encode())


def _read(spool: Spool) -> Needs | None:
    try:
        data = json.loads((spool.folder / NEEDS).read_bytes())
        if data["contents"] != spool.packing.contents.sha256:
            return None
        needs = {
            (str(package), int(version)): tuple((int(first), int(last)) for first, last in spans)
            for package, version, spans in data["packages"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
    top = len(spool.packing.archives)
    inside = all(0 <= first <= last < top for spans in needs.values() for first, last in spans)
    return needs if inside else None
