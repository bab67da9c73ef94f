"""Judging a table of computers against those that are known, and importing it: all of it, or nothing.

A record is known by its name, without regard to case. A GUID may be that of no other computer, neither as it is nor
with the bytes of its first three fields turned round (see `courier.deployment.identifiers`). A MAC address alone makes
no two records one. What a file does not say of a known computer stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from courier.deployment.computer_csv import Refused, Row, Table
from courier.deployment.identifiers import swapped
from courier.error_codes import Code
from courier.errors import RefusedError
from courier.site.catalog import computers
from courier.site.catalog.computers import Computer, KnownComputer
from courier.site.clock import now
from courier.site.home import Site
from courier.site.log import note
from courier.text import plural
from formats.documents.deployment import MAX_MACS, MAX_VARIABLES


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What an import changes of a computer: ``what``, as it is recorded, and as it is to be."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """A computer as it will be recorded, from the line ``line``; ``changes`` where it is known already.

    One that is new has no time at which it was added yet.
    """

    line: int
    computer: KnownComputer
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportPlan:
    """What an import would do; ``unchanged``: how many lines say what is recorded already."""

    new: tuple[Imported, ...]
    changed: tuple[Imported, ...]
    refused: tuple[Refused, ...]
    unchanged: int


def judge(table: Table, known: Sequence[KnownComputer], shared: Mapping[str, str]) -> ImportPlan:
    """What importing ``table`` would do where ``known`` are the computers, and ``shared`` MACs of docks. Pure."""
    named = {row.name.casefold() for row in table.rows}
    given_guid = {row.name.casefold() for row in table.rows if row.guid}
    given_macs = {row.name.casefold() for row in table.rows if row.macs}
    others = _Others(shared)
    for one in known:
        folded = one.name.casefold()
        # What the file itself says of a computer is compared as the file is gone through.
        macs = () if folded in named and folded in given_macs else one.macs
        guid = "" if folded in named and folded in given_guid else one.row.guid
        others.note(one.name, guid, macs, f"computer {one.name}")
    by_name = {one.name.casefold(): one for one in known}
    lines: dict[str, int] = {}
    new, changed, refused = [], [], list(table.refused)
    unchanged = 0
    for row in table.rows:
        folded = row.name.casefold()
        first = lines.setdefault(folded, row.line)
        reasons = [f"{row.name} is in line {first} already"] if first != row.line else []
        before = by_name.get(folded)
        after = _new(row) if before is None else merged(before, row)
        reasons += others.conflicts(row, has_guid=bool(after.row.guid))
        others.note(row.name, row.guid, row.macs, f"line {row.line}")
        if not (after.row.guid or after.macs):
            reasons.append(f"{row.name} has neither a GUID nor a MAC to be recognised by")
        for count, most, what in (
            (len(after.macs), MAX_MACS, "MAC addresses"),
            (len(after.variables), MAX_VARIABLES, "variables"),
        ):
            if count > most:
                reasons.append(f"{row.name} would have {count:,} {what}; {most:,} are the most")
        if reasons:
            refused.append(Refused(line=row.line, reason="; ".join(reasons)))
            continue
        if before is None:
            new.append(Imported(line=row.line, computer=after))
            continue
        changes = tuple(_changes(before, after))
        if changes:
            changed.append(Imported(line=row.line, computer=after, changes=changes))
        else:
            unchanged += 1
    return ImportPlan(
        new=tuple(new),
        changed=tuple(changed),
        refused=tuple(sorted(refused, key=lambda one: one.line)),
        unchanged=unchanged,
    )


class _Others:
    """Whose each GUID and each MAC is, so far, and where that stands."""

    def __init__(self, shared: Mapping[str, str]) -> None:
        self._shared = shared
        self._guids: dict[str, tuple[str, str]] = {}
        self._macs: dict[str, tuple[str, str]] = {}

    def note(self, name: str, guid: str, macs: Iterable[str], where: str) -> None:
        """Note what a computer has; ``where`` says who says so."""
        if guid:
            self._guids.setdefault(guid, (name.casefold(), where))
        for mac in macs:
            self._macs.setdefault(mac, (name.casefold(), where))

    def conflicts(self, row: Row, *, has_guid: bool) -> list[str]:
        """Why a row cannot stand beside what was noted, each reason in words.

        ``has_guid``: the computer has one, by this row or as it is known.
        """
        folded, reasons = row.name.casefold(), []
        if row.guid:
            for guid, how in ((row.guid, ""), (swapped(row.guid), ", with the bytes of its first three fields turned")):
                owner, where = self._guids.get(guid, (folded, ""))
                if owner != folded:
                    reasons.append(f"its GUID is that of {where}{how}: it is the same computer")
                    break
        for mac in row.macs:
            owner, where = self._macs.get(mac, (folded, ""))
            if owner != folded and mac not in self._shared:
                reasons.append(f"MAC {mac} is that of {where}; is it of a dock: courier computer shared-mac add {mac}")
        if row.macs and not has_guid and all(mac in self._shared for mac in row.macs):
            said = self._shared[row.macs[0]]
            reasons.append(f"it has no GUID, and its MAC {row.macs[0]} is shared by several computers ({said})")
        return reasons


def _new(row: Row) -> KnownComputer:
    return KnownComputer(
        row=Computer(
            name=row.name,
            guid=row.guid,
            client_class=row.client_class,
            group_name=row.group_name,
            protected=0,
            identity="",
            added_ns=0,
        ),
        macs=row.macs,
        variables=row.variables,
    )


def merged(before: KnownComputer, row: Row) -> KnownComputer:
    """A known computer with what a row says of it; what the row leaves empty stays."""
    return KnownComputer(
        row=replace(
            before.row,
            guid=row.guid or before.row.guid,
            client_class=row.client_class or before.row.client_class,
            group_name=row.group_name or before.row.group_name,
        ),
        macs=row.macs or before.macs,
        variables=with_variables(before.variables, row.variables),
    )


def with_variables(before: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Variables with others set over them; names are compared without regard to case, and keep their first writing."""
    found = dict(before)
    written = {name.casefold(): name for name in before}
    for name, value in given.items():
        found[written.get(name.casefold(), name)] = value
    return found


