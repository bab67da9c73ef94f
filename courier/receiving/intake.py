"""Intake at the desk: labels that are scanned or typed are judged, and the volumes entered as received.

It needs no network: the sender's card is enough. Where the site's home is at hand, what came by network about the
parcel counts too, and each volume is entered once into the custody ledger. Nothing is read from the media: that is
`courier.receiving.receive`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, RefusedError, UsageError
from courier.parcel.custody import LedgerLine
from courier.parcel.custody_ledger import SCANNED, TYPED, Happened, is_known, record, view_ledger
from courier.parcel.notices import check_not_recalled, notices_about
from courier.receiving.intake_rules import (
    entered_before,
    expected_seal,
    may_be_of,
    seal_mark,
    still_missing,
    superseded,
)
from courier.receiving.spool import Spool
from courier.site.catalog import parcels
from courier.site.clock import now
from courier.site.home import Site
from courier.site.trust import Trust
from formats.documents import token as token_doc
from formats.documents.fields import MAX_SEAL
from formats.documents.notice import ShipNotice
from formats.documents.packing import MAX_VOLUMES
from formats.documents.token import LabelToken, PackedToken, edition_of_check, is_token, read_token
from formats.errors import FormatError
from formats.names import check_parcel, is_parcel

AGAIN = (
    "scan it again; if its code is damaged, type the line below it: courier parcel intake --typed PARCEL VOLUME CHECK. "
    "Does every label fail, set the scanner to the keyboard layout of this computer"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Typed:
    """What a person typed from below a code; ``edition`` is what the check value tells."""

    parcel: str
    number: int
    edition: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """A label that was taken in.

    ``of``: how many volumes there are, 0 where that is not known. ``genuine``: True where its signature was verified,
    None where it was typed, which proves nothing. ``duplicate``: it was taken in before. ``recorded``: it is in the
    custody ledger of this site. ``seal_due``: the serial number of the seal that is to be on it, empty where none is
    known. ``missing``: the volumes of its set that are not here yet.
    """

    parcel: str
    number: int
    of: int
    source: str
    to: tuple[str, ...]
    copy: int
    edition: int
    genuine: bool | None
    duplicate: bool
    recorded: bool
    seal_due: str
    missing: tuple[int, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SealRead:
    """A seal as it was read on a volume; ``found``: intact, broken, or empty where there is nothing to compare with."""

    due: str
    read: str
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What is known of a parcel at the desk: its newest notice, and its custody ledger."""

    announced: ShipNotice | None = None
    lines: Sequence[LedgerLine] = ()
    edition: int = 0
    is_known: bool = False


def read_typed(words: Sequence[str]) -> Typed:
    """A label of parcel, volume and check value, as they were typed; raises `UsageError` where something is wrong."""
    hint = "type what stands below the code: courier parcel intake --typed HQ1-000042 3 ABCDEF"
    if len(words) != 3:
        raise UsageError("parcel, volume and check value are needed", hint=hint)
    parcel, volume, check = words[0].upper(), words[1], words[2]
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise UsageError(error.message, hint=hint) from None
    if not re.fullmatch("[0-9]{1,4}", volume) or not 1 <= int(volume) <= MAX_VOLUMES:
        raise UsageError(f"{volume[:20]!r} is not the number of a volume", hint=hint)
    edition = edition_of_check(parcel, int(volume), check[:60])
    if edition is None:
        raise UsageError(
            f"{parcel}, volume {volume}: the check value {check[:20]!r} is wrong: one of the three was mistyped",
            hint="compare all three with the label, and type them again",
            code=Code.LABEL_MISREAD,
        )
    return Typed(parcel=parcel, number=int(volume), edition=edition)


def read_label(text: str) -> PackedToken | Typed:
    """The label that a text is: a token, or parcel, volume and check value. Raises `UsageError` where it is neither."""
    words = text.split()
    if len(words) == 3 and is_parcel(words[0].upper()):
        return read_typed(words)
    if not is_token(text):
        raise UsageError(f"{text[:40]!r} is not the code of a label", hint=AGAIN, code=Code.LABEL_MISREAD)
    try:
        return read_token(text)
    except FormatError as error:
        raise UsageError(f"label {text[:12]}...: {error.message}", hint=AGAIN, code=Code.LABEL_MISREAD) from None


