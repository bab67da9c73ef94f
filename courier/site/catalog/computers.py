"""Statements about computers: who they are, their variables, shared MAC addresses, and whose state goes where.

Names are compared without regard to case; other tables hold a computer's name as it is written in its own record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, bindparam, delete, func, insert, or_, select, update

from courier.site.catalog.schema import (
    association,
    computer,
    computer_mac,
    computer_variable,
    deployment,
    deployment_target,
    shared_mac,
    state_migration,
    values_of,
)
from courier.site.log import note

OVER = ("released", "deleted")
"""States of a migration after which its state is not needed any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Computer:
    """The record of a computer.

    ``guid``: its SMBIOS GUID, or empty. ``client_class``: of its cache, ``group_name``: the group of points that serve
    it; both may be empty. ``protected``: 1 where no sequence may erase its disk. ``identity``: its secret key for
    state, empty before it needs one.
    """

    name: str
    guid: str
    client_class: str
    group_name: str
    protected: int
    identity: str = field(repr=False)
    added_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownComputer:
    """A computer with its MAC addresses, in order, and its variables."""

    row: Computer
    macs: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name."""
        return self.row.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Association:
    """The state of ``source`` is captured for ``destination``."""

    source: str
    destination: str
    made_ns: int


def everyone(connection: Connection) -> list[KnownComputer]:
    """All computers, by name without regard to case."""
    rows = [Computer(**row._mapping) for row in connection.execute(select(computer))]
    macs: dict[str, list[str]] = defaultdict(list)
    for name, mac in connection.execute(select(computer_mac.c.computer, computer_mac.c.mac)):
        macs[name].append(mac)
    variables: dict[str, dict[str, str]] = defaultdict(dict)
    columns = (computer_variable.c.computer, computer_variable.c.name, computer_variable.c.value)
    for name, variable, value in connection.execute(select(*columns)):
        variables[name][variable] = value
    return [
        KnownComputer(row=row, macs=tuple(sorted(macs.get(row.name, ()))), variables=variables.get(row.name, {}))
        for row in sorted(rows, key=lambda row: (row.name.casefold(), row.name))
    ]


def find(connection: Connection, name: str) -> KnownComputer | None:
    """The computer of that name, if there is one."""
    row = connection.execute(select(computer).where(func.lower(computer.c.name) == name.lower())).first()
    return _whole(connection, Computer(**row._mapping)) if row else None


def _whole(connection: Connection, row: Computer) -> KnownComputer:
    macs = connection.execute(select(computer_mac.c.mac).where(computer_mac.c.computer == row.name)).scalars()
    columns = select(computer_variable.c.name, computer_variable.c.value)
    variables = connection.execute(columns.where(computer_variable.c.computer == row.name))
    return KnownComputer(
        row=row, macs=tuple(sorted(macs)), variables={row[0]: row[1] for row in sorted(variables.all())}
    )


def with_guid(connection: Connection, *guids: str) -> list[KnownComputer]:
    """The computers with one of these GUIDs, by name."""
    query = select(computer).where(computer.c.guid.in_(guids), computer.c.guid != "").order_by(computer.c.name)
    return [_whole(connection, Computer(**row._mapping)) for row in connection.execute(query).all()]


def with_mac(connection: Connection, mac: str) -> list[KnownComputer]:
    """The computers with this MAC address, by name."""
    names = select(computer_mac.c.computer).where(computer_mac.c.mac == mac)
    query = select(computer).where(computer.c.name.in_(names)).order_by(computer.c.name)
    return [_whole(connection, Computer(**row._mapping)) for row in connection.execute(query).all()]


def put(connection: Connection, known: Sequence[KnownComputer]) -> None:
    """Record computers, each in place of the record of the very same name."""
    names = [{"found": one.name} for one in known]
    for column in (computer.c.name, computer_mac.c.computer, computer_variable.c.computer):
        if names:
            connection.execute(delete(column.table).where(column == bindparam("found")), names)
    add(connection, known)


def add(connection: Connection, new: Sequence[KnownComputer]) -> None:
    """Record computers, whose names must be free."""
    _insert(connection, computer, [values_of(one.row) for one in new])
    _insert(connection, computer_mac, [{"mac": mac, "computer": one.name} for one in new for mac in one.macs])
    _insert(
        connection,
        computer_variable,
        [{"computer": one.name, "name": name, "value": value} for one in new for name, value in one.variables.items()],
    )


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows with all columns of a table, by one statement of the driver's own.

    For 100,000 computers SQLAlchemy's preparation of each row would take as long as the database. The columns are texts
    and integers, which need none.
    """
    if not rows:
        return
    compiled = insert(table).compile(dialect=connection.dialect, column_keys=[column.name for column in table.columns])
    order = compiled.positiontup  # None where the driver wants them by name
    values = [tuple(row[name] for name in order) for row in rows] if order else [dict(row) for row in rows]
    connection.exec_driver_sql(str(compiled), values)


