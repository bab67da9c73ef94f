"""``courier package``: the package store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, group
from courier.cli.console import Console, size_text, time_text
from courier.text import plural
from formats.names import MAX_VERSION

if TYPE_CHECKING:
    from courier.site.catalog.packages import StoredPackage

app = group("The package store: take content in, check it, get it out.")
REFERENCE = Annotated[str, typer.Argument(metavar="ID[:VERSION]", help="Package, such as HQ100001 or HQ100001:3.")]


def describe(stored: StoredPackage) -> dict[str, Any]:
    """A package version as JSON."""
    return {
        "package_id": stored.package,
        "version": stored.version,
        "name": stored.name,
        "bytes": stored.listing.bytes,
        "files": stored.listing.files,
        "entries": stored.listing.entries,
        "listing": stored.listing.sha256,
        "origin": stored.origin,
        "added": time_text(stored.added_ns),
    }


@command(app, "add")
def add(
    console: Console,
    *,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, or one folder (its content).")],
    name: Annotated[str, typer.Option("--name", help="The package's name, for people.")],
    version: Annotated[
        int | None, typer.Option("--version", metavar="V", min=1, max=MAX_VERSION, help="Version (else the next).")
    ] = None,
    package_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Package ID (else a new one).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken in.")] = False,
) -> None:
    """Take files and folders into the store as a package version."""
    from courier.packages.add import add_package, plan_addition
    from courier.site.catalog import packages

    with (
        console.site() as site,
        plan_addition(site, paths, name=name, package=package_id, version=version) as addition,
    ):
        size = addition.source.bytes
        if dry_run:
            console.say(f"Would add {size_text(size)} as a version of {package_id or 'a new package'}.")
            console.result({"dry_run": True, "bytes": size, "package_id": package_id, "version": version})
            return
        with console.progress("Adding", size) as progress:
            stored = add_package(site, addition, progress)
        files = plural(stored.listing.files, "file")
        console.say(f"{stored.package}:{stored.version}  {stored.name}: {files}, {size_text(stored.listing.bytes)}")
        with site.catalogue.reading() as connection:
            others = [one for one in packages.versions(connection) if one != stored]
        twins = [f"{one.package}:{one.version}" for one in others if one.listing == stored.listing]
        if twins:
            console.say(f"  note: {', '.join(twins)} {'has' if len(twins) == 1 else 'have'} the very same content")
        before = [one for one in others if (one.package, one.version) < (stored.package, stored.version)]
        if before and before[-1].package == stored.package and before[-1].name != stored.name:
            console.say(f"  note: {before[-1].package}:{before[-1].version} is called {before[-1].name}")
        console.result(describe(stored))


@command(app, "list")
def list_(console: Console) -> None:
    """List the packages in the store."""
    from courier.site.catalog import packages, reports

    with console.site() as site:
        with site.catalogue.reading() as connection:
            found, retired = packages.versions(connection), reports.retirements(connection)
        rows = [
            (s.package, s.version, s.name, s.listing.files, size_text(s.listing.bytes), s.origin, time_text(s.added_ns))
            for s in found
        ]
        rows = [(*row[:2], f"{row[2]} (RETIRED)" if (row[0], row[1]) in retired else row[2], *row[3:]) for row in rows]
        console.table(("PACKAGE", "VERSION", "NAME", "FILES", "SIZE", "CAME", "ADDED"), rows)
        if not rows:
            console.say("The store is empty: courier package add PATH... --name NAME")
        documents = [
            {
                **describe(s),
                "retired": (s.package, s.version) in retired,
                "retired_reason": retired.get((s.package, s.version), ""),
            }
            for s in found
        ]
        console.result({"packages": documents})


@command(app, "show")
def show(console: Console, *, reference: REFERENCE) -> None:
    """Show a package version and what it holds."""
    from courier.packages.find import find_package
    from courier.site.catalog import reports
    from formats.documents.listing import FileEntry, LinkEntry

    with console.site() as site:
        stored = find_package(site, reference)
        console.say(f"{stored.package}:{stored.version}  {stored.name}")
        console.say(f"Content: {plural(stored.listing.files, 'file')}, {size_text(stored.listing.bytes)}")
        console.say(f"Came:    {stored.origin}, {time_text(stored.added_ns)}")
        console.say(f"Listing: {stored.listing.sha256}")
        with site.catalogue.reading() as connection:
            retired = reports.retirements(connection)
        key = stored.package, stored.version
        if key in retired:
            console.say(f"RETIRED: {retired[key] or 'no reason given'}")
        for entry in site.store.entries(stored.listing) if console.for_people else ():
            if isinstance(entry, FileEntry):
                console.say(f"  {entry.size:>15,}  {_shown(entry.path)}{' *' if entry.executable else ''}")
            elif isinstance(entry, LinkEntry):
                console.say(f"  {'':>15}  {_shown(entry.path)} -> {_shown(entry.target)}")
            else:
                console.say(f"  {'':>15}  {_shown(entry.path)}/")
        console.result({**describe(stored), "retired": key in retired, "retired_reason": retired.get(key, "")})


@command(app, "retire")
def retire(
    console: Console,
    *,
    reference: Annotated[str, typer.Argument(metavar="ID:VERSION", help="A version of a package of this site.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; every site is told.")] = "",
) -> None:
    """Retire a version: it is not to be used or sent any more, here and wherever it went."""
    from courier.packages.retirement import retire_package

    with console.site() as site:
        console.confirm(f"Retire {reference} for good, at every site?")
        told = retire_package(site, reference, reason)
        console.say(f"{reference} is retired; {plural(told, 'message')} queued. Next: courier channel sync")
        console.result({"package_id": reference.split(":")[0], "retired": True, "queued": told})


def _shown(path: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)


@command(app, "verify")
def verify(
    console: Console,
    *,
    reference: Annotated[str | None, typer.Argument(metavar="[ID[:VERSION]]", help="Package (else all).")] = None,
) -> None:
    """Read stored content again and compare it with its digests."""
    from courier.errors import DamagedError
    from courier.packages.verify import verify_packages

    with console.site() as site:
        with console.progress("Verifying", None) as progress:
            results = verify_packages(site, reference, progress)
        bad = 0
        documents = []
        for stored, findings in results:
            bad += len(findings)
            verdict = "good" if not findings else plural(len(findings), "file") + " damaged"
            console.say(f"{stored.package}:{stored.version}  {verdict}")
            for finding in findings:
                console.warn(f"  {_shown(finding.path)}: {finding.problem}")
            problems = [{"path": finding.path, "problem": finding.problem} for finding in findings]
            documents.append({**describe(stored), "state": "damaged" if findings else "good", "problems": problems})
        if bad:
            error = DamagedError(
                f"{plural(bad, 'file')} in the store damaged",
                hint="it is out of use now; add or receive the same content again and it is whole, and check this disk",
            )
            console.error(error, {"packages": documents})
            raise typer.Exit(error.exit_code)
        if not results:
            console.say("The store is empty.")
        console.result({"packages": documents})


@command(app, "remove")
def remove(console: Console, *, reference: REFERENCE) -> None:
    """Remove a version, or every version of a package; content that others hold stays."""
    from courier.packages.find import find_package
    from courier.packages.remove import remove_package

    with console.site() as site:
        find_package(site, reference)
        console.confirm(f"Remove {reference} from the store?")
        removal = remove_package(site, reference)
        names = ", ".join(f"{package}:{version}" for package, version in removal.versions)
        console.say(f"Removed {names}; {size_text(removal.freed)} freed.")
        removed = [{"package_id": package, "version": version} for package, version in removal.versions]
        console.result({"removed": removed, "freed": removal.freed})


@command(app, "export")
def export(
    console: Console,
    *,
    reference: REFERENCE,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A folder that does not exist yet, or is empty.")],
) -> None:
    """Write a package out as files, every one checked on the way."""
    from courier.packages.export import export_package

    with console.site() as site:
        stored = export_package(site, reference, to)
        console.say(f"{stored.package}:{stored.version} written to {to}")
        console.result({**describe(stored), "path": str(to)})
