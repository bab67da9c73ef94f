"""``courier parcel intake``: labels that are scanned or typed at the desk."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console
from courier.text import harmless, plural, volumes

if TYPE_CHECKING:
    from courier.errors import CourierError
    from courier.receiving.intake import Desk, Label, SealRead

app = group("")

MAX_LINE = 4096
"""Characters of a line of a scanner that are read."""
LONGEST_SEAL = 40
"""Characters of a line after a label that may be its seal; a longer one that is not the seal due is a misread label."""


@command(
    app,
    "intake",
    examples=[
        "courier parcel intake --scan",
        "courier parcel intake --scan --card HQ1.card",
        "courier parcel intake --typed HQ1-000042 3 ABCDEF --seal A0012345",
    ],
)
def intake(
    context: typer.Context,
    *,
    tokens: Annotated[
        list[str] | None, typer.Argument(metavar="[TOKEN]...", help="What the codes on labels say, as scanned.")
    ] = None,
    scan: Annotated[
        bool,
        typer.Option(
            "--scan", help="Read labels from a scanner that types lines; after a label comes its seal. Ctrl-D ends."
        ),
    ] = False,
    typed: Annotated[
        tuple[str, str, str] | None,
        typer.Option("--typed", metavar="PARCEL VOLUME CHECK", help="A label whose code cannot be scanned."),
    ] = None,
    seal: Annotated[
        str,
        typer.Option("--seal", metavar="SERIAL", help="Serial number of the seal on the one volume that is taken in."),
    ] = "",
    card: Annotated[
        list[Path] | None,
        typer.Option("--card", metavar="FILE", help="Trust this site card; no site home is needed then."),
    ] = None,
    operator: Annotated[
        str,
        typer.Option("--operator", metavar="NAME", help="Who takes them in. Without it: the user of this computer."),
    ] = "",
) -> None:
    """Take in volumes at the desk, by their labels.

    It needs no network. Says which volume it is, whether its label is genuine and its seal right, and what is still
    missing; in a site's home each volume is entered into the custody ledger. Next the media are read: courier parcel
    receive.
    """
    from courier.errors import UsageError
    from courier.receiving.intake import Typed, read_typed

    console = console_of(context)
    given = [*(tokens or ())]
    if scan and (given or typed or seal):
        raise UsageError("--scan reads labels and seals itself", hint="give --scan alone, or leave it out")
    if not scan and len(given) + (typed is not None) == 0:
        raise UsageError("no label is given", hint="give --scan, a token, or --typed PARCEL VOLUME CHECK")
    if seal and len(given) + (typed is not None) > 1:
        raise UsageError("--seal is about one label", hint="take them in one after the other, or give --scan")
    by_hand: Typed | None = read_typed(typed) if typed is not None else None
    with _desk(console, card or [], operator, only_typed=by_hand is not None and not given) as desk:
        intake = _Intake(console=console, desk=desk)
        if scan:
            for line in _lines(console):
                intake.line(line)
        else:
            for token in given:
                intake.label(token)
            if by_hand is not None:
                intake.typed(by_hand)
            if seal and intake.last is not None:
                intake.seal(seal)
        intake.end()


@contextlib.contextmanager
def _desk(console: Console, cards: list[Path], operator: str, *, only_typed: bool) -> Iterator[Desk]:
    """The desk: with cards alone, or at the site whose home is at hand; where there is neither, only for typing."""
    from courier.errors import NotFoundError
    from courier.receiving.intake import Desk
    from courier.receiving.verify import trust_of_cards
    from courier.site.settings import Settings, find_home

    if cards:
        yield Desk(trust_of_cards(cards), operator=operator)
        return
    try:
        Settings.load(find_home(console.home))
    except NotFoundError as error:
        if only_typed:
            yield Desk(None, operator=operator)
            return
        hint = "to take labels in without a site, give the sender's card: --card FILE"
        raise NotFoundError(error.message, hint=hint) from None
    with console.site() as site:
        yield Desk(site.trust(), site=site, operator=operator)


def _lines(console: Console) -> Iterator[str]:
    """The lines that a scanner types, without those that are empty."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        # A scanner that is set to another keyboard may type anything: that is a misread label, and no end.
        sys.stdin.reconfigure(errors="replace")
    if sys.stdin.isatty():
        console.say("Scan a label, then its seal. Ctrl-D ends.")
    while line := sys.stdin.readline(MAX_LINE):
        if line.strip():
            yield line.strip()


