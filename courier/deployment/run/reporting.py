"""Status messages of a run: one for each event of the journal, so that what a cut kept back is told later.

The number of a message is that of its event. Telling again what was told changes nothing. That it cannot be told stops
no step: it is tried again with the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from courier.deployment.run.journal import Journal
from courier.deployment.status import MAX_MESSAGE, StatusMessage, file_name, make_status
from courier.errors import CourierError, NotFoundError
from courier.files import make_folder, write_atomic
from formats.documents.deployment import DeploymentPolicy


class Recorder(Protocol):
    """Where messages go."""

    def __call__(self, message: StatusMessage, /) -> None:
        """Take a message, which may have come before. Raises `OSError` or `CourierError` where it cannot now."""


def to_folder(folder: Path, key: bytes) -> Recorder:
    """A recorder that writes files which only the computer's ``key`` makes, into a folder that the site collects."""

    def record(message: StatusMessage) -> None:
        if not folder.parent.is_dir():
            raise NotFoundError(f"{folder.parent} is not there", hint="connect its disk or share")
        path = make_folder(folder) / file_name(message)
        if not path.exists():
            write_atomic(path, make_status(message, key), readable=True)

    return record


class Reporting:
    """Tells the events of a journal."""

    def __init__(
        self, policy: DeploymentPolicy, journal: Journal, recorders: list[Recorder], *, warn: Callable[[str], None]
    ) -> None:
        self._policy, self._journal, self._warn = policy, journal, warn
        self._recorders = recorders
        self._told = [0] * len(recorders)
        self._warned = ""

    def tell(self) -> None:
        """Tell what was not told yet."""
        computer = self._policy.computer
        if computer is None:
            return
        for at, record in enumerate(self._recorders):
            try:
                while self._told[at] < len(self._journal.events):
                    record(self._message(computer.name, self._told[at]))
                    self._told[at] += 1
            except (OSError, CourierError) as error:
                text = error.message if isinstance(error, CourierError) else f"{error.filename}: {error.strerror}"
                if text != self._warned:
                    self._warn(f"the status cannot be told now ({text}); it is tried again with the next step")
                self._warned = text

    def _message(self, computer: str, at: int) -> StatusMessage:
        event = self._journal.events[at]
        return StatusMessage(
            deployment=self._policy.deployment,
            computer=computer,
            run=self._journal.head.run,
            number=at + 1,
            step=event.step,
            outcome=event.state,
            message=event.message[:MAX_MESSAGE],
            at_ns=event.at_ns,
        )
