"""Keeping the custody ledger in the catalogue of a site: entries that it writes, and entries that come from others.

Commands write entries as they work, and operators write them by hand. `courier.parcel.custody_file` reads and writes
the ledger files that travel with the media.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, RefusedError, UsageError
from courier.parcel.custody import Ledger, LedgerView, read_entry, title
from courier.parcel.seals import Place, PutOn, judge_seals
from courier.parcel.states import VolumeState
from courier.site.catalog import custody as rows
from courier.site.catalog import letters, parcels
from courier.site.catalog.custody import KeptEntry
from courier.site.clock import now
from courier.site.home import Site
from courier.site.trust import Trust
from courier.text import volumes
from formats.documents import custody as custody_doc
from formats.documents.custody import CustodyEntry, SealMark
from formats.documents.notice import ShipNotice
from formats.envelope import parse_envelope
from formats.errors import FormatError
from formats.names import check_parcel

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_FROM_SITE = 5000
"""Entries about one parcel that one other site may pass on here."""
NEVER_TRUE = {"bad-signature", "malformed"}
"""Codes of errors that no later card, key or clock can cure: such an entry is not kept."""


VERIFIED = "every block agrees with the packing list"
"""Note of the entry that is written when all content of a parcel is here and good."""


SCANNED, TYPED = "label scanned at the desk", "label typed in at the desk"
"""Notes of the entries for volumes whose media have not been read yet: a signature proved the label, or a person read
it."""


DAMAGED = "damaged: "
"""How the note of an entry begins that a command writes of volumes whose media are damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Happened:
    """What a new entry is to say; see `CustodyEntry`. ``copy``: None for the set of media that came to this site."""

    event: str
    copy: int | None = None
    volumes: tuple[int, ...] = ()
    seals: tuple[SealMark, ...] = ()
    to: str = ""
    tracking: str = ""
    note: str = ""
    operator: str = ""


def load(connection: Connection, parcel: str) -> Ledger:
    """The ledger of a parcel, of all entries in the catalogue that are as they were when they were kept."""
    return _ledger_of(parcel, rows.of_parcel(connection, parcel))[0]


def _ledger_of(parcel: str, entries: Iterable[KeptEntry]) -> tuple[Ledger, dict[str, str]]:
    """The ledger of these entries; and by name, with the reason, those that were altered since they were kept."""
    ledger, broken = Ledger(parcel=parcel), {}
    for kept in entries:
        try:
            envelope, entry = read_entry(kept.envelope)
            if envelope.sha256 == kept.entry:
                ledger.add_read(kept.entry, entry, kept.envelope)
            else:
                broken[kept.entry] = "the entry kept under this name was altered since"
        except FormatError as error:
            broken[kept.entry] = f"the entry kept under this name was altered since: {error}"
    return ledger, broken


class CustodyBook:
    """What this site writes into the custody ledger of one parcel, within the caller's transaction.

    The ledger is read once, with the first entry, however many follow in the transaction.
    """

    def __init__(self, connection: Connection, site: Site, parcel: str) -> None:
        self._connection = connection
        self._site = site
        self._parcel = parcel

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger as it stands, the entries written here among it."""
        return load(self._connection, self._parcel)

    def write(self, what: Happened) -> CustodyEntry:
        """Sign an entry and keep it at the end of this site's chain."""
        if what.copy is None:
            what = replace(what, copy=copy_here(self._connection, self._parcel))
        name = next_entry(self._site, self.ledger, self._site.settings.present_book, what)
        data = self.ledger.envelopes[name]
        rows.keep(self._connection, KeptEntry(parcel=self._parcel, entry=name, envelope=data, received_ns=now()))
        return self.ledger.entries[name]

    def write_received(self, build: str) -> None:
        """Enter every volume of a build that has come and that no entry of ours names yet.

        A volume that was entered by its label alone, and whose medium is damaged, gets a note.
        """
        seen = {v.number: v for v in parcels.received_volumes(self._connection, self._parcel, build)}
        own = [e for e in self.ledger.entries.values() if e.site == self._site.code]
        before = [e for e in own if e.event == "received"]
        new = tuple(sorted(seen.keys() - {number for entry in before for number in entry.volumes}))
        damaged = {number for number, one in seen.items() if one.state == VolumeState.DAMAGED}
        if new:
            bad = sorted(damaged.intersection(new))
            note = f"{DAMAGED}{volumes(bad)}" if bad else ""
            self.write(Happened(event="received", volumes=new, note=note))
        at_desk = {number for entry in before if entry.note in (SCANNED, TYPED) for number in entry.volumes}
        told = {number for entry in own if entry.event == "note" for number in entry.volumes}
        later = tuple(sorted((damaged & at_desk) - told))
        if later:
            self.write(Happened(event="note", volumes=later, note=f"{DAMAGED}{volumes(later)}"))