@dataclass(kw_only=True)
class _Intake:
    """One run of the command: what it has said so far, and what went wrong."""

    console: Console
    desk: Desk
    last: Label | None = None
    described: list[dict[str, Any]] = field(default_factory=list)
    failures: list[tuple[str, CourierError]] = field(default_factory=list)
    parcels: dict[tuple[str, int], Label] = field(default_factory=dict)

    def line(self, text: str) -> None:
        """Take a line of a scanner: a label, or the seal of the label before it."""
        from courier.receiving.intake import read_label
        from formats.documents.token import is_token
        from formats.names import is_parcel

        first = text.split(maxsplit=1)[0]
        last = self.last
        is_misread = last is None or (len(text) > LONGEST_SEAL and text != last.seal_due)
        if is_token(text) or is_parcel(first.upper()) or is_misread:
            self._take(lambda: read_label(text), shown=text)
        else:
            self.seal(text)

    def label(self, text: str) -> None:
        """Take a token in."""
        from courier.receiving.intake import read_label

        self._take(lambda: read_label(text), shown=text)

    def typed(self, label: Any) -> None:
        """Take in a label that was typed."""
        self._take(lambda: label, shown="")

    def seal(self, serial: str) -> None:
        """Take the seal of the label before."""
        from courier.error_codes import Code
        from courier.errors import CourierError, RefusedError

        label, self.last = self.last, None
        assert label is not None
        try:
            read = self.desk.read_seal(label, serial)
        except CourierError as error:
            self._failed(error)
            return
        self.described[-1]["seal"] = {"due": read.due, "read": read.read, "found": read.found}
        self.console.say(f"  seal {read.read}: {_seal_words(read)}")
        if read.found == "broken":
            broken = RefusedError(
                f"{label.parcel}, volume {label.number}: seal {read.read} was read, and {read.due} is due",
                hint=f"leave it closed and ask {label.source} which seal was put on; it is in the custody ledger: "
                f"courier parcel log {label.parcel}",
                code=Code.SEAL_BROKEN,
            )
            self._failed(broken)

    def end(self) -> None:
        """Say what is still missing, and end the command: with the last error, where there was one."""
        document = self._document()
        for (parcel, copy), label in self.parcels.items():
            which = f"{parcel}{f', set {copy}' if copy else ''}"
            if not label.of:
                self.console.say(f"{which}: how many volumes there are is not known here")
            elif label.missing:
                self.console.say(f"{which}: still missing: {volumes(label.missing)} of {label.of}")
            else:
                self.console.say(
                    f"{which}: all of {plural(label.of, 'volume')} at the desk. Next: courier parcel receive MEDIUM"
                )
        if self.failures:
            raise typer.Exit(self.console.errors(self.failures, document))
        self.console.result(document)

    def _take(self, read: Any, *, shown: str) -> None:
        from courier.errors import CourierError
        from courier.receiving.intake import Typed, is_proved

        self.last = None
        parcel, number, genuine = "", 0, None
        try:
            found = read()
            if isinstance(found, Typed):
                parcel, number = found.parcel, found.number
            else:
                parcel, number, genuine = found.document.parcel, found.document.number, False
            label = self.desk.take(found)
        except CourierError as error:
            if genuine is False:
                genuine = is_proved(error)
            one = {"parcel_id": parcel, "volume": number, "genuine": genuine, "taken": False}
            self._describe({**one, "error": {"code": error.code, "message": error.message, "hint": error.hint}})
            self._failed(error)
            return
        self.last = label
        self.parcels[label.parcel, label.copy] = label
        self._describe(_described(label))
        self._say(label)

    def _describe(self, one: dict[str, Any]) -> None:
        self.described.append(one)
        self.console.event({"label": one})

    def _failed(self, error: CourierError) -> None:
        self.console.say(f"  NOT RIGHT: {error.message}")
        self.failures.append(("", error))

    def _say(self, label: Label) -> None:
        of = f" of {label.of}" if label.of else ""
        how = "genuine" if label.genuine else "typed, not proved"
        again = "; taken in before, nothing is entered twice" if label.duplicate else ""
        self.console.say(f"{label.parcel}, volume {label.number}{of}, from {label.source}: {how}{again}")
        for note in label.notes:
            self.console.say(f"  note: {note}")
        if label.seal_due:
            self.console.say(f"  the seal on it is to be read: {label.seal_due} is due")

    def _document(self) -> dict[str, Any]:
        last = self.described[-1] if self.described else {"parcel_id": "", "volume": 0, "genuine": None}
        sets = [
            {"parcel_id": parcel, "copy": copy, "of": label.of, "missing_volumes": list(label.missing)}
            for (parcel, copy), label in self.parcels.items()
        ]
        return {
            **{key: last[key] for key in ("parcel_id", "volume", "genuine")},
            "labels": self.described,
            "sets": sets,
            "missing_volumes": sets[-1]["missing_volumes"] if sets else [],
        }


def _seal_words(read: SealRead) -> str:
    if read.found == "intact":
        return "the one that is due"
    if read.found == "broken":
        return f"NOT THE ONE THAT IS DUE ({harmless(read.due, 60)})"
    return "no seal is known that it can be compared with"


def _described(label: Label) -> dict[str, Any]:
    return {
        "parcel_id": label.parcel,
        "volume": label.number,
        "of": label.of,
        "genuine": label.genuine,
        "taken": True,
        "duplicate": label.duplicate,
        "recorded": label.recorded,
        "from": label.source,
        "to": list(label.to),
        "copy": label.copy,
        "edition": label.edition,
        "seal": {"due": label.seal_due, "read": "", "found": ""},
        "notes": list(label.notes),
    }
