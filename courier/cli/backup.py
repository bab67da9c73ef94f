"""``courier backup`` and ``restore``: the home of a site in one encrypted file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli.command import DRY_RUN, command, console_of, group
from courier.cli.console import Console, time_text
from courier.text import plural, size_text
from formats.records import format_time

if TYPE_CHECKING:
    from courier.care.after_restore import Restored
    from courier.care.restore import Opening

app = group("")

_MOST_IDENTITIES = 1 << 16
"""Bytes of a file of age identities that are read."""
PASSPHRASE = "COURIER_BACKUP_PASSPHRASE"
"""The environment variable with the passphrase of a backup."""
NOT_IN_IT = (
    "Not in it: the contents of packages, and what had been read of parcels that arrive. Keep the media, or another "
    "copy of the packages."
)


@command(
    app,
    "backup",
    examples=["courier backup --out HQ1.backup.age", "courier backup --out HQ1.backup.age --recipient age1..."],
)
def backup(
    context: typer.Context,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to be written; it must not exist.")],
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            "--recipient",
            metavar="KEY",
            help="Encrypt to this age recipient, age1..., in place of a passphrase; repeat for more.",
        ),
    ] = None,
) -> None:
    """Back the home of this site up into one encrypted file.

    The site may be in use meanwhile. The file holds keys, settings, catalogue, custody ledgers, trusted sites, and what
    parcels made here consist of, with the seeds of their encryption. The contents of packages are not in it. The
    passphrase is asked for, or taken from COURIER_BACKUP_PASSPHRASE, and has 12 characters or more. Stock age and tar
    read the file.
    """
    from courier.care.backup import Protection, back_up

    console = console_of(context)
    with console.site() as site:
        known = "" if recipient else _new_passphrase()
        done = back_up(site, out, Protection(recipients=recipient or (), passphrase=known))
        console.say(f"{site.code} is backed up to {done.path}: {plural(done.files, 'file')}, {size_text(done.bytes)}.")
        console.say(NOT_IN_IT)
        if not recipient:
            console.say("Without the passphrase nobody can restore it: keep that elsewhere.")
        if site.settings.catalogue:
            console.say("The catalogue on its server is in it as it was at one moment; roles and rights there are not.")
        console.result(
            {
                "site": site.code,
                "path": str(done.path),
                "at": format_time(done.made_ns),
                "files": done.files,
                "bytes": done.bytes,
            }
        )


@command(
    app,
    "restore",
    examples=[
        "courier restore HQ1.backup.age --home /srv/HQ1",
        "courier restore HQ1.backup.age --identity backup.key --home /srv/HQ1",
        "courier restore HQ1.backup.age --dry-run",
    ],
)
def restore(
    context: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What courier backup wrote.")],
    identity: Annotated[
        Path | None, typer.Option("--identity", metavar="FILE", help="File with the age identity that opens it.")
    ] = None,
    catalogue: Annotated[
        str,
        typer.Option(
            "--catalogue",
            metavar="URL",
            help="Empty database for the catalogue; without it an SQLite file in the home.",
        ),
    ] = "",
    group_name: Annotated[
        str, typer.Option("--group", metavar="NAME", help="Group of users who all are operators of the site.")
    ] = "",
    pass_over: Annotated[
        int,
        typer.Option(
            "--pass-over",
            metavar="N",
            min=1,
            max=100_000,
            help="Numbers to pass over: more than it gave out after the backup, of parcels, packages or versions.",
        ),
    ] = 1000,
    dry_run: DRY_RUN = False,
) -> None:
    """Restore the home of a site from a backup.

    It comes into a folder that does not exist yet or is empty. The lost home may have given out numbers after the
    backup: IDs, versions and serials go on after a gap, so that none is used twice. Volumes of parcels that were
    arriving are received anew. The lost home must not be used again.
    """
    from courier.care.restore import look_into
    from courier.care.restore import restore as take_back
    from courier.site.catalog.database import check_catalogue_url
    from courier.site.settings import find_home

    console = console_of(context)
    opening = _opening(file, identity)
    if dry_run:
        found = look_into(file, opening)
        console.say(
            f"Backup of {found.manifest.site}, {time_text(found.manifest.made_ns)}: {plural(found.files, 'file')}, "
            f"{size_text(found.bytes)}; all of it could be read."
        )
        console.result(
            {
                "dry_run": True,
                "site": found.manifest.site,
                "at": format_time(found.manifest.made_ns),
                "files": found.files,
                "bytes": found.bytes,
            }
        )
        return
    check_catalogue_url(catalogue)
    home = find_home(console.home)
    done = take_back(file, home, opening, catalogue=catalogue, group=group_name, gap=pass_over)
    _say(console, home, done)


def _new_passphrase() -> str:
    """The passphrase for a backup; a person types it twice. Raises `UsageError`, or `RefusedError` without a person."""
    import os

    from courier.errors import UsageError
    from courier.site.keyring import ask_secret

    given = ask_secret(PASSPHRASE, "passphrase of the backup")
    if PASSPHRASE not in os.environ and ask_secret(PASSPHRASE, "same passphrase again") != given:
        raise UsageError("the two passphrases differ", hint="type the same one twice")
    if not given:
        raise UsageError("the passphrase is empty", hint=f"set {PASSPHRASE}, type one, or give --recipient")
    return given


def _opening(file: Path, identity: Path | None) -> Opening:
    """What opens a backup. Raises `UsageError` for a file of identities that holds none."""
    from courier.care.restore import Opening, is_for_passphrase
    from courier.cli.given_file import read_given_text
    from courier.errors import UsageError
    from courier.site.keyring import ask_secret
    from formats.age import Identity
    from formats.errors import FormatError

    if is_for_passphrase(file):
        if identity is not None:
            raise UsageError(f"{file} is encrypted to a passphrase", hint="leave --identity out")
        return Opening(passphrase=ask_secret(PASSPHRASE, "passphrase of the backup"))
    if identity is None:
        raise UsageError(f"{file} is encrypted to a key", hint="--identity FILE: the file of its age identity")
    hint = "give the file that age-keygen made: a line in it is AGE-SECRET-KEY-1..."
    lines = [line.strip() for line in read_given_text(identity, _MOST_IDENTITIES, hint=hint).splitlines()]
    try:
        found = [Identity.from_text(line) for line in lines if line and not line.startswith("#")]
    except FormatError as error:
        raise UsageError(f"{identity}: {error.message}", hint=hint) from None
    if not found:
        raise UsageError(f"{identity} holds no identity", hint=hint)
    return Opening(identities=found)


def _say(console: Console, home: Path, done: Restored) -> None:
    console.say(f"{done.site} is restored to {home}, as it was at {time_text(done.made_ns)}.")
    console.say("The lost home must not be used again: two homes of one site would contradict each other.")
    following = ["courier channel sync"]
    if done.versions:
        console.say(
            f"The store has no contents: those of {plural(done.versions, 'package version')} are to come again."
        )
        following.append("courier package verify")
    for parcel in done.forgotten:
        console.say(f"{parcel} was not built yet, and is forgotten: create it again.")
    for parcel in done.receive_again:
        console.say(f"{parcel}: receive its volumes again: courier parcel receive MEDIUM")
    for parcel in done.ship_again:
        console.say(f"{parcel}: if it was shipped, this makes its receipts come again: courier parcel ship {parcel}")
    for parcel in sorted({*done.announced, *done.receive_again}):
        console.say(f"{parcel}: its notice comes again when {parcel[:3]} gives: courier parcel ship {parcel}")
    console.say("Next:")
    for one in following:
        console.say(f"  {one}")
    console.result(
        {
            "site": done.site,
            "home": str(home),
            "at": format_time(done.made_ns),
            "forgotten": list(done.forgotten),
            "receive_again": list(done.receive_again),
            "announced": list(done.announced),
            "ship_again": list(done.ship_again),
            "versions_without_content": done.versions,
            "next": following,
        }
    )
