"""Custody entries that an operator writes by hand: in the catalogue, or in a ledger file that goes with the media."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError
from courier.parcel.custody_file import append_to_file, read_ledger_file, write_file
from courier.parcel.custody_ledger import CustodyBook, Happened, copy_here, known_here, load, seals_on, view_ledger
from courier.parcel.seals import Place, PutOn, judge_entry, judge_seals, seal_marks, sets_known
from courier.site.catalog import parcels
from courier.site.home import Site
from formats.documents import custody as custody_doc
from formats.documents.custody import CustodyEntry
from formats.documents.fields import MAX_SEAL
from formats.documents.notice import ShipNotice
from formats.envelope import parse_envelope
from formats.errors import FormatError
from formats.names import check_parcel

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class HandEntry:
    """What an operator types; see `CustodyEntry`. ``intact`` and ``broken``: volumes by how their seals were found.

    ``copy``: the number of the set of media; None: the one that came here, or the only one that the ledger tells of.
    """

    event: str
    copy: int | None = None
    to: str = ""
    tracking: str = ""
    volumes: tuple[int, ...] = ()
    seals: tuple[tuple[int, str], ...] = ()
    intact: tuple[int, ...] = ()
    broken: tuple[int, ...] = ()
    note: str = ""
    operator: str = ""


def look_ahead(parcel: str, wanted: HandEntry, ledger_file: Path | None) -> str:
    """A warning before an entry is written into a ledger file that has only entries of other parcels; else empty.

    One file may hold the entries of several parcels that travel together, so that is no error. Raises as `add_by_hand`
    does.
    """
    _check(parcel, wanted)
    file = read_ledger_file(ledger_file, parcel) if ledger_file is not None else None
    if file is None or not file.others or file.ledger.entries:
        return ""
    shown = ", ".join(sorted(file.others)[:10]) + (" ..." if len(file.others) > 10 else "")
    return f"{ledger_file} has no entry of {parcel} yet; it is a ledger of {shown}"


@dataclass(frozen=True, kw_only=True, slots=True)
class HandWritten:
    """An entry that was written by hand, with one text on each of its seals, and warnings."""

    entry: CustodyEntry
    seals: tuple[str, ...]
    warnings: tuple[str, ...]


def add_by_hand(site: Site, parcel: str, wanted: HandEntry, ledger_file: Path | None) -> HandWritten:
    """Write an entry into the catalogue, or into ``ledger_file`` where that is given.

    Raises `UsageError`, and `NotFoundError` for a parcel that is not known here; a ledger file may be of any parcel.
    """
    _check(parcel, wanted)
    trust = site.trust()
    if ledger_file is not None:
        new = not ledger_file.exists()
        file = read_ledger_file(ledger_file, parcel)
        on = seals_on(file.ledger, trust)
        done = _written(append_to_file(site, file, _what(on, wanted, copy=0)), on, wanted)
        note = f"Note: {ledger_file} did not exist: it is a new ledger file now, with this entry alone"
        return replace(done, warnings=(*done.warnings, note)) if new else done
    if not known_here(site, parcel):
        raise NotFoundError(
            f"{parcel} is not known here",
            hint="courier parcel list shows the parcels; with --ledger FILE an entry needs none",
        )
    on = judge_seals(view_ledger(site, parcel).lines).on
    with site.catalogue.writing() as connection:
        last = _last_volume(connection, parcel)
        numbers = {*wanted.volumes, *wanted.intact, *wanted.broken, *(n for n, _ in wanted.seals)}
        if last and any(number > last for number in numbers):
            raise NotFoundError(f"{parcel} has no volume {max(numbers)}", hint=f"its volumes are 1 to {last}")
        book = CustodyBook(connection, site, parcel)
        entry = book.write(_what(on, wanted, copy=copy_here(connection, parcel)))
    return _written(entry, on, wanted)


def _last_volume(connection: Connection, parcel: str) -> int:
    """The highest number of a volume of a parcel, in any layout that is known here; 0 where none is."""
    media = [medium.number for medium in parcels.written_media(connection, parcel)]
    sent = parcels.find_sent(connection, parcel)
    if sent is not None:
        media += [volume.number for volume in parcels.sent_volumes(connection, parcel, sent.edition)]
    for data, _ in parcels.notices(connection, parcel):
        media.append(ShipNotice.parse(parse_envelope(data).payload).volumes)
    for row in parcels.find_received(connection, parcel):
        media += [volume.number for volume in parcels.received_volumes(connection, parcel, row.build)]
    return max(media, default=0)


def _written(entry: CustodyEntry, on: Mapping[Place, PutOn], wanted: HandEntry) -> HandWritten:
    findings = judge_entry(entry, on)
    # Who said himself that a seal is broken need not be told.
    notes = (one.note for one in findings if one.note and one.volume not in wanted.broken)
    return HandWritten(entry=entry, seals=tuple(one.text for one in findings), warnings=tuple(notes))


def _what(on: Mapping[Place, PutOn], wanted: HandEntry, *, copy: int) -> Happened:
    """The entry as it is signed; ``copy``: the set of media that came to this site, 0 if none did."""
    if wanted.copy is not None:
        copy = wanted.copy
    elif not copy:
        known = sets_known(on)
        if len(known) > 1 and (wanted.seals or wanted.intact or wanted.broken):
            sets = ", ".join(map(str, known))
            raise UsageError(f"the seals of which set of media? {sets} are known", hint=f"--copy {known[0]}")
        copy = known[0] if len(known) == 1 else 0
    return Happened(
        event=wanted.event,
        copy=copy,
        volumes=wanted.volumes,
        seals=seal_marks(on, wanted.event, copy=copy, seals=wanted.seals, intact=wanted.intact, broken=wanted.broken),
        to=wanted.to,
        tracking=wanted.tracking,
        note=wanted.note,
        operator=wanted.operator,
    )


def _check(parcel: str, wanted: HandEntry) -> None:
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise UsageError(error.message, hint="a parcel ID is like HQ1-000042") from None
    if wanted.event not in custody_doc.BY_HAND:
        own = wanted.event in custody_doc.EVENTS
        why = "that entry is written by the command that does it" if own else "there is no such event"
        raise UsageError(f"--event {wanted.event}: {why}", hint=f"one of {', '.join(custody_doc.BY_HAND)}")
    if any(number < 1 for number in (*wanted.volumes, *wanted.intact, *wanted.broken)):
        raise UsageError("volumes are numbered from 1", hint="--volume 3")
    if set(wanted.intact) & set(wanted.broken):
        raise UsageError("a seal is intact or broken, not both", hint="name each volume once")
    if wanted.event == "handed-over" and not wanted.to:
        raise UsageError("handed over to whom?", hint='--to "Carrier, driver"')
    if wanted.event == "seal-checked" and not (wanted.seals or wanted.intact or wanted.broken):
        raise UsageError("which seal?", hint="--seal 3=A0012345 as read, or --seal-intact 3, or --seal-broken 3")
    if any(len(text) > custody_doc.MAX_TEXT for text in (wanted.to, wanted.tracking, wanted.note, wanted.operator)):
        raise UsageError(f"a text of more than {custody_doc.MAX_TEXT} characters", hint="make it shorter")
    if any(len(serial) > MAX_SEAL for _, serial in wanted.seals):
        raise UsageError(f"a seal's serial number of more than {MAX_SEAL} characters", hint="make it shorter")


def export_ledger(site: Site, parcel: str, out: Path) -> int:
    """Write the entries about a parcel into a new ledger file; return their number.

    Raises `NotFoundError` for a parcel that is not known here, `RefusedError` where the file exists.
    """
    if not known_here(site, parcel):
        raise NotFoundError(f"{parcel} is not known here", hint="courier parcel list shows the parcels")
    if out.exists():
        raise RefusedError(
            f"{out} exists", hint="name a new file; courier parcel custody merge takes one in", code=Code.TARGET_EXISTS
        )
    with site.catalogue.reading() as connection:
        ledger = load(connection, parcel)
    write_file(out, [ledger.envelopes[name] for name in ledger.order()])
    return len(ledger.entries)