class Desk:
    """The desk at which labels are taken in, one after the other."""

    def __init__(self, trust: Trust | None, *, site: Site | None = None, operator: str = "") -> None:
        """``trust``: whose labels are believed; None where labels are only typed. ``site``: where they are recorded.

        ``operator``: who takes them in, empty for the user of this computer.
        """
        self._trust = trust
        self._site = site
        self._operator = operator
        self._seen: dict[tuple[str, int], set[int]] = {}
        self._proved: set[bytes] = set()
        """Custody entries that were verified here: many labels of a parcel need not have its ledger verified anew."""

    def take(self, label: PackedToken | Typed) -> Label:
        """Judge a label and enter its volume as received, unless it is already.

        Raises `RefusedError` for one that is forged, superseded, of a recalled parcel or for another site, and
        `NotFoundError` for a volume that there is not.
        """
        if isinstance(label, Typed):
            return self._take_typed(label)
        token = label.document
        known = self._known(token.parcel)
        self._verify(label, known)
        why = superseded(token, known.announced, known.lines)
        if not why and self._site is not None and token.source == self._site.code:
            why = self._superseded_here(token)
        if why:
            raise _superseded(token.parcel, token.number, why, token.source)
        return self._take(
            Label(
                parcel=token.parcel,
                number=token.number,
                of=token.of,
                source=token.source,
                to=token.destinations,
                copy=token.copy,
                edition=token.edition,
                genuine=True,
                duplicate=False,
                recorded=False,
                seal_due="",
                missing=(),
                notes=_notes(token, known, at_site=self._site is not None),
            ),
            known,
        )

    def read_seal(self, label: Label, serial: str) -> SealRead:
        """Compare the seal that was read on a volume with the one that is due, and enter it into the ledger.

        Raises `UsageError` for a serial number that is too long.
        """
        mark = seal_mark(label.number, serial.strip(), label.seal_due)
        if len(mark.serial) > MAX_SEAL:
            raise UsageError(f"a seal of {len(mark.serial)} characters", hint=f"a serial number has {MAX_SEAL} at most")
        if self._site is not None and label.recorded and not self._is_entered(label, mark):
            what = Happened(
                event="seal-checked",
                copy=label.copy or None,
                volumes=(label.number,),
                seals=(mark,),
                operator=self._operator,
            )
            with self._site.catalogue.writing() as connection:
                record(connection, self._site, label.parcel, what)
        return SealRead(due=label.seal_due, read=mark.serial, found=mark.found)

    def _is_entered(self, label: Label, mark: object) -> bool:
        """Whether the last entry of this site on the seal of a volume says the same already."""
        assert self._site is not None
        own = [
            seal
            for line in view_ledger(self._site, label.parcel, self._proved).lines
            if line.entry.site == self._site.code and line.entry.event == "seal-checked"
            for seal in line.entry.seals
            if seal.volume == label.number and may_be_of(line.entry, label.copy)
        ]
        return bool(own) and own[-1] == mark

    def _take_typed(self, typed: Typed) -> Label:
        known = self._known(typed.parcel)
        source, announced = typed.parcel[:3], known.announced
        of = announced.volumes if announced else 0
        if of and typed.number > of:
            raise NotFoundError(f"{typed.parcel} has no volume {typed.number}", hint=f"its volumes are 1 to {of}")
        if known.edition > typed.edition:
            why = f"it is of edition {typed.edition}, and {source} has announced edition {known.edition}"
            raise _superseded(typed.parcel, typed.number, why, source)
        notes = ["typed, not scanned: nothing proves that the label is genuine"]
        if self._site is not None and not known.is_known:
            notes.append(f"nothing is known of {typed.parcel} here yet: no custody entry is written")
        return self._take(
            Label(
                parcel=typed.parcel,
                number=typed.number,
                of=of,
                source=source,
                to=announced.destinations if announced else (),
                copy=announced.copy if announced else 0,
                edition=typed.edition,
                genuine=None,
                duplicate=False,
                recorded=False,
                seal_due="",
                missing=(),
                notes=tuple(notes),
            ),
            known,
        )

    def _take(self, label: Label, known: _Known) -> Label:
        """Enter a label that is good."""
        site = self._site
        code = site.code if site is not None else ""
        seen = self._seen.setdefault((label.parcel, label.copy), set())
        before = entered_before(known.lines, code, label.number, label.copy)
        duplicate = before is not None or label.number in seen
        recorded = before is not None
        # Who sent it does not receive it; and what was only typed does not make a parcel known.
        mine = site is not None and label.source != site.code and (label.genuine or known.is_known)
        if site is not None and mine and not duplicate:
            what = Happened(
                event="received",
                copy=label.copy or None,
                volumes=(label.number,),
                note=SCANNED if label.genuine else TYPED,
                operator=self._operator,
            )
            with site.catalogue.writing() as connection:
                record(connection, site, label.parcel, what)
            recorded = True
        seen.add(label.number)
        return replace(
            label,
            duplicate=duplicate,
            recorded=recorded,
            seal_due=expected_seal(label.number, label.copy, known.announced, known.lines),
            missing=still_missing(known.lines, code, label.copy, label.of, seen),
        )

    def _verify(self, label: PackedToken, known: _Known) -> None:
        """Raise an error unless the source signed this label, for this site where there is one."""
        assert self._trust is not None
        token = label.document
        card = self._trust.site(token.source).card
        envelope = label.envelope(key.key for key in card.keys)
        # What a key signed that was revoked since counts where a good key vouches for the same layout.
        announced = known.announced is not None and token.is_of(known.announced.packing_list)
        where = f"label of {token.parcel}, volume {token.number}"
        self._trust.verify(envelope.encode(), token_doc.KIND, now_ns=now(), where=where, on_medium=announced)
        if self._site is not None:
            check_not_recalled(self._site, self._trust, token.parcel, token.source)

    def _known(self, parcel: str) -> _Known:
        site, trust = self._site, self._trust
        if site is None or trust is None:
            return _Known()
        notices = notices_about(site, trust, parcel, parcel[:3])
        with site.catalogue.reading() as connection:
            known = is_known(connection, parcel)
        announced = notices[-1] if notices else None
        return _Known(
            announced=announced,
            lines=view_ledger(site, parcel, self._proved).lines,
            edition=_edition(site, parcel, announced),
            is_known=known,
        )

    def _superseded_here(self, token: LabelToken) -> str:
        """Why a label of this site's own parcel counts no more; empty where it does."""
        assert self._site is not None
        with self._site.catalogue.reading() as connection:
            sent = parcels.find_sent(connection, token.parcel)
        if sent is None or token.is_of(sent.packing_list):
            return ""
        return f"{token.parcel} was laid out anew since, as edition {sent.edition}"


