"""The custody ledger: who had a parcel, when, and what he found; one signed entry for each thing that happened.

Entries form chains. A *book* is a place where a site writes: its catalogue (``main``), or a ledger file that goes
along with the media. The entries of one site in one book about one parcel are a chain: numbered from 1, each naming
the one before it by the SHA-256 of its payload. An entry also names the last entry of every other chain that its
writer knew (``after``), so that the chains hold each other and together give one order of events.

Entries travel between sites in batches (`CustodyBatch`), signed by the site that passes them on; on a stick they
stand in a file, one envelope a line.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from formats.documents.kind import DocumentKind
from formats.documents.packing import parse_destinations
from formats.envelope import parse_base64
from formats.errors import MalformedError
from formats.names import check_parcel, check_site
from formats.records import Fields, encode, format_time, open_document

NAME = "custody"
TYPE = f"application/vnd.courier.{NAME}+json"
BATCH_NAME = "custody-batch"
BATCH_TYPE = f"application/vnd.courier.{BATCH_NAME}+json"
MAIN = "main"
"""The book that is a site's catalogue."""
EVENTS = (
    "packed",
    "written",
    "sealed",
    "handed-over",
    "received",
    "seal-checked",
    "verified",
    "imported",
    "refused",
    "lost",
    "note",
)
"""What can happen to a parcel under somebody's hands."""
BY_HAND = tuple(event for event in EVENTS if event not in ("written", "imported", "refused"))
"""What a person may write. The others are true where the toolkit did them, and a lie where it did not."""
FINDINGS = ("", "intact", "broken")
MAX_TEXT = 1000
MAX_AFTER = 500
MAX_SEALS = 10_000
MAX_BATCH = 200
"""Entries in one batch."""
MAX_ENTRY = 2 << 20
"""Bytes of the envelope of an entry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """The last entry of another chain that the writer knew."""

    site: str
    book: str
    number: int
    entry: str

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {"site": self.site, "book": self.book, "number": self.number, "entry": self.entry}

    @classmethod
    def parse(cls, fields: Fields) -> Link:
        """From a JSON object; raises `MalformedError`."""
        return cls(
            site=check_site(fields.text("site"), place=fields.at("site")),
            book=parse_book(fields),
            number=fields.integer("number", minimum=1),
            entry=fields.digest("entry"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SealMark:
    """The seal of a volume: its serial number (empty where nobody read it), and whether it was found intact or broken
    (empty where it was just put on, or nobody could say).
    """

    volume: int
    serial: str
    found: str = ""

    def record(self) -> dict[str, object]:
        """As a JSON object."""
        return {"volume": self.volume, "serial": self.serial, "found": self.found}

    @classmethod
    def parse(cls, fields: Fields) -> SealMark:
        """From a JSON object; raises `MalformedError`."""
        return cls(
            volume=fields.integer("volume", minimum=1),
            serial=fields.text("serial", longest=200),
            found=fields.text("found", pattern="|".join(FINDINGS)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CustodyEntry:
    """One thing that happened to ``parcel``, written by ``operator`` of ``site`` at ``at_ns`` (UTC).

    ``number`` and ``previous`` (SHA-256 of the payload of the entry before, empty for the first) place it in its chain,
    ``after`` among the others. ``volumes``: those it is about, none for all. ``to`` and ``tracking``: who took over,
    and his number for it.
    """

    parcel: str
    site: str
    book: str
    number: int
    previous: str
    after: tuple[Link, ...]
    at_ns: int
    operator: str
    event: str
    volumes: tuple[int, ...] = ()
    seals: tuple[SealMark, ...] = ()
    to: str = ""
    tracking: str = ""
    note: str = ""

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{NAME}/1",
                "parcel": self.parcel,
                "from": self.site,
                "book": self.book,
                "number": self.number,
                "previous": self.previous,
                "after": [link.record() for link in self.after],
                "at": format_time(self.at_ns),
                "operator": self.operator,
                "event": self.event,
                "volumes": list(self.volumes),
                "seals": [seal.record() for seal in self.seals],
                "handed_to": self.to,
                "tracking": self.tracking,
                "note": self.note,
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> CustodyEntry:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=NAME)
        number = fields.integer("number", minimum=1)
        previous = fields.text("previous", pattern="[0-9a-f]{64}|")
        if bool(previous) != (number > 1):
            raise MalformedError("the first entry of a chain, and no other, has none before it", place="previous")
        site, book = check_site(fields.text("from"), place="from"), parse_book(fields)
        links = _few(fields, "after", MAX_AFTER)
        after = tuple(Link.parse(item) for item in links)
        chains = [(link.site, link.book) for link in after]
        if chains != sorted(set(chains)) or (site, book) in chains:
            raise MalformedError("every other chain once, in order", place="after")
        volumes = tuple(fields.integers("volumes", minimum=1))
        if list(volumes) != sorted(set(volumes)):
            raise MalformedError("each volume once, in order", place="volumes")
        seals = tuple(SealMark.parse(item) for item in _few(fields, "seals", MAX_SEALS))
        if [seal.volume for seal in seals] != sorted({seal.volume for seal in seals}):
            raise MalformedError("each volume once, in order", place="seals")
        return cls(
            parcel=check_parcel(fields.text("parcel"), place="parcel"),
            site=site,
            book=book,
            number=number,
            previous=previous,
            after=after,
            at_ns=fields.time("at"),
            operator=fields.text("operator", longest=MAX_TEXT),
            event=fields.text("event", pattern="|".join(EVENTS)),
            volumes=volumes,
            seals=seals,
            to=fields.text("handed_to", longest=MAX_TEXT),
            tracking=fields.text("tracking", longest=MAX_TEXT),
            note=fields.text("note", longest=MAX_TEXT),
        )


def parse_book(fields: Fields) -> str:
    """The ``book`` of an entry or link; raises `MalformedError`."""
    return fields.text("book", pattern=f"{MAIN}|[0-9a-f]{{16}}")


def _few(fields: Fields, name: str, most: int) -> list[Fields]:
    items = fields.objects(name)
    if len(items) > most:
        raise MalformedError(f"more than {most}", place=fields.at(name))
    return items


@dataclass(frozen=True, kw_only=True, slots=True)
class CustodyBatch:
    """Entries (whole envelopes) about ``parcel`` that ``site`` passes on to ``to``, its own and others'."""

    parcel: str
    site: str
    to: str
    issued_ns: int
    entries: tuple[bytes, ...]

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""
        return encode(
            {
                "format": f"courier-{BATCH_NAME}/1",
                "parcel": self.parcel,
                "from": self.site,
                "to": [self.to],
                "issued": format_time(self.issued_ns),
                "entries": [{"envelope": base64.b64encode(entry).decode()} for entry in self.entries],
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> CustodyBatch:
        """From canonical bytes; raises `MalformedError` or `UnknownFormatError`."""
        fields = open_document(payload, name=BATCH_NAME)
        to = parse_destinations(fields)
        if len(to) != 1:
            raise MalformedError("a batch goes to one site", place="to")
        items = _few(fields, "entries", MAX_BATCH)
        return cls(
            parcel=check_parcel(fields.text("parcel"), place="parcel"),
            site=check_site(fields.text("from"), place="from"),
            to=to[0],
            issued_ns=fields.time("issued"),
            entries=tuple(parse_base64(item, "envelope", 2 * MAX_ENTRY) for item in items),
        )


KIND = DocumentKind(
    type=TYPE,
    title="custody entry",
    parse=CustodyEntry.parse,
    made_ns=lambda document: document.at_ns,
    signer=lambda document: document.site,
)
"""The custody entry, as the trust rules and the handlers of messages know it."""


BATCH_KIND = DocumentKind(
    type=BATCH_TYPE,
    title="custody entries",
    parse=CustodyBatch.parse,
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.site,
)
"""The custody entries, as the trust rules and the handlers of messages know it."""
