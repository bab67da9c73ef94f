"""``courier package diff``: what differs between two versions of a package, and what of it would travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import SHOWN, Console
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.packages.diff import Difference

app = group("")


@command(app, "diff", examples=["courier package diff HQ100001:1 HQ100001:2"])
def diff(
    context: typer.Context,
    *,
    before: Annotated[str, typer.Argument(metavar="ID:VERSION", help="The version that is held at the other site.")],
    after: Annotated[str, typer.Argument(metavar="ID:VERSION", help="The version to compare it with.")],
) -> None:
    """Show what differs between two versions.

    It says how many bytes would travel in a parcel to a site that holds the first of them.
    """
    from courier.packages.diff import difference
    from courier.packages.find import find_package
    from courier.sending.delta import travelling_bytes

    console = console_of(context)
    with console.site() as site:
        old, new = find_package(site, before), find_package(site, after)
        found = difference(site.store.entries(old.listing), site.store.entries(new.listing))
        with console.phases() as progress:
            travels, whole = travelling_bytes(site, old, new, progress)
        names = f"{old.package}:{old.version}", f"{new.package}:{new.version}"
        _say(console, found)
        console.say(
            f"From {names[0]} to {names[1]}: {plural(len(found.added), 'entry', 'entries')} added, "
            f"{len(found.changed):,} changed, {len(found.moved):,} moved, {len(found.gone):,} gone; "
            f"{plural(found.same, 'file')} the same, {found.touched:,} of them with other times or permissions"
        )
        console.say(
            f"To a site that holds {names[0]} about {size_text(travels)} would travel, to others {size_text(whole)}"
        )
        console.result(
            {
                "before": {"package_id": old.package, "version": old.version},
                "after": {"package_id": new.package, "version": new.version},
                **_document(found),
                "travelling_bytes": travels,
                "full_bytes": whole,
            }
        )


def _say(console: Console, found: Difference) -> None:
    rows = [("added", path, "-", size_text(size)) for path, size in found.added]
    rows += [("changed", one.path, size_text(one.before), size_text(one.after)) for one in found.changed]
    rows += [("moved", f"{one.after} (was {one.before})", "-", size_text(one.size)) for one in found.moved]
    rows += [("gone", path, size_text(size), "-") for path, size in found.gone]
    console.table(("WHAT", "PATH", "BEFORE", "AFTER"), rows[:SHOWN])
    if len(rows) > SHOWN:
        console.say(f"... and {len(rows) - SHOWN:,} more; --json shows all of them")


def _document(found: Difference) -> dict[str, Any]:
    return {
        "added": [{"path": path, "bytes": size} for path, size in found.added],
        "changed": [{"path": one.path, "before": one.before, "after": one.after} for one in found.changed],
        "moved": [{"from": one.before, "path": one.after, "bytes": one.size} for one in found.moved],
        "gone": [{"path": path, "bytes": size} for path, size in found.gone],
        "same": found.same,
        "touched": found.touched,
    }
