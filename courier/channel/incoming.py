"""Taking messages in: each is opened, acted on, and noted as taken or as a dead letter that says why.

A message is known by the bytes that came and, once it is opened, by its envelope: encrypted anew it is the same
message. One that was taken before is acknowledged again and does nothing else. One that was refused is judged anew
whenever it comes, because a card that came since may let it in; it is reported once.

Where messages are at hand, several small ones that change nothing but the catalogue are taken in by one transaction:
its commit takes longer than to act on one. What was done with them is only counted on, and they are only let go of,
once it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING

from courier.channel.acknowledgements import sure_sender
from courier.channel.handlers import Handlers, is_catalogued, take_message
from courier.channel.passed import Passed
from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, InUseError, NotFoundError, RefusedError, UsageError
from courier.site.catalog import messages
from courier.site.catalog.messages import Message, short_kind
from courier.site.clock import now
from courier.site.home import Site
from courier.site.message_encryption import decrypt_message, is_encrypted
from formats.digest import sha256_hex
from formats.documents import acknowledgement as acknowledgement_doc

if TYPE_CHECKING:
    from formats.age import Identity

MAX_REFUSED = 1000
"""Dead letters that are kept of one sender, and of all that are of unknown origin. One that goes before its sender was
told of it comes again, and is judged anew."""
SECOND_LOOK_BYTES = 16 << 20
"""Bytes of refused messages that are kept, the first ones, to be judged once more after all others of a run."""
SMALL_BYTES = 64 << 10
"""A larger message is taken in by a transaction of its own: others wait to write meanwhile."""
OUR_FAULTS = {Code.CLOCK}
"""Errors that say something of us and nothing of the message: it stays where it is, for the next run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IncomingMessage:
    """A message that came, as it travelled. ``peer``: the site that brought it, empty where nobody knows.

    ``done`` is called once the message is dealt with, so that it need not be kept where it came from.
    """

    peer: str
    sha256: str
    body: bytes
    done: Callable[[], None]


@dataclass(kw_only=True, slots=True)
class Intake:
    """What became of the messages so far: how many were new and taken, and (name, why) of the dead letters."""

    taken: int = 0
    passed: list[Passed] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verdict:
    """What became of one message: ``taken``, or refused with a reason and remedy; neither where nothing was new."""

    taken: bool = False
    refused: str = ""
    site: str = ""
    type: str = ""


@dataclass(kw_only=True, slots=True)
class _Opened:
    """A message while it is judged: what it is known by, and what was found out about it.

    ``known``: what is known of it under the name by which it came. ``locked``: why it cannot be decrypted.
    ``sender`` is empty while nobody surely sent it. ``reason`` and ``hint``: why it is refused, and the remedy.
    """

    sha256: str
    body: bytes
    known: Message | None = None
    locked: CourierError | None = None
    sender: str = ""
    type: str = ""
    waits: str = ""
    reason: str = ""
    hint: str = ""


Take = Callable[[], _Verdict]
"""Takes one message in, or tells what became of it. Raises `CourierError` for what is our fault, not the message's."""


def take_all(
    site: Site, incoming: Iterable[IncomingMessage], intake: Intake, handlers: Handlers, *, together: int = 1
) -> None:
    """Take each message in and note it in ``intake``, also where the way to the messages breaks half-way.

    Refused ones are judged again at the end: what a site signed with its new key may come before its new card.
    ``together``: how many messages one transaction may take in. More than one only where they are at hand, as some are
    asked for before those before them are done.
    """
    identities = cache(site.keyring.identities)
    again: list[tuple[IncomingMessage, _Verdict]] = []
    room = SECOND_LOOK_BYTES
    try:
        for one, take in _each(site, incoming, identities, handlers, together):
            try:
                verdict = take()
            except RefusedError as error:
                if error.code not in OUR_FAULTS:
                    raise
                # That our clock is wrong says nothing of the message: it stays where it is.
                intake.refused.append((one.sha256, f"{error.message}; it is kept until the clock is right"))
                continue
            except InUseError:
                continue
            intake.taken += verdict.taken
            if verdict.taken:
                intake.passed.append(_passed(verdict))
            if verdict.refused:
                is_kept = len(one.body) <= room
                room -= len(one.body) if is_kept else 0
                again.append((one if is_kept else replace(one, body=b""), verdict))
            one.done()
    except CourierError:
        for one, refusal in again:
            _tell_refused(site, intake, one, refusal)
        raise
    for one, refusal in again:
        if one.body and (verdict := _take(site, one, _open(site, one, site.keyring.identities), handlers)).taken:
            intake.taken += 1
            intake.passed.append(_passed(verdict))
        else:
            _tell_refused(site, intake, one, refusal)


def _tell_refused(site: Site, intake: Intake, one: IncomingMessage, refusal: _Verdict) -> None:
    """Tell of a dead letter, now that nothing which came with it has let it in."""
    intake.passed.append(_passed(refusal))
    intake.refused.append((one.sha256, refusal.refused))
    with site.catalogue.writing() as connection:
        messages.note_refused(connection, one.sha256)


