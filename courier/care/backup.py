"""Backing a site's home up, while it is in use, into one encrypted file."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.care.backup_parts import MANIFEST, Manifest, files_of_keys, files_of_work
from courier.error_codes import Code
from courier.errors import BusyError, RefusedError, UsageError
from courier.files import TEMP, atomic_file, make_folder, require_space, sweep
from courier.parcel.states import SentState
from courier.sending.outgoing_parcel import packing_name
from courier.site.catalog import parcels
from courier.site.catalog.database import open_catalogue, sqlite_url
from courier.site.catalog.snapshot import copy_file, copy_tables
from courier.site.clock import now
from courier.site.file_names import BACKUP, CATALOGUE
from courier.site.home import Site
from courier.text import plural
from formats.age import EncryptingWriter, parse_recipient
from formats.errors import FormatError

SHORTEST = 12
"""Characters of the shortest passphrase of a backup. Whoever has the file may try as many as he likes, and the keys of
the site are in it."""
TRIES = 3
"""How often a backup is begun anew because a parcel was laid out anew meanwhile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protection:
    """Whom a backup is encrypted to: age recipients, or whoever knows the passphrase."""

    recipients: Sequence[str] = ()
    passphrase: str = ""

    def check(self) -> None:
        """Raise `UsageError` unless it is one or more recipients, or a passphrase that is long enough."""
        if bool(self.recipients) == bool(self.passphrase):
            raise UsageError(
                "a backup is encrypted to a passphrase or to recipients, and to one of both",
                hint="give --recipient age1..., or a passphrase that is not empty",
            )
        if self.passphrase and len(self.passphrase) < SHORTEST:
            raise UsageError(
                f"a passphrase of {plural(len(self.passphrase), 'character')} is too short for a backup",
                hint=f"take {SHORTEST} characters or more, such as five words that nobody would guess; or give "
                "--recipient age1...",
            )
        for recipient in self.recipients:
            try:
                parse_recipient(recipient)
            except FormatError as error:
                raise UsageError(f"{recipient[:70]}: {error}", hint="age-keygen -y prints the recipient") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class BackedUp:
    """A backup that was written: how many files are in it, and their bytes before encryption."""

    path: Path
    made_ns: int
    files: int
    bytes: int


def back_up(site: Site, out: Path, protection: Protection) -> BackedUp:
    """Back the home up into the file ``out``, which must not exist.

    Raises `RefusedError` where it does, `BusyError` while another backup is made or where parcels are laid out anew all
    the time, `DamagedError` for a damaged catalogue, `NoSpaceError`.
    """
    protection.check()
    if out.exists():
        raise RefusedError(f"{out} exists already", hint="name another file", code=Code.TARGET_EXISTS)
    with _work_folder(site) as folder:
        for number in range(TRIES):
            copy = folder / f"{TEMP}{number}-{CATALOGUE}"
            try:
                with atomic_file(out, private=True) as target:
                    return _attempt(site, target, copy, out, protection)
            except _ChangedError as changed:
                parcel = str(changed)
    raise BusyError(f"{parcel} changes while it is backed up", hint="run this command again later")


class _ChangedError(Exception):
    """A parcel was laid out anew between the copy of the catalogue and that of its files; its ID."""


@contextlib.contextmanager
def _work_folder(site: Site) -> Iterator[Path]:
    """The folder for copies of the catalogue, which hold secrets: in the home, and empty again afterwards."""
    folder = make_folder(site.home / BACKUP)
    with site.locked(folder / "lock"):
        sweep(folder)
        try:
            yield folder
        finally:
            sweep(folder)


def _attempt(site: Site, target: BinaryIO, copy: Path, out: Path, protection: Protection) -> BackedUp:
    """Write a backup; raises `_ChangedError` where the copies of catalogue and files do not fit together."""
    with site.files_locked():
        keys = [(_name(site, path), path.read_bytes()) for path in files_of_keys(site.home)]
    made_ns = now()
    if site.settings.catalogue:
        copy_tables(site.catalogue, copy)
    else:
        require_space(site.home, (site.home / CATALOGUE).stat().st_size, purpose="copying the catalogue")
        copy_file(site.home / CATALOGUE, copy)
    manifest = Manifest(site=site.code, made_ns=made_ns, catalogue=site.settings.catalogue)
    written, size = set(), 0
    with (
        EncryptingWriter(target, list(protection.recipients), passphrase=protection.passphrase) as encrypted,
        tarfile.open(fileobj=encrypted, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, data in ((MANIFEST, manifest.json()), *keys):
            _put(tar, name, io.BytesIO(data), len(data))
            written.add(name)
            size += len(data)
        with copy.open("rb") as source:
            _put(tar, CATALOGUE, source, copy.stat().st_size)
            size += copy.stat().st_size
        for path in files_of_work(site.home):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as source:
                # One that goes meanwhile belongs to a parcel that was laid out anew, or discarded: see below.
                length = os.fstat(source.fileno()).st_size
                _put(tar, _name(site, path), source, length)
                written.add(_name(site, path))
                size += length
        if lacking := _lacking(copy, written):
            raise _ChangedError(lacking)
    return BackedUp(path=out, made_ns=made_ns, files=len(written) + 1, bytes=size)


def _name(site: Site, path: Path) -> str:
    return path.relative_to(site.home).as_posix()


def _put(tar: tarfile.TarFile, name: str, source: BinaryIO, size: int) -> None:
    """Add a file. It has no times or owners: they would say nothing that a restored home keeps."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    tar.addfile(member, source)


def _lacking(copy: Path, written: Collection[str]) -> str:
    """A parcel that goes on, of which the packing list that the copied catalogue names is not written; or empty.

    Those whose files are gone altogether were discarded.
    """
    with contextlib.closing(open_catalogue(sqlite_url(copy))) as catalogue, catalogue.reading() as connection:
        sent = [one for one in parcels.all_sent(connection) if one.state != SentState.PLANNED]
    folders = {name.split("/")[2] for name in written if name.startswith("parcels/out/")}
    for one in sent:
        if one.parcel in folders and f"parcels/out/{one.parcel}/{packing_name(one.edition)}" not in written:
            return one.parcel
    return ""