def is_proved(error: CourierError) -> bool:
    """Whether a label that was not taken in for this reason has a good signature all the same."""
    return error.code in (Code.NOT_FOR_US, Code.LABEL_SUPERSEDED, Code.RECALLED)


def _edition(site: Site, parcel: str, announced: ShipNotice | None) -> int:
    """The edition of the announced layout, where media of it have been read here; else 0."""
    if announced is None:
        return 0
    folder = site.incoming(parcel, announced.build)
    layouts = Spool.open(folder).layouts() if Spool.exists(folder) else {}
    return layouts[announced.packing_list].edition if announced.packing_list in layouts else 0


def _notes(token: LabelToken, known: _Known, *, at_site: bool) -> tuple[str, ...]:
    announced = known.announced
    if not at_site:
        return (f"for {', '.join(token.destinations)}; nothing is recorded: this is no site home",)
    if announced is None:
        return ()
    if not token.is_of(announced.packing_list):
        return (f"the notice of {token.source} is about another layout, and older than this label",)
    if token.copy and announced.copy and token.copy != announced.copy:
        return (f"it is of set {token.copy}; set {announced.copy} was announced here",)
    return ()


def _superseded(parcel: str, number: int, why: str, source: str) -> RefusedError:
    return RefusedError(
        f"the label of {parcel}, volume {number}, counts no more: {why}",
        hint=f"put the medium aside and ask {source} which one counts; courier parcel receive MEDIUM judges what is on "
        "it",
        code=Code.LABEL_SUPERSEDED,
    )
