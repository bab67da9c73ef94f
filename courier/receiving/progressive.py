"""Progressive import: packages that are all here are imported before the rest of their parcel comes.

Each package is taken whole or not at all, and only where the checks that admit a whole parcel admit it
(`courier.parcel.package_checks`). A package that is refused stops no other. Whether a parcel is imported so is asked
for with its media, and stands in its spool; else the policy of the site says it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from courier.errors import CourierError, RefusedError, explain
from courier.files import write_atomic
from courier.parcel.contents import open_contents
from courier.parcel.import_checks import Admission, PackageVersion
from courier.parcel.package_checks import PackageVerdicts, judge_packages
from courier.parcel.package_needs import volumes_of
from courier.parcel.states import GATHERING
from courier.parcel.transitions import log_entry
from courier.progress import Progress
from courier.receiving.import_facts import import_facts
from courier.receiving.import_parcel import ImportedParcel, expanded_bytes, import_parcel
from courier.receiving.part import Part, imported_before
from courier.receiving.spool import EXPANDED, Spool
from courier.receiving.spool_needs import WholeArchives, spool_needs
from courier.receiving.vouching import Vouching
from courier.site.catalog import parcels
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.home import Site
from formats.errors import FormatError

if TYPE_CHECKING:
    from concurrent.futures import Executor

CHOICE = "progressive"
"""Name of the file in a spool that says whether packages are imported before the rest comes."""
REFUSED = "package-refused"
"""The event in the parcel's log."""


def choose_progressive(folder: Path, *, progressive: bool) -> None:
    """Note in the spool of a parcel whether its packages are imported before the rest comes."""
    write_atomic(folder / CHOICE, b"yes" if progressive else b"no")


