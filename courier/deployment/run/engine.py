"""Running a task sequence: step by step by the journal, so that a run that was cut goes on at its step.

Before the first write all is judged that can be known then (`run.judge`). A step that fails ends the run, unless it
says ``continue-on-error``; the same command tries it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from courier.deployment.run.content import Content, DoomedContent
from courier.deployment.run.facts import ImageFacts
from courier.deployment.run.images import image_facts
from courier.deployment.run.journal import CONTINUED, WHOLE, Journal, State
from courier.deployment.run.judge import Judgement
from courier.deployment.run.reporting import Reporting
from courier.deployment.run.steps import COMPLETE, StepRunner, captures_first
from courier.deployment.run.target import Target, check_erasable, target_mark
from courier.deployment.run.tools import require_tools
from courier.deployment.run.work import Work
from courier.deployment.sequence import AnyStep, ApplyImageStep, CaptureStateStep, RestartStep, overwrites, wipes
from courier.deployment.variables import Variables, runs
from courier.error_codes import Code
from courier.errors import CourierError, RefusedError, StoppedError, explain
from courier.files import explain_os
from formats.documents.deployment import DeploymentPolicy
from formats.documents.fields import PackageRef
from formats.errors import FormatError

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to run: ``steps`` all of the sequence. ``force_download``: run what must fail, to see it."""

    policy: DeploymentPolicy
    steps: tuple[AnyStep, ...]
    variables: Variables
    into: Path
    erase: bool = False
    force_download: bool = False
    restart_is_end: bool = False

    def runs(self, step: AnyStep) -> bool:
        """Whether the conditions of a step hold here."""
        return runs(step, self.variables)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """How a run ended. ``restart``: it wants this computer restarted, to go on then. ``already``: it was done before.

    ``failed``: the numbers of steps that failed though the sequence went on.
    """

    done: tuple[int, ...]
    skipped: tuple[int, ...]
    failed: tuple[int, ...]
    restart: bool = False
    already: bool = False


