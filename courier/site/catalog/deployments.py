"""Statements about deployments, the computers that they go to, and what these report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, insert, select, update

from courier.site.catalog.packages import raise_counter, read_counter
from courier.site.catalog.schema import deployment, deployment_status, deployment_target, values_of
from courier.site.log import note

COUNTER = "deployment"
"""The counter of deployments: the number of the last one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """A deployment. ``package`` and ``version``: what it deploys; ``sequence``: the text of the task sequence.

    ``pinned``: the versions that it uses, one a line: ``ID:VERSION LISTING``. Times are UTC, None for none;
    ``removed_ns``: when the operator removed it.
    """

    deployment: str
    package: str
    version: int
    sequence: str
    pinned: str
    option: str
    available_ns: int | None
    deadline_ns: int | None
    expires_ns: int | None
    created_ns: int
    removed_ns: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A computer that a deployment goes to; ``status_key`` authenticates its status messages."""

    deployment: str
    computer: str
    status_key: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A status message of a computer: see `courier.deployment.status`."""

    deployment: str
    computer: str
    run: str
    number: int
    at_ns: int
    step: int
    outcome: str
    message: str


def next_id(connection: Connection, site: str) -> str:
    """The ID of the next deployment of a site, which is given out once."""
    name = coming_id(connection, site)
    raise_counter(connection, COUNTER, read_counter(connection, COUNTER) + 1)
    return name


def coming_id(connection: Connection, site: str) -> str:
    """The ID that the next deployment of a site will get; nothing is reserved."""
    return f"{site}-D{read_counter(connection, COUNTER) + 1:05d}"


def add(connection: Connection, new: Deployment, targets: Sequence[Target]) -> None:
    """Record a deployment and its computers."""
    connection.execute(insert(deployment).values(values_of(new)))
    connection.execute(insert(deployment_target), [values_of(target) for target in targets])
    note(connection, f"deployment {new.deployment} of {new.package}:{new.version} to {len(targets):,} computers made")


def find(connection: Connection, name: str) -> Deployment | None:
    """The deployment of that ID, if there is one; also one that was removed."""
    row = connection.execute(select(deployment).where(deployment.c.deployment == name)).first()
    return Deployment(**row._mapping) if row else None


def everyone(connection: Connection) -> list[tuple[Deployment, int]]:
    """All deployments, also those that were removed, each with the number of its computers, the oldest first."""
    count = select(deployment_target.c.deployment, func.count()).group_by(deployment_target.c.deployment)
    counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(count)}
    rows = connection.execute(select(deployment).order_by(deployment.c.created_ns, deployment.c.deployment))
    return [(found := Deployment(**row._mapping), counts.get(found.deployment, 0)) for row in rows]


def remove(connection: Connection, name: str, removed_ns: int) -> None:
    """Record that a deployment was removed; what its computers reported stays."""
    connection.execute(update(deployment).where(deployment.c.deployment == name).values(removed_ns=removed_ns))
    note(connection, f"deployment {name} removed")


def targets(connection: Connection, name: str) -> list[str]:
    """The computers of a deployment, by name without regard to case."""
    query = select(deployment_target.c.computer).where(deployment_target.c.deployment == name)
    return sorted(connection.execute(query).scalars(), key=lambda one: (one.casefold(), one))


def target(connection: Connection, name: str, computer: str) -> Target | None:
    """The target of a deployment with that computer's name, without regard to case."""
    query = select(deployment_target).where(
        deployment_target.c.deployment == name, func.lower(deployment_target.c.computer) == computer.lower()
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    values = dict(row._mapping)
    return Target(**{**values, "status_key": bytes(values["status_key"])})


def record_status(connection: Connection, new: Status) -> Status | None:
    """Record a message; where one of that run and number is recorded, nothing changes, and that one is returned."""
    same = (
        deployment_status.c.deployment == new.deployment,
        deployment_status.c.computer == new.computer,
        deployment_status.c.run == new.run,
        deployment_status.c.number == new.number,
    )
    row = connection.execute(select(deployment_status).where(*same)).first()
    if row is not None:
        return Status(**row._mapping)
    connection.execute(insert(deployment_status).values(values_of(new)))
    return None


def statuses(connection: Connection, name: str) -> Mapping[str, list[Status]]:
    """The messages of each computer of a deployment, by the time of the client's run and then by number."""
    query = select(deployment_status).where(deployment_status.c.deployment == name)
    rows = [Status(**row._mapping) for row in connection.execute(query)]
    begun: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.computer, row.run)
        begun[key] = min(begun.get(key, row.at_ns), row.at_ns)
    found: dict[str, list[Status]] = {}
    for row in sorted(rows, key=lambda one: (begun[one.computer, one.run], one.run, one.number)):
        found.setdefault(row.computer, []).append(row)
    return found
