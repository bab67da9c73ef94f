"""The client as a whole: what a command gives it becomes a run."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from courier.deployment.run.content import CachedContent, Content, DoomedContent, Progress, Supply
from courier.deployment.run.directory import DirectoryTarget
from courier.deployment.run.disk import DiskTarget
from courier.deployment.run.engine import Engine, Plan, RunResult
from courier.deployment.run.journal import open_journal
from courier.deployment.run.point_files import PointContent
from courier.deployment.run.policy import ReadPolicy, check_computer, check_times
from courier.deployment.run.reporting import Recorder, Reporting
from courier.deployment.run.steps import StepRunner
from courier.deployment.run.target import Target, check_place
from courier.deployment.run.work import Work
from courier.deployment.sequence_file import load_sequence
from courier.deployment.variables import variables_of

_DOOMED = "cache-on-the-disk"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a run is to do. ``computer``: the name of this computer. ``cache``: the folder of its cache.

    ``recorders``: where status messages go. ``anew``: give up a run that is not over. ``device``: ``into`` may be a
    block device, which the caller has chosen and holds open. The others as in
    `courier.deployment.run.engine.Plan`.
    """

    read: ReadPolicy
    computer: str
    into: Path
    cache: Path
    supply: Supply
    recorders: list[Recorder]
    anew: bool = False
    erase: bool = False
    force_download: bool = False
    restart_is_end: bool = False
    device: bool = False


def run_deployment(
    wanted: Wanted,
    work: Work,
    *,
    now_ns: int,
    stop: threading.Event,
    progress: Progress,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> RunResult:
    """Run the sequence of a policy into a folder, disk image or held disk; a run that was cut goes on.

    Raises `RefusedError`, `UsageError`, `NotFoundError`, `DamagedError`, `NoSpaceError`, `UnreachableError`,
    `StoppedError`, and `CourierError` for a step that failed.
    """
    policy = wanted.read.policy
    check_computer(policy, wanted.computer)
    into = wanted.into.absolute()
    is_disk = check_place(into, work.folder, device=wanted.device)
    if wanted.anew:
        work.tidy()
    journal = open_journal(work.journal, policy=wanted.read.digest, target=str(into), anew=wanted.anew)
    if not journal.is_begun:
        check_times(policy, now_ns=now_ns)
    sequence = load_sequence(policy.sequence, name=f"task sequence of {policy.deployment}")
    own = policy.computer.variables if policy.computer else {}
    name = policy.computer.name if policy.computer else wanted.computer
    variables = variables_of(sequence, name, own)
    identity = uuid.UUID(hex=journal.head.run)
    target: Target = DiskTarget(into, work, identity) if is_disk else DirectoryTarget(into, work)
    content = _content(wanted, work, policy.option, owner=f"deployment {policy.deployment}", warn=warn)
    plan = Plan(
        policy=policy,
        steps=sequence.steps,
        variables=variables,
        into=into,
        erase=wanted.erase,
        force_download=wanted.force_download,
        restart_is_end=wanted.restart_is_end,
    )
    engine = Engine(
        plan=plan,
        work=work,
        journal=journal,
        target=target,
        content=content,
        reporting=Reporting(policy, journal, wanted.recorders, warn=warn),
        runner=StepRunner(
            policy=policy,
            variables=variables,
            work=work,
            target=target,
            content=content,
            into=into,
            stop=stop,
            progress=progress,
        ),
        say=say,
        warn=warn,
    )
    return engine.run()


def _content(wanted: Wanted, work: Work, option: str, *, owner: str, warn: Callable[[str], None]) -> Content:
    if option == "run-from-point":
        return PointContent(wanted.supply, work)
    at_once = option == "download-all"
    if at_once and wanted.force_download:
        return DoomedContent(wanted.supply, work.place(_DOOMED), owner=owner, warn=warn)
    return CachedContent(wanted.supply, wanted.cache, owner=owner, at_once=at_once, warn=warn)