@dataclass(kw_only=True)
class Engine:
    """One run of the client."""

    plan: Plan
    work: Work
    journal: Journal
    target: Target
    content: Content
    reporting: Reporting
    runner: StepRunner
    say: Callable[[str], None]
    warn: Callable[[str], None]
    _named: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.plan.steps)
        self._named = {step.number: f"step {step.number} of {count}: {step.name}" for step in self.plan.steps}

    def run(self) -> RunResult:
        """Run what is not done yet. Raises the error of the step that ends the run; the same call goes on."""
        self.reporting.tell()
        if self.journal.is_begun:
            self._check_same_target()
        if self.journal.is_finished:
            return self._result(already=True)
        try:
            refs = self._refs()
            if not self.journal.is_begun:
                self._explaining(lambda: self._before(refs))
            self._event(WHOLE, "started", "goes on" if self.journal.is_begun else "begins", target_mark(self.plan.into))
            for step in self.plan.steps:
                if not self._is_over(step) and self._one(step):
                    return self._result(restart=True)
            self.say("Completing the target")
            self._explaining(self.target.finish)
        except (KeyboardInterrupt, StoppedError):
            raise
        except CourierError as error:
            self._event(WHOLE, "failed", error.message)
            raise
        self._event(WHOLE, "done", self._summary())
        self.content.release(refs)
        self.work.tidy()
        return self._result()

    # --- before the first write ---

    def _refs(self) -> list[PackageRef]:
        """The packages of the steps that run, each once. Raises `NotFoundError` for one that is not in the policy."""
        found = [ref for step in self.plan.steps if self.plan.runs(step) and (ref := self.runner.package(step))]
        return list(dict.fromkeys(found))

    def _before(self, refs: list[PackageRef]) -> None:
        plan = self.plan
        steps = [step for step in plan.steps if plan.runs(step)]
        wipe = next((step for step in steps if wipes(step)), None)
        if wipe and plan.policy.option == "download-all" and not plan.force_download:
            raise RefusedError(
                f"step {wipe.number} ({wipe.name}) erases the disk after everything was downloaded to it",
                hint="make it with --option run-from-point or as-needed; --force-download shows how it fails",
                code=Code.REPARTITION_ERASES_CACHE,
            )
        facts = self.target.facts()
        check_erasable(facts, plan.into, erases=any(overwrites(step) for step in steps), allowed=plan.erase)
        self.runner.check_state(steps)
        self.content.fetch_all(refs)
        images: dict[int, ImageFacts] = {}
        for step in steps:
            if isinstance(step, ApplyImageStep) and (ref := self.runner.package(step)):
                images[step.number] = self.content.using(ref, partial(image_facts, step=step))
        first = captures_first(plan.policy)
        judgement = Judgement(facts, images, capture_first=first)
        judgement.judge(steps)
        if judgement.findings:
            raise RefusedError(
                "; ".join(one.message for one in judgement.findings),
                hint=judgement.findings[0].remedy,
                code=Code.SEQUENCE,
            )
        require_tools(judgement.tools)

    def _check_same_target(self) -> None:
        """Raise `RefusedError` where another file or folder has the target's name by now, or what was made is gone.

        What the steps before have written would be missing in it; and as long as none has, nobody judged whether this
        one may be erased.
        """
        steps = [(step, self.journal.last(step.number)) for step in self.plan.steps if overwrites(step)]
        states = [last.state for step, last in steps if last is not None and self.plan.runs(step)]
        if "done" in states:
            # While a step erases, or when it was cut, nothing need be there.
            if "started" in states or self._explaining(self.target.is_as_left):
                return
            raise RefusedError(
                f"{self.plan.into} is not what this run has written to: it was replaced, or emptied, since",
                hint="put back what was there, and give the same command again; or begin with this one: --anew",
                code=Code.TARGET_EXISTS,
            )
        marks = [event.detail for event in self.journal.events if event.step == WHOLE and event.state == "started"]
        if marks and marks[-1] not in ("", target_mark(self.plan.into)):
            erases = any(overwrites(step) for step in self.plan.steps if self.plan.runs(step))
            facts = self._explaining(self.target.facts)
            check_erasable(facts, self.plan.into, erases=erases, allowed=self.plan.erase)

    # --- steps ---

    def _is_over(self, step: AnyStep) -> bool:
        """Whether a step needs no more work. A capture that failed is tried again as long as nothing was erased."""
        last = self.journal.last(step.number)
        if isinstance(step, CaptureStateStep) and last is not None and last.state == "failed":
            return any(overwrites(one) and self._began(one) for one in self.plan.steps if one.number > step.number)
        return self.journal.is_over(step.number)

    def _began(self, step: AnyStep) -> bool:
        return any(event.step == step.number and event.state == "started" for event in self.journal.events)

    def _one(self, step: AnyStep) -> bool:
        """Run a step, or skip it; return whether the computer is to be restarted now."""
        name = self._named[step.number]
        if not self.plan.runs(step):
            self.say(f"{name}: left out, its conditions do not hold")
            self._event(step.number, "skipped", "its conditions do not hold")
            return False
        if overwrites(step):
            self._check_captured(step)
        self.say(name)
        self._event(step.number, "started", step.name)
        try:
            message, detail = self._explaining(lambda: self.runner.run(step))
        except (KeyboardInterrupt, StoppedError):
            raise
        except CourierError as error:
            error.message = f"{name}: {error.message}"
            if not step.continue_on_error:
                self._event(step.number, "failed", error.message)
                raise
            self.warn(f"{error.message}; the sequence goes on")
            self._event(step.number, "failed", error.message, CONTINUED)
            return False
        if wipes(step) and isinstance(self.content, DoomedContent):
            self.content.erase()
        self._event(step.number, "done", message, detail)
        return isinstance(step, RestartStep) and self.plan.restart_is_end

    def _check_captured(self, step: AnyStep) -> None:
        """Raise `RefusedError` where the state of the computer has to be captured first, and was not, or not wholly."""
        if not captures_first(self.plan.policy):
            return
        captures = [
            self.journal.last(other.number)
            for other in self.plan.steps
            if isinstance(other, CaptureStateStep) and other.number < step.number and self.plan.runs(other)
        ]
        if captures and all(last and last.state == "done" and last.detail == COMPLETE for last in captures):
            return
        error = RefusedError(
            f"{self._named[step.number]}: it would erase files whose capture is not complete",
            hint="mend what the capture could not read, then give the same command again; nothing was erased",
            code=Code.REFUSED,
        )
        self._event(step.number, "failed", error.message)
        raise error

    @staticmethod
    def _explaining(work: Callable[[], _Result]) -> _Result:
        """What ``work`` returns; what the system or a format reports is raised in words."""
        try:
            return work()
        except FormatError as error:
            raise explain(error) from None
        except OSError as error:
            raise explain_os(error) from None

    def _event(self, step: int, state: State, message: str = "", detail: str = "") -> None:
        self.journal.add(step, state, message=message, detail=detail)
        self.reporting.tell()

    def _summary(self) -> str:
        failed = self._result().failed
        return f"done; failed on the way: {', '.join(map(str, failed))}" if failed else "done"

    def _result(self, *, restart: bool = False, already: bool = False) -> RunResult:
        def ended(state: str) -> tuple[int, ...]:
            last = [(step.number, self.journal.last(step.number)) for step in self.plan.steps]
            return tuple(number for number, event in last if event and event.state == state)

        return RunResult(
            done=ended("done"), skipped=ended("skipped"), failed=ended("failed"), restart=restart, already=already
        )