def _changes(before: KnownComputer, after: KnownComputer) -> Iterable[Change]:
    pairs = [
        ("GUID", before.row.guid, after.row.guid),
        ("MAC", " ".join(before.macs), " ".join(after.macs)),
        ("class", before.row.client_class, after.row.client_class),
        ("group", before.row.group_name, after.row.group_name),
        *((name, before.variables.get(name, ""), value) for name, value in after.variables.items()),
    ]
    for what, old, new in pairs:
        if old != new:
            turned = " (the same bytes in another order)" if what == "GUID" and old and swapped(old) == new else ""
            yield Change(what=what + turned, before=old, after=new)


def plan_import(site: Site, table: Table) -> ImportPlan:
    """What importing a table would do now. Nothing is written."""
    with site.catalogue.reading() as connection:
        return judge(table, computers.everyone(connection), computers.shared_macs(connection))


def import_table(site: Site, table: Table, *, agreed: ImportPlan | None = None, overwrite: bool = False) -> ImportPlan:
    """Judge a table and record all of its computers, in one transaction; return what was found.

    Where a line is refused, or records would be overwritten without ``overwrite`` and otherwise than ``agreed``,
    nothing is recorded: see `is_applied`.
    """
    moment = now()
    with site.catalogue.writing() as connection:
        plan = judge(table, computers.everyone(connection), computers.shared_macs(connection))
        if is_applied(plan, agreed=agreed, overwrite=overwrite):
            new = [replace(one.computer, row=replace(one.computer.row, added_ns=moment)) for one in plan.new]
            computers.add(connection, new)
            computers.put(connection, [one.computer for one in plan.changed])
            note(
                connection,
                f"{plural(len(new), 'computer')} imported, {plural(len(plan.changed), 'record')} overwritten",
            )
    return plan


def is_applied(plan: ImportPlan, *, agreed: ImportPlan | None = None, overwrite: bool = False) -> bool:
    """Whether `import_table` records what it found: no line is refused, and what it overwrites is agreed to."""
    return not plan.refused and (overwrite or not plan.changed or plan == agreed)


def check_none_refused(plan: ImportPlan) -> None:
    """Raise `RefusedError` where a line of an import is refused."""
    if plan.refused:
        first = plan.refused[0]
        more = f", and {plural(len(plan.refused) - 1, 'more line')}" if len(plan.refused) > 1 else ""
        raise RefusedError(
            f"line {first.line}: {first.reason}{more}; nothing was imported",
            hint="mend these lines and import the file again; --dry-run shows all",
            code=Code.COMPUTERS_REFUSED,
        )
