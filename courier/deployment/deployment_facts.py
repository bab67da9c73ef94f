"""What is known of a deployment before it is judged: its computers, packages, points, images and state. Pure records.

`courier.deployment.facts` gathers them, `courier.deployment.checks` judges them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from courier.deployment.findings import Finding
from courier.deployment.sequence import PackageUse, Sequence, Step
from courier.deployment.variables import Variables, package_of, runs
from formats.documents.deployment import Option
from formats.documents.fields import PackageRef


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputerFacts:
    """A computer that is deployed to.

    ``known``: whether the site has it; if not, it has no class, group, or variables of its own. ``cache_size``: bytes
    of the cache of its class, None where the site has no settings for it. ``points``: the points that it can reach, the
    nearest first. ``state_goes_to``: the computer that gets its state, ``state_comes_from``: whose state it gets; empty
    where there is none. ``captured``: its state is kept, complete. ``awaits``: state is kept for it. ``has_place``: a
    state migration point has a place for its state already.
    """

    name: str
    known: bool
    variables: Variables
    protected: bool = False
    recognisable: bool = True
    client_class: str = ""
    group: str = ""
    cache_size: int | None = None
    points: tuple[str, ...] = ()
    state_goes_to: str = ""
    state_comes_from: tuple[str, ...] = ()
    captured: bool = False
    awaits: bool = False
    has_place: bool = False

    def runs(self, step: Step) -> bool:
        """Whether a step runs on it."""
        return runs(step, self.variables)


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageFacts:
    """A package version that is used. ``bytes``: of all its files; ``largest``: of the largest.

    ``points``: the points that have it. ``retired``: why its source retired it, or None.
    """

    ref: PackageRef
    bytes: int
    largest: int = 0
    points: frozenset[str] = frozenset()
    retired: str | None = None

    @property
    def name(self) -> str:
        """ID and version."""
        return f"{self.ref.package}:{self.ref.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class WimSize:
    """An image of a WIM: its index, and the bytes of its files."""

    index: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFile:
    """The image of a step. ``wim``: its images where it is a WIM; None for a raw image of ``bytes``.

    ``problem``: why it cannot be used, with its ``remedy``; then there is nothing else.
    """

    name: str
    bytes: int = 0
    wim: tuple[WimSize, ...] | None = None
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatePointFacts:
    """A state migration point that takes captures: places left, and bytes above its minimum; None: it is away."""

    name: str
    places: int
    room: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentFacts:
    """A deployment that is to be judged, at the time ``now_ns`` (UTC).

    ``sequence`` is None where its text has ``faults``. ``package``: what is deployed; None where the store does not
    have it, which ``wanted`` names. ``versions``: the package that each reference leads to, of those that are there.
    ``images``: by step and reference.
    """

    now_ns: int
    option: Option
    wanted: str
    package: PackageFacts | None
    sequence: Sequence | None
    faults: tuple[Finding, ...] = ()
    computers: tuple[ComputerFacts, ...]
    versions: Mapping[str, PackageFacts] = field(default_factory=dict)
    images: Mapping[tuple[int, str], ImageFile] = field(default_factory=dict)
    state_points: tuple[StatePointFacts, ...] = ()
    all_points: tuple[str, ...] = ()
    available_ns: int | None = None
    deadline_ns: int | None = None
    expires_ns: int | None = None

    def used(self, use: PackageUse, computer: ComputerFacts) -> PackageFacts | None:
        """The package version that a step uses on a computer; None where there is none."""
        return self.versions.get(package_of(use, computer.variables))
