"""``courier package export``: a package out of the store, as files or as an archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.command import command, console_of, group
from courier.cli.package_version import REFERENCE, describe
from courier.cli.written_bytes import say_written
from courier.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from courier.cli.console import Console
    from courier.packages.write_tree import Written
    from courier.site.catalog.packages import StoredPackage

app = group("")
LEAST_PART = 1 << 20
"""Bytes of the smallest part of a split archive: smaller ones make more parts than names for them."""


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
            with console.phases() as progress:
                stored, written = export_archive(
                    site, reference, archive, level=LEVELS[compress or "none"], part_size=part_size, progress=progress
                )
        elif to is not None and unpack:
            with console.phases() as progress:
                (stored, lost), written = unpack_package(site, reference, to, progress), [to]
        elif to is not None:
            with console.phases() as progress:
                stored, made = export_package(site, reference, to, keep_set_id=keep_set_id, progress=progress)
            written = [to]
        _say_written(console, stored, written, made, lost)
        disk = say_written(console, stored.listing.bytes)
        parts = [str(path) for path in written]
        console.result(
            {
                **describe(stored),
                "path": str(written[0]),
                "parts": parts,
                "not_restored": dict(lost),
                "links_outside": made.links_outside,
                "set_id_dropped": made.set_id_dropped,
                **disk,
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
