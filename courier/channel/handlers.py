"""Acting on messages: each is verified by its kind of document, once, and handed to the handler of that kind.

The functions that act stand with their subject, in the packages below; `courier.cli.messages` assembles the table of
them. Every one is idempotent and goes by what the document says: a document that comes again, or an older one after a
newer, changes nothing. What cannot be acted on is raised, and becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from courier.error_codes import Code
from courier.errors import RefusedError, explain
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.kind import DocumentKind
from formats.envelope import Envelope, parse_envelope
from formats.errors import FormatError
from formats.records import Document

Signed = TypeVar("Signed", bound=Document)


@dataclass(frozen=True, kw_only=True, slots=True)
class Handler(Generic[Signed]):
    """What is done with a message of one kind.

    ``act`` takes the site, the verified document and its envelope. It returns what the message waits for here, where
    a person must decide, and else an empty text; it raises `CourierError`. ``verify`` takes the place of the rules of
    `courier.site.trust.Trust.verify` for a kind that has rules of its own. ``keeps``: what comes is kept, so that it
    counts for what its sender may put here (`courier.site.catalog.guests`). ``catalogued``: all that ``act`` does, it
    does in the catalogue, so that several such messages may be acted on in one transaction.
    """

    kind: DocumentKind[Signed]
    act: Callable[[Site, Signed, Envelope], str]
    verify: Callable[[Site, bytes], tuple[Signed, Envelope]] | None = None
    keeps: bool = False
    catalogued: bool = False


Handlers = Mapping[str, Handler[Any]]
"""The handler of each kind, by the type of the document."""


def handlers_by_type(*handlers: Handler[Any]) -> Handlers:
    """The table of ``handlers``; raises `ValueError` where two are for the same kind."""
    table = {handler.kind.type: handler for handler in handlers}
    if len(table) != len(handlers):
        raise ValueError("two handlers for one kind of message")
    return table


def is_catalogued(body: bytes, handlers: Handlers) -> bool:
    """Whether all that comes of the message in envelope ``body`` is in the catalogue; so it is of one to be refused."""
    try:
        handler = handlers.get(parse_envelope(body).payload_type)
    except FormatError:
        return True
    return handler is None or handler.catalogued


class HandlersWhenAsked(Mapping[str, Handler[Any]]):
    """A table that is put together when the first message has come.

    What acts on messages takes a third of the time to load that an exchange takes which has none.
    """

    def __init__(self, load: Callable[[], Handlers]) -> None:
        self._load = load

    @cached_property
    def _table(self) -> Handlers:
        return self._load()

    def __getitem__(self, name: str) -> Handler[Any]:
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenMessage:
    """A message that was acted on: its sender, its type, and what it ``waits`` for if a person must decide."""

    sender: str
    type: str
    waits: str


def take_message(site: Site, body: bytes, handlers: Handlers) -> TakenMessage:
    """Verify the message in envelope ``body`` and act on it. Acting twice does no harm. Raises `CourierError`."""
    try:
        name = parse_envelope(body).payload_type
    except FormatError as error:
        raise RefusedError(f"message: {error}", hint="ask the sender for it again", code=Code.MALFORMED) from None
    handler = handlers.get(name)
    if handler is None:
        raise RefusedError(
            f"message of unknown type {name[:100]!r}", hint="update this toolkit", code=Code.UNKNOWN_TYPE
        )
    try:
        if handler.verify is not None:
            document, envelope = handler.verify(site, body)
        else:
            document, envelope = site.trust().verify(body, handler.kind, now_ns=now())
        if handler.keeps:
            _check_room(site, handler.kind.signer(document), len(body))
        waits = handler.act(site, document, envelope)
    except FormatError as error:
        raise explain(error, where="message") from None
    return TakenMessage(sender=handler.kind.signer(document), type=name, waits=waits)


def _check_room(site: Site, code: str, size: int) -> None:
    """Raise `RefusedError` where a site has put as much here as it may."""
    if site.room_for(code) < size:
        quota = site.settings.site_quota
        raise RefusedError(
            f"{code} has put as much here as one site may, {quota:,} bytes in definitions, notices, custody entries "
            "and other documents",
            hint=f"ask {code} why it sends so much; to take more: courier parcel limits --site-quota SIZE",
            code=Code.FULL,
        )
