"""Gathering what a deployment is judged by: from the catalogue, the store, the points and the state migration points.

Nothing is written, and no point is asked over the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from courier.deployment.deployment_facts import (
    ComputerFacts,
    DeploymentFacts,
    ImageFile,
    PackageFacts,
    StatePointFacts,
    WimSize,
)
from courier.deployment.run.images import ImageSource, image_facts
from courier.deployment.sequence import ApplyImageStep
from courier.deployment.sequence import Sequence as TaskSequence
from courier.deployment.sequence_file import read_sequence
from courier.deployment.state_points import rooms
from courier.deployment.variables import package_of, variables_of
from courier.distribution.registry import all_points, statement_of
from courier.errors import CourierError, explain
from courier.packages.find import parse_reference
from courier.site.catalog import computers, packages, points, reports, state
from courier.site.catalog.computers import Association, KnownComputer
from courier.site.catalog.packages import StoredPackage
from courier.site.catalog.points import Point
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.deployment import Option
from formats.documents.fields import PackageRef
from formats.documents.listing import Entry, FileEntry
from formats.errors import FormatError

_CAPTURED = (state.COMPLETE, state.RESTORED)


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedDeployment:
    """A deployment as an operator describes it; times in nanoseconds (UTC), None for none.

    ``package``: ``HQ100001`` or ``HQ100001:3``. ``sequence``: the text of the task sequence. ``pinned``: the versions
    that an earlier judgement has chosen; None where the newest are to be chosen now.
    """

    package: str
    computers: Sequence[str]
    sequence: str
    option: Option = "download-all"
    available_ns: int | None = None
    deadline_ns: int | None = None
    expires_ns: int | None = None
    pinned: Sequence[PackageRef] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoreFiles(ImageSource):
    """The files of a package in the store, as the judgement of images reads them."""

    site: Site
    stored: StoredPackage

    @property
    def ref(self) -> PackageRef:
        """See `ImageSource.ref`."""
        return PackageRef(package=self.stored.package, version=self.stored.version, listing=self.stored.listing.sha256)

    def entries(self) -> Iterator[Entry]:
        """See `ImageSource.entries`."""
        return self.site.store.entries(self.stored.listing)

    def read_at(self, entry: FileEntry, offset: int, count: int) -> bytes:
        """See `ImageSource.read_at`."""
        if offset >= entry.size:  # an image may name any place
            return b""
        with self.site.store.open_content(entry.sha256) as file:
            file.seek(offset)
            return file.read(count)


def gather(site: Site, wanted: WantedDeployment) -> DeploymentFacts:
    """All that is known of a deployment that is wanted. Raises `UsageError` for a package that is no reference."""
    sequence, faults = read_sequence(wanted.sequence)
    deployed = parse_reference(wanted.package)
    rows = all_points(site)
    chosen = _computers(site, wanted.computers, sequence, rows)
    supply = _Packages(site, rows, deployed, wanted.pinned)
    references = {wanted.package, *(_references(sequence, chosen) if sequence else ())}
    versions = {name: one for name in sorted(references) if (one := supply.find(name)) is not None}
    return DeploymentFacts(
        now_ns=now(),
        option=wanted.option,
        wanted=wanted.package,
        package=versions.get(wanted.package),
        sequence=sequence,
        faults=tuple(faults),
        computers=chosen,
        versions=versions,
        images=dict(_images(supply, sequence, chosen)) if sequence else {},
        state_points=_state_points(site),
        all_points=tuple(row.name for row in rows),
        available_ns=wanted.available_ns,
        deadline_ns=wanted.deadline_ns,
        expires_ns=wanted.expires_ns,
    )


def reachable(rows: Sequence[Point], group: str) -> list[Point]:
    """The points that the clients of a group reach, the nearest first: the group's own, among them branch points."""
    found = [row for row in rows if row.group_name in ("", group)]
    return sorted(found, key=lambda row: (row.group_name != group, not row.branch, row.name))


