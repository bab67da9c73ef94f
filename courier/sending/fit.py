"""Fitting the contents of a parcel to a kind of medium: archives as large as suits it, and their layout."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from courier.errors import NoSpaceError
from courier.parcel.archive_names import ArchiveNames
from courier.parcel.archive_plan import LEAST_ARCHIVE, PlannedArchive
from courier.parcel.archive_sizes import ArchiveSizes
from courier.parcel.content_table import ContentTable
from courier.parcel.encryption import encrypted_bytes, plain_limit
from courier.parcel.volume_layout import (
    FixedSizes,
    LayoutRequest,
    archive_cost,
    archive_limit,
    lay_out,
    room_for_archives,
)
from courier.sending.archive_builder import member_records
from courier.sending.largest_fit import TooLarge, largest_fit
from courier.sending.volume_source import fixed_sizes
from formats.blocks import BLOCK
from formats.documents.contents import ContentsGauge, KeptRuns
from formats.documents.packing import PackingList, TableRef

_WELL_FILLED = 64 << 20
"""Bytes of archives with compressed content that are not made smaller only to fill the media better."""
_WHOLE = 10_000
"""In these units a redundancy has its share."""
_ARCHIVE_ROW = 40
"""Most bytes that one more archive of the same members adds to the contents."""
_REFINED = 4
"""How often the limit is reckoned anew from the documents of the archives before."""
_UNKNOWN = "0" * 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Archives of at most ``limit`` bytes, and a packing list of them that fits the medium.

    ``content``: bytes of content, each once; ``packed``: most bytes of what is not stored as it is. ``kept``: lines of
    the contents document that need not be compressed again, those of these very archives among them.
    """

    archives: Collection[PlannedArchive]
    packing: PackingList
    limit: int
    content: int
    packed: int
    kept: KeptRuns | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sized:
    """The sizes of archives in bytes, those of the contents, and what `Fit` says of them."""

    sizes: list[int]
    contents: int
    content: int
    packed: int
    kept: KeptRuns | None


class Fitting:
    """The search for archives of ``contents`` that suit a medium (``request``).

    ``told``: the contents document as far as it tells of the packages; ``recipients``: for how many sites it is
    encrypted; ``card``: bytes of the site's card.
    """

    def __init__(
        self, request: LayoutRequest, contents: ContentTable, told: ContentsGauge, *, recipients: int, card: int
    ) -> None:
        self._request = request
        self._contents = contents
        self._names = ArchiveNames(contents)
        self._told = told
        self._recipients = recipients
        self._card = card
        self._first: tuple[ArchiveSizes, _Sized] | None = None
        """The first archives that were tried, whose sums tell the sizes of others."""

    def fit(self) -> Fit:
        """The archives and their layout; raises `NoSpaceError` where the medium is too small, `UsageError`.

        The documents on every volume grow with the number of archives, and that grows as archives shrink: so smaller
        archives are tried until the layout takes them, as it will take those that are built.
        """
        first = fixed_sizes(card=self._card, contents=1 << 10)
        total = self._contents.bytes
        room = room_for_archives(self._request, 1, total, first)
        limit = archive_limit(self._request, room)
        if not self._contents.all_as_is:
            # Nobody knows how small they come out: several archives on a volume leave less of it empty.
            limit = min(limit, max(_WELL_FILLED, room // 4 // BLOCK * BLOCK))
        found = largest_fit(limit, self._attempt, least=LEAST_ARCHIVE)
        return self._on_fewer_volumes(found)

    def _attempt(self, limit: int) -> Fit | TooLarge:
        """The layout with archives of at most so many bytes."""
        sized = self._sized(plain_limit(limit, self._recipients))
        try:
            return self._laid_out(limit, sized)
        except NoSpaceError as error:
            # Raises what is true of this medium where not even the smallest archives leave room.
            fixed = self._fixed(sized)
            room = room_for_archives(self._request, len(sized.sizes), sum(sized.sizes), fixed)
            return TooLarge(most=archive_limit(self._request, room), error=error)

    def _laid_out(self, limit: int, sized: _Sized) -> Fit:
        fixed = self._fixed(sized)
        table = TableRef(size=fixed.contents, sha256=_UNKNOWN)
        layout = lay_out(self._request, [(size, _UNKNOWN) for size in sized.sizes], contents=table, fixed=fixed)
        plain = plain_limit(limit, self._recipients)
        return Fit(
            archives=self._names.planned(plain, len(sized.sizes)),
            packing=layout.packing,
            limit=limit,
            content=sized.content,
            packed=sized.packed,
            kept=sized.kept,
        )

    def _fixed(self, sized: _Sized) -> FixedSizes:
        size = encrypted_bytes(sized.contents, self._recipients)
        # Real sizes may differ in their number of digits from those assumed: a little more room for that.
        return fixed_sizes(card=self._card, contents=size + size // 50 + 256)

    def _sized(self, limit: int) -> _Sized:
        """The sizes of archives of at most ``limit`` bytes before encryption."""
        if self._first is not None:
            known, before = self._first
            sizes = known.at(limit)
            if sizes is not None:
                more = _ARCHIVE_ROW * max(0, len(sizes) - len(before.sizes))
                kept = None if before.kept is None else before.kept.packages_alone()
                return replace(before, sizes=self._encrypted(sizes), contents=before.contents + more, kept=kept)
        counted, gauge = ArchiveSizes(), self._told.copy()
        for archive, most in counted.count(self._names.archives(limit)):
            gauge.archive(archive.number, member_records(archive, most))
        sized = _Sized(
            sizes=self._encrypted(counted.sizes),
            contents=gauge.size + len(str(len(counted.sizes))),
            content=counted.content,
            packed=counted.packed,
            kept=gauge.kept,
        )
        self._first = self._first or (counted, sized)
        return sized

    def _encrypted(self, sizes: list[int]) -> list[int]:
        return [encrypted_bytes(size, self._recipients) for size in sizes]

    def _on_fewer_volumes(self, found: Fit) -> Fit:
        """The same, or smaller archives that leave less of each volume empty.

        The first limit was reckoned before the documents were known. Where these are large, one archive less than
        reckoned may lie on every volume.
        """
        request = self._request
        sizes = [file.size for file in found.packing.archives]
        fixed = fixed_sizes(card=self._card, contents=found.packing.contents.size)
        count, limit = len(sizes), found.limit
        if found.packing.volumes - len(found.packing.spares) <= self._least_volumes(sizes, fixed):
            return found
        for _ in range(_REFINED):
            try:
                room = room_for_archives(request, count, sum(sizes), fixed)
                smaller = archive_limit(request, room)
                if smaller >= limit:
                    break
                limit = smaller
                fits = self._attempt(limit)
            except NoSpaceError:
                break
            if not isinstance(fits, Fit):
                break
            if fits.packing.volumes < found.packing.volumes:
                found = fits
            # More archives make larger documents, and these leave less room again.
            count = max(count, len(fits.archives) + len(fits.archives) // 100 + 1)
            fixed = fixed_sizes(card=self._card, contents=max(fixed.contents, fits.packing.contents.size))
        return found

    def _least_volumes(self, sizes: Sequence[int], fixed: FixedSizes) -> int:
        """The fewest volumes that have room for archives of these ``sizes``, and for the parity on each."""
        request = self._request
        room = room_for_archives(request, len(sizes), sum(sizes), fixed)
        costs = sum(archive_cost(size, request.capacity) for size in sizes)
        return max(1, -(-costs * _WHOLE // ((_WHOLE - request.redundancy.share) * room)))
