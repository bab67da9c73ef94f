"""The custody ledger of a parcel: entries are merged, put in one order, and every break in a chain is named.

This module is pure. A ledger is a set of signed entries, so that merging them gives the same ledger in any order and
however often. Each entry names the one before it in its chain; this is checked whenever the ledger is shown.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from courier.error_codes import Code
from courier.errors import CourierError
from formats.documents import custody as custody_doc
from formats.documents.custody import CustodyEntry, Link
from formats.envelope import Envelope, parse_envelope
from formats.errors import MalformedError, TooLargeError

Check = Callable[[bytes, CustodyEntry], None]
"""Verifies the signature of an entry, given its envelope and the parsed entry; raises `CourierError`."""

ALTERED = ("tampered", "fork")
"""Kinds of breaks which mean that something was altered."""
TAMPERED_HINT = "find out at whose hands it was altered before anybody relies on it"
MISSING_HINT = "courier channel sync, or merge the ledger file: courier parcel custody merge FILE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Break:
    """A place where a chain is broken.

    ``kind``: tampered, missing, fork, or unproved (no trusted key to verify it with). ``entry``: the name of the entry.
    ``hint``: what to do about it.
    """

    kind: str
    entry: str
    text: str
    hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerLine:
    """An entry in its place; ``name`` is the SHA-256 of its payload, ``proved`` whether its signature was checked."""

    name: str
    entry: CustodyEntry
    proved: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerView:
    """The entries of a ledger in order, and its breaks; without any, every chain is whole."""

    lines: tuple[LedgerLine, ...]
    breaks: tuple[Break, ...]

    @property
    def altered(self) -> bool:
        """Whether something was altered, or two entries claim one place: no further entry can put that right."""
        return any(item.kind in ALTERED for item in self.breaks)

    @property
    def worst(self) -> tuple[Break, ...]:
        """The breaks to look into first: those that mean alteration, or all of them where there are no such."""
        return tuple(item for item in self.breaks if item.kind in ALTERED) or self.breaks


def read_entry(data: bytes) -> tuple[Envelope, CustodyEntry]:
    """Parse the envelope of an entry, without verifying its signature; raises `FormatError`."""
    if len(data) > custody_doc.MAX_ENTRY:
        raise TooLargeError(f"an entry of more than {custody_doc.MAX_ENTRY} bytes")
    envelope = parse_envelope(data)
    if envelope.payload_type != custody_doc.TYPE:
        raise MalformedError(f"signed as {envelope.payload_type[:100]!r}, not as a custody entry")
    return envelope, CustodyEntry.parse(envelope.payload)


@dataclass(kw_only=True, slots=True)
class Ledger:
    """The entries of one parcel by name (the SHA-256 of an entry's payload); an entry is never replaced."""

    parcel: str
    envelopes: dict[str, bytes] = field(default_factory=dict)
    entries: dict[str, CustodyEntry] = field(default_factory=dict)

    def add(self, data: bytes) -> str | None:
        """Merge the envelope of an entry; return its name, or None when it is there already. Raises `FormatError`.

        Of an entry that was signed twice, the envelope that sorts first is kept, so that all ledgers of the same
        entries are equal.
        """
        envelope, entry = read_entry(data)
        return self.add_read(envelope.sha256, entry, data)

    def add_read(self, name: str, entry: CustodyEntry, data: bytes) -> str | None:
        """As `add`, for an envelope that has been parsed already."""
        if entry.parcel != self.parcel:
            raise MalformedError(f"an entry of {entry.parcel}, not of {self.parcel}")
        there = self.envelopes.get(name)
        if there is not None:
            self.envelopes[name] = min(there, data)
            return None
        self.envelopes[name], self.entries[name] = data, entry
        return name

    def last_entries(self) -> list[Link]:
        """The last entry of every chain; where two claim that place, the one whose name sorts first."""
        last: dict[tuple[str, str], tuple[int, str]] = {}
        for name in sorted(self.entries):
            entry = self.entries[name]
            key = entry.site, entry.book
            if key not in last or entry.number > last[key][0]:
                last[key] = entry.number, name
        return [Link(site=s, book=b, number=n, entry=name) for (s, b), (n, name) in sorted(last.items())]

    def order(self) -> list[str]:
        """The names in an order in which every entry follows those it names; otherwise by time, then by name."""
        before = {name: self._named(entry) & self.entries.keys() for name, entry in self.entries.items()}
        following: dict[str, list[str]] = {}
        for name, names in before.items():
            for other in names:
                following.setdefault(other, []).append(name)
        waiting = {name: len(names) for name, names in before.items()}
        ready = [(self.entries[name].at_ns, name) for name, count in waiting.items() if not count]
        heapq.heapify(ready)
        result = []
        while ready:
            _, name = heapq.heappop(ready)
            result.append(name)
            for other in following.get(name, ()):
                waiting[other] -= 1
                if not waiting[other]:
                    heapq.heappush(ready, (self.entries[other].at_ns, other))
        return result

    @staticmethod
    def _named(entry: CustodyEntry) -> set[str]:
        return {link.entry for link in entry.after} | ({entry.previous} if entry.previous else set())

    def view(self, check: Check, broken: Mapping[str, str] | None = None) -> LedgerView:
        """The ledger in order, with every signature verified by ``check`` and every link followed.

        ``broken``: by name, the entries in the catalogue that were altered since they were kept, with the reason.
        """
        breaks = [
            Break(kind="tampered", entry=name, text=why, hint=TAMPERED_HINT)
            for name, why in sorted((broken or {}).items())
        ]
        lines = []
        for name in self.order():
            entry, proved = self.entries[name], True
            try:
                check(self.envelopes[name], entry)
            except CourierError as error:
                proved = False
                kind = "tampered" if error.code == Code.BAD_SIGNATURE else "unproved"
                text = f"{title(entry)}: {error.message}"
                breaks.append(Break(kind=kind, entry=name, text=text, hint=_unproved_hint(entry, error)))
            lines.append(LedgerLine(name=name, entry=entry, proved=proved))
            breaks.extend(self._missing(name, entry, broken or {}))
        breaks.extend(self._forks())
        return LedgerView(lines=tuple(lines), breaks=tuple(breaks))

    def _missing(self, name: str, entry: CustodyEntry, broken: Mapping[str, str]) -> Iterable[Break]:
        wanted = [(entry.site, entry.book, entry.number - 1, entry.previous)] if entry.previous else []
        wanted += [(link.site, link.book, link.number, link.entry) for link in entry.after]
        for site, book, number, digest in wanted:
            there = self.entries.get(digest)
            if there is None:
                if digest not in broken:
                    yield Break(
                        kind="missing",
                        entry=name,
                        text=f"{title(entry)} names entry {number} of {chain_name(site, book)}, which is not here",
                        hint=MISSING_HINT,
                    )
            elif (there.site, there.book, there.number) != (site, book, number):
                yield Break(
                    kind="tampered",
                    entry=name,
                    text=f"{title(entry)} names {title(there)} as entry {number} of {chain_name(site, book)}",
                    hint=TAMPERED_HINT,
                )

    def _forks(self) -> Iterable[Break]:
        places: dict[tuple[str, str, int], list[str]] = {}
        for name, entry in self.entries.items():
            places.setdefault((entry.site, entry.book, entry.number), []).append(name)
        for (site, book, number), names in sorted(places.items()):
            if len(names) > 1:
                yield Break(
                    kind="fork",
                    entry=min(names),
                    text=f"{len(names)} different entries say they are number {number} of {chain_name(site, book)}",
                    hint=TAMPERED_HINT,
                )


def _unproved_hint(entry: CustodyEntry, error: CourierError) -> str:
    if error.code == Code.BAD_SIGNATURE:
        return TAMPERED_HINT
    if error.code == Code.REVOKED_KEY:
        # Sent again it would be the same entry, by the same key.
        return (
            f"whoever has that key may have written it: ask {entry.site} what happened, and for a note of it "
            f"signed by its present key: courier parcel custody add {entry.parcel} --event note --note TEXT"
        )
    return error.hint


def chain_name(site: str, book: str) -> str:
    """The name of a chain, for people."""
    return site if book == custody_doc.MAIN else f"{site} (ledger file {book})"


def title(entry: CustodyEntry) -> str:
    """What to call an entry, for people."""
    return f"entry {entry.number} of {chain_name(entry.site, entry.book)} ({entry.event})"
