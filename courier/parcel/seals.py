"""Judging the tamper seals of a parcel by its custody ledger: which was put on each volume, and what was found later.

This module is pure. A seal is compared with the one that was put on last: by the first entry that names it (event
``packed`` or ``sealed``), and later by ``sealed`` alone, which is reported as a re-seal. An entry that calls a seal
intact proves nothing if the number that was read is another: the numbers are compared here again. Only an entry whose
signature is verified sets the seal to compare with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from formats.documents.custody import CustodyEntry, SealMark
from formats.records import format_time

if TYPE_CHECKING:
    from courier.parcel.custody import LedgerLine


@dataclass(frozen=True, kw_only=True, slots=True)
class PutOn:
    """The serial number of the seal that was put on a volume, and the site whose entry says so."""

    serial: str
    site: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SealFinding:
    """The judgement on one seal of an entry.

    ``kind``: put-on, re-sealed, intact, broken, or unknown, where there is nothing to compare with. ``text``: what it
    comes to, for people. ``note``: a warning, or empty.
    """

    volume: int
    kind: str
    text: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seals:
    """The seals of a parcel: ``on`` by volume number, ``texts`` on the seals of each entry (by name), and warnings."""

    on: Mapping[int, PutOn]
    texts: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]


def judge_seals(lines: Iterable[LedgerLine]) -> Seals:
    """Judge all seals of a ledger, whose lines are in order."""
    on: dict[int, PutOn] = {}
    texts: dict[str, tuple[str, ...]] = {}
    warnings: list[str] = []
    for line in lines:
        findings = judge_entry(line.entry, on, proved=line.proved)
        texts[line.name] = tuple(one.text for one in findings)
        warnings += [one.note for one in findings if one.kind in ("re-sealed", "broken") and one.note]
        if line.proved:
            on |= {
                seal.volume: PutOn(serial=seal.serial, site=line.entry.site)
                for seal in line.entry.seals
                if _puts_on(line.entry.event, seal, on.get(seal.volume))
            }
    return Seals(on=on, texts=texts, warnings=tuple(warnings))


def judge_entry(entry: CustodyEntry, on: Mapping[int, PutOn], *, proved: bool = True) -> list[SealFinding]:
    """Judge the seals of one entry; ``on``: the seals that were put on before it."""
    return [_judge(entry, seal, on.get(seal.volume), proved=proved) for seal in entry.seals]


def _puts_on(event: str, seal: SealMark, before: PutOn | None) -> bool:
    return bool(seal.serial) and not seal.found and (event == "sealed" or (event == "packed" and before is None))


def _judge(entry: CustodyEntry, seal: SealMark, before: PutOn | None, *, proved: bool) -> SealFinding:
    volume, serial = seal.volume, seal.serial
    text = f"seal {serial or '?'} on volume {volume}"
    who = f"by {entry.site} ({entry.operator}), {format_time(entry.at_ns)[:16]}Z" + ("" if proved else ", NOT PROVED")
    differs = before is not None and bool(serial) and serial != before.serial
    if _puts_on(entry.event, seal, before):
        source = entry.parcel[:3]
        if before is not None and differs:
            note = f"volume {volume} was re-sealed {who}: {serial} in place of {before.serial} of {before.site}"
            text += f" (RE-SEALED, {before.serial} of {before.site} before)"
            return SealFinding(volume=volume, kind="re-sealed", text=text, note=note)
        if before is None and entry.site != source:
            note = f"volume {volume}: seal {serial} was put on {who}, not by {source}, which sent it"
            text += f" (RE-SEALED, {source} named none)"
            return SealFinding(volume=volume, kind="re-sealed", text=text, note=note)
        return SealFinding(volume=volume, kind="put-on", text=text)
    if differs or seal.found == "broken":
        note = f"volume {volume}: seal {serial or '?'} was found BROKEN {who}"
        text += " BROKEN"
        if before is not None and differs:
            note = f"volume {volume}: seal {serial} was read {who}, and {before.serial} was put on: taken as BROKEN"
            text += f" ({before.serial} was put on)"
        return SealFinding(volume=volume, kind="broken", text=text, note=note)
    if before is None or not serial:
        what = f"seal {serial}" if serial else "a seal that looked intact, its number not read,"
        text = f"{what} on volume {volume}, NOTHING TO COMPARE WITH"
        note = f"volume {volume}: no proved entry names the seal that was put on: there is nothing to compare with"
        return SealFinding(volume=volume, kind="unknown", text=text, note=note)
    return SealFinding(volume=volume, kind="intact", text=text + " INTACT")


def seal_marks(
    on: Mapping[int, PutOn],
    event: str,
    *,
    seals: Sequence[tuple[int, str]],
    intact: Collection[int],
    broken: Collection[int],
) -> tuple[SealMark, ...]:
    """The seals of a new entry, each compared with the one that was put on before (``on``).

    ``seals``: (volume, serial number) as read; ``intact`` and ``broken``: volumes by how their seals were found.
    """
    typed, marks = dict(seals), []
    for volume in sorted({*typed, *intact, *broken}):
        before = on.get(volume)
        serial = typed.get(volume) or (before.serial if before else "")
        found = "broken" if volume in broken else ""
        if not found and not (volume in typed and _puts_on(event, SealMark(volume=volume, serial=serial), before)):
            if before is not None:
                found = "intact" if serial == before.serial else "broken"
            elif volume in intact:
                found = "intact"
        marks.append(SealMark(volume=volume, serial=serial, found=found))
    return tuple(marks)
