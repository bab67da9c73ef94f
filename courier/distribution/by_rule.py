"""Imported packages go to the points of their package by rule.

An import records in the catalogue, in its own transaction, to which points each version is to go. This consumes the
records: a version that is on its point is settled. What fails stays recorded, and the next command that imports, or
``courier point rule apply``, tries it again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from courier.distribution.registry import find_point
from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, UsageError, explain
from courier.files import explain_os
from courier.site.catalog import packages, points
from courier.site.catalog.points import Due
from courier.site.home import Site
from formats.errors import FormatError

if TYPE_CHECKING:
    from courier.distribution.versions import Distributed

_PREFIX = re.compile("[A-Z0-9]{3}[0-9A-F]{0,5}|[A-Z0-9]{1,2}")
_NEVER = {Code.RETIRED, Code.WITHDRAWN, Code.NOT_FOUND, Code.DEFINITION_DISAGREES}
"""Why a version will not go to a point later either: the rule is done with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleOutcome:
    """What became of a version that was to go to a point: ``done``, or the ``error``. ``waits``: it is tried again."""

    due: Due
    done: Distributed | None = None
    error: CourierError | None = None
    waits: bool = False


def add_rule(site: Site, prefix: str, name: str) -> bool:
    """Send imported packages whose ID begins with ``prefix`` to a point; False when that is so already.

    Raises `UsageError`, or `NotFoundError` for a point that is not there.
    """
    check_prefix(prefix)
    find_point(site, name)
    with site.catalogue.writing() as connection:
        return points.add_rule(connection, prefix, name)


def check_prefix(prefix: str) -> str:
    """The beginning of package IDs that an operator gives. Raises `UsageError` where no ID begins like that."""
    if not _PREFIX.fullmatch(prefix):
        raise UsageError(
            f"{prefix[:40]!r} is not the beginning of a package ID", hint="such as HQ1 (all of that site) or HQ100001"
        )
    return prefix


def remove_rule(site: Site, prefix: str, name: str) -> None:
    """Remove a rule. Raises `NotFoundError`."""
    with site.catalogue.writing() as connection:
        if not points.remove_rule(connection, prefix, name):
            raise NotFoundError(
                f"there is no rule that sends {prefix} to point {name}", hint="courier point rule list shows all rules"
            )


def apply_rules(site: Site, *, progress: Callable[[int], None] = lambda _: None) -> list[RuleOutcome]:
    """Put what was imported on the points that it is to go to. Raises nothing: each outcome says what happened."""
    return [_apply(site, due, progress) for due in waiting(site)]


def waiting(site: Site) -> list[Due]:
    """What was imported and is not yet on a point that it is to go to by rule."""
    with site.catalogue.reading() as connection:
        return points.due(connection)


def _apply(site: Site, due: Due, progress: Callable[[int], None]) -> RuleOutcome:
    # Every exchange asks what waits, and most find nothing.
    from courier.distribution.versions import distribute

    done = error = None
    try:
        find_point(site, due.point)
        done = distribute(site, due.point, f"{due.package}:{due.version}", again=False, progress=progress)
    except CourierError as failure:
        error = failure
    except FormatError as failure:
        error = explain(failure, where=f"{due.package}:{due.version}")
    except OSError as failure:
        error = explain_os(failure)
    # A folder that is not mounted is "not found" too, and waits; a package that was removed again does not.
    waits = error is not None and (error.code not in _NEVER or (_is_held(site, due) and error.code is Code.NOT_FOUND))
    if not waits:
        with site.catalogue.writing() as connection:
            points.settle_due(connection, due.point, due.package, due.version)
    return RuleOutcome(due=due, done=done, error=error, waits=waits)


def _is_held(site: Site, due: Due) -> bool:
    with site.catalogue.reading() as connection:
        return packages.find(connection, due.package, due.version) is not None