def next_entry(site: Site, ledger: Ledger, book: str, what: Happened) -> str:
    """Sign an entry and put it at the end of this site's chain in ``book`` of the ledger; return its name."""
    last = ledger.last_entries()
    own = next((link for link in last if (link.site, link.book) == (site.code, book)), None)
    others = [link for link in last if link is not own][: custody_doc.MAX_AFTER]
    entry = CustodyEntry(
        parcel=ledger.parcel,
        site=site.code,
        book=book,
        number=own.number + 1 if own else 1,
        previous=own.entry if own else "",
        after=tuple(others),
        at_ns=now(),
        operator=(what.operator or site.operator)[: custody_doc.MAX_TEXT],
        event=what.event,
        copy=what.copy or 0,
        volumes=what.volumes,
        seals=what.seals,
        to=what.to,
        tracking=what.tracking,
        note=what.note[: custody_doc.MAX_TEXT],
    )
    envelope = site.sign(entry.payload(), custody_doc.TYPE)
    ledger.add_read(envelope.sha256, entry, envelope.encode())
    return envelope.sha256


def record(connection: Connection, site: Site, parcel: str, *things: Happened) -> None:
    """Write entries about a parcel into this site's book, in the caller's transaction."""
    book = CustodyBook(connection, site, parcel)
    for what in things:
        book.write(what)


