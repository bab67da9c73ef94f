"""Judging the tamper seals of a parcel by its custody ledger: which was put on each volume, and what was found later.

This module is pure. A seal is compared with the one that was put on last: by the first entry that names it (event
``packed`` or ``sealed``), and later by ``sealed``, which is reported as a re-seal, or by ``replaced`` of the source,
which sends a new medium in place of a volume. An entry that calls a seal intact proves nothing if the number that was
read is another: the numbers are compared here again. Only an entry whose signature is verified sets the seal to compare
with.

Several sets of the media may be under way, each with seals of its own. An entry that names no set (copy 0) is about the
only one, where there is only one; where several are known, it is about none of them for certain, and its seals are not
compared with theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from formats.documents.custody import CustodyEntry, SealMark
from formats.records import format_time

if TYPE_CHECKING:
    from courier.parcel.custody import LedgerLine


Place = tuple[int, int]
"""Where a seal is: (copy, volume)."""


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
    """The seals of a parcel: ``on`` by place, ``texts`` on the seals of each entry (by name), and warnings."""

    on: Mapping[Place, PutOn]
    texts: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]


def judge_seals(lines: Iterable[LedgerLine]) -> Seals:
    """Judge all seals of a ledger, whose lines are in order."""
    on: dict[Place, PutOn] = {}
    texts: dict[str, tuple[str, ...]] = {}
    warnings: list[str] = []
    for line in lines:
        sets = sets_known(on)
        findings = _judge_entry(line.entry, on, sets, proved=line.proved)
        texts[line.name] = tuple(one.text for one in findings)
        warnings += [one.note for one in findings if one.kind in ("re-sealed", "broken") and one.note]
        if line.proved and line.entry.event == "taken-back" and line.entry.site == line.entry.parcel[:3]:
            # What was typed for a shipment that never left stands for nothing.
            on = {place: seal for place, seal in on.items() if place[0] != line.entry.copy}
        elif line.proved:
            copy = line.entry.copy or (sets[0] if len(sets) == 1 else 0)
            on |= {
                (copy, seal.volume): PutOn(serial=seal.serial, site=line.entry.site)
                for seal in line.entry.seals
                if _puts_on(line.entry.event, seal, seal_on(on, sets, line.entry.copy, seal.volume))
            }
    return Seals(on=on, texts=texts, warnings=tuple(warnings))


def judge_entry(entry: CustodyEntry, on: Mapping[Place, PutOn], *, proved: bool = True) -> list[SealFinding]:
    """Judge the seals of one entry; ``on``: the seals that were put on before it."""
    return _judge_entry(entry, on, sets_known(on), proved=proved)


def _judge_entry(
    entry: CustodyEntry, on: Mapping[Place, PutOn], sets: Collection[int], *, proved: bool
) -> list[SealFinding]:
    return [_judge(entry, seal, seal_on(on, sets, entry.copy, seal.volume), proved=proved) for seal in entry.seals]


def seal_on(on: Mapping[Place, PutOn], sets: Collection[int], copy: int, volume: int) -> PutOn | None:
    """The seal on a volume of a set; ``sets``: those that are known (`sets_known`).

    For copy 0 that of the only set. For a set also one of copy 0, where no other set is known: it may be on that one.
    """
    others = [other for other in sets if other != copy]
    if copy:
        return on.get((copy, volume)) or (None if others else on.get((0, volume)))
    if len(others) == 1:
        return on.get((others[0], volume)) or on.get((0, volume))
    return None if others else on.get((0, volume))


def sets_known(on: Mapping[Place, PutOn]) -> tuple[int, ...]:
    """The numbers of the sets of media whose seals are known."""
    return tuple(sorted({copy for copy, _ in on if copy}))


def _puts_on(event: str, seal: SealMark, before: PutOn | None) -> bool:
    puts = event in ("sealed", "replaced") or (event == "packed" and before is None)
    return bool(seal.serial) and not seal.found and puts


def _judge(entry: CustodyEntry, seal: SealMark, before: PutOn | None, *, proved: bool) -> SealFinding:
    volume, serial = seal.volume, seal.serial
    text = f"seal {serial or '?'} on volume {volume}" + (f" of set {entry.copy}" if entry.copy > 1 else "")
    who = f"by {entry.site} ({entry.operator}), {format_time(entry.at_ns)[:16]}Z" + ("" if proved else ", NOT PROVED")
    differs = before is not None and bool(serial) and serial != before.serial
    if _puts_on(entry.event, seal, before):
        source = entry.parcel[:3]
        if before is not None and entry.event == "replaced" and entry.site == source:
            text += f" (a new medium, in place of the one with seal {before.serial})"
            return SealFinding(volume=volume, kind="put-on", text=text)
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
    on: Mapping[Place, PutOn],
    event: str,
    *,
    copy: int,
    seals: Sequence[tuple[int, str]],
    intact: Collection[int],
    broken: Collection[int],
) -> tuple[SealMark, ...]:
    """The seals of a new entry about the set ``copy``, each compared with the one that was put on before (``on``).

    ``seals``: (volume, serial number) as read; ``intact`` and ``broken``: volumes by how their seals were found.
    """
    typed, marks, sets = dict(seals), [], sets_known(on)
    for volume in sorted({*typed, *intact, *broken}):
        before = seal_on(on, sets, copy, volume)
        serial = typed.get(volume) or (before.serial if before else "")
        found = "broken" if volume in broken else ""
        if not found and not (volume in typed and _puts_on(event, SealMark(volume=volume, serial=serial), before)):
            if before is not None:
                found = "intact" if serial == before.serial else "broken"
            elif volume in intact:
                found = "intact"
        marks.append(SealMark(volume=volume, serial=serial, found=found))
    return tuple(marks)
