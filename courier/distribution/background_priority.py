"""Letting a thread stand back behind what else the computer does: less processor, less disk.

Linux has both for each thread, and a thread that it starts inherits them; Windows has a mode for threads in the
background. Elsewhere, and where the system refuses, nothing happens: a download is then as any program.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from dataclasses import dataclass

from courier.distribution.download_limits import Priority

_IOPRIO_SET = {"x86_64": 251, "i386": 289, "i686": 289, "aarch64": 30, "riscv64": 30, "armv7l": 314, "ppc64le": 273}
"""Number of the system call ``ioprio_set`` by machine; the C library has no function for it."""
_THREAD_MODE_BACKGROUND_BEGIN = 0x10000
_WHO_PROCESS, _CLASS_SHIFT = 1, 13
_BEST_EFFORT, _IDLE = 2, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How far a thread stands back: its niceness (19 the farthest), class and level of its disk accesses on Linux."""

    nice: int
    io_class: int
    io_level: int


STANDINGS = {
    Priority.HIGH: Standing(nice=5, io_class=_BEST_EFFORT, io_level=6),
    Priority.NORMAL: Standing(nice=10, io_class=_BEST_EFFORT, io_level=7),
    Priority.LOW: Standing(nice=19, io_class=_IDLE, io_level=0),
}


def stand_back(priority: Priority) -> None:
    """Let the thread that calls it stand back as far as ``priority`` has it; the foreground does not.

    Where the system sets priorities only for whole processes (macOS, BSD), it is done for the process.
    """
    standing = STANDINGS.get(priority)
    if standing is None:
        return
    if sys.platform == "win32":
        _to_windows_background()
        return
    with contextlib.suppress(OSError, AttributeError):
        # Never less than it has: lowering niceness is for root, and somebody set it.
        now = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, max(now, standing.nice))
    if sys.platform == "linux":
        _set_io(standing)


def _set_io(standing: Standing) -> None:
    import ctypes

    number = _IOPRIO_SET.get(platform.machine())
    if number is None:
        return
    with contextlib.suppress(OSError, AttributeError):
        value = standing.io_class << _CLASS_SHIFT | standing.io_level
        ctypes.CDLL(None).syscall(number, _WHO_PROCESS, 0, value)


def _to_windows_background() -> None:
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
        kernel.SetThreadPriority(kernel.GetCurrentThread(), _THREAD_MODE_BACKGROUND_BEGIN)
