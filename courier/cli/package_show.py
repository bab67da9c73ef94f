"""``courier package list``, ``show`` and ``verify``: what is in the store, and whether it is good."""

from __future__ import annotations

from typing import Annotated

import typer

from courier.cli.cluster import CLUSTER, workers_of
from courier.cli.command import command, console_of, group
from courier.cli.console import SHOWN, time_text
from courier.cli.package_version import REFERENCE, describe
from courier.text import plural, size_text

app = group("")


@command(app, "list", examples=["courier package list"])
def list_(context: typer.Context) -> None:
    """List the packages in the store."""
    from courier.packages.vouched import vouching_site
    from courier.site.catalog import packages, reports

    console = console_of(context)
    with console.site() as site:
        with site.catalogue.reading() as connection:
            found, retired = packages.versions(connection), reports.retirements(connection)
            contradicted, signed = packages.contradicted(connection), packages.signed_by_source(connection)
        known = [(s.package, s.version) for s in found]
        rows = [
            (s.package, s.version, s.name, s.listing.files, size_text(s.listing.bytes), s.origin, time_text(s.added_ns))
            for s in found
        ]
        marks = {key: f"{' (RETIRED)' * (key in retired)}{' (CONTRADICTED)' * (key in contradicted)}" for key in known}
        for s in found:
            if (vouching := vouching_site(s, signed)) != s.package[:3]:
                marks[s.package, s.version] += f" ({vouching} alone vouches for it)"
        rows = [(*row[:2], f"{row[2]}{marks[row[0], row[1]]}", *row[3:]) for row in rows]
        console.table(("PACKAGE", "VERSION", "NAME", "FILES", "SIZE", "FROM", "ADDED"), rows)
        if not rows:
            console.say("The store is empty: courier package add PATH... --name NAME")
        documents = [
            {
                **describe(s),
                "retired": (s.package, s.version) in retired,
                "retired_reason": retired.get((s.package, s.version), ""),
                "vouched_by": vouching_site(s, signed),
                "contradicted": (s.package, s.version) in contradicted,
            }
            for s in found
        ]
        console.result({"packages": documents})


@command(app, "show", examples=["courier package show HQ100001", "courier package show HQ100001:3"])
def show(context: typer.Context, *, reference: REFERENCE) -> None:
    """Show a package version and the files in it."""
    from courier.packages.find import find_package
    from courier.packages.vouched import is_contradicted, vouching_site
    from courier.site.catalog import packages, reports
    from formats.documents.listing import FileEntry, HardLinkEntry, LinkEntry

    console = console_of(context)
    with console.site() as site:
        stored = find_package(site, reference)
        console.say(f"{stored.package}:{stored.version}  {stored.name}")
        console.say(f"Content: {plural(stored.listing.files, 'file')}, {size_text(stored.listing.bytes)}")
        console.say(f"From:    {stored.origin}, {time_text(stored.added_ns)}")
        console.say(f"Listing: {stored.listing.sha256}")
        with site.catalogue.reading() as connection:
            retired = reports.retirements(connection)
            vouching = vouching_site(stored, packages.signed_by_source(connection))
            bad = is_contradicted(connection, stored)
        key, source = (stored.package, stored.version), stored.package[:3]
        if vouching != source:
            console.say(f"Vouched for by {vouching} alone: what {source} signed for it is not here.")
            console.say(f"  {_how_to_have_it_signed(source, is_pinned=site.trust().is_pinned(source))}")
        if bad:
            console.say(f"CONTRADICTED: {source} signed other content for this version; it is not used.")
        if key in retired:
            console.say(f"RETIRED: {retired[key] or 'no reason given'}")
        for entry in site.store.entries(stored.listing) if console.for_people else ():
            if isinstance(entry, FileEntry):
                console.say(f"  {entry.size:>15,}  {entry.mode:04o}  {entry.path}")
            elif isinstance(entry, LinkEntry):
                console.say(f"  {'':>15}        {entry.path} -> {entry.target}")
            elif isinstance(entry, HardLinkEntry):
                console.say(f"  {'':>15}        {entry.path} = {entry.first}")
            else:
                console.say(f"  {'':>15}  {entry.mode:04o}  {entry.path}/")
        console.result(
            {
                **describe(stored),
                "retired": key in retired,
                "retired_reason": retired.get(key, ""),
                "vouched_by": vouching,
                "contradicted": bad,
            }
        )


