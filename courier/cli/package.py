"""``courier package``: the package store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli import package_offer
from courier.cli.command import DRY_RUN, command, console_of, group
from courier.cli.console import size_text, time_text
from courier.text import one_line, plural
from formats.names import MAX_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from courier.cli.console import Console
    from courier.packages.add import Addition
    from courier.packages.write_tree import Written
    from courier.site.catalog.packages import StoredPackage
    from courier.site.home import Site

LEAST_PART = 1 << 20
"""Bytes of the smallest part of a split archive: smaller ones make more parts than names for them."""

app = group("The package store: add content, check it, export it.")
app.add_typer(package_offer.app)
REFERENCE = Annotated[
    str,
    typer.Argument(metavar="ID[:VERSION]", help="Package, such as HQ100001, or one version of it, such as HQ100001:3."),
]


def describe(stored: StoredPackage) -> dict[str, Any]:
    """A package version as JSON."""
    return {
        "package_id": stored.package,
        "version": stored.version,
        "name": stored.name,
        "bytes": stored.listing.bytes,
        "bytes_in_holes": stored.listing.holes,
        "files": stored.listing.files,
        "entries": stored.listing.entries,
        "listing": stored.listing.sha256,
        "origin": stored.origin,
        "added": time_text(stored.added_ns),
    }


@command(
    app,
    "add",
    examples=[
        'courier package add install.wim --name "Windows 11"',
        'courier package add /srv/images/win11 --name "Windows 11" --id HQ100001 --version 3',
        'courier package add drivers.7z --expand --name "Drivers"',
        'courier package add /srv/rootfs --pack --name "Thin client"',
    ],
)
def add(
    context: typer.Context,
    *,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, or one folder, whose content is added.")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the package, for people.")],
    version: Annotated[
        int | None,
        typer.Option(
            "--version", metavar="N", min=1, max=MAX_VERSION, help="Version number. Without it: the next one."
        ),
    ] = None,
    package_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Package that it is a version of. Without it: a new package."),
    ] = None,
    expand: Annotated[
        bool,
        typer.Option(
            "--expand", help="Add the files in an archive (7z, also split; ZIP; tar) instead of the archive itself."
        ),
    ] = False,
    pack: Annotated[
        bool,
        typer.Option(
            "--pack", help="Add the folder as one tar, with owners, attributes, devices, hard links and holes."
        ),
    ] = False,
    holes: Annotated[
        bool, typer.Option("--holes/--no-holes", help="Whether the holes of sparse files are kept as holes.")
    ] = True,
    dry_run: DRY_RUN = False,
) -> None:
    """Add files, a folder or an archive's files as a package version.

    What a package does not keep (owners, extended attributes, access control lists, devices, sockets, pipes) is
    counted; --pack keeps all of it but sockets.
    """
    from courier.errors import UsageError
    from courier.packages.add import add_package, notes_on, plan_addition, plan_expansion, plan_packing
    from courier.packages.expand import ARCHIVE_PASSWORD
    from courier.site.keyring import ask_secret

    console = console_of(context)
    if expand and len(paths) != 1:
        raise UsageError("--expand takes one archive", hint="of a split one name the first part alone, NAME.7z.001")
    if pack and (expand or len(paths) != 1):
        raise UsageError("--pack takes one folder, and does not go with --expand", hint="name one folder")

    def plan(site: Site) -> AbstractContextManager[Addition]:
        if pack:
            return plan_packing(site, paths[0], name=name, package=package_id, version=version)
        if expand:
            return plan_expansion(
                site,
                paths[0],
                name=name,
                package=package_id,
                version=version,
                password=lambda: ask_secret(ARCHIVE_PASSWORD, f"password of {paths[0].name}"),
            )
        return plan_addition(site, paths, name=name, package=package_id, version=version, holes=holes)

    with console.site() as site, plan(site) as addition:
        size = addition.source.bytes
        kept = _say_not_kept(console, addition)
        if dry_run:
            console.say(f"Would add {size_text(size)} as a version of {package_id or 'a new package'}.")
            console.result({"dry_run": True, "bytes": size, "package_id": package_id, "version": version, **kept})
            return
        with console.progress("Adding", size) as progress:
            stored = add_package(site, addition, progress)
        files = plural(stored.listing.files, "file")
        console.say(f"{stored.package}:{stored.version}  {stored.name}: {files}, {size_text(stored.listing.bytes)}")
        for note in notes_on(site, stored):
            console.say(f"  note: {note}")
        console.result({**describe(stored), **kept})


_NOT_KEPT = {
    "owner": "Not kept: the owner or group of {} (whoever exports them will own them)",
    "xattr": "Not kept: the extended attributes of {}",
    "acl": "Not kept: the access control list of {}",
    "device": "Left out: devices, {}",
    "socket": "Left out: sockets, {}",
    "fifo": "Left out: named pipes, {}",
}


def _say_not_kept(console: Console, addition: Addition) -> dict[str, Any]:
    """Tell what the package will not keep, and where its links lead; return it for JSON."""
    lost, outside, nowhere = addition.not_kept, addition.links_outside, addition.links_nowhere
    for kind, text in _NOT_KEPT.items():
        if count := lost.counts.get(kind, 0):
            entries = f"{count:,} {'entry' if count == 1 else 'entries'}"
            console.say(f"{text.format(entries)}: {_examples(lost.examples[kind], count)}")
    if lost.total - lost.counts.get("socket", 0):
        console.say("  --pack keeps all of this, but for sockets, in one tar.")
    if outside.total:
        led = _examples(outside.examples["link"], outside.total)
        console.say(f"Links that lead out of the package, kept as they are: {outside.total:,}: {led}")
    if nowhere.total:
        led = _examples(nowhere.examples["link"], nowhere.total)
        console.say(f"Links that lead nowhere, kept as they are: {nowhere.total:,}: {led}")
    return {"not_kept": lost.counts, "links_outside": outside.total, "links_nowhere": nowhere.total}


def _examples(named: list[str], count: int) -> str:
    return f"{', '.join(map(one_line, named))}{', ...' if count > len(named) else ''}"


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


@command(app, "retire", examples=['courier package retire HQ100001:2 --reason "driver fault"'])
def retire(
    context: typer.Context,
    *,
    reference: Annotated[
        str, typer.Argument(metavar="ID:VERSION", help="Version of a package of this site, such as HQ100001:3.")
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="REASON", help="Why; every site is told.")] = "",
) -> None:
    """Retire a version, here and at every site that has it.

    A retired version must not be used or sent any more.
    """
    from courier.packages.retirement import retire_package

    console = console_of(context)
    with console.site() as site:
        console.confirm(f"Retire {reference} for good, at every site?")
        told = retire_package(site, reference, reason)
        console.say(f"{reference} is retired; {plural(told, 'message')} queued. Next: courier channel sync")
        console.result({"package_id": reference.split(":")[0], "retired": True, "queued": told})


@command(app, "verify", examples=["courier package verify", "courier package verify HQ100001:3"])
def verify(
    context: typer.Context,
    *,
    reference: Annotated[
        str | None, typer.Argument(metavar="[ID[:VERSION]]", help="Package or version. Without it: all packages.")
    ] = None,
) -> None:
    """Read the stored content again and compare it with its digests."""
    from courier.errors import DamagedError
    from courier.packages.verify import verify_packages

    console = console_of(context)
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
                console.warn(f"  {finding.path}: {finding.problem}")
            problems = [{"path": finding.path, "problem": finding.problem} for finding in findings]
            documents.append({**describe(stored), "state": "damaged" if findings else "good", "problems": problems})
        if bad:
            error = DamagedError(
                f"{plural(bad, 'file')} of the store {'is' if bad == 1 else 'are'} damaged",
                hint="the store does not use it any more: add or receive the same content again, and check this disk",
            )
            console.error(error, {"packages": documents})
            raise typer.Exit(error.exit_code)
        if not results:
            console.say("The store is empty.")
        console.result({"packages": documents})


@command(app, "remove", examples=["courier package remove HQ100001:2"])
def remove(context: typer.Context, *, reference: REFERENCE) -> None:
    """Remove a package, or one version of it, from the store.

    Content that other packages hold too is kept.
    """
    from courier.packages.find import find_package
    from courier.packages.remove import remove_package

    console = console_of(context)
    with console.site() as site:
        find_package(site, reference)
        console.confirm(f"Remove {reference} from the store?")
        removal = remove_package(site, reference)
        names = ", ".join(f"{package}:{version}" for package, version in removal.versions)
        pending = f", {size_text(removal.pending)} more with later removals" if removal.pending else ""
        console.say(f"Removed {names}; {size_text(removal.freed)} freed{pending}.")
        removed = [{"package_id": package, "version": version} for package, version in removal.versions]
        console.result({"removed": removed, "freed": removal.freed, "pending": removal.pending})


@command(
    app,
    "export",
    examples=[
        "courier package export HQ100001:3 --to /srv/win11",
        "courier package export HQ100001 --as win11.7z --volume-size 4GB --compress fast",
        "courier package export HQ100002 --to /srv/restored --unpack",
    ],
)
def export(
    context: typer.Context,
    *,
    reference: REFERENCE,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Folder to write the files to; it must be new or empty.")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--as", metavar="FILE.7z", help="Write one 7z archive with all files instead.")
    ] = None,
    volume_size: Annotated[
        str | None, typer.Option("--volume-size", metavar="SIZE", help="Split the archive into parts of this size.")
    ] = None,
    compress: Annotated[
        str | None,
        typer.Option(
            "--compress", metavar="METHOD", help="Compression of the archive: none, fast or best. Without it: none."
        ),
    ] = None,
    unpack: Annotated[
        bool,
        typer.Option("--unpack", help="Unpack the package's tar files into the folder; as root, with owners and all."),
    ] = False,
    keep_set_id: Annotated[
        bool,
        typer.Option(
            "--keep-set-id", help="Keep set-user-ID and set-group-ID bits: such files run as whoever exported them."
        ),
    ] = False,
) -> None:
    """Write a package out as files or as a 7z archive.

    The tar archive of a package that was added with --pack can be unpacked on the way. Every file is checked
    while it is written; an archive is read back before it gets its name.
    """
    from courier.errors import UsageError
    from courier.media.kinds import parse_size
    from courier.packages.export import export_package
    from courier.packages.export_archive import export_archive
    from courier.packages.unpack import unpack_package
    from courier.packages.write_tree import Written
    from formats.archive.foreign_write import LEVELS

    console = console_of(context)
    hint = "give --to DIR for files, or --as FILE.7z for one archive"
    if to is None and archive is None:
        raise UsageError("nowhere to write to", hint=hint)
    if to is not None and archive is not None:
        raise UsageError("--to and --as cannot be given together", hint=hint)
    if archive is not None and archive.suffix.lower() != ".7z":
        raise UsageError(f"--as {archive}: what is written is a 7z archive", hint="give it a name that ends in .7z")
    if unpack and to is None:
        raise UsageError("--unpack writes into a folder", hint="give --to DIR, or leave it out")
    if compress is not None and compress not in LEVELS:
        raise UsageError(f"--compress {compress}: there is no such method", hint=f"give one of {', '.join(LEVELS)}")
    for option, value in (("--volume-size", volume_size), ("--compress", compress)):
        if archive is None and value is not None:
            raise UsageError(f"{option} is for an archive", hint="give --as FILE.7z in place of --to, or leave it out")
    part_size = parse_size(volume_size) if volume_size is not None else 0
    if volume_size is not None and part_size < LEAST_PART:
        raise UsageError(f"--volume-size {volume_size}: a part has at least {LEAST_PART >> 20} MiB", hint="such as 4GB")
    lost: Mapping[str, int] = {}
    made = Written()
    with console.site() as site:
        if archive is not None:
            with console.progress("Exporting", None) as progress:
                stored, written = export_archive(
                    site, reference, archive, level=LEVELS[compress or "none"], part_size=part_size, progress=progress
                )
        elif to is not None and unpack:
            with console.progress("Unpacking", None) as progress:
                (stored, lost), written = unpack_package(site, reference, to, progress), [to]
        elif to is not None:
            (stored, made), written = export_package(site, reference, to, keep_set_id=keep_set_id), [to]
        _say_written(console, stored, written, made, lost)
        parts = [str(path) for path in written]
        console.result(
            {
                **describe(stored),
                "path": str(written[0]),
                "parts": parts,
                "not_restored": dict(lost),
                "links_outside": made.links_outside,
                "set_id_dropped": made.set_id_dropped,
            }
        )


def _say_written(
    console: Console, stored: StoredPackage, written: list[Path], made: Written, lost: Mapping[str, int]
) -> None:
    """Tell where a package was written to, and what of it an operator should know."""
    what = str(written[0]) if len(written) == 1 else f"{written[0]} to {written[-1].name}"
    console.say(f"{stored.package}:{stored.version} written to {what}")
    if made.links_outside:
        console.say(f"Links that lead out of the package: {made.links_outside:,}; nothing here followed them.")
    if made.set_id_dropped:
        console.say(
            f"Without set-user-ID and set-group-ID bits: {plural(made.set_id_dropped, 'file')}. "
            "--keep-set-id keeps them."
        )
    if lost:
        told = ", ".join(plural(count, thing) for thing, count in sorted(lost.items()))
        console.say(f"Not restored: {told}. As root, on a disk that keeps them, they would be.")
