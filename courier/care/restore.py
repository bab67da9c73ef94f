"""Restoring a site's home from a backup.

All of it is read, and put into a temporary folder of the home, before anything gets its name; the settings come last,
so that a home is whole or none. A restore that was killed is begun anew by the next one.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from courier.care.after_restore import Restored, set_forward
from courier.care.backup_parts import MANIFEST, Manifest, is_allowed
from courier.errors import BusyError, DamagedError, RefusedError, UsageError, explain
from courier.files import (
    TEMP,
    flush_files,
    locked,
    make_folder,
    private_mode,
    remove_tree,
    require_space,
    sync_folder,
    write_atomic,
)
from courier.site.catalog import packages
from courier.site.catalog.database import check_whole, sqlite_url
from courier.site.catalog.snapshot import fill
from courier.site.file_names import CATALOGUE, SETTINGS
from courier.site.home import open_site
from courier.site.permissions import keep_to_owner, shared_with_group
from courier.site.settings import Settings
from formats.age import Identity, needs_passphrase, open_encrypted
from formats.errors import FormatError, NotForUsError
from formats.records import read_named

_STAGED = f"{TEMP}restore"
_LOCKS = "locks"
_MARK = "restoring"
"""In a home that is being restored. A home with it is none, and is emptied by the next restore."""
_OWN = (_LOCKS, _MARK, "lost+found")
"""What is in a folder that is as good as empty."""
_MAX_MANIFEST = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """What opens a backup: age identities, or a passphrase."""

    identities: Sequence[Identity] = ()
    passphrase: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """What is in a backup."""

    manifest: Manifest
    files: int
    bytes: int


def is_for_passphrase(path: Path) -> bool:
    """Whether a backup is opened by a passphrase. Raises `CourierError` for what is no encrypted file."""
    with path.open("rb") as source, _explained(path):
        return needs_passphrase(source)


def look_into(path: Path, opening: Opening) -> Inventory:
    """Read a whole backup and say what is in it; nothing is written. Raises as `restore` does."""
    with _reading(path, opening) as (manifest, tar):
        files = size = 0
        for member in _members(path, tar):
            files += 1
            size += member.size
        return Inventory(manifest=manifest, files=files, bytes=size)


def restore(path: Path, home: Path, opening: Opening, *, catalogue: str = "", group: str = "", gap: int) -> Restored:
    """Restore the backup ``path`` as the site home ``home``, which must not exist or be empty.

    ``catalogue``: an SQLAlchemy URL of an empty database, or empty for an SQLite file in the home. ``gap``: how many
    IDs, versions and serials are passed over, since some may have been given out after the backup (see
    `courier.care.after_restore`). Raises `UsageError` for a home that holds something, `RefusedError` for a key or
    passphrase that does not open the backup, `DamagedError` for a damaged one.
    """
    is_new = not home.exists()
    make_folder(home)
    try:
        # The home has no catalogue yet that could keep other computers away.
        with locked(home / _LOCKS / _MARK):
            return _restored(path, home, opening, catalogue, group, gap)
    except BusyError:
        raise
    except Exception:
        if is_new:
            _clear(home)
        raise


def _restored(path: Path, home: Path, opening: Opening, catalogue: str, group: str, gap: int) -> Restored:
    """Restore into a folder whose lock is held. When it fails, the folder is as empty again as it was."""
    _empty(home)
    try:
        keep_to_owner(home, group)
        with shared_with_group(home):
            write_atomic(home / _MARK, b"", private=True)
            staged = make_folder(home / _STAGED)
            with _reading(path, opening) as (manifest, tar):
                require_space(home, path.stat().st_size, purpose="restoring the backup")
                for member in _members(path, tar):
                    _take_out(tar, member, staged)
            return _finished(home, staged, manifest, catalogue, gap)
    except Exception:
        if not (home / SETTINGS).exists():
            _empty(home)
            (home / _MARK).unlink(missing_ok=True)
        raise


def _clear(home: Path) -> None:
    """Remove a folder that this restore made, and in which it left nothing but its lock."""
    with contextlib.suppress(OSError):
        if sorted(item.name for item in home.iterdir()) == [_LOCKS]:
            remove_tree(home)


def _finished(home: Path, staged: Path, manifest: Manifest, catalogue: str, gap: int) -> Restored:
    settings = Settings.load(staged)
    if settings.site != manifest.site:
        raise DamagedError(
            f"the backup is of {manifest.site}, its settings of {settings.site}", hint="use another backup"
        )
    check_whole(sqlite_url(staged / CATALOGUE))
    replace(settings, catalogue="").save(staged)
    for folder in ("store", "parcels/out", "parcels/in"):
        make_folder(staged / folder)
    with contextlib.closing(open_site(staged)) as site:
        restored = set_forward(site, made_ns=manifest.made_ns, gap=gap)
        if catalogue:
            with site.catalogue.writing() as connection:
                packages.raise_counter(connection, packages.HOME, 1)
    remove_tree(staged / _LOCKS)  # the home has a folder of that name already, with the lock of this command
    if catalogue:
        fill(catalogue, staged / CATALOGUE)
        (staged / CATALOGUE).unlink()
        replace(Settings.load(staged), catalogue=catalogue).save(staged)
    flush_files([path for path in staged.rglob("*") if path.is_file()])
    for item in sorted(staged.iterdir(), key=lambda item: item.name == SETTINGS):
        if item.name == SETTINGS:
            sync_folder(home)
        item.replace(home / item.name)
    sync_folder(home)
    remove_tree(staged)
    (home / _MARK).unlink()
    return restored


def _empty(home: Path) -> None:
    """Remove what a killed restore left. Raises `UsageError` where the home holds anything else."""
    if (home / _MARK).exists() and not (home / SETTINGS).exists():
        for item in home.iterdir():
            if item.name not in _OWN:
                remove_tree(item)
    strange = sorted(item.name for item in home.iterdir() if item.name not in _OWN)
    if strange:
        raise UsageError(
            f"{home} is not empty: it holds {', '.join(map(repr, strange[:3]))}",
            hint="name a folder that does not exist yet: --home DIR; what is left of a lost home stays as it is",
        )


@contextlib.contextmanager
def _reading(path: Path, opening: Opening) -> Iterator[tuple[Manifest, tarfile.TarFile]]:
    """The manifest of a backup, and its tar after that."""
    with (
        path.open("rb") as source,
        _explained(path),
        open_encrypted(source, list(opening.identities), passphrase=opening.passphrase) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        first = tar.next()
        if first is None or first.name != MANIFEST or first.size > _MAX_MANIFEST:
            raise DamagedError(f"{path} is no backup of a site", hint="name the file that courier backup wrote")
        yield read_named(Manifest, _content(tar, first).read()), tar


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except NotForUsError as error:
        hint = "give the passphrase, or the --identity, that this backup was made with; each backup has its own"
        raise explain(error, where=str(path), hint=hint) from None
    except FormatError as error:
        hint = "name a file that courier backup wrote; if this is one, it is damaged: use another backup"
        raise explain(error, where=str(path), hint=hint) from None
    except (tarfile.TarError, EOFError) as error:
        raise DamagedError(f"{path}: {error}", hint="use another backup") from None


def _members(path: Path, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The files of a backup after its manifest. Raises `RefusedError` for one that belongs into no home."""
    seen = {MANIFEST}
    while (member := tar.next()) is not None:
        # A sparse file is small in the backup and of any size on the disk.
        if not member.isreg() or member.issparse() or not is_allowed(member.name) or member.name in seen:
            raise RefusedError(
                f"{path} holds {member.name[:200]!r}, which no backup of a site has", hint="use another backup"
            )
        seen.add(member.name)
        yield member


def _take_out(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    target = folder / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        shutil.copyfileobj(_content(tar, member), out, 1 << 20)
    target.chmod(private_mode(target.parent))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    found = tar.extractfile(member)
    if found is None:
        raise DamagedError(f"the backup holds {member.name[:200]!r}, which is no file", hint="use another backup")
    return found  # type: ignore[return-value]  # a binary file for reading
