"""Running a program of a task sequence: one of this computer, or of a package that is put into the work folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from courier.deployment.run.content import Content
from courier.deployment.run.drivers import copy_package
from courier.deployment.run.tools import run_bounded
from courier.deployment.run.work import Work
from courier.deployment.sequence import RunStep
from courier.errors import FailedError, NotFoundError, StoppedError
from courier.files import make_folder
from formats.documents.fields import PackageRef

_SAID = 300


def run_program(
    step: RunStep, work: Work, content: Content, ref: PackageRef | None, *, environment: Mapping[str, str]
) -> str:
    """Run the program of a step to its end; return a line that says how it ended. Its output goes into the log.

    ``environment`` is added to that of this process. A program of a package is named by its path there; it runs in that
    folder, and others in the work folder. Raises `FailedError` for an exit code that is not good and for a program
    that ran too long, `NotFoundError` where it is not there.
    """
    env = {**os.environ, **environment}
    if ref is None:
        return _run(step, work, shutil.which(step.command[0], path=env.get("PATH")), work.built, env)
    with work.scratch("package") as folder:
        make_folder(folder)
        content.using(ref, lambda files: copy_package(files, folder, ""))
        program = folder / step.command[0]
        inside = program.resolve().is_relative_to(folder.resolve()) and program.is_file()
        if inside:
            program.chmod(program.stat().st_mode | 0o100)  # packages of Windows know no such permission
        found = str(program) if inside else None
        return _run(step, work, found, folder, {**env, "COURIER_PACKAGE": str(folder)})


def _run(step: RunStep, work: Work, program: str | None, where: Path, env: Mapping[str, str]) -> str:
    name = step.command[0]
    if program is None:
        raise NotFoundError(
            f"there is no program {name}", hint="name one of this computer, or a file of the package, in the step"
        )
    try:
        code, said = run_bounded(
            [program, *step.command[1:]], env=env, where=where, held=work.held, timeout=step.timeout
        )
    except OSError as error:
        raise FailedError(
            f"{name} cannot be run: {error.strerror}", hint="is it a program for this computer?"
        ) from None
    text = said.decode("utf-8", "replace")
    work.log(f"$ {' '.join(step.command)}\n{text}\n[{'ended after its time' if code is None else f'exit code {code}'}]")
    if code is None:
        raise FailedError(
            f"{name} ran longer than {step.timeout:g} seconds and was ended",
            hint=f"give it more (timeout), or look at its output in {work.log_file}",
        )
    if code < 0 and code not in step.success:
        raise StoppedError(f"{name} was ended by signal {-code}", hint="give the same command again to run it again")
    if code not in step.success:
        last = " ".join(text.strip().splitlines()[-2:])
        raise FailedError(
            f"{name} ended with exit code {code}{f': {last[-_SAID:]}' if last else ''}",
            hint=f"its output is in {work.log_file}; good codes are those of success in the step",
        )
    return f"exit code {code}"
