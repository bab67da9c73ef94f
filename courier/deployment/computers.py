"""The computers of a site: adding, changing and removing one, finding it, and whose state goes to whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from courier.deployment.computer_csv import parse_place_name
from courier.deployment.computer_import import with_variables
from courier.deployment.identifiers import parse_guid, parse_mac, parse_name, parse_variable, swapped
from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError
from courier.site.catalog import computers
from courier.site.catalog.computers import Association, Computer, KnownComputer
from courier.site.clock import now
from courier.site.home import Site
from courier.site.log import note
from formats.documents.deployment import MAX_MACS, MAX_VARIABLES

MAX_VALUE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputerChange:
    """What an operator says of a computer, in any usual form; None stays as it is, and empty is none.

    ``macs`` stand in place of all before; ``without_macs`` are forgotten. ``variables``: those to set; ``unset``: names
    of those to forget.
    """

    guid: str | None = None
    macs: Sequence[str] | None = None
    without_macs: Sequence[str] = ()
    client_class: str | None = None
    group: str | None = None
    protected: bool | None = None
    variables: Mapping[str, str] | None = None
    unset: Sequence[str] = ()


def parse_assignments(texts: Iterable[str]) -> dict[str, str]:
    """Variables from texts such as ``Model=X1``. Raises `UsageError`."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"{text[:80]!r} sets no variable", hint="write it like Model=X1")
        if len(value) > MAX_VALUE:
            raise UsageError(f"{name}: {len(value):,} characters", hint=f"{MAX_VALUE:,} at most")
        found[parse_variable(name)] = value
    return found


def all_computers(site: Site) -> list[KnownComputer]:
    """All computers, by name."""
    with site.catalogue.reading() as connection:
        return computers.everyone(connection)


def computers_of_group(site: Site, group: str) -> list[str]:
    """The names of the computers of a group. Raises `NotFoundError` where there is none."""
    with site.catalogue.reading() as connection:
        found = computers.names(connection, group)
    if not group or not found:
        raise NotFoundError(f"no computer is of group {group[:80]!r}", hint="courier computer list shows all")
    return found


def add_computer(site: Site, name: str, change: ComputerChange) -> KnownComputer:
    """Add a computer. Raises `UsageError`, and `RefusedError` where it is known already, by whatever sign."""
    name = parse_name(name)
    blank = Computer(name=name, guid="", client_class="", group_name="", protected=0, identity="", added_ns=now())
    with site.catalogue.writing() as connection:
        if (there := computers.find(connection, name)) is not None:
            raise UsageError(
                f"there is a computer called {there.name} already", hint=f"to change it: courier computer set {name}"
            )
        new = _changed(connection, KnownComputer(row=blank), change)
        computers.put(connection, [new])
        note(connection, f"computer {name} added")
    return new


def change_computer(site: Site, name: str, change: ComputerChange) -> KnownComputer:
    """Change a computer. Raises `NotFoundError`, `UsageError` and `RefusedError` as `add_computer` does."""
    with site.catalogue.writing() as connection:
        new = _changed(connection, found(connection, name), change)
        computers.put(connection, [new])
        note(connection, f"computer {new.name} changed")
    return new


def _changed(connection: Connection, before: KnownComputer, change: ComputerChange) -> KnownComputer:
    guid = before.row.guid if change.guid is None else (parse_guid(change.guid) if change.guid.strip() else "")
    macs = before.macs if change.macs is None else tuple(sorted({parse_mac(mac) for mac in change.macs}))
    for mac in map(parse_mac, change.without_macs):
        if mac not in macs:
            raise NotFoundError(
                f"{before.name} has no MAC {mac}", hint=f"courier computer show {before.name} shows those that it has"
            )
        macs = tuple(one for one in macs if one != mac)
    if len(macs) > MAX_MACS:
        raise UsageError(f"{len(macs)} MAC addresses", hint=f"{MAX_MACS} at most")
    variables = with_variables(before.variables, change.variables or {})
    for name in change.unset:
        written = next((one for one in variables if one.casefold() == name.casefold()), None)
        if written is None:
            raise NotFoundError(
                f"{before.name} has no variable {name}", hint=f"courier computer show {before.name} shows all"
            )
        del variables[written]
    if len(variables) > MAX_VARIABLES:
        raise UsageError(f"{len(variables):,} variables", hint=f"{MAX_VARIABLES:,} at most")
    row = replace(
        before.row,
        guid=guid,
        client_class=before.row.client_class if change.client_class is None else _place(change.client_class),
        group_name=before.row.group_name if change.group is None else _place(change.group),
        protected=before.row.protected if change.protected is None else int(change.protected),
    )
    after = KnownComputer(row=row, macs=macs, variables=variables)
    _check_nobody_else(connection, before, after)
    return after


