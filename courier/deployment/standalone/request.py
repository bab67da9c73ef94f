"""What a set is asked to be, and what it is made of: the sequence is read, and its packages are found in the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.deployment.sequence import (
    ApplyImageStep,
    CaptureStateStep,
    InstallDriverStep,
    PackageUse,
    RestoreStateStep,
    RunStep,
)
from courier.deployment.sequence import Sequence as TaskSequence
from courier.deployment.sequence_file import load_sequence
from courier.deployment.standalone.point_contents import package_refs
from courier.error_codes import Code
from courier.errors import CourierError, RefusedError, UsageError
from courier.files import explain_os
from courier.packages.find import find_package, parse_reference
from courier.site.catalog.packages import StoredPackage
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.deployment import MAX_SEQUENCE, DeploymentPolicy, ReachablePoint
from formats.documents.standalone import Layout

POINT_ADDRESS = "/run/courier/point"
"""Where the started computer has the point's folder of the set: a disc that is mounted, or what it gathered."""
_MOST_TEXT = 4 * MAX_SEQUENCE


@dataclass(frozen=True, kw_only=True, slots=True)
class SetRequest:
    """A set as the operator asks for it.

    ``package`` is a reference to the image, ``sequence`` the file of the task sequence. ``boot_image``: a reference, or
    empty for the one that the sequence names. ``valid_from_ns`` and ``valid_until_ns`` (UTC) are None for no limit.
    ``passphrase``: empty for none. ``serial``: whether the first serial port is a console too.
    """

    package: str
    sequence: Path
    layout: Layout
    boot_image: str = ""
    bios_loaders: tuple[Path, ...] = ()
    efi_loaders: tuple[Path, ...] = ()
    valid_from_ns: int | None = None
    valid_until_ns: int | None = None
    passphrase: str = ""
    name: str = ""
    serial: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SetSource:
    """What a set is made of: the text of the sequence, what it says, its packages in the store, and the boot image."""

    text: str
    sequence: TaskSequence
    packages: tuple[StoredPackage, ...]
    boot: StoredPackage

    @property
    def name(self) -> str:
        """The name of the sequence."""
        return self.sequence.name


def find_source(site: Site, request: SetRequest) -> SetSource:
    """Read the sequence, and find what it uses. Raises `RefusedError` with all that cannot be on media at once."""
    _check_times(request)
    text = _text(request.sequence)
    sequence = load_sequence(text, name=str(request.sequence))
    _check_steps(sequence)
    uses = list(_uses(sequence))
    image = find_package(site, request.package)
    _check_image(image, uses)
    found = {}
    missing: list[CourierError] = []
    for step, use in uses:
        reference = use.package if use.version is None else f"{use.package}:{use.version}"
        if use.package == image.package and use.version is None:
            reference = f"{image.package}:{image.version}"
        try:
            stored = find_package(site, reference)
        except CourierError as error:
            missing.append(type(error)(f"{step}: {error.message}", hint=error.hint, code=error.code))
            continue
        found[stored.package, stored.version] = stored
    if missing:
        first = missing[0]
        raise type(first)("; ".join(one.message for one in missing), hint=first.hint, code=first.code)
    return SetSource(
        text=text,
        sequence=sequence,
        packages=tuple(found[key] for key in sorted(found)),
        boot=_boot_image(site, request, sequence),
    )


def _check_times(request: SetRequest) -> None:
    start, end = request.valid_from_ns, request.valid_until_ns
    if start is not None and end is not None and start >= end:
        raise UsageError("--valid-to is not after --valid-from", hint="give a later time with --valid-to")
    if end is not None and end <= now():
        raise UsageError("--valid-to is over already", hint="give a time in the future, in UTC: 2026-11-24T09:30")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as source:
            data = source.read(_MOST_TEXT + 1)
    except OSError as error:
        raise explain_os(error) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedError(f"{path} is not a text in UTF-8", hint="save it as UTF-8", code=Code.SEQUENCE) from None


def _steps(sequence: TaskSequence) -> Iterator[tuple[str, object]]:
    for step in sequence.steps:
        yield f"step {step.number} ({step.name})", step


def _check_steps(sequence: TaskSequence) -> None:
    """Raise `RefusedError` where a step needs what stand-alone media do not have."""
    wrong = []
    for name, step in _steps(sequence):
        if isinstance(step, CaptureStateStep | RestoreStateStep):
            wrong.append(f"{name} needs a state migration point, and a set of media has none")
        use = step.use if isinstance(step, ApplyImageStep | InstallDriverStep | RunStep) else None
        if use is not None and use.variable:
            wrong.append(
                f"{name} takes its package from the variable {use.variable}, so nobody knows now which is to be on the "
                "media"
            )
    if wrong:
        raise RefusedError(
            "; ".join(wrong),
            hint="make a sequence for media: a step for each package, with conditions, and no steps for state",
            code=Code.SEQUENCE,
        )


def _uses(sequence: TaskSequence) -> Iterator[tuple[str, PackageUse]]:
    for name, step in _steps(sequence):
        if isinstance(step, ApplyImageStep | InstallDriverStep | RunStep) and step.use is not None:
            yield name, step.use


def _check_image(image: StoredPackage, uses: Sequence[tuple[str, PackageUse]]) -> None:
    versions = {use.version for _, use in uses if use.package == image.package}
    if not versions:
        used = ", ".join(sorted({use.package for _, use in uses})) or "no package"
        raise RefusedError(
            f"the sequence does not use {image.package}; it uses {used}",
            hint="name the image that the sequence applies with --package",
            code=Code.SEQUENCE,
        )
    if None not in versions and image.version not in versions:
        raise RefusedError(
            f"the sequence applies {image.package}:{min(one for one in versions if one)}, not version {image.version}",
            hint="name that version with --package, or take the version out of the sequence",
            code=Code.SEQUENCE,
        )


def _boot_image(site: Site, request: SetRequest, sequence: TaskSequence) -> StoredPackage:
    use = sequence.boot_image
    reference = request.boot_image or (use.package if use.version is None else f"{use.package}:{use.version}")
    if not reference:
        raise UsageError(
            "no boot image is named, by --boot-image or in the sequence (boot-image)",
            hint="--boot-image ID; docs/standalone.md tells how to make one of Linux from Debian packages",
        )
    parse_reference(reference)
    return find_package(site, reference)


def make_policy(
    site: Site, source: SetSource, request: SetRequest, *, deployment: str, issued_ns: int
) -> DeploymentPolicy:
    """The deployment policy of the set, to be signed: for any computer, read from the media while it is used."""
    return DeploymentPolicy(
        site=site.code,
        deployment=deployment,
        issued_ns=issued_ns,
        computer=None,
        sequence=source.text,
        option="run-from-point",
        packages=package_refs(source.packages),
        points=(ReachablePoint(point=deployment, address=POINT_ADDRESS),),
        state=None,
        status_key=b"",
        available_ns=request.valid_from_ns,
        deadline_ns=None,
        expires_ns=request.valid_until_ns,
    )
