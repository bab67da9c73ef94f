"""What a worker does: an archive, or a group of parity.

Everything here may run in another process, on another computer that sees the same home. What a task makes is known by
its digest and put in place by a rename: doing it twice, or half of it, harms nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from courier import errors
from courier.error_codes import Code
from courier.errors import CourierError, RefusedError
from courier.files import explain_os
from courier.parcel.archive_plan import PlannedArchive
from courier.parcel.encryption import ParcelEncryptor
from courier.parcel.parity_files import make_group
from courier.parcel.parity_repair import ParcelParity
from courier.parcel.patches import PATCHES, ParcelContents
from courier.parcel.recipes import ComposedFiles
from courier.sending.archive_builder import ArchiveBuilder
from courier.site.home import Site, open_site
from formats.documents.packing import PackingList

MARK = "workers.txt"
"""The file in the folder of a parcel by which a worker sees that it has the same folder before it."""

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlace:
    """Where a build takes place: the home and the folder of the parcel in it, as every worker must see them.

    ``mark`` is what `MARK` holds there; ``release`` the release of the toolkit that the build was begun with.
    """

    home: Path
    folder: Path
    mark: str
    release: str
    level: int
    recipients: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An error of a worker, in a form that travels: the class of the error by its name, and what it says."""

    kind: str
    message: str
    hint: str
    code: str

    def error(self) -> CourierError:
        """The error, to be raised here."""
        kind: type[CourierError] = getattr(errors, self.kind, CourierError)
        return kind(self.message, hint=self.hint, code=Code(self.code))


def build_archive(place: BuildPlace, archive: PlannedArchive) -> Failure | None:
    """Make an archive's recipe and its pack in the folder of the parcel."""

    def work(site: Site) -> None:
        encryptor = ParcelEncryptor.in_folder(place.folder, place.recipients) if place.recipients else None
        contents = _contents(site, place)
        builder = ArchiveBuilder(
            place.folder,
            contents,
            level=place.level,
            encryptor=encryptor,
            progress=lambda _: None,
        )
        builder.build([archive])

    return _at_work(place, work)


def make_parity_group(place: BuildPlace, packing: PackingList, number: int) -> Failure | None:
    """Make the parity files of group ``number`` of a packing list whose archives are made."""

    def work(site: Site) -> None:
        files = ComposedFiles(
            place.folder,
            packing,
            open_content=_contents(site, place).open_content,
            lacking=_contents(site, place).lacking,
            small=_contents(site, place).small,
            encryptor=lambda: ParcelEncryptor.in_folder(place.folder, place.recipients),
        )
        make_group(ParcelParity(packing).groups[number], files)

    return _at_work(place, work)


def _contents(site: Site, place: BuildPlace) -> ParcelContents:
    """What the archives of the parcel are composed from."""
    return ParcelContents(site.store, place.folder / PATCHES)


def _at_work(place: BuildPlace, work: Callable[[Site], _T]) -> _T | Failure:
    try:
        _check_place(place)
        with closing(open_site(place.home)) as site:
            return work(site)
    except CourierError as error:
        return Failure(kind=type(error).__name__, message=error.message, hint=error.hint, code=error.code)
    except OSError as error:
        known = explain_os(error)
        message = f"the worker at {_here()}: {known.message}"
        return Failure(kind=type(known).__name__, message=message, hint=known.hint, code=known.code)


def _check_place(place: BuildPlace) -> None:
    """Raise `RefusedError` unless this worker sees the parcel's folder and runs the same release."""
    from courier import __version__

    if place.release != __version__:
        raise RefusedError(
            f"the worker at {_here()} runs release {__version__}, and the build was begun with {place.release}",
            hint="install the same release of courier-parcels for all workers, and start them again",
            code=Code.CLUSTER,
        )
    try:
        seen = (place.folder / MARK).read_text()
    except OSError:
        seen = ""
    if seen != place.mark:
        raise RefusedError(
            f"the worker at {_here()} does not see {place.folder}",
            hint="workers need the home of the site at the same path, on a file system that all of them share",
            code=Code.CLUSTER,
        )


def _here() -> str:
    import platform

    return platform.node() or "an unknown computer"
