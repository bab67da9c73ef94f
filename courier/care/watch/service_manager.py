"""What the service manager is told (sd_notify of systemd): that the watch is ready, lives, and ends.

The manager names a datagram socket in the environment. Where there is none, nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import socket

from courier.text import one_line

SOCKET, WATCHDOG = "NOTIFY_SOCKET", "WATCHDOG_USEC"


class ServiceManager:
    """The service manager that started this process, if one did."""

    def __init__(self) -> None:
        named = os.environ.get(SOCKET, "")
        # A leading @ stands for the NUL of an abstract socket.
        self._address = f"\0{named[1:]}" if named.startswith("@") else named
        microseconds = os.environ.get(WATCHDOG, "")
        self.watchdog_seconds = int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
        """How often it wants a sign of life at least; 0: it wants none."""

    def ready(self) -> None:
        """The service runs."""
        self._tell("READY=1")

    def alive(self, status: str) -> None:
        """A sign of life, and what is being done, in one line."""
        self._tell(f"WATCHDOG=1\nSTATUS={one_line(status)}")

    def stopping(self) -> None:
        """The service ends."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        family = getattr(socket, "AF_UNIX", None)
        if not self._address or family is None:
            return
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as out:
            out.settimeout(1)
            out.sendto(text.encode(), self._address)