def is_progressive(site: Site, folder: Path) -> bool:
    """Whether the packages of the parcel that gathers in ``folder`` are imported before the rest comes."""
    try:
        return (folder / CHOICE).read_bytes() == b"yes"
    except FileNotFoundError:
        return site.settings.progressive


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageState:
    """How a package of an arriving parcel stands.

    ``outcome``: what became of it, where it was imported; ``volumes``: those whose archives it lacks; ``waiting``: what
    it awaits besides, for people; ``refused``: why it may not be imported. Else it is ready.
    """

    package: str
    version: int
    outcome: str = ""
    volumes: tuple[int, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: str = ""

    @property
    def name(self) -> str:
        """The package version."""
        return f"{self.package}:{self.version}"

    @property
    def is_ready(self) -> bool:
        """Whether it may be imported now."""
        return not (self.outcome or self.volumes or self.waiting or self.refused)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progressed:
    """How the packages stand; ``awaiting``: what the parcel as a whole awaits. ``admission``: of those admitted."""

    packages: tuple[PackageState, ...]
    awaiting: tuple[str, ...]
    admission: Admission


def package_states(site: Site, spool: Spool, row: ReceivedParcel, *, hold: bool) -> Progressed:
    """How each package of a parcel stands that has not come whole. Nothing is changed.

    What refuses the whole parcel is one of what it awaits, as where it is complete.
    """
    before = imported_before(row)
    facts = import_facts(site, spool, hold=hold)
    try:
        verdicts = judge_packages(facts)
        needs = spool_needs(site, spool) if spool.tables_are_good else None
    except RefusedError as error:
        nothing = Admission(awaiting=(f"an answer: {error.message}",), notice=facts.notice, definitions={})
        verdicts = PackageVerdicts(admission=nothing, awaiting=nothing.awaiting, waiting={}, refused={})
        needs = None
    whole = WholeArchives(spool)
    unvouched = _unvouched(site, spool, {*(needs or {})} - {*before}) if needs and not verdicts.awaiting else {}
    states = []
    for key, spans in (needs or dict.fromkeys(before, ())).items():
        refused = verdicts.refused.get(key) or unvouched.get(key)
        state = PackageState(package=key[0], version=key[1])
        if key in before:
            state = replace(state, outcome=str(before[key].outcome))
        else:
            state = replace(
                state,
                volumes=volumes_of(spool.packing, whole.missing(spans)),
                waiting=verdicts.awaiting + verdicts.waiting.get(key, ()),
                refused=refused.message if refused else "",
            )
        states.append(state)
    return Progressed(packages=tuple(states), awaiting=verdicts.awaiting, admission=verdicts.admission)


def _unvouched(site: Site, spool: Spool, items: Set[PackageVersion]) -> dict[PackageVersion, CourierError]:
    """Why packages may not be taken from the sender of a parcel, whose own they are not."""
    packing = spool.packing
    others = {key for key in items if not key[0].startswith(packing.source)}
    if not others:
        return {}
    vouching, found = Vouching(site, packing.source), {}
    try:
        with open_contents(site, packing, spool.contents()) as contents:
            for header, entries in contents.packages():
                deque(entries, maxlen=0)
                if (header.package, header.version) in others:
                    try:
                        vouching.check(header)
                    except CourierError as error:
                        found[header.package, header.version] = error
    except FormatError as error:
        raise explain(error, where=f"contents of {packing.parcel}") from None
    return found


def import_ready(
    site: Site, row: ReceivedParcel, spool: Spool, *, hold: bool, progress: Progress, executor: Executor | None = None
) -> ImportedParcel | None:
    """Import every package of a parcel that is ready; return what became of them, None where none was.

    Call it alone with the spool.
    One that is refused while it is imported is named in the parcel's log, and stops no other. Raises `DamagedError`
    where our own disk lost what had come, `NoSpaceError`, and `BusyError`. A delta is imported as a whole: what its
    packages are made of lies anywhere in it.
    """
    if spool.packing.bases or not is_progressive(site, spool.folder):
        return None
    with site.catalogue.reading() as connection:
        found = parcels.find_received(connection, row.parcel, row.build)
    if not found or found[0].state not in GATHERING or not Spool.exists(spool.folder):
        return None
    now = package_states(site, spool, found[0], hold=hold)
    ready = frozenset((one.package, one.version) for one in now.packages if one.is_ready)
    part = Part(before=imported_before(found[0]), chosen=ready)
    done = _import(site, spool, now.admission, part, progress, executor)
    if done is not None and done.left:
        write_atomic(spool.folder / EXPANDED, str(expanded_bytes(site, spool.packing, spool.contents())).encode())
    return done


def _import(
    site: Site, spool: Spool, admission: Admission, part: Part, progress: Progress, executor: Executor | None
) -> ImportedParcel | None:
    """Import the chosen packages together or, where one of them is refused, one by one."""
    if not part.chosen:
        return None
    parcel = spool.packing.parcel
    progress.begin("Importing", sum(file.size for file in spool.packing.archives))
    try:
        return import_parcel(site, spool, admission, progress=progress, part=part, executor=executor)
    except RefusedError as error:
        if len(part.chosen) == 1:
            _note_refused(site, parcel, {next(iter(part.chosen)): error})
            return None
    done: ImportedParcel | None = None
    refused: dict[PackageVersion, CourierError] = {}
    before = dict(part.before)
    for one in sorted(part.chosen):
        try:
            alone = Part(before=before, chosen=frozenset({one}))
            taken = import_parcel(site, spool, admission, progress=progress, part=alone, executor=executor)
        except RefusedError as error:
            refused[one] = error
        else:
            before |= {(item.package, item.version): item for item in taken.packages}
            done = ImportedParcel(packages=(*(done.packages if done else ()), *taken.packages), left=taken.left)
    _note_refused(site, parcel, refused)
    return done


def _note_refused(site: Site, parcel: str, refused: Mapping[PackageVersion, CourierError]) -> None:
    """Enter into the log why packages are refused, once for each reason."""
    with site.catalogue.writing() as connection:
        known = {entry.text for entry in parcels.read_log(connection, parcel) if entry.event == REFUSED}
        for (package, version), error in refused.items():
            text = f"{package}:{version} is not imported: {error.message}"
            if text not in known:
                parcels.write_log(connection, log_entry(site, parcel, REFUSED, text))
