"""Judging a label at the desk: whether it counts, whether it was entered before, and what is still missing. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from courier.parcel.custody import LedgerLine
from courier.parcel.seals import judge_seals, seal_on, sets_known
from courier.text import one_line
from formats.documents.custody import CustodyEntry, SealMark
from formats.documents.notice import ShipNotice
from formats.documents.token import LabelToken


def superseded(token: LabelToken, announced: ShipNotice | None, lines: Sequence[LedgerLine]) -> str:
    """Why a genuine label counts no more, in words; empty where it does, as far as is known.

    ``announced``: the newest notice of its parcel. ``lines``: its custody ledger. The parcel was laid out anew if the
    notice is later than the label, and names another packing list. Its medium was replaced if its source says so, and
    has written the volume more than once since the label was made.
    """
    if announced is not None and not token.is_of(announced.packing_list) and token.issued_ns < announced.issued_ns:
        return f"{token.source} has laid {token.parcel} out anew since, and announced that layout"
    last = _replaced_ns(lines, token.number, token.copy)
    written = [
        line
        for line in lines
        if line.proved
        and line.entry.event == "written"
        and line.entry.site == token.source
        and token.number in line.entry.volumes
        and token.issued_ns <= line.entry.at_ns <= last
    ]
    if len(written) > 1:
        return f"{token.source} has sent another medium in place of this volume {token.number}"
    return ""


def entered_before(lines: Sequence[LedgerLine], site: str, number: int, copy: int) -> CustodyEntry | None:
    """The entry by which ``site`` has received this volume of a set already; None where there is none.

    What was received before the source sent another medium in its place does not count.
    """
    replaced = _replaced_ns(lines, number, copy)
    for line in lines:
        entry = line.entry
        if _receives(entry, site, copy) and entry.at_ns > replaced and (not entry.volumes or number in entry.volumes):
            return entry
    return None


def still_missing(lines: Sequence[LedgerLine], site: str, copy: int, of: int, seen: Collection[int]) -> tuple[int, ...]:
    """The volumes of a set that ``site`` has not received yet, and that are not in ``seen`` either."""
    received = [line for line in lines if _receives(line.entry, site, copy)]
    named = {number for line in received for number in line.entry.volumes or range(1, of + 1)}
    replaced = {n for line in lines if line.entry.event == "replaced" for n in line.entry.volumes} & named
    here = named - {number for number in replaced if entered_before(lines, site, number, copy) is None}
    return tuple(number for number in range(1, of + 1) if number not in here and number not in seen)


def _receives(entry: CustodyEntry, site: str, copy: int) -> bool:
    """Whether ``site`` received volumes of a set by this entry."""
    return entry.site == site and entry.event == "received" and may_be_of(entry, copy)


def may_be_of(entry: CustodyEntry, copy: int) -> bool:
    """Whether an entry may be about a set; 0 is a set whose number is not known."""
    return 0 in (copy, entry.copy) or entry.copy == copy


def _replaced_ns(lines: Sequence[LedgerLine], number: int, copy: int) -> int:
    """When the source last sent another medium in place of this volume of a set (UTC); before all times if never."""
    return max(
        (
            line.entry.at_ns
            for line in lines
            if line.proved
            and line.entry.event == "replaced"
            and line.entry.site == line.entry.parcel[:3]
            and number in line.entry.volumes
            and may_be_of(line.entry, copy)
        ),
        default=-(1 << 80),
    )


def expected_seal(number: int, copy: int, announced: ShipNotice | None, lines: Sequence[LedgerLine]) -> str:
    """The seal that is due on a volume of a set: by the ledger, else by the notice; empty where neither names one."""
    on = judge_seals(lines).on
    known = seal_on(on, sets_known(on), copy, number)
    if known is not None:
        return known.serial
    if announced is None or (copy and announced.copy not in (0, copy)):
        return ""
    return announced.seals.get(number, "")


def seal_mark(number: int, read: str, expected: str) -> SealMark:
    """The seal of a volume as it was read, compared with the one that is due; upper and lower case are the same.

    Where none is due nothing can be said of it.
    """
    read = one_line(read)
    if not expected:
        return SealMark(volume=number, serial=read)
    if read.casefold() == expected.casefold():
        return SealMark(volume=number, serial=expected, found="intact")
    return SealMark(volume=number, serial=read, found="broken")