def check_signature(trust: Trust, data: bytes, entry: CustodyEntry, *, arrived_ns: int | None = None) -> None:
    """Raise `CourierError` unless an entry is signed by the site it is from.

    ``data``: its envelope. ``arrived_ns``: when it came here (nanoseconds since 1970, UTC; None: now).
    """
    trust.verify(data, custody_doc.KIND, now_ns=now(), where=f"custody {title(entry)}", arrived_ns=arrived_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedEntry:
    """An entry that came, whose signature was judged; ``fault`` is what is wrong with that and may be cured later."""

    name: str
    entry: CustodyEntry
    envelope: bytes
    fault: CourierError | None


def judge(trust: Trust, data: bytes, *, parcel: str = "") -> JudgedEntry:
    """Judge an entry that came. This takes most of the time of merging one, and needs no catalogue.

    An entry of a site that is not trusted here is good enough to be kept, so that the chain is whole, and is shown as
    unproved. Raises `RefusedError` for what is not an entry (of ``parcel``, if that is given), or was altered.
    """
    try:
        envelope, entry = read_entry(data)
    except FormatError as error:
        raise RefusedError(f"custody entry: {error}", hint="ask for the ledger again", code=Code.MALFORMED) from None
    if parcel and entry.parcel != parcel:
        hint = "ask the sender"
        raise RefusedError(f"a custody entry of {entry.parcel} among those of {parcel}", hint=hint, code=Code.MALFORMED)
    fault = _fault(trust, data, entry)
    if fault is not None and fault.code in NEVER_TRUE:
        raise fault
    return JudgedEntry(name=envelope.sha256, entry=entry, envelope=data, fault=fault)


class Keeper:
    """Keeps entries that come, in the caller's transaction. ``came_from``: the site that passes them on, or empty.

    Of one parcel that site can pass on `MAX_FROM_SITE`.
    """

    def __init__(self, connection: Connection, trust: Trust, *, came_from: str = "") -> None:
        self._connection, self._trust, self._came_from = connection, trust, came_from
        self._passed_on: dict[str, int] = {}

    def keep(self, judged: JudgedEntry) -> bool:
        """Keep an entry; False when it was known. Raises `RefusedError` beyond `MAX_FROM_SITE`."""
        entry, data, came_from = judged.entry, judged.envelope, self._came_from
        there = rows.find(self._connection, entry.parcel, judged.name)
        if there is None:
            if came_from:
                self._count(entry.parcel)
            kept = KeptEntry(
                parcel=entry.parcel,
                entry=judged.name,
                envelope=data,
                received_ns=now(),
                shared=came_from,
                source=came_from,
            )
            rows.keep(self._connection, kept)
            return True
        if there.envelope != data and judged.fault is None and not _stands(self._trust, there):
            # The entry that was kept is damaged, or was never right; this is the right one.
            rows.change(self._connection, entry.parcel, there.entry, envelope=data)
        if came_from and came_from not in there.shared.split(","):
            rows.note_shared(self._connection, there, [came_from], due=there.due)
        return False

    def _count(self, parcel: str) -> None:
        if parcel not in self._passed_on:
            self._passed_on[parcel] = rows.passed_on_by(self._connection, parcel, self._came_from)
        if self._passed_on[parcel] >= MAX_FROM_SITE:
            raise RefusedError(
                f"more than {MAX_FROM_SITE:,} custody entries of {parcel} by {self._came_from}",
                hint=f"ask {self._came_from} why it writes so many",
                code=Code.FULL,
            )
        self._passed_on[parcel] += 1


def _fault(trust: Trust, data: bytes, entry: CustodyEntry) -> CourierError | None:
    try:
        check_signature(trust, data, entry)
    except CourierError as error:
        return error
    return None


def _stands(trust: Trust, kept: KeptEntry) -> bool:
    try:
        envelope, entry = read_entry(kept.envelope)
    except FormatError:
        return False
    return envelope.sha256 == kept.entry and _fault(trust, kept.envelope, entry) is None


def view_ledger(site: Site, parcel: str, proved: set[bytes] | None = None) -> LedgerView:
    """The ledger of a parcel as it is here, with every signature and link checked.

    ``proved``: envelopes whose signatures were verified in the same piece of work: they are not verified again, and
    those that are now are added.
    """
    with site.catalogue.reading() as connection:
        entries = rows.of_parcel(connection, parcel)
    ledger, broken = _ledger_of(parcel, entries)
    arrived = {kept.envelope: kept.received_ns for kept in entries}
    trust = site.trust()

    def check(data: bytes, entry: CustodyEntry) -> None:
        if proved is not None and data in proved:
            return
        check_signature(trust, data, entry, arrived_ns=arrived.get(data))
        if proved is not None:
            proved.add(data)

    return ledger.view(check, broken)


def copy_here(connection: Connection, parcel: str) -> int:
    """The number of the set of media of a parcel that was announced to this site; 0 where none was."""
    came = parcels.notices(connection, parcel)
    return ShipNotice.parse(parse_envelope(came[-1][0]).payload).copy if came else 0


def seals_on(ledger: Ledger, trust: Trust) -> Mapping[Place, PutOn]:
    """The seals, by set and volume number, according to the entries whose signatures ``trust`` verifies."""
    return judge_seals(ledger.view(lambda data, entry: check_signature(trust, data, entry)).lines).on


def is_known(connection: Connection, parcel: str) -> bool:
    """Whether a parcel was made here, announced, recalled, or received."""
    if parcels.find_sent(connection, parcel) is not None or parcels.find_received(connection, parcel):
        return True
    return bool(parcels.notices(connection, parcel)) or bool(letters.find(connection, "recall", parcel, parcel[:3]))


def known_here(site: Site, parcel: str) -> bool:
    """As `is_known`; raises `UsageError` for what is no parcel ID."""
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise UsageError(error.message, hint="courier parcel list shows the parcels") from None
    with site.catalogue.reading() as connection:
        return is_known(connection, parcel)


def broken_ledger(parcel: str, view: LedgerView) -> CourierError:
    """The error for a ledger that has breaks: altered, incomplete, or with entries that cannot be proved."""
    worst = view.worst
    hints = "; and: ".join(dict.fromkeys(item.hint for item in worst))
    if view.altered:
        message = f"{parcel}: the custody ledger was altered: {worst[0].text}"
        return RefusedError(message, hint=hints, code=Code.LEDGER_ALTERED)
    what = "proved" if all(item.kind == "unproved" for item in worst) else "complete"
    message = f"{parcel}: the custody ledger is not {what}: {worst[0].text}"
    return DamagedError(message, hint=hints, code=Code.LEDGER_INCOMPLETE)
