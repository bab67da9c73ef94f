"""``courier computer import``: computers from a table, all of them or none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import DRY_RUN, command, console_of, group
from courier.cli.computer_document import describe
from courier.cli.console import Console
from courier.text import plural

if TYPE_CHECKING:
    from courier.deployment.computer_csv import Table
    from courier.deployment.computer_import import Imported, ImportPlan

app = group("")
_MOST_ROWS = 50
"""Lines of each kind in the table for people; the JSON document has all."""


@command(
    app,
    "import",
    examples=[
        "courier computer import computers.csv --dry-run",
        "courier computer import computers.csv --columns NAME,GUID,MAC,-,Model",
        "courier computer import old.csv --no-header --yes",
    ],
)
def import_(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Table with commas, semicolons or tabs.")],
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="LIST",
            help="What each column is, in order: NAME, GUID, MAC, CLASS, GROUP, a variable's name, or - for nothing.",
        ),
    ] = None,
    header: Annotated[
        bool, typer.Option("--header/--no-header", help="Whether the first line names the columns, or is a computer.")
    ] = True,
    dry_run: DRY_RUN = False,
) -> None:
    """Import computers from a table.

    Every line is judged first, and named with its reason where it cannot be taken; then all are imported, or none. What
    an import would overwrite it asks about. Without a header the columns are NAME, SMBIOS-GUID and MAC, as in
    Configuration Manager; with --columns a header is only skipped.
    """
    from courier.cli.given_file import read_given
    from courier.deployment.computer_csv import MAX_BYTES, decode_text, parse_columns, read_table
    from courier.deployment.computer_import import check_none_refused, import_table, is_applied, plan_import
    from courier.errors import BusyError, CourierError

    console = console_of(context)
    chosen = None if columns is None else parse_columns(columns)
    data = read_given(file, MAX_BYTES, hint="give a table of computers: docs/deployment.md")
    text = decode_text(data, name=str(file))
    table = read_table(text, name=str(file), columns=chosen, header=header)
    with console.site() as site:
        if dry_run:
            plan = plan_import(site, table)
            _say(console, plan)
            console.result(_document(plan, table, applied=False))
            return
        plan = import_table(site, table, overwrite=console.yes)
        _say(console, plan)
        try:
            check_none_refused(plan)
            if not is_applied(plan, overwrite=console.yes):
                console.confirm(f"Overwrite {plural(len(plan.changed), 'record')}?")
                again = import_table(site, table, agreed=plan)
                if not is_applied(again, agreed=plan):
                    raise BusyError(
                        "computers were changed by another command meanwhile; nothing was imported",
                        hint="import the file again",
                    )
        except CourierError as error:
            console.error(error, _document(plan, table, applied=False))
            raise typer.Exit(error.exit_code) from None
        console.say(f"{plural(len(plan.new), 'computer')} imported, {len(plan.changed):,} overwritten.")
        console.result(_document(plan, table, applied=True))


def _say(console: Console, plan: ImportPlan) -> None:
    rows: list[tuple[object, ...]] = [(one.line, "refused", "", one.reason) for one in plan.refused[:_MOST_ROWS]]
    rows += [(one.line, "changed", one.computer.name, _changes(one)) for one in plan.changed[:_MOST_ROWS]]
    rows += [(one.line, "new", one.computer.name, _known_by(one)) for one in plan.new[:_MOST_ROWS]]
    console.table(("LINE", "", "COMPUTER", "WHAT"), rows)
    for found in (plan.refused, plan.changed, plan.new):
        if len(found) > _MOST_ROWS:
            what = "refused" if found is plan.refused else "changed" if found is plan.changed else "new"
            console.say(f"... and {len(found) - _MOST_ROWS:,} more that are {what}; --json has all")
    console.say(
        f"{len(plan.new):,} new, {len(plan.changed):,} changed, {plan.unchanged:,} as they are recorded, "
        f"{len(plan.refused):,} refused"
    )


def _changes(one: Imported) -> str:
    return "; ".join(f"{change.what}: {change.before or 'none'} -> {change.after}" for change in one.changes)


def _known_by(one: Imported) -> str:
    return " ".join(filter(None, (one.computer.row.guid, *one.computer.macs)))


def _document(plan: ImportPlan, table: Table, *, applied: bool) -> dict[str, Any]:
    return {
        "new": [{"line": one.line, "name": one.computer.name, **describe(one.computer)} for one in plan.new],
        "changed": [
            {
                "line": one.line,
                "name": one.computer.name,
                **describe(one.computer),
                "changes": [
                    {"what": change.what, "before": change.before, "after": change.after} for change in one.changes
                ],
            }
            for one in plan.changed
        ],
        "refused": [{"line": one.line, "reason": one.reason} for one in plan.refused],
        "unchanged": plan.unchanged,
        "columns": list(table.columns),
        "applied": applied,
    }
