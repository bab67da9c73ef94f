"""Looking after the catalogue and the store: whether they are whole, and fit together."""

from __future__ import annotations

from collections.abc import Iterator

from courier.care.ailment import Ailment, Area
from courier.errors import BusyError, CourierError, NotFoundError, RefusedError, UnreachableError
from courier.site.catalog import packages
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from courier.text import plural
from formats.documents.listing import FileEntry

SHOWN = 5
"""Package versions that are named one by one."""


def look_at_catalogue(site: Site) -> Iterator[Ailment]:
    """Whether the database is sound. That of a server looks after itself."""
    if site.settings.catalogue:
        return
    with site.catalogue.reading() as connection:
        said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(3)")]
        said += [f"{row[0]}: a row refers to nothing" for row in connection.exec_driver_sql("PRAGMA foreign_key_check")]
    if said != ["ok"]:
        yield Ailment(
            area=Area.CATALOGUE,
            what=f"the catalogue is damaged: {'; '.join(said)}",
            means="what this site knows of its parcels is no longer sure",
            remedy="restore a backup: courier restore --help; or enter parcels from media: courier catalog rebuild",
        )


def look_at_store(site: Site, *, mend: bool) -> Iterator[Ailment]:
    """Whether index and packs of the store agree, and whether it has what the catalogue says. Packs are read."""
    try:
        with site.store.lock():
            wrong = site.store.cross_check(mend=mend)
    except BusyError:
        yield Ailment(
            area=Area.STORE,
            what="the store was not looked at, as another command is at work on it",
            means="nothing",
            remedy="courier doctor, when that has ended",
        )
        return
    except (NotFoundError, RefusedError, UnreachableError) as error:  # of a bucket; a folder raises none of them
        yield Ailment(area=Area.STORE, what=error.message, means="the store was not looked at", remedy=error.hint)
        return
    if wrong:
        yield Ailment(
            area=Area.STORE,
            what=f"the index of the store and its packs tell {plural(wrong, 'content')} differently",
            means="packages may seem to lack content that is there, or the other way round",
            remedy="courier doctor --mend makes the index anew; then courier package verify",
            mendable=True,
            mended=mend,
        )
    lacking = list(_lacking(site))
    for what, problem in lacking[:SHOWN]:
        yield Ailment(
            area=Area.STORE,
            what=f"{what}: {problem}",
            means="it cannot be sent, exported or given to points",
            remedy="receive its parcel again, or add the same files again; courier package verify names them",
        )
    if len(lacking) > SHOWN:
        more = plural(len(lacking) - SHOWN, "more package version")
        yield Ailment(
            area=Area.STORE, what=f"{more} with missing content", means="the same", remedy="courier package verify"
        )


def _lacking(site: Site) -> Iterator[tuple[str, str]]:
    """The versions of which the store lacks content, and how much; no content is read."""
    with site.catalogue.reading() as connection:
        stored = packages.versions(connection)
    for one in stored:
        try:
            lost = set(site.store.lacking((file.sha256, file.size) for file in _files(site, one)))
            missing = sum(file.sha256 in lost for file in _files(site, one)) if lost else 0
        except CourierError as error:
            yield f"{one.package}:{one.version}", error.message
            continue
        if missing:
            yield f"{one.package}:{one.version}", f"the content of {plural(missing, 'file')} is missing"


def _files(site: Site, stored: StoredPackage) -> Iterator[FileEntry]:
    """The files of a version that hold bytes."""
    return (entry for entry in site.store.entries(stored.listing) if isinstance(entry, FileEntry) and entry.size)
