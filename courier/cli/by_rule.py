"""What commands that import say of packages that go on to distribution points by rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from courier.text import size_text

if TYPE_CHECKING:
    from courier.cli.console import Console
    from courier.distribution.by_rule import RuleOutcome
    from courier.site.home import Site


def distribute_by_rule(console: Console, site: Site) -> list[dict[str, Any]]:
    """Put what was imported on the points of its package; say what happened, and return it for the JSON document.

    What fails does not fail the import: it is told, and tried again by the next command that imports.
    """
    from courier.distribution.by_rule import apply_rules, waiting

    if not waiting(site):
        return []
    with console.progress("Distributing", None) as progress:
        outcomes = apply_rules(site, progress=progress)
    for outcome in outcomes:
        say_outcome(console, outcome)
    return [describe(outcome) for outcome in outcomes]


def say_outcome(console: Console, outcome: RuleOutcome) -> None:
    """Say what became of a version that was to go to a point."""
    due, error = outcome.due, outcome.error
    what = f"{due.package}:{due.version}"
    if error is not None:
        again = f"; tried again later, or now: courier point rule apply ({error.hint})" if outcome.waits else ""
        console.note(f"{what} does not go to point {due.point} by its rule: {error.message}{again}")
    elif outcome.done is not None:
        console.say(f"{what} is on point {due.point}: {size_text(outcome.done.filled.bytes)} sent.")


def describe(outcome: RuleOutcome) -> dict[str, Any]:
    """An outcome as JSON."""
    error = outcome.error
    return {
        "point": outcome.due.point,
        "package_id": outcome.due.package,
        "version": outcome.due.version,
        "done": error is None,
        "bytes_sent": outcome.done.filled.bytes if outcome.done else 0,
        "waits": outcome.waits,
        "error": None if error is None else {"code": error.code, "message": error.message, "hint": error.hint},
    }
