"""Ledger files: the custody ledger as it travels with the media, without a network.

A ledger file has one signed entry a line and nothing else. To write into it takes only a site's key; a site that merges
it adds the entries that it has not yet.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, RefusedError, UsageError
from courier.files import write_atomic
from courier.parcel.custody import Ledger, read_entry
from courier.parcel.custody_ledger import Happened, Keeper, judge, next_entry
from courier.site.catalog import parcels
from courier.site.home import Site
from formats.documents.custody import MAIN, CustodyEntry
from formats.errors import FormatError

MAX_FILE = 64 << 20
"""Bytes of the largest ledger file that is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """What merging a ledger file did: parcels with new entries, the numbers of new and of known entries, and
    (line number, why) of lines that were refused.
    """

    parcels: tuple[str, ...]
    added: int
    known: int
    refused: tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerFile:
    """A ledger file as it was read: its lines, the ledger of the parcel in question, and the ``others`` it tells of."""

    path: Path
    lines: tuple[bytes, ...]
    ledger: Ledger
    others: frozenset[str]


def read_file(path: Path) -> list[bytes]:
    """The lines of a ledger file; raises `NotFoundError`, `RefusedError`, or `UsageError` for a folder."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name the ledger file in it")
    try:
        if path.stat().st_size > MAX_FILE:
            raise RefusedError(
                f"{path}: more than {MAX_FILE:,} bytes", hint="this is no ledger file", code=Code.TOO_LARGE
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(
            f"{path} does not exist", hint="courier parcel custody add PARCEL --ledger FILE makes one"
        ) from None
    return [line for line in data.split(b"\n") if line]


def read_ledger_file(path: Path, parcel: str) -> LedgerFile:
    """A ledger file, and the ledger of one parcel in it; empty when there is no such file.

    Raises `RefusedError` for bad lines, and as `read_file` does.
    """
    lines = read_file(path) if path.exists() else []
    ledger, others = Ledger(parcel=parcel), set()
    for number, line in enumerate(lines, 1):
        try:
            envelope, entry = read_entry(line)
            if entry.parcel == parcel:
                ledger.add_read(envelope.sha256, entry, line)
            else:
                others.add(entry.parcel)
        except FormatError as error:
            raise RefusedError(
                f"{path}, line {number}: {error}",
                hint="it was altered: keep the file as it is, and write into another one",
                code=Code.LEDGER_ALTERED,
            ) from None
    return LedgerFile(path=path, lines=tuple(lines), ledger=ledger, others=frozenset(others))


def write_file(path: Path, lines: Iterable[bytes]) -> None:
    """Write a ledger file, in place of an older one."""
    write_atomic(path, b"".join(line + b"\n" for line in lines), readable=True)


def append_to_file(site: Site, file: LedgerFile, what: Happened) -> CustodyEntry:
    """Add an entry to a ledger file. In each file a site has a chain (a book) of its own."""
    ledger = file.ledger
    kept_here = {MAIN, *site.settings.books}
    books = {e.book for e in ledger.entries.values() if e.site == site.code and e.book not in kept_here}
    name = next_entry(site, ledger, min(books) if books else secrets.token_hex(8), what)
    write_file(file.path, [*file.lines, ledger.envelopes[name]])
    return ledger.entries[name]


def merge_file(site: Site, path: Path) -> Merged:
    """Merge the entries of a ledger file into this site's ledger; lines that are refused are left out and named.

    Entries of parcels of other sites are kept, known here or not: the notice may still be under way.
    """
    judged, refused = [], []
    trust = site.trust()
    for number, line in enumerate(read_file(path), 1):
        try:
            judged.append((number, judge(trust, line)))
        except CourierError as error:
            refused.append((number, error.message))
    added, names = 0, set()
    with site.catalogue.writing() as connection:
        keeper = Keeper(connection, trust)
        own = {one.entry.parcel for _, one in judged if one.entry.parcel.startswith(site.code)}
        invented = {parcel for parcel in own if parcels.find_sent(connection, parcel) is None}
        for number, one in judged:
            parcel = one.entry.parcel
            if parcel in invented:
                text = f"{parcel} was not made here, though its ID is one of this site (courier catalog rebuild MEDIUM"
                refused.append((number, f"{text} brings back what a lost catalogue had)"))
            elif keeper.keep(one):
                added += 1
                names.add(parcel)
    known = len(judged) - added - sum(one.entry.parcel in invented for _, one in judged)
    return Merged(parcels=tuple(sorted(names)), added=added, known=known, refused=tuple(sorted(refused)))