def _place(text: str) -> str:
    return parse_place_name(text) if text else ""


def _check_nobody_else(connection: Connection, before: KnownComputer, after: KnownComputer) -> None:
    """Raise `RefusedError` where what is new of a computer is another one's."""
    if after.row.guid and after.row.guid != before.row.guid:
        for one in computers.with_guid(connection, after.row.guid, swapped(after.row.guid)):
            if one.name != after.name:
                turned = "" if one.row.guid == after.row.guid else ", with the bytes of its first three fields turned"
                raise RefusedError(
                    f"GUID {after.row.guid} is that of {one.name}{turned}: it is the same computer",
                    hint=f"courier computer show {one.name}; remove that record, or leave the GUID out",
                    code=Code.AMBIGUOUS_COMPUTER,
                )
    shared = computers.shared_macs(connection)
    for mac in set(after.macs) - set(before.macs) - set(shared):
        for one in computers.with_mac(connection, mac):
            if one.name != after.name:
                raise RefusedError(
                    f"MAC {mac} is that of {one.name}",
                    hint=f"is it of a dock or dongle: courier computer shared-mac add {mac}",
                    code=Code.AMBIGUOUS_COMPUTER,
                )


def found(connection: Connection, name: str) -> KnownComputer:
    """The computer of that name. Raises `NotFoundError`."""
    one = computers.find(connection, name.strip())
    if one is None:
        raise NotFoundError(
            f"there is no computer called {name[:80]!r}",
            hint="courier computer list shows all; to add it: courier computer add NAME",
        )
    return one


def look_up(site: Site, sign: str) -> KnownComputer:
    """The computer that has this name, GUID or MAC. Raises `NotFoundError`, and `RefusedError` where it is not certain.

    A GUID is found in either order of its bytes. A MAC that several computers have, or that is shared, tells none.
    """
    with site.catalogue.reading() as connection:
        one = computers.find(connection, sign.strip())
        return one if one is not None else _by_sign(connection, sign)


def _by_sign(connection: Connection, sign: str) -> KnownComputer:
    kind, value = _sign(sign)
    if kind == "GUID":
        candidates = computers.with_guid(connection, value, swapped(value))
    elif kind == "MAC":
        shared = computers.shared_macs(connection)
        if value in shared:
            raise RefusedError(
                f"MAC {value} is shared by several computers ({shared[value]}), and identifies none",
                hint="look it up by its name or GUID",
                code=Code.AMBIGUOUS_COMPUTER,
            )
        candidates = computers.with_mac(connection, value)
    else:
        return found(connection, sign)
    if len(candidates) > 1:
        names = ", ".join(one.name for one in candidates)
        raise RefusedError(
            f"{kind} {value} is of {len(candidates)} computers: {names}",
            hint="look it up by its name; then mend the wrong record: courier computer set NAME",
            code=Code.AMBIGUOUS_COMPUTER,
        )
    if not candidates:
        raise NotFoundError(f"no computer has {kind} {value}", hint="courier computer list shows all computers")
    return candidates[0]


def _sign(text: str) -> tuple[str, str]:
    for kind, parse in (("MAC", parse_mac), ("GUID", parse_guid)):
        try:
            return kind, parse(text)
        except UsageError:
            continue
    return "", text


def remove_computer(site: Site, name: str) -> KnownComputer:
    """Forget a computer. Raises `NotFoundError`, and `RefusedError` while something depends on it."""
    with site.catalogue.writing() as connection:
        one = found(connection, name)
        check_removable(connection, one.name)
        computers.remove(connection, one.name)
    return one


def check_removable_here(site: Site, name: str) -> str:
    """The name of a computer that may be removed, as its record has it. Raises as `remove_computer` does."""
    with site.catalogue.reading() as connection:
        one = found(connection, name)
        check_removable(connection, one.name)
    return one.name


def deployments_to(site: Site, name: str) -> list[str]:
    """The deployments to a computer, whose name is written as in its record."""
    with site.catalogue.reading() as connection:
        return computers.deployments_to(connection, name)


