"""Commands as another computer of the site would run them, in processes of their own that a test can stop at a place.

`started` types a command in a process that takes this very file as its program. Such a process may have file locks that
keep nobody apart, as two computers have them whose file system does not carry locks, so that only the catalogue does;
and it may wait at the first call of a function until the test lets it go on.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journey import ROOT, Ran

WAIT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Started:
    """A command that was started; ``place``: a folder in which it and the test tell each other how far they are."""

    process: subprocess.Popen[str]
    place: Path

    def wait_until_there(self) -> None:
        """Wait until the command has come to where it is to wait."""
        until = time.monotonic() + WAIT_SECONDS
        while not (self.place / "there").exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"it did not come there: {self.process.communicate()}")
            time.sleep(0.01)

    def go_on(self) -> None:
        """Let the command go on from where it waits."""
        (self.place / "go").touch()

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()

    def end(self, code: int | None = 0) -> Ran:
        """Wait for its end; it must exit with ``code`` (None: any)."""
        out, err = self.process.communicate(timeout=WAIT_SECONDS)
        if code is not None and self.process.returncode != code:
            raise AssertionError(f"exit code {self.process.returncode}, expected {code}\n{out}\n{err}")
        document = json.loads(out) if out.startswith("{") else {}
        return Ran(code=self.process.returncode, out=out, err=err, document=document)


@contextlib.contextmanager
def started(
    place: Path,
    *arguments: object,
    computer: str = "",
    apart: bool = False,
    wait_at: str = "",
    patience: float = 0.5,
    **more: str,
) -> Iterator[Started]:
    """Start ``courier ARGUMENTS``; it is killed at the end of the block where it still runs.

    ``computer``: the name of the computer that it takes itself for. ``apart``: its file locks count for nobody.
    ``wait_at``: ``MODULE:NAME`` of the function at whose first call it waits. ``patience``: seconds for which it waits
    for a spool that is in use.
    """
    place.mkdir(parents=True, exist_ok=True)
    plan = {"computer": computer, "apart": apart, "wait_at": wait_at, "patience": patience, "place": str(place)}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(plan), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **more},
    )
    try:
        yield Started(process=process, place=place)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def make_apart() -> None:
    """Have the file locks of this process count for nobody."""
    from courier import files

    vars(files).update(take_lock=lambda _descriptor: True, can_share_lock=lambda _descriptor: True)


def _wait_at(where: str, place: Path) -> None:
    module, _, names = where.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, last = names.split(".")
    for name in outer:
        owner = getattr(owner, name)
    real = getattr(owner, last)

    def waiting(*arguments: Any, **options: Any) -> Any:
        setattr(owner, last, real)
        (place / "there").touch()
        while not (place / "go").exists():
            time.sleep(0.01)
        return real(*arguments, **options)

    setattr(owner, last, waiting)


def _main() -> None:
    plan = json.loads(sys.argv[1])
    if plan["computer"]:
        import socket

        socket.gethostname = lambda: str(plan["computer"])
    from courier.receiving import spools_lock

    # Both have the value by name.
    complete = importlib.import_module("courier.receiving.complete")
    spools_lock.SPOOL_SECONDS = plan["patience"]
    complete.SPOOL_SECONDS = plan["patience"]  # type: ignore[attr-defined]
    if plan["apart"]:
        make_apart()
    if plan["wait_at"]:
        _wait_at(plan["wait_at"], Path(plan["place"]))
    from courier.cli.app import main

    sys.argv = ["courier", *sys.argv[2:]]
    main()


if __name__ == "__main__":
    _main()