def _computers(
    site: Site, names: Sequence[str], sequence: TaskSequence | None, rows: Sequence[Point]
) -> tuple[ComputerFacts, ...]:
    """What is known of each computer, each once, in the order given."""
    wanted = {name.strip().casefold(): name.strip() for name in reversed(names)}
    with site.catalogue.reading() as connection:
        if len(wanted) > 1:
            known = {one.name.casefold(): one for one in computers.everyone(connection)}
        else:
            found = (computers.find(connection, name) for name in wanted.values())
            known = {one.name.casefold(): one for one in found if one is not None}
        associations = computers.associations(connection)
        held = state.migrations(connection, states=state.HELD)
        classes = {one.client_class: one.size for one in points.cache_classes(connection)}
    goes = {one.source: one for one in associations}
    comes: dict[str, list[Association]] = {}
    for one in associations:
        comes.setdefault(one.destination, []).append(one)
    captured = {row.source for row in held if row.state in _CAPTURED}
    awaited = {row.destination for row in held if row.state in (state.PARTIAL, *_CAPTURED)}
    placed = {row.source for row in held if row.state in (state.BEGUN, state.PARTIAL, state.COMPLETE)}
    blank = sequence or TaskSequence(name="", steps=())

    def facts(name: str, one: KnownComputer | None) -> ComputerFacts:
        if one is None:
            return ComputerFacts(name=name, known=False, variables=variables_of(blank, name, {}))
        row = one.row
        return ComputerFacts(
            name=row.name,
            known=True,
            variables=variables_of(blank, row.name, one.variables),
            protected=bool(row.protected),
            recognisable=bool(row.guid or one.macs),
            client_class=row.client_class,
            group=row.group_name,
            cache_size=classes.get(row.client_class),
            points=tuple(point.name for point in reachable(rows, row.group_name)),
            state_goes_to=goes[row.name].destination if row.name in goes else "",
            state_comes_from=tuple(each.source for each in comes.get(row.name, ())),
            captured=row.name in captured,
            awaits=row.name in awaited,
            has_place=row.name in placed,
        )

    return tuple(facts(name, known.get(folded)) for folded, name in reversed(wanted.items()))


def _references(sequence: TaskSequence, chosen: Sequence[ComputerFacts]) -> Iterator[str]:
    for use in (sequence.boot_image, *(getattr(step, "use", None) for step in sequence.steps)):
        if use is not None:
            yield from {name for one in chosen if (name := package_of(use, one.variables))}


class _Packages:
    """The package versions that references lead to: the deployed one, those pinned, or the newest of the store."""

    def __init__(
        self,
        site: Site,
        rows: Sequence[Point],
        deployed: tuple[str, int | None],
        pinned: Sequence[PackageRef] | None,
    ) -> None:
        self.site = site
        self._deployed, self._pinned = deployed, pinned
        self._at: dict[PackageRef, set[str]] = {}
        for row in rows:
            statement = statement_of(row)
            for ref in statement.packages if statement else ():
                self._at.setdefault(ref, set()).add(row.name)
        self._found: dict[str, tuple[StoredPackage, PackageFacts] | None] = {}

    def find(self, reference: str) -> PackageFacts | None:
        """The package of a reference; None where it is none, or is not there."""
        if reference not in self._found:
            self._found[reference] = self._look(reference)
        found = self._found[reference]
        return found[1] if found else None

    def files(self, reference: str) -> _StoreFiles | None:
        """Its files; None where it is not there."""
        found = self._found[reference] if self.find(reference) else None
        return _StoreFiles(site=self.site, stored=found[0]) if found else None

    def _look(self, reference: str) -> tuple[StoredPackage, PackageFacts] | None:
        try:
            package, version = parse_reference(reference)
        except CourierError:
            return None
        if version is None and package == self._deployed[0]:
            version = self._deployed[1]
        listing = ""
        if self._pinned is not None:
            refs = [one for one in self._pinned if one.package == package and version in (None, one.version)]
            if not refs:
                return None
            version, listing = refs[-1].version, refs[-1].listing
        with self.site.catalogue.reading() as connection:
            held = [one for one in packages.versions(connection, package) if version in (None, one.version)]
            if not held or (listing and held[-1].listing.sha256 != listing):
                return None
            stored = held[-1]
            retired = reports.retirements(connection).get((package, stored.version))
        ref = PackageRef(package=package, version=stored.version, listing=stored.listing.sha256)
        sizes = (one.size for one in self.site.store.entries(stored.listing) if isinstance(one, FileEntry))
        facts = PackageFacts(
            ref=ref,
            bytes=stored.listing.bytes,
            largest=max(sizes, default=0),
            points=frozenset(self._at.get(ref, ())),
            retired=retired,
        )
        return stored, facts


def _images(
    supply: _Packages, sequence: TaskSequence, chosen: Sequence[ComputerFacts]
) -> Iterator[tuple[tuple[int, str], ImageFile]]:
    for step in sequence.steps:
        if not isinstance(step, ApplyImageStep):
            continue
        for name in sorted({package_of(step.use, one.variables) for one in chosen if one.runs(step)}):
            files = supply.files(name) if name else None
            if files is not None:
                yield (step.number, name), _image(files, step)


def _image(files: _StoreFiles, step: ApplyImageStep) -> ImageFile:
    try:
        found = image_facts(files, step)
    except CourierError as error:
        return ImageFile(name="", problem=error.message, remedy=error.hint)
    except FormatError as error:
        explained = explain(error)
        return ImageFile(name="", problem=explained.message, remedy=explained.hint)
    wim = None
    if found.images is not None:
        wim = tuple(WimSize(index=one.index, bytes=one.bytes) for one in found.images)
    return ImageFile(name=found.name, bytes=found.size, wim=wim)


def _state_points(site: Site) -> tuple[StatePointFacts, ...]:
    return tuple(
        StatePointFacts(name=one.point.name, places=one.places, room=one.room)
        for one in rooms(site)
        if not one.point.restore_only
    )