def _how_to_have_it_signed(source: str, *, is_pinned: bool) -> str:
    """What replaces the word of a site that only passed a package on."""
    first = "" if is_pinned else f"Pin the card of {source} (courier site trust CARD). "
    return (
        f"{first}What {source} signed comes by network (courier channel sync) with a parcel of {source} that has this "
        f"version and is shipped here: ask {source} for one"
    )


@command(
    app,
    "verify",
    examples=[
        "courier package verify",
        "courier package verify HQ100001:3",
        "courier package verify --read-data-subset 5%",
        "courier package verify --cluster processes:4",
    ],
)
def verify(
    context: typer.Context,
    *,
    reference: Annotated[
        str | None, typer.Argument(metavar="[ID[:VERSION]]", help="Package or version. Without it: all packages.")
    ] = None,
    read_data_subset: Annotated[
        str,
        typer.Option(
            "--read-data-subset",
            metavar="SHARE",
            help="Read only this share of the contents, others each time, such as 5%; all must be there.",
        ),
    ] = "100%",
    cluster: CLUSTER = None,
) -> None:
    """Read the stored content again and compare it with its digests."""
    from courier.errors import DamagedError
    from courier.packages.verify import LISTING, verify_packages
    from courier.site.store.content_store import MISSING as CONTENT_MISSING

    def what(listings: int, files: int) -> str:
        named = [plural(listings, "listing")] * bool(listings) + [plural(files, "file")] * bool(files)
        return " and ".join(named)

    console = console_of(context)
    share = _share(read_data_subset)
    with console.site() as site:
        with workers_of(cluster) as executor, console.phases() as progress:
            results = verify_packages(site, reference, progress, share=share, executor=executor)
        listings, files, lost = 0, 0, 0
        documents = []
        for stored, findings in results:
            bad = sum(finding.path == LISTING for finding in findings)
            listings, files = listings + bad, files + len(findings) - bad
            missing = sum(finding.path != LISTING and finding.problem == CONTENT_MISSING for finding in findings)
            lost += missing
            how = "missing" if missing == len(findings) else "damaged"
            verdict = f"{what(bad, len(findings) - bad)} {how}" if findings else "good"
            console.say(f"{stored.package}:{stored.version}  {verdict}")
            for finding in findings[:SHOWN]:
                console.warn(f"  {finding.path or 'its listing'}: {finding.problem}")
            if len(findings) > SHOWN:
                console.warn(f"  and {len(findings) - SHOWN} more; all of them: --json")
            problems = [{"path": finding.path, "problem": finding.problem} for finding in findings]
            documents.append({**describe(stored), "state": "damaged" if findings else "good", "problems": problems})
        if listings or files:
            are, how = "is" if listings + files == 1 else "are", "damaged"
            hint = "the store does not use it any more: add or receive the same content again, and check this disk"
            if lost == listings + files:
                how, hint = "missing", "add the same files again, or receive their parcels again"
            error = DamagedError(f"{what(listings, files)} of the store {are} {how}", hint=hint)
            console.error(error, {"packages": documents})
            raise typer.Exit(error.exit_code)
        if not results:
            console.say("The store is empty.")
        console.result({"packages": documents})


def _share(text: str) -> float:
    """The part of 1 that a percentage stands for. Raises `UsageError`."""
    from courier.errors import UsageError

    number = text.strip().removesuffix("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = 0.0
    if not text.strip().endswith("%") or not 0 < share <= 1:
        raise UsageError(f"--read-data-subset {text[:20]}: not a share", hint="write it like 5%")
    return share
