"""The programs that the client calls: where they are, which Debian package brings each, and how they are run.

No disk is mounted, and none of them opens a block device: all work on files. A program holds the lock of the work
folder too, so that one which outlives a killed client keeps the next run out until it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from courier.deployment.run.work import Work
from courier.errors import FailedError, NotFoundError

DEBIAN_PACKAGES = {
    "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "mcopy": "mtools",
    "mdir": "mtools",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.fat": "dosfstools",
    "mkfs.ntfs": "ntfs-3g",
    "wimapply": "wimtools",
    "wimcapture": "wimtools",
    "wimupdate": "wimtools",
}
"""Program -> the Debian package that brings it."""
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1", "WIMLIB_IMAGEX_IGNORE_CASE": "1"}
"""What programs run with: names in UTF-8, partitions of any geometry, and paths in a WIM as Windows compares them."""
_SAID = 300
"""Characters of what a failed program said last that go into the message."""
_KEPT = 1 << 18
"""Bytes of the begin and of the end of an output that are kept."""
_LINGER = 2.0
"""Seconds for which output is read after a program has ended."""


def find_tool(name: str) -> str | None:
    """The path of a program, or None; looks beyond PATH where Debian keeps administrators' programs."""
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders))


def missing_tools(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are not on this computer, sorted."""
    return sorted(name for name in set(names) if find_tool(name) is None)


def require_tools(names: Iterable[str]) -> None:
    """Raise `NotFoundError` that names every missing program, and the packages that bring them."""
    if missing := missing_tools(names):
        packages = sorted({DEBIAN_PACKAGES[name] for name in missing})
        raise NotFoundError(
            f"the task sequence needs {', '.join(missing)}, which this computer does not have",
            hint=f"apt-get install {' '.join(packages)} (Debian), or put it into the boot image",
        )


def run_tool(work: Work, name: str, *arguments: str | Path, where: Path | None = None) -> str:
    """Run a program to its end; return what it printed, but for the middle of very long output. The log gets it too.

    Raises `FailedError` with its last words where it fails, `NotFoundError` where it is not there.
    """
    require_tools([name])
    command = [str(find_tool(name)), *map(str, arguments)]
    env = {**os.environ, **_ENVIRONMENT}
    code, data = run_bounded(command, env=env, where=where, held=work.held)
    said = data.decode("utf-8", "replace").replace("\r", "\n")
    work.log(f"$ {' '.join(command)}\n{said}")
    if code:
        last = " ".join(line.strip() for line in said.strip().splitlines()[-3:])
        raise FailedError(
            f"{name} failed (exit code {code}): {last[-_SAID:]}", hint=f"its output is in {work.log_file}"
        )
    return said


def run_bounded(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    where: Path | None,
    held: tuple[int, ...],
    timeout: float | None = None,
) -> tuple[int | None, bytes]:
    """Run a program; its exit code, None after ``timeout`` seconds, and the begin and end of what it printed.

    It and all that it started in its session are ended after ``timeout``, and where this function is interrupted.
    Raises `OSError` where it cannot be started.
    """
    posix = os.name == "posix"
    with subprocess.Popen(
        command,
        cwd=where,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=posix,
        pass_fds=held if posix else (),
    ) as process:
        output = _Output()
        assert process.stdout is not None
        reader = threading.Thread(target=output.read, args=(process.stdout,), daemon=True)
        reader.start()
        code: int | None
        try:
            code = process.wait(timeout)
            # Whatever it left running in the background holds the pipe; it is not waited for without end.
            reader.join(_LINGER)
        except subprocess.TimeoutExpired:
            code = None
        except BaseException:
            _end(process)
            raise
        if code is None or reader.is_alive():
            _end(process)
            reader.join(_LINGER)
        return code, output.kept()


class _Output:
    """Keeps the begin and the end of what a program prints."""

    def __init__(self) -> None:
        self._head, self._tail = bytearray(), bytearray()
        self._left_out = 0

    def read(self, source: IO[bytes]) -> None:
        """Read to the end, in a thread of its own."""
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(source.fileno(), 1 << 16):
                room = _KEPT - len(self._head)
                self._head += data[:room]
                self._tail += data[room:]
                if (over := len(self._tail) - _KEPT) > 0:
                    del self._tail[:over]
                    self._left_out += over

    def kept(self) -> bytes:
        """What is kept of it."""
        middle = f"\n[... {self._left_out:,} bytes left out ...]\n".encode() if self._left_out else b""
        return bytes(self._head) + middle + bytes(self._tail)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program with all of its session."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