def remove(connection: Connection, name: str) -> None:
    """Forget a computer, whose name is written as in its record."""
    connection.execute(delete(computer).where(computer.c.name == name))
    for table in (computer_mac, computer_variable):
        connection.execute(delete(table).where(table.c.computer == name))
    note(connection, f"computer {name} removed")


def keep_identity(connection: Connection, name: str, identity: str) -> None:
    """Record the secret key that a computer's state is opened with."""
    connection.execute(update(computer).where(computer.c.name == name).values(identity=identity))


# --- shared MAC addresses -------------------------------------------------------------------------------------------


def share_mac(connection: Connection, mac: str, text: str) -> None:
    """Record that a MAC address is of a dock or dongle, in place of an earlier note."""
    connection.execute(delete(shared_mac).where(shared_mac.c.mac == mac))
    connection.execute(insert(shared_mac).values(mac=mac, note=text))
    note(connection, f"MAC address {mac} is shared: {text}")


def unshare_mac(connection: Connection, mac: str) -> bool:
    """Forget that a MAC address is shared; False where that is not recorded."""
    return connection.execute(delete(shared_mac).where(shared_mac.c.mac == mac)).rowcount > 0


def shared_macs(connection: Connection) -> dict[str, str]:
    """The MAC addresses that identify no computer, each with its note."""
    query = select(shared_mac.c.mac, shared_mac.c.note).order_by(shared_mac.c.mac)
    found: dict[str, str] = {}
    for mac, text in connection.execute(query):
        found[mac] = text
    return found


# --- whose state goes where -----------------------------------------------------------------------------------------


def associate(connection: Connection, new: Association) -> None:
    """Record for whom the state of a computer is captured, in place of what was recorded for it."""
    connection.execute(delete(association).where(association.c.source == new.source))
    connection.execute(insert(association).values(values_of(new)))
    note(connection, f"state of {new.source} goes to {new.destination}")


def dissociate(connection: Connection, source: str) -> bool:
    """Forget for whom the state of a computer is captured; False where nothing is recorded."""
    found = connection.execute(delete(association).where(association.c.source == source)).rowcount > 0
    if found:
        note(connection, f"state of {source} goes nowhere any more")
    return found


def associations(connection: Connection, name: str | None = None) -> list[Association]:
    """All associations, or those that a computer is a side of, by source."""
    query = select(association).order_by(association.c.source)
    if name is not None:
        query = query.where(or_(association.c.source == name, association.c.destination == name))
    return [Association(**row._mapping) for row in connection.execute(query)]


def held_migrations(connection: Connection, name: str) -> list[tuple[str, str, str, str]]:
    """(migration, source, destination, state) of what was captured from or for a computer and is not released yet."""
    columns = (
        state_migration.c.migration,
        state_migration.c.source,
        state_migration.c.destination,
        state_migration.c.state,
    )
    concerns = or_(state_migration.c.source == name, state_migration.c.destination == name)
    query = select(*columns).where(concerns, state_migration.c.state.not_in(OVER)).order_by(state_migration.c.begun_ns)
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(query)]


def deployments_to(connection: Connection, name: str) -> list[str]:
    """The deployments to a computer that were not removed, in their order."""
    query = (
        select(deployment.c.deployment)
        .join(deployment_target, deployment_target.c.deployment == deployment.c.deployment)
        .where(deployment_target.c.computer == name, deployment.c.removed_ns.is_(None))
        .order_by(deployment.c.deployment)
    )
    return list(connection.execute(query).scalars())
