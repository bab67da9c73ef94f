"""Adding files, folders, an archive's members or a folder as one tar to the store as a version of a package.

It is all or nothing. `plan_addition`, `plan_expansion` and `plan_packing` survey the source and refuse what a package
cannot hold; a dry run prints what they found, and `add_package` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import CourierError, RefusedError, UsageError, explain
from courier.packages.expand import ArchiveSource
from courier.packages.link_policy import check_links, refuse_links
from courier.packages.numbering import GivenOut, choose_number, version_used
from courier.packages.pack import PackedTree
from courier.packages.read_tree import delete_moved, read_tree
from courier.packages.survey import Counted, SourceTree, scan_tree
from courier.progress import SILENT, Progress
from courier.site.catalog import packages
from courier.site.catalog.packages import StoredPackage
from courier.site.clock import now
from courier.site.home import Site
from courier.site.store.content_store import Staging, StoredContent
from formats.documents.listing import Entry
from formats.documents.package import MAX_NAME
from formats.errors import FormatError


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """What is to be added: the source as it was found, and what the operator wants the version to be called.

    ``package`` and ``version`` are None for a new package ID, and for the next version. ``holes``: whether holes of
    sparse files are looked for. ``move``: the source is to be deleted once it is in the store (`delete_source`).
    """

    source: SourceTree | ArchiveSource | PackedTree
    name: str
    package: str | None
    version: int | None
    holes: bool = True
    move: bool = False

    @property
    def room(self) -> int:
        """Bytes that its content takes in the store; holes that are not to be kept take as much as data."""
        return self.source.allocated if self.holes else self.source.bytes

    @property
    def not_kept(self) -> Counted:
        """What of the source the package does not keep: owner, xattr, acl, device, socket, fifo."""
        return Counted() if isinstance(self.source, ArchiveSource) else self.source.not_kept

    @property
    def links_outside(self) -> Counted:
        """The symbolic links that lead out of the package."""
        return Counted() if isinstance(self.source, PackedTree) else self.source.links_outside

    @property
    def links_nowhere(self) -> Counted:
        """The symbolic links that lead to nothing inside the package."""
        return self.source.links_nowhere if isinstance(self.source, SourceTree) else Counted()


@contextmanager
def plan_addition(
    site: Site,
    paths: Sequence[Path],
    *,
    name: str,
    package: str | None = None,
    version: int | None = None,
    holes: bool = True,
    move: bool = False,
) -> Iterator[Addition]:
    """Walk the files and folders that are to become a package version; reads no content. ``move`` as in `Addition`.

    Raises `NotFoundError`, `UsageError` (no name, nothing to add, or two paths of one name) and `RefusedError` (what
    cannot be read or no package can hold, all of it named; or a part of the site's home); either also for a package ID
    or version that cannot be given.
    """
    _check_called(site, name, package, version)
    _check_outside_home(site, paths)
    with scan_tree(paths) as source:
        _check_source(site, source, name, "a folder or file")
        yield Addition(source=source, name=name, package=package, version=version, holes=holes, move=move)


@contextmanager
def plan_expansion(
    site: Site,
    archive: Path,
    *,
    name: str,
    password: Callable[[], str],
    package: str | None = None,
    version: int | None = None,
) -> Iterator[Addition]:
    """Survey an archive whose members are to become the files of a package version.

    ``password`` is asked for an encrypted one. Raises what `plan_addition` and `ArchiveSource` raise.
    """
    _check_called(site, name, package, version)
    _check_outside_home(site, [archive])
    with ArchiveSource(archive, password) as source:
        _check_source(site, source, name, "an archive")
        yield Addition(source=source, name=name, package=package, version=version)


@contextmanager
def plan_packing(
    site: Site, folder: Path, *, name: str, package: str | None = None, version: int | None = None
) -> Iterator[Addition]:
    """Survey a folder that is to become one tar in a package version; reads no content.

    Raises what `plan_addition` and `PackedTree` raise.
    """
    _check_called(site, name, package, version)
    _check_outside_home(site, [folder])
    try:
        source = PackedTree(folder)
    except FormatError as error:
        raise _illegal(error) from None
    with source:
        if source.entries < 2:
            raise UsageError("the package would be empty", hint="name a folder with something in it")
        yield Addition(source=source, name=name, package=package, version=version)


def _check_source(site: Site, source: SourceTree | ArchiveSource, name: str, what: str) -> None:
    """Refuse a source with nothing in it, and links that the site's policy refuses as far as their targets are known.

    Where the links of a 7z or ZIP lead is known only when they are read.
    """
    if not source.entries:
        raise UsageError("the package would be empty", hint=f"name {what} with something in it")
    outside = source.links_outside
    refuse_links(site, outside.examples.get("link", []), outside.total, where=f"package {name}")


def _check_called(site: Site, name: str, package: str | None, version: int | None) -> None:
    """Refuse a name, package ID or version that cannot be added, before the source is read."""
    if not name.strip() or len(name) > MAX_NAME:
        raise UsageError(f"a package name has 1 to {MAX_NAME} characters", hint="give one with --name")
    _choose_version(site, name, package, version)


def add_package(site: Site, addition: Addition, progress: Progress = SILENT) -> StoredPackage:
    """Add a planned version to the store, and return it.

    A version that is in the store already, with the same name and content, is only returned, so that the same command
    may be given again. ``progress`` is told the bytes read. Raises `UsageError` for any other version that is not
    higher than all before, `NoSpaceError`, and `RefusedError` for a file that changed since the plan, and for numbers
    that a lost catalogue may have given out.
    """
    purpose = "adding the package"
    site.store.require_space(addition.room, purpose=purpose)
    with site.store.naming_space(lambda: addition.room, purpose=purpose), site.store.lock():
        # Anew: others may have added since the plan.
        same, package, version = _choose_version(site, addition.name, addition.package, addition.version)
        progress.begin("Adding", addition.source.bytes)
        with site.store.stage() as staging:
            try:
                entries = _entries(addition, staging, progress)
                listing = staging.add_listing(check_links(site, entries, where=f"package {addition.name}"))
            except FormatError as error:
                raise _illegal(error) from None
            if same is not None:
                if same.listing != listing:
                    raise version_used(package, version, version)
                staging.commit()  # what was damaged or lost of it is whole again
                return same
            moment = now()
            stored = StoredPackage(
                package=package,
                version=version,
                name=addition.name,
                listing=listing,
                created_ns=moment,
                added_ns=moment,
                origin="added",
            )
            staging.commit()
            _record(site, stored)
    return stored


def _entries(addition: Addition, staging: Staging, progress: Callable[[int], None]) -> Iterator[Entry]:
    """Stage the content of the source and yield the entries of its listing."""
    source = addition.source
    if isinstance(source, SourceTree):

        def take(stream: BinaryIO) -> StoredContent:
            return staging.add(stream, progress)

        def take_over(stream: BinaryIO, name_too: Callable[[Path], bool]) -> StoredContent:
            return staging.add(stream, progress, name_too)

        def take_bytes(data: bytes) -> StoredContent:
            return staging.add_bytes(data, progress)

        over = take_over if addition.move else None
        return read_tree(source, take, holes=addition.holes, take_over=over, take_bytes=take_bytes)
    return source.read(staging, progress)


def delete_source(addition: Addition) -> list[str]:
    """Delete the files and folders of a version that was added; return the package's paths of what stays.

    That is what changed since it was surveyed, or cannot be deleted, and folders that hold something still.
    """
    return delete_moved(addition.source) if isinstance(addition.source, SourceTree) else []


def _choose_version(
    site: Site, name: str, package: str | None, version: int | None
) -> tuple[StoredPackage | None, str, int]:
    """Return the stored version that the operator may mean (or None), the package ID and the version to add."""
    with site.catalogue.reading() as connection:
        held = packages.versions(connection, package) if package else []
        same = next((stored for stored in held if (stored.version, stored.name) == (version, name)), None)
        given = GivenOut(
            next_version=same.version if same else packages.next_version(connection, package or ""),
            last_package=packages.read_counter(connection, "package"),
            lost=packages.read_counter(connection, packages.IDS_LOST) > 0,
        )
    return same, *choose_number(site.code, package, version, given)


def _record(site: Site, stored: StoredPackage) -> None:
    with site.catalogue.writing() as connection:
        packages.add(connection, stored)
        if stored.package.startswith(site.code):
            packages.raise_counter(connection, "package", int(stored.package[3:], 16))
        packages.raise_counter(connection, stored.package, stored.version)


def _check_outside_home(site: Site, paths: Sequence[Path]) -> None:
    """Raise `RefusedError` for a path in the site's home or around it: the private keys would travel in the package."""
    home = site.home.resolve()
    for path in paths:
        real = path.resolve()
        if real.is_relative_to(home) or home.is_relative_to(real):
            raise RefusedError(
                f"{path} is or holds something of this site's home {site.home}, where its private keys are",
                hint="copy what the package is to hold into a folder of its own, and add that",
                code=Code.SITE_HOME,
            )


def _illegal(error: FormatError) -> CourierError:
    return explain(error, where="package", hint="rename it in the source folder, then add again")


def notes_on(site: Site, stored: StoredPackage) -> list[str]:
    """What an operator may want to know of a version just added: others with the same content, a changed name."""
    with site.catalogue.reading() as connection:
        others = [one for one in packages.versions(connection) if one != stored]
    notes = []
    same = [f"{one.package}:{one.version}" for one in others if one.listing == stored.listing]
    if same:
        notes.append(f"{', '.join(same)} {'has' if len(same) == 1 else 'have'} the very same content")
    before = [one for one in others if one.package == stored.package and one.version < stored.version]
    if before and before[-1].name != stored.name:
        notes.append(f"{before[-1].package}:{before[-1].version} is called {before[-1].name}")
    return notes