def check_removable(connection: Connection, name: str) -> None:
    """Raise `RefusedError` where a computer is a side of an association, a target, or its state is still kept."""
    for _, source, destination, state in computers.held_migrations(connection, name):
        raise RefusedError(
            f"the state of {source} for {destination} is kept ({state}), and only {destination} can open it",
            hint=f"when it was restored: courier state release {destination}; then remove the computer",
            code=Code.COMPUTER_IN_USE,
        )
    for one in computers.associations(connection, name):
        raise RefusedError(
            f"the state of {one.source} is to go to {one.destination}",
            hint=f"courier computer dissociate {one.source}; then remove the computer",
            code=Code.COMPUTER_IN_USE,
        )
    for deployment in computers.deployments_to(connection, name):
        raise RefusedError(
            f"{name} is a target of deployment {deployment}",
            hint=f"courier deploy remove {deployment}; then remove the computer",
            code=Code.COMPUTER_IN_USE,
        )


# --- whose state goes to whom ---------------------------------------------------------------------------------------


def associate(site: Site, source: str, destination: str) -> Association:
    """Record that the state of ``source`` is captured for ``destination``, which may be the same computer.

    Raises `NotFoundError`, and `RefusedError` where the state was captured already, or the destination gets another's.
    """
    with site.catalogue.writing() as connection:
        one, other = found(connection, source).name, found(connection, destination).name
        _check_not_captured(connection, one, f"courier computer associate {one} {other}")
        for there in computers.associations(connection, other):
            if there.destination == other and there.source != one:
                raise RefusedError(
                    f"{other} gets the state of {there.source} already, and can get that of one computer only",
                    hint=f"courier computer dissociate {there.source}; or name another destination",
                    code=Code.COMPUTER_IN_USE,
                )
        new = Association(source=one, destination=other, made_ns=now())
        computers.associate(connection, new)
    return new


def dissociate(site: Site, source: str) -> str:
    """Forget for whom the state of a computer is captured; return its name.

    Raises `NotFoundError` where nothing is recorded, and `RefusedError` where its state was captured and is kept.
    """
    with site.catalogue.writing() as connection:
        one = found(connection, source).name
        _check_not_captured(connection, one, f"courier computer dissociate {one}")
        if not computers.dissociate(connection, one):
            raise NotFoundError(f"the state of {one} goes to no computer", hint="courier computer associations")
    return one


def _check_not_captured(connection: Connection, source: str, then: str) -> None:
    for _, of, destination, state in computers.held_migrations(connection, source):
        if of == source:
            raise RefusedError(
                f"the state of {source} was captured for {destination} already ({state}), which alone can open it",
                hint=f"courier state release {destination}, when it is not needed any more; then {then}",
                code=Code.COMPUTER_IN_USE,
            )


def all_associations(site: Site) -> list[Association]:
    """All associations, by source."""
    with site.catalogue.reading() as connection:
        return computers.associations(connection)


def associations_of(site: Site, name: str) -> list[Association]:
    """The associations that a computer, whose name is written as in its record, is a side of."""
    with site.catalogue.reading() as connection:
        return computers.associations(connection, name)


# --- shared MAC addresses -------------------------------------------------------------------------------------------


def share_mac(site: Site, mac: str, text: str) -> str:
    """Record that a MAC address is of a dock or dongle; return it in its one form. Raises `UsageError`."""
    parsed = parse_mac(mac)
    with site.catalogue.writing() as connection:
        computers.share_mac(connection, parsed, text)
    return parsed


def unshare_mac(site: Site, mac: str) -> str:
    """Forget that a MAC address is shared.

    Raises `NotFoundError` where it is not recorded, and `RefusedError` while several computers have it.
    """
    parsed = parse_mac(mac)
    with site.catalogue.writing() as connection:
        having = computers.with_mac(connection, parsed)
        if len(having) > 1:
            raise RefusedError(
                f"{', '.join(one.name for one in having)} have MAC {parsed}",
                hint=f"leave it to one of them first: courier computer set {having[0].name} --no-mac {parsed}",
                code=Code.AMBIGUOUS_COMPUTER,
            )
        if not computers.unshare_mac(connection, parsed):
            raise NotFoundError(f"{parsed} is not a shared MAC", hint="courier computer shared-mac list shows all")
    return parsed


def shared_macs(site: Site) -> dict[str, str]:
    """The MAC addresses that identify no computer, each with its note."""
    with site.catalogue.reading() as connection:
        return computers.shared_macs(connection)