def _each(
    site: Site,
    incoming: Iterable[IncomingMessage],
    identities: Callable[[], list[Identity]],
    handlers: Handlers,
    together: int,
) -> Iterator[tuple[IncomingMessage, Take]]:
    """Each message, opened, and what takes it in; up to ``together`` of them are taken in before they are given."""
    group: list[tuple[IncomingMessage, _Opened]] = []
    for one in incoming:
        opened = _open(site, one, identities)
        if together > 1 and len(one.body) <= SMALL_BYTES and is_catalogued(opened.body, handlers):
            group.append((one, opened))
            if len(group) < together:
                continue
        else:
            yield one, partial(_take, site, one, opened, handlers)
            continue
        yield from _taken_together(site, group, handlers)
        group = []
    yield from _taken_together(site, group, handlers)


def _taken_together(
    site: Site, group: list[tuple[IncomingMessage, _Opened]], handlers: Handlers
) -> Iterator[tuple[IncomingMessage, Take]]:
    """Take a group of messages in by one transaction, and give each; where that fails, each is taken in by itself."""
    verdicts: list[_Verdict] = []
    try:
        with site.catalogue.writing():
            verdicts = [_take(site, one, replace(opened), handlers) for one, opened in group]
    except CourierError:
        # Nothing of it was done. Whose fault it is, and whether it stands against the others too, shows one by one.
        for one, opened in group:
            yield one, partial(_take, site, one, opened, handlers)
    else:
        for (one, _), verdict in zip(group, verdicts, strict=True):
            yield one, partial(_same, verdict)


def _same(verdict: _Verdict) -> _Verdict:
    return verdict


def _open(site: Site, one: IncomingMessage, identities: Callable[[], list[Identity]]) -> _Opened:
    """A message, decrypted unless it was taken before."""
    with site.catalogue.reading() as connection:
        known = messages.named(connection, "in", one.sha256)
    opened = _Opened(sha256=one.sha256, body=one.body, known=known)
    if is_encrypted(one.body) and not (known is not None and known.state == "taken"):
        keys = identities()
        try:
            opened.body = decrypt_message(one.body, keys)
            opened.sha256 = sha256_hex(opened.body)
        except (RefusedError, DamagedError, NotFoundError, UsageError) as error:
            opened.locked = error
    return opened


def _take(site: Site, one: IncomingMessage, opened: _Opened, handlers: Handlers) -> _Verdict:
    """Take one message in. Raises `CourierError` for what is our own fault, not the message's."""
    known = opened.known
    if known is not None and known.state == "taken":
        return _acknowledge_again(site, known)
    try:
        if opened.locked is not None:
            raise opened.locked
        with site.catalogue.reading() as connection:
            known = messages.find(connection, "in", opened.sha256) or known
        if known is not None and known.state == "taken":
            return _acknowledge_again(site, replace(known, name=one.sha256))
        message = take_message(site, opened.body, handlers)
        opened.sender, opened.type, opened.waits = message.sender, message.type, message.waits
    except (RefusedError, DamagedError, NotFoundError, UsageError) as error:
        if error.code in OUR_FAULTS:
            raise
        _note_refusal(site, one, opened, error)
    if opened.type == acknowledgement_doc.TYPE:
        return _drop_acknowledgement(site, known)
    _keep(site, one, opened, known)
    if opened.reason and known is not None and (known.state == "dismissed" or known.reason == opened.reason):
        return _Verdict()
    return _Verdict(
        taken=not opened.reason,
        refused=opened.reason and opened.reason + opened.hint,
        site=opened.sender,
        type=opened.type,
    )


def _passed(verdict: _Verdict) -> Passed:
    what = "taken in" if verdict.taken else "refused"
    return Passed(at_ns=now(), out=False, site=verdict.site, kind=short_kind(verdict.type), what=what)


def _acknowledge_again(site: Site, known: Message) -> _Verdict:
    """A message that was taken came again, perhaps under another name: its sender has no acknowledgement yet."""
    with site.catalogue.writing() as connection:
        messages.set_encryption(connection, known)
        messages.owe(connection, known, now())
    return _Verdict()


def _note_refusal(site: Site, one: IncomingMessage, opened: _Opened, error: CourierError) -> None:
    """Note why a message is refused, and whom it is surely from."""
    opened.sender = sure_sender(site, opened.body, error)
    opened.hint = f"; {error.hint}" if error.hint else ""
    is_unknown = bool(one.peer) and not opened.sender
    opened.reason = f"brought by {one.peer}: {error.message}" if is_unknown else error.message


def _drop_acknowledgement(site: Site, known: Message | None) -> _Verdict:
    """An acknowledgement is neither kept nor answered: there is one for every few messages, of no use a second time."""
    if known is None:
        return _Verdict()
    with site.catalogue.writing() as connection:
        messages.forget(connection, known)
    return _Verdict(taken=True)


def _keep(site: Site, one: IncomingMessage, opened: _Opened, known: Message | None) -> None:
    """Note a message as taken or refused, in place of what was known of it; its sender is owed an acknowledgement."""
    moment = now()
    refused = known.state if known is not None and known.state == "dismissed" else "refused"
    kept = Message(
        direction="in",
        sha256=opened.sha256,
        site=opened.sender,
        type=opened.type,
        state=refused if opened.reason else "taken",
        reason=opened.reason or opened.waits,
        body=b"",
        created_ns=moment,
        settled_ns=moment,
        attempts=0,
        size=len(opened.body),
        due_ns=moment if opened.sender else None,
        name=one.sha256,
    )
    with site.catalogue.writing() as connection:
        if known is not None:
            messages.forget(connection, known)
        messages.put(connection, kept)
        if kept.state == refused:
            messages.thin_out(connection, opened.sender, keep=MAX_REFUSED)
