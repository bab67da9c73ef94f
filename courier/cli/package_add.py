"""``courier package add``: content into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import DRY_RUN, command, console_of, group
from courier.cli.package_version import describe
from courier.cli.written_bytes import say_written
from courier.text import one_line, plural, size_text
from formats.names import MAX_VERSION

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from courier.cli.console import Console
    from courier.packages.add import Addition
    from courier.site.home import Site

app = group("")


@command(
    app,
    "add",
    examples=[
        'courier package add install.wim --name "Windows 11"',
        'courier package add /srv/images/win11 --name "Windows 11" --id HQ100001 --version 3',
        'courier package add drivers.7z --expand --name "Drivers"',
        'courier package add /srv/rootfs --pack --name "Thin client"',
        'courier package add /srv/captured/office.wim --move --name "Office PC"',
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
    move: Annotated[
        bool,
        typer.Option(
            "--move",
            help="Delete the files once they are in the store. Large ones on its file system are not copied.",
        ),
    ] = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Add files, a folder or an archive's files as a package version.

    What a package does not keep (owners, extended attributes, access control lists, devices, sockets, pipes) is
    counted; --pack keeps all of it but sockets.
    """
    from courier.errors import UsageError
    from courier.packages.add import add_package, delete_source, notes_on, plan_addition, plan_expansion, plan_packing
    from courier.packages.expand import ARCHIVE_PASSWORD
    from courier.site.keyring import ask_secret

    console = console_of(context)
    if expand and len(paths) != 1:
        raise UsageError("--expand takes one archive", hint="of a split one name the first part alone, NAME.7z.001")
    if pack and (expand or len(paths) != 1):
        raise UsageError("--pack takes one folder, and does not go with --expand", hint="name one folder")
    if move and (expand or pack):
        raise UsageError("--move does not go with --expand or --pack", hint="delete what was added afterwards")
    if move and any(path.is_symlink() for path in paths):
        raise UsageError("--move takes no links", hint="name the file or folder itself")

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
        return plan_addition(site, paths, name=name, package=package_id, version=version, holes=holes, move=move)

    with console.site() as site, plan(site) as addition:
        size = addition.source.bytes
        kept = _say_not_kept(console, addition)
        if dry_run:
            console.say(f"Would add {size_text(size)} as a version of {package_id or 'a new package'}.")
            console.result({"dry_run": True, "bytes": size, "package_id": package_id, "version": version, **kept})
            return
        with console.phases() as progress:
            stored = add_package(site, addition, progress)
        files = plural(stored.listing.files, "file")
        console.say(f"{stored.package}:{stored.version}  {stored.name}: {files}, {size_text(stored.listing.bytes)}")
        disk = say_written(console, stored.listing.bytes)
        left = delete_source(addition) if move else []
        if left:
            named = _examples(left[:_NAMED], len(left))
            console.note(f"{plural(len(left), 'entry', 'entries')} of the source: not deleted: {named}")
        for note in notes_on(site, stored):
            console.say(f"  note: {note}")
        console.result({**describe(stored), **kept, **disk, **({"left": left} if move else {})})


_NAMED = 5
"""Entries that were not deleted and are named."""
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
