"""The custody ledger: who had a parcel, when, and what he found; one signed entry for each thing that happened.

Entries form chains. A *book* is a place where a site writes: its catalogue (``main``), or a ledger file that goes
along with the media. The entries of one site in one book about one parcel are a chain: numbered from 1, each naming
the one before it by the SHA-256 of its payload. An entry also names the last entry of every other chain that its
writer knew (``after``), so that the chains hold each other and together give one order of events.

Entries travel between sites in batches (`CustodyBatch`), signed by the site that passes them on; on a stick they
stand in a file, one envelope a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from formats.documents.fields import Issued, Parcel, Receiver, SealSerial, Sender, Site
from formats.documents.kind import DocumentKind
from formats.errors import MalformedError
from formats.records import (
    OPTIONAL,
    Count,
    Digest,
    Document,
    Form,
    Key,
    Number,
    Record,
    Time,
    base64_text,
    items,
    matching,
    text,
)

MAIN = "main"
"""The book that is a site's catalogue."""
EVENTS = (
    "packed",
    "written",
    "sealed",
    "replaced",
    "handed-over",
    "taken-back",
    "received",
    "seal-checked",
    "verified",
    "imported",
    "refused",
    "lost",
    "note",
)
"""What can happen to a parcel under somebody's hands."""
BY_HAND = tuple(event for event in EVENTS if event not in ("written", "replaced", "taken-back", "imported", "refused"))
"""What a person may write. The others are true where the toolkit did them, and a lie where it did not."""
FINDINGS = ("", "intact", "broken")
MAX_TEXT = 1000
MAX_AFTER = 500
MAX_SEALS = 10_000
MAX_BATCH = 200
"""Entries in one batch."""
MAX_ENTRY = 2 << 20
"""Bytes of the envelope of an entry."""


Book = Annotated[str, matching(f"{MAIN}|[0-9a-f]{{16}}")]
Remark = Annotated[str, text(MAX_TEXT)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Link(Record):
    """The last entry of another chain that the writer knew."""

    site: Site
    book: Book
    number: Number
    entry: Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class SealMark(Record):
    """The seal of a volume: its serial number (empty where nobody read it), and whether it was found intact or broken
    (empty where it was just put on, or nobody could say).
    """

    volume: Number
    serial: SealSerial
    found: Annotated[str, matching("|".join(FINDINGS))] = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CustodyEntry(Document):
    """One thing that happened to ``parcel``, written by ``operator`` of ``site`` at ``at_ns`` (UTC).

    ``number`` and ``previous`` (SHA-256 of the payload of the entry before, empty for the first) place it in its chain,
    ``after`` among the others. ``volumes`` are those it is about, empty for all. ``copy`` is the number of the set of
    media, 0 where that is not known or all are meant. ``to`` and ``tracking`` are who took over, and the number that
    they gave it.
    """

    NAME = "custody"

    parcel: Parcel
    site: Sender
    book: Book
    number: Number
    previous: Annotated[str, matching("[0-9a-f]{64}|")]
    after: Annotated[tuple[Link, ...], items(0, MAX_AFTER)]
    at_ns: Annotated[Time, Key("at")]
    operator: Remark
    event: Annotated[str, matching("|".join(EVENTS))]
    copy: Annotated[Count, OPTIONAL] = 0
    volumes: tuple[Number, ...] = ()
    seals: Annotated[tuple[SealMark, ...], items(0, MAX_SEALS)] = ()
    to: Annotated[Remark, Key("handed_to")] = ""
    tracking: Remark = ""
    note: Remark = ""

    def check(self) -> None:
        """Raise `MalformedError` for a list out of order, or an entry that contradicts its place in the chain."""
        if bool(self.previous) != (self.number > 1):
            message = "the first entry of a chain, and no other, has none before it"
            raise MalformedError(message, place="previous")
        chains = [(link.site, link.book) for link in self.after]
        if chains != sorted(set(chains)) or (self.site, self.book) in chains:
            raise MalformedError("every other chain once, in order", place="after")
        for place, volumes in (("volumes", list(self.volumes)), ("seals", [seal.volume for seal in self.seals])):
            if volumes != sorted(set(volumes)):
                raise MalformedError("each volume once, in order", place=place)


@dataclass(frozen=True, kw_only=True, slots=True)
class _CarriedEntry(Record):
    envelope: Annotated[bytes, base64_text(2 * MAX_ENTRY)]


_Entries: Form[tuple[bytes, ...]] = Form(
    carried=Annotated[tuple[_CarriedEntry, ...], items(0, MAX_BATCH)],
    load=lambda entries: tuple(entry.envelope for entry in entries),
    dump=lambda envelopes: [_CarriedEntry(envelope=envelope) for envelope in envelopes],
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CustodyBatch(Document):
    """Entries (whole envelopes) about ``parcel`` that ``site`` passes on to ``to``, its own and others'."""

    NAME = "custody-batch"

    parcel: Parcel
    site: Sender
    to: Receiver
    issued_ns: Issued
    entries: Annotated[tuple[bytes, ...], _Entries]


KIND = DocumentKind(
    document=CustodyEntry,
    title="custody entry",
    made_ns=lambda document: document.at_ns,
    signer=lambda document: document.site,
)
"""The custody entry, as the trust rules and the handlers of messages know it."""
TYPE = KIND.type


BATCH_KIND = DocumentKind(
    document=CustodyBatch,
    title="custody entries",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The batch of custody entries, as the trust rules and the handlers of messages know it."""
BATCH_TYPE = BATCH_KIND.type
