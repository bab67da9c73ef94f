"""What a client will do, step by step: what each uses, from which point, by way of the cache or not. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from courier.deployment.content_checks import uses
from courier.deployment.deployment_facts import ComputerFacts, DeploymentFacts, PackageFacts
from courier.deployment.sequence import (
    REST,
    AnyStep,
    ApplyImageStep,
    CaptureStateStep,
    Condition,
    InstallDriverStep,
    PartitionStep,
    RestartStep,
    RestoreStateStep,
    RunStep,
)
from courier.deployment.variables import holds, package_of
from courier.text import size_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A line of the timeline. ``step``: 0 for what is before the first one.

    ``runs``: whether its conditions hold; if not, ``why``. ``package`` is empty where none is used; ``point``: where it
    comes from first, ``others``: where from if that fails; ``cached``: by way of the cache.
    """

    step: int
    name: str
    what: str
    runs: bool = True
    why: str = ""
    package: str = ""
    bytes: int = 0
    point: str = ""
    others: tuple[str, ...] = ()
    cached: bool = False


def timeline(facts: DeploymentFacts, computer: ComputerFacts) -> list[Entry]:
    """What the computer will do, in order; empty where the sequence cannot be read."""
    return list(_entries(facts, computer)) if facts.sequence else []


def _entries(facts: DeploymentFacts, computer: ComputerFacts) -> Iterator[Entry]:
    sequence = facts.sequence
    assert sequence is not None
    used = [
        (step, package)
        for step, use in uses(facts, sequence.steps, computer)
        if (package := facts.used(use, computer)) is not None
    ]
    for step, package in used:
        if step is None:
            yield _from(package, computer, Entry(step=0, name="", what="starts from the boot image"))
    if facts.option == "download-all":
        for package in dict.fromkeys(package for step, package in used if step is not None):
            entry = Entry(step=0, name="", what="downloads into its cache", cached=True)
            yield _from(package, computer, entry)
    by_step = {step.number: package for step, package in used if step is not None}
    for one in sequence.steps:
        failing = [condition for condition in one.conditions if not holds(condition, computer.variables)]
        if failing:
            why = "; ".join(map(condition_text, failing))
            yield Entry(step=one.number, name=one.name, what="is left out", runs=False, why=f"it runs where {why}")
            continue
        entry = Entry(step=one.number, name=one.name, what=_what(one, facts, computer))
        found = by_step.get(one.number)
        if found is None:
            yield entry
        else:
            cached = facts.option != "run-from-point"
            yield _from(found, computer, entry, cached=cached)


def _from(package: PackageFacts, computer: ComputerFacts, entry: Entry, *, cached: bool | None = None) -> Entry:
    points = [name for name in computer.points if name in package.points]
    return Entry(
        step=entry.step,
        name=entry.name,
        what=entry.what,
        package=package.name,
        bytes=package.bytes,
        point=points[0] if points else "",
        others=tuple(points[1:]),
        cached=entry.cached if cached is None else cached,
    )


def condition_text(condition: Condition) -> str:
    """A condition in words."""
    if condition.exists is not None:
        return f"{condition.variable} is {'set' if condition.exists else 'not set'}"
    if condition.is_not:
        return f"{condition.variable} is not {' or '.join(condition.is_not)}"
    if condition.matches:
        return f"{condition.variable} matches {condition.matches}"
    return f"{condition.variable} is {' or '.join(condition.is_one_of)}"


def _what(step: AnyStep, facts: DeploymentFacts, computer: ComputerFacts) -> str:
    label: str = getattr(step, "part", "")
    where = f" on {label}" if label else ""
    match step:
        case PartitionStep():
            parts = [
                f"{part.label} ({'the rest' if part.size == REST else size_text(part.size)}, {part.file_system})"
                for part in step.parts
            ]
            return f"erases the disk and makes {', '.join(parts)}"
        case ApplyImageStep():
            if step.whole_disk:
                return f"erases the disk and writes {step.file or 'the image'} onto it"
            image = facts.images.get((step.number, package_of(step.use, computer.variables)))
            if image is not None and not image.problem and image.wim is None:
                return f"writes {step.file or 'the image'}{where}"
            what = f"image {step.index} of {step.file}" if step.file else f"image {step.index}"
            return f"applies {what}{where}"
        case CaptureStateStep():
            return f"captures state{where} for {computer.state_goes_to or 'nobody'}"
        case RestoreStateStep():
            return f"restores state{where} of {', '.join(computer.state_comes_from) or computer.name}"
        case InstallDriverStep():
            return f"copies drivers to {step.to}{where}"
        case RunStep():
            return f"runs {step.command[0]}"
        case RestartStep():
            return "restarts"
