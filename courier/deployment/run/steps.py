"""What each type of step does to the target."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.deployment.run.content import Content, PackageFiles, Progress
from courier.deployment.run.drivers import copy_package, make_below
from courier.deployment.run.images import image_file
from courier.deployment.run.program import run_program
from courier.deployment.run.target import Target
from courier.deployment.run.wim import HEADER, is_wim
from courier.deployment.run.work import Work
from courier.deployment.sequence import (
    AnyStep,
    ApplyImageStep,
    CaptureStateStep,
    InstallDriverStep,
    PartitionStep,
    RestartStep,
    RestoreStateStep,
    RunStep,
)
from courier.deployment.state_capture import capture
from courier.deployment.state_restore import check_captured, restore
from courier.deployment.state_rules import make_rules
from courier.deployment.variables import Variables, package_of
from courier.error_codes import Code
from courier.errors import FailedError, NotFoundError, RefusedError
from courier.files import make_folder
from courier.text import plural, size_text
from formats.documents.deployment import DeploymentPolicy, StatePlace
from formats.documents.fields import PackageRef

COMPLETE = "complete"
"""The detail of a capture that has all in it."""


def captures_first(policy: DeploymentPolicy) -> bool:
    """Whether the computer's state has to be captured before anything of it is erased."""
    place, computer = policy.state, policy.computer
    if place is None or computer is None or place.restore_only or not place.recipients:
        return False
    return place.source.casefold() == computer.name.casefold()


@dataclass(kw_only=True)
class StepRunner:
    """Runs steps. Each can be done again from its beginning."""

    policy: DeploymentPolicy
    variables: Variables
    work: Work
    target: Target
    content: Content
    into: Path
    stop: threading.Event
    progress: Progress

    def package(self, step: AnyStep) -> PackageRef | None:
        """The package version that a step uses; None for none.

        Raises `NotFoundError` for one that the policy does not name, as its content was not checked by anyone.
        """
        use = getattr(step, "use", None)
        if use is None:
            return None
        wanted = package_of(use, self.variables)
        package, _, version = wanted.partition(":")
        found = [one for one in self.policy.packages if one.package == package and version in ("", str(one.version))]
        if not found:
            what = wanted or f"the package that {use.variable} names"
            raise NotFoundError(
                f"step {step.number} ({step.name}): {what} is not in the deployment",
                hint="set the variable of the computer, then have the site make its policy again",
            )
        return found[-1]

    def run(self, step: AnyStep) -> tuple[str, str]:
        """Run a step; a line that says what was done, and the detail for the journal. Raises as the targets do."""
        match step:
            case PartitionStep():
                self.target.erase(step)
                return plural(len(step.parts), "partition"), ""
            case ApplyImageStep():
                return self._apply(step), ""
            case CaptureStateStep():
                return self._capture(step)
            case RestoreStateStep():
                return self._restore(step), ""
            case InstallDriverStep():
                folder = self.target.folder(step.part)
                size = self._using(step, lambda files: copy_package(files, folder, step.to))
                return f"{size_text(size)} to {step.to}", ""
            case RunStep():
                return self._program(step), ""
            case RestartStep():
                return "restart", ""

    def _using(self, step: AnyStep, work: Callable[[PackageFiles], int]) -> int:
        ref = self.package(step)
        assert ref is not None
        return self.content.using(ref, work)

    def _apply(self, step: ApplyImageStep) -> str:
        def work(files: PackageFiles) -> int:
            entry = image_file(files, step)
            if is_wim(files.read_at(entry, 0, HEADER), where=entry.path):
                with files.local(entry) as path:
                    self.target.apply_wim(step.part, path, step.index, step=step.number)
            else:
                with self.progress(f"Writing {entry.path}", entry.size) as told:
                    self.target.write_raw(
                        "" if step.whole_disk else step.part, entry.size, _telling(files.pieces(entry), told)
                    )
            return entry.size

        return f"an image of {size_text(self._using(step, work))}"

    def _place(self) -> StatePlace:
        if self.policy.state is None:
            raise RefusedError(
                "the policy names no place for the state of this computer",
                hint="associate it with a computer, then make the policy again: courier computer associate --help",
            )
        return self.policy.state

    def check_state(self, steps: Sequence[AnyStep]) -> None:
        """Raise what a restore among ``steps`` would raise because nothing is captured for this computer."""
        for step in steps:
            if isinstance(step, CaptureStateStep):
                return
            if isinstance(step, RestoreStateStep):
                check_captured(self._place())
                return

    def _capture(self, step: CaptureStateStep) -> tuple[str, str]:
        rules = make_rules(step.include, step.exclude, step.largest)
        with self.target.reading(step.part) as root:
            found = capture(self._place(), root, rules, work=self.work.place("state"), stop=self.stop)
        if not found.is_complete:
            for one in found.left:
                self.work.log(f"not captured: {one.path}: {one.reason}")
            raise FailedError(
                f"{plural(found.unread, 'file')} could not be captured, first {found.left[0].path}",
                hint=f"{self.work.log_file} has all of them; nothing is erased before the capture is complete",
                code=Code.INCOMPLETE,
            )
        return f"{plural(found.files, 'file')}, {size_text(found.bytes)}", COMPLETE

    def _restore(self, step: RestoreStateStep) -> str:
        folder = self.target.folder(step.part)
        found = restore(self._place(), make_below(folder, step.to), stop=self.stop)
        return f"{plural(found.files, 'file')}, {size_text(found.bytes)}"

    def _program(self, step: RunStep) -> str:
        computer = self.policy.computer
        named = {
            "COURIER_TARGET": str(make_folder(self.target.root)),
            "COURIER_INTO": str(self.into),
            "COURIER_COMPUTER": computer.name if computer else "",
            "COURIER_DEPLOYMENT": self.policy.deployment,
            "COURIER_STEP": str(step.number),
        }
        own = {f"COURIER_VAR_{name.upper().replace('-', '_')}": value for name, value in self.variables.items()}
        return run_program(step, self.work, self.content, self.package(step), environment={**own, **named})


def _telling(pieces: Iterator[bytes | memoryview], told: Callable[[int], None]) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        yield piece
        told(len(piece))
