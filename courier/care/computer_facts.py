"""Facts of the computers that a site deploys: captured state that waits, and deployments past their deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from courier.care.facts import DeploymentFacts, StateFacts
from courier.site.catalog.schema import deployment, deployment_status, deployment_target, state_migration

if TYPE_CHECKING:
    from sqlalchemy import Connection

WAITING_STATES = ("partial", "complete", "restored")
"""States of a capture that somebody has to go on with; released ones are deleted in time."""
SHOWN = 12
"""Characters of the ID of a capture that are shown: the whole of it is not for everybody."""


def state_facts(connection: Connection) -> tuple[StateFacts, ...]:
    """Captures that are not released, the oldest first."""
    table = state_migration
    query = select(table).where(table.c.state.in_(WAITING_STATES)).order_by(table.c.begun_ns)
    return tuple(
        StateFacts(
            migration=row.migration[:SHOWN],
            source=row.source,
            destination=row.destination,
            state=row.state,
            captured_ns=row.captured_ns or row.begun_ns,
        )
        for row in connection.execute(query)
    )


def deployment_facts(connection: Connection) -> tuple[DeploymentFacts, ...]:
    """Deployments with a deadline that were not removed, and how many of their computers have not finished."""
    query = select(deployment.c.deployment, deployment.c.deadline_ns).where(
        deployment.c.removed_ns.is_(None), deployment.c.deadline_ns.is_not(None)
    )
    found = []
    for name, deadline_ns in connection.execute(query.order_by(deployment.c.deployment)).all():
        targets = select(func.count()).select_from(deployment_target).where(deployment_target.c.deployment == name)
        finished = select(func.count(deployment_status.c.computer.distinct())).where(
            deployment_status.c.deployment == name, deployment_status.c.step == 0, deployment_status.c.outcome == "done"
        )
        of, done = (connection.execute(one).scalar_one() for one in (targets, finished))
        found.append(DeploymentFacts(deployment=name, deadline_ns=deadline_ns, open=max(0, of - done), of=of))
    return tuple(found)
