"""Which archives the packages of an arriving parcel need, and which of these are here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from courier.errors import explain
from courier.parcel.contents import open_contents
from courier.parcel.keys import identities_for
from courier.parcel.package_needs import Needs, indices, needs_of, read_needs, write_needs
from courier.receiving.spool import Spool
from courier.site.home import Site
from formats.documents.contents import ContentsReader
from formats.documents.listing import Entry, FileEntry
from formats.errors import FormatError


def spool_needs(site: Site, spool: Spool) -> Needs | None:
    """The archives that each package of a parcel needs; None while the key to its contents has not come.

    Raises `RefusedError` or `DamagedError` for contents that are not what they should be.
    """
    packing = spool.packing
    kept = read_needs(spool.folder, packing)
    if kept is not None:
        return kept
    identities = identities_for(site, packing) if packing.encrypted else []
    if packing.encrypted and not identities:
        return None
    try:
        with open_contents(site, packing, spool.contents(), identities) as contents:
            needs = needs_of(
                (((header.package, header.version), _digests(entries)) for header, entries in contents.packages()),
                _archives(contents),
            )
    except FormatError as error:
        raise explain(error, where=f"contents of {packing.parcel}") from None
    write_needs(spool.folder, packing, needs)
    return needs


def _digests(entries: Iterator[Entry]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, FileEntry) and entry.size:
            yield entry.sha256


def _archives(contents: ContentsReader) -> Iterator[tuple[int, Iterator[str]]]:
    for number, members in contents.archives():
        yield number - 1, (member.sha256 for member in members)


class WholeArchives:
    """Which archives of a spool are here whole, as of now; each is looked at once."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._known: dict[int, bool] = {}

    def missing(self, needed: Sequence[tuple[int, int]]) -> list[int]:
        """The indices of the archives among ``needed`` of which blocks are missing."""
        return [index for index in indices(needed) if not self._is_whole(index)]

    def _is_whole(self, index: int) -> bool:
        if index not in self._known:
            self._known[index] = self._spool.state(index).whole
        return self._known[index]
