"""The custody chain of a parcel as a page shows it: checked whole where that is quick, else its newest entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from courier.parcel.custody import Break, LedgerLine, LedgerView, read_entry
from courier.parcel.custody_ledger import view_ledger
from courier.parcel.seals import judge_seals
from courier.site.catalog import custody
from courier.site.home import Site
from courier.web.pages import Asked
from courier.web.paging import Paging
from formats.errors import FormatError

SIZE = 25
CHECKED = 1000
"""Entries that are verified for a page, each with its signature; of a longer ledger the newest are shown unverified."""
SEALS = 20
"""Verdicts on seals of one entry, and warnings, that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CustodyPart:
    """What is shown of a ledger. ``view``: all of it, where it was verified; ``rows``: those of this page.

    The newest come first. ``seals``: by name of an entry, the verdict on each of its seals.
    """

    view: LedgerView | None
    rows: Sequence[LedgerLine]
    paging: Paging
    seals: Mapping[str, Sequence[str]]
    warnings: Sequence[str]

    @property
    def breaks(self) -> Sequence[Break]:
        """What is wrong with the chain."""
        return self.view.breaks if self.view else ()

    @property
    def lines(self) -> Sequence[LedgerLine]:
        """The whole ledger, where it was verified."""
        return self.view.lines if self.view else ()


def custody_part(asked: Asked) -> CustodyPart:
    """The ledger of the parcel that is asked for. Raises `CourierError`."""
    site, parcel = asked.site, asked.name
    begin = asked.offset(SIZE, "custody")
    with site.catalogue.reading() as connection:
        count = custody.count_of_parcel(connection, parcel)
    paging = asked.paging(SIZE, count, "custody")
    if count > CHECKED:
        rows = _newest(site, parcel)[begin : begin + SIZE]
        return CustodyPart(view=None, rows=rows, paging=paging, seals={}, warnings=())
    view = view_ledger(site, parcel)
    seals = judge_seals(view.lines)
    return CustodyPart(
        view=view,
        rows=view.lines[::-1][begin : begin + SIZE],
        paging=paging,
        seals={name: texts[:SEALS] for name, texts in seals.texts.items()},
        warnings=seals.warnings[:SEALS],
    )


def _newest(site: Site, parcel: str) -> list[LedgerLine]:
    with site.catalogue.reading() as connection:
        kept = custody.newest_of_parcel(connection, parcel, CHECKED)
    found = []
    for one in reversed(kept):
        try:
            _, entry = read_entry(one.envelope)
        except FormatError:
            continue  # it was altered here; `courier parcel custody verify` says so
        found.append(LedgerLine(name=one.entry, entry=entry, proved=False))
    return found
