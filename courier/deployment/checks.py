"""The judgement of a deployment: all that is amiss, at once, each with the step and the remedy. Pure.

``deploy create`` and ``deploy check`` use it. Whether a step concerns a computer is judged by the variables of that
computer: a step that none of the computers runs hinders nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from courier.deployment.content_checks import check_content
from courier.deployment.deployment_facts import ComputerFacts, DeploymentFacts
from courier.deployment.finding_list import FindingList
from courier.deployment.findings import Finding
from courier.deployment.image_checks import check_images
from courier.deployment.sequence import (
    AnyStep,
    ApplyImageStep,
    CaptureStateStep,
    PartitionStep,
    RestoreStateStep,
    overwrites,
    wipes,
)

LEAST_STATE = 250_000_000
"""Bytes that a state migration point must have left for each computer whose state is captured: what USMT asks for."""


def wiped(facts: DeploymentFacts) -> list[ComputerFacts]:
    """The computers whose disk the sequence erases or writes over."""
    steps = facts.sequence.steps if facts.sequence else ()
    return [one for one in facts.computers if any(overwrites(step) and one.runs(step) for step in steps)]


def check_deployment(facts: DeploymentFacts) -> list[Finding]:
    """All that is amiss; empty where nothing is."""
    found = FindingList()
    for fault in facts.faults:
        found.put(fault)
    _check_times(facts, found)
    _check_computers(facts, found)
    if facts.package is None:
        package = facts.wanted.partition(":")[0]
        found.add(
            "package-missing",
            f"package {facts.wanted} is not in the store",
            "courier package list shows those that are",
            about=package,
        )
    if facts.sequence is not None:
        steps = facts.sequence.steps
        _check_wipes(facts, steps, found)
        for computer in facts.computers:
            _StateJudgement(facts, computer, found).judge(steps)
        _check_state_points(facts, steps, found)
        check_content(facts, steps, found)
        check_images(facts, steps, found)
    return found.all()


def _check_times(facts: DeploymentFacts, found: FindingList) -> None:
    order = [
        ("--available", facts.available_ns),
        ("--deadline", facts.deadline_ns),
        ("--expires", facts.expires_ns),
    ]
    given = [(name, time) for name, time in order if time is not None]
    for (early, first), (late, second) in pairwise(given):
        if first >= second:
            found.add("times-out-of-order", f"{early} is not before {late}", f"give a later {late}")
    if facts.expires_ns is not None and facts.expires_ns <= facts.now_ns:
        found.add("expired", "the deployment has expired already", "give a later --expires, in UTC")


def _check_computers(facts: DeploymentFacts, found: FindingList) -> None:
    for one in facts.computers:
        if not one.known:
            found.add(
                "unknown-computer",
                "the site does not know the computer, with an operating system or without",
                f"courier computer add {one.name}; for many: courier computer import FILE.csv",
                computer=one.name,
            )
        elif not one.recognisable:
            found.add(
                "known-by-name-only",
                "the computer has neither a GUID nor a MAC in its record",
                f"courier computer set {one.name} --guid GUID",
                computer=one.name,
                refuses=False,
            )


def _check_wipes(facts: DeploymentFacts, steps: Sequence[AnyStep], found: FindingList) -> None:
    for step in steps:
        here = [one for one in facts.computers if one.runs(step)]
        if wipes(step) and here and facts.option == "download-all":
            found.add(
                "repartition-erases-cache",
                "it erases the disk, and the cache with all that download-all has put there before",
                "--option run-from-point, which reads from the point; or --option as-needed, which downloads later",
                step=step,
            )
        if overwrites(step):
            for one in here:
                if one.protected:
                    found.add(
                        "protected-computer",
                        "it would erase a computer that is protected",
                        f"leave it out of --to; or, if it is meant: courier computer set {one.name} --no-protect",
                        step=step,
                        computer=one.name,
                    )
    if facts.sequence and not facts.sequence.boot_image.package and any(wipes(step) for step in steps):
        first = next(step for step in steps if wipes(step))
        if any(one.runs(first) for one in facts.computers):
            found.add(
                "no-boot-image",
                "it erases the disk that the computer runs from, and the sequence names no boot image",
                'at the top of the sequence: boot-image = "ID", a package with what the computer starts from',
                step=first,
            )


@dataclass
class _StateJudgement:
    """Follows the steps on one computer as far as state is concerned."""

    facts: DeploymentFacts
    computer: ComputerFacts
    found: FindingList
    captured: CaptureStateStep | None = None
    restored: RestoreStateStep | None = None
    erased: AnyStep | None = None

    def judge(self, steps: Iterable[AnyStep]) -> None:
        """Judge the steps in their order."""
        for step in steps:
            if not self.computer.runs(step):
                continue
            match step:
                case CaptureStateStep():
                    self._capture(step)
                case RestoreStateStep():
                    self._restore(step)
                case PartitionStep() | ApplyImageStep():
                    self._overwrite(step)

    def _capture(self, step: CaptureStateStep) -> None:
        one = self.computer
        if not one.state_goes_to:
            self._add(
                "not-associated",
                step,
                "it captures the state, and it is not said which computer gets it",
                f"courier computer associate {one.name} DESTINATION",
            )
        if self.erased is not None:
            self._add(
                "capture-after-wipe",
                step,
                f"it captures what step {self.erased.number} ({self.erased.name}) has erased",
                "put it before that step",
            )
        if self.captured is not None:
            self._add(
                "capture-twice",
                step,
                f"it captures once more what step {self.captured.number} ({self.captured.name}) captures, and only the "
                "newest capture is restored",
                "put the patterns of both into one capture-state step; where they are on two partitions, capture from "
                "within the old system: courier state capture",
            )
        self.captured = self.captured or step

    def _restore(self, step: RestoreStateStep) -> None:
        one = self.computer
        itself = one.state_goes_to.casefold() == one.name.casefold()
        if self.captured is not None and one.state_goes_to and not itself:
            self._add(
                "association-differs",
                step,
                f"it restores what step {self.captured.number} captures, and that goes to {one.state_goes_to}",
                f"courier computer associate {one.name} {one.name}; or capture and restore in two deployments",
            )
        elif not (one.state_comes_from or one.awaits) and (self.captured is None or one.state_goes_to):
            self._add(
                "not-associated",
                step,
                "it restores state, and no computer's state goes to this one",
                f"courier computer associate SOURCE {one.name}",
            )
        elif self.captured is None and not one.awaits:
            self._add(
                "not-captured-yet",
                step,
                "no state is kept that it could restore; its policy is made once there is",
                f"courier state capture {one.state_comes_from[0]} --from DIR --rules FILE, or a deployment to "
                f"{one.state_comes_from[0]} with a capture-state step",
                refuses=False,
            )
        self.restored = step

    def _overwrite(self, step: AnyStep) -> None:
        one = self.computer
        if self.restored is not None:
            self._add(
                "restore-then-wipe",
                step,
                f"it erases what step {self.restored.number} ({self.restored.name}) has restored",
                "put the restore after it",
            )
        if self.captured is None and one.state_goes_to and not one.captured and self.erased is None:
            self._add(
                "capture-missing",
                step,
                f"it erases a computer whose state is to go to {one.state_goes_to}, and was not captured",
                f"put a capture-state step before it; or, where the state is not wanted: courier computer dissociate "
                f"{one.name}",
            )
        if self.captured is not None and self.captured.continue_on_error and self.erased is None:
            self._add(
                "capture-may-fail",
                self.captured,
                f"it may fail without ending the sequence, and step {step.number} ({step.name}) then erases what it "
                "has not captured",
                "leave continue-on-error out of it",
            )
        self.erased = self.erased or step

    def _add(self, code: str, step: AnyStep, message: str, remedy: str, *, refuses: bool = True) -> None:
        self.found.add(code, message, remedy, step=step, computer=self.computer.name, refuses=refuses)


def _check_state_points(facts: DeploymentFacts, steps: Sequence[AnyStep], found: FindingList) -> None:
    """Whether the points take the state of all computers that are captured and have no place yet."""
    captures = [step for step in steps if isinstance(step, CaptureStateStep)]
    wanting = [one for one in facts.computers if any(one.runs(step) for step in captures) and not one.has_place]
    if not wanting:
        return
    add = "courier state point add NAME PATH --max-clients 50"
    reached = [one for one in facts.state_points if one.room is not None]
    if not reached:
        what = "the state migration points cannot be reached" if facts.state_points else "there is none"
        found.add("no-state-point", f"state is to be captured, and {what} that takes it", add, step=captures[0])
        return
    places = sum(one.places for one in reached)
    if places < len(wanting):
        found.add(
            "state-points-full",
            f"the state of {len(wanting):,} computers is to be captured; the points have places for {places:,}",
            f"courier state release COMPUTER, for what is not needed any more; or {add}",
            step=captures[0],
        )
    room = sum(one.room or 0 for one in reached if one.places)
    if room < LEAST_STATE * len(wanting):
        found.add(
            "state-no-space",
            f"the state of {len(wanting):,} computers needs at least {LEAST_STATE * len(wanting):,} bytes; the points "
            f"have {room:,} above what stays free",
            f"free space there, or {add}",
            step=captures[0],
        )
