"""Keeping a branch point up to date for as long as the command runs: round after round, and when a client wishes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from courier.distribution.download_run import Progress
from courier.distribution.folder import PointFolder
from courier.distribution.mirror import Mirrored, Mirroring, mirror
from courier.distribution.mirror_folder import opened_mirror
from courier.distribution.mirror_wishes import wished
from courier.errors import CourierError, StoppedError
from courier.files import explain_os

LOOK_SECONDS = 2.0
"""How often it is looked for new wishes."""


def watch(
    wanted: Mirroring,
    *,
    new: bool,
    every: float,
    stop: threading.Event,
    progress: Progress,
    told: Callable[[Mirrored], None],
    failed: Callable[[CourierError], None],
) -> None:
    """Do a round every ``every`` seconds, and at once for a new wish, until ``stop`` is set.

    ``told`` is given what each round did, ``failed`` what it failed of; the next one goes on. Raises what
    `opened_mirror` raises, before the first round, and `StoppedError`.
    """
    with opened_mirror(wanted.folder, new=new):
        pass
    while not stop.is_set():
        before = _wishes(wanted)
        try:
            told(mirror(wanted, stop=stop, progress=progress))
        except StoppedError:
            raise
        except CourierError as error:
            failed(error)
        except OSError as error:
            failed(explain_os(error))
        until = time.monotonic() + every
        while not stop.is_set() and time.monotonic() < until and not _wishes(wanted) - before:
            stop.wait(min(LOOK_SECONDS, every))


def _wishes(wanted: Mirroring) -> set[tuple[str, int]]:
    """What clients wish for, of the packages that are fetched on demand."""
    try:
        with PointFolder(wanted.folder) as opened:
            return {wish for wish in wished(opened) if wish[0].startswith(wanted.on_demand)}
    except OSError:
        return set()
