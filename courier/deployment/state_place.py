"""The place of a computer's state: what a deployment policy says of it, and the place at a point that this takes.

A migration gets its place when the first policy, or command, needs it: in one transaction of the catalogue, so that two
at once cannot pass the limit of a point. It keeps it until it is released.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import Connection

from courier.deployment.state_migrations import take_over
from courier.deployment.state_points import PointRoom, check_mounted, check_whole_folder, find_point, free_text, rooms
from courier.deployment.state_store import MigrationFolder
from courier.error_codes import Code
from courier.errors import CourierError, NoSpaceError, NotFoundError, RefusedError, UsageError
from courier.site.catalog import computers, state
from courier.site.catalog.computers import Computer
from courier.site.catalog.state import Migration
from courier.site.clock import now
from courier.site.home import Site
from courier.text import plural
from formats.age import Identity
from formats.documents.deployment import StatePlace


def state_place_for(
    site: Site,
    computer_name: str,
    *,
    captures: bool,
    restores: bool,
    migration: str | None = None,
    reserves: bool = True,
) -> StatePlace | None:
    """Where a computer's state goes to or comes from; None where a policy neither captures nor restores.

    It gives the migration its place at a point where it has none yet. A migration that was begun or captured and not
    restored is used again: so a capture that was cut goes on. ``migration``: the one to restore, where several wait.
    ``reserves``: whether a computer that only restores gets a place for what is captured for it later; else that is
    refused as long as there is nothing.

    Raises `NotFoundError` for a computer or a point that is not there, `RefusedError` without an association or without
    a point that takes it, `NoSpaceError` where all points are at their minimum of free space.
    """
    if not (captures or restores):
        return None
    take_over(site)
    row = (
        _to_capture(site, computer_name, itself=restores)
        if captures
        else _to_restore(site, computer_name, migration, reserves=reserves)
    )
    point = find_point(site, row.point)
    return StatePlace(
        point=row.point,
        path=point.path,
        restore_only=bool(point.restore_only),
        min_free=point.min_free,
        source=row.source,
        destination=row.destination,
        migration=row.migration,
        recipients=_recipients(site, row.destination) if captures else (),
        identity=identity_of(site, row.destination).to_text() if restores else None,
    )


def _recipients(site: Site, destination: str) -> tuple[str, ...]:
    return identity_of(site, destination).recipient, site.keyring.recovery_recipient()


def identity_of(site: Site, computer_name: str) -> Identity:
    """The key that opens what is captured for a computer; made when it is first asked for. Raises `NotFoundError`."""
    with site.catalogue.writing() as connection:
        row = _computer(connection, computer_name)
        if row.identity:
            return Identity.from_text(row.identity)
        made = Identity.generate()
        computers.keep_identity(connection, row.name, made.to_text())
    return made


def _computer(connection: Connection, name: str) -> Computer:
    found = computers.find(connection, name)
    if found is None:
        raise NotFoundError(f"there is no computer called {name}", hint=f"courier computer add {name}")
    return found.row


def _to_capture(site: Site, name: str, *, itself: bool) -> Migration:
    """The migration that the state of a computer goes into."""
    with site.catalogue.reading() as connection:
        source = _computer(connection, name).name
        destination = next(
            (one.destination for one in computers.associations(connection, source) if one.source == source), None
        )
    if destination is None:
        raise RefusedError(
            f"it is not said for which computer the state of {source} is captured",
            hint=f"courier computer associate {source} DESTINATION",
            code=Code.NOT_ASSOCIATED,
        )
    if itself and destination != source:
        raise RefusedError(
            f"{source} is to capture its state and to restore it, and its state goes to {destination}",
            hint=f"courier computer associate {source} {source}; or capture and restore in two deployments",
            code=Code.NOT_ASSOCIATED,
        )
    return _place_of(site, source, destination)


def _place_of(site: Site, source: str, destination: str) -> Migration:
    """The migration between two computers that has a place; a new one where there is none."""
    found = rooms(site)
    with site.catalogue.writing() as connection:
        states = (state.BEGUN, state.PARTIAL, state.COMPLETE)
        held = state.migrations(connection, states=states, source=source, destination=destination)
        if held:
            row = held[-1]
        else:
            row = Migration(
                migration=secrets.token_hex(16),
                point=_choose(connection, found).point.name,
                source=source,
                destination=destination,
                state=state.BEGUN,
                begun_ns=now(),
            )
            state.begin(connection, row)
    _see_to_folder(site, row)
    return row


def _see_to_folder(site: Site, row: Migration) -> None:
    """Make the folder of a migration of which nothing is there yet; else see that it is there."""
    point = find_point(site, row.point)
    check_mounted(site, point)
    folder = MigrationFolder(Path(point.path), row.migration)
    if row.state != state.BEGUN:
        check_whole_folder(site, point, folder.path)
    elif not folder.is_reserved:
        folder.reserve()


def _choose(connection: Connection, found: list[PointRoom]) -> PointRoom:
    """The point with the most room that takes another migration; the places are counted in this transaction."""
    if not found:
        raise NotFoundError(
            "there is no state migration point", hint="courier state point add NAME FOLDER --max-clients 50"
        )
    refused: list[CourierError] = []
    fit = []
    for one in found:
        name, taken = one.point.name, state.places_taken(connection, one.point.name)
        if one.point.restore_only:
            refused.append(
                RefusedError(
                    f"state migration point {name} only restores",
                    hint="courier state point add NAME FOLDER --max-clients 50",
                    code=Code.RESTORE_ONLY,
                )
            )
        elif one.room is None:
            refused.append(
                NotFoundError(f"state migration point {name} is not at {one.point.path}", hint="mount it there")
            )
        elif taken >= one.point.max_clients:
            refused.append(
                RefusedError(
                    f"state migration point {name} holds the state of {plural(taken, 'client')}, the most it takes",
                    hint="release what is not needed any more (courier state list, courier state release COMPUTER), "
                    "or add a point",
                    code=Code.STATE_POINT_FULL,
                )
            )
        elif one.room == 0:
            refused.append(
                NoSpaceError(
                    f"state migration point {name} is at its minimum of free space ({free_text(one.point.min_free)})",
                    hint="free space there, or add a point: courier state point add NAME FOLDER --max-clients 50",
                )
            )
        else:
            fit.append(one)
    if not fit:
        raise _all_of(refused)
    return max(fit, key=lambda one: one.room or 0)


def _all_of(refused: list[CourierError]) -> CourierError:
    """One error for all: of the kind that waiting or clearing up mends soonest, with what each point says."""
    order = (NoSpaceError, NotFoundError, RefusedError)
    worst = min(refused, key=lambda one: order.index(type(one)))
    others = [one.message for one in refused if one is not worst]
    return type(worst)("; ".join([worst.message, *others]), hint=worst.hint, code=worst.code)


def _to_restore(site: Site, name: str, wanted: str | None, *, reserves: bool) -> Migration:
    """The migration that is brought back to a computer."""
    with site.catalogue.reading() as connection:
        destination = _computer(connection, name).name
        states = (*state.HELD, *([state.RELEASED] if wanted else []))
        held = state.migrations(connection, states=states, destination=destination)
        sources = [
            one.source for one in computers.associations(connection, destination) if one.destination == destination
        ]
    if wanted is not None:
        held = [one for one in held if one.migration.startswith(wanted)]
        if len(held) != 1:
            raise NotFoundError(
                f"{wanted} is not one migration for {destination}", hint="courier state list shows them"
            )
        return held[0]
    for states in ((state.PARTIAL, state.COMPLETE), (state.RESTORED,), (state.BEGUN,)):
        if some := [one for one in held if one.state in states]:
            return _only(some, destination)
    if sources and not reserves:
        raise NotFoundError(
            f"no state is kept for {destination}",
            hint=f"courier state capture {sources[0]} --from DIR --rules FILE; courier state list --all shows what was",
        )
    if len(set(sources)) == 1:
        return _place_of(site, sources[0], destination)
    if sources:
        raise UsageError(
            f"the state of {' and of '.join(sorted(sources))} goes to {destination}, and none is captured yet",
            hint=f"courier state capture {min(sources)} --from DIR --rules FILE",
        )
    raise RefusedError(
        f"no computer's state goes to {destination}",
        hint=f"courier computer associate SOURCE {destination}",
        code=Code.NOT_ASSOCIATED,
    )


def _only(some: list[Migration], destination: str) -> Migration:
    sources = sorted({one.source for one in some})
    if len(sources) > 1:
        raise UsageError(
            f"the state of {' and of '.join(sources)} waits for {destination}",
            hint="name one with --migration (courier state list shows them), or release the others: "
            f"courier state release {sources[0]}",
        )
    return max(some, key=lambda one: (one.captured_ns or 0, one.begun_ns))
