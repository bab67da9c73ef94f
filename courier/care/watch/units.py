"""Units for systemd that run the watch: a service that goes on and on, or a timer and the one round that it starts."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from courier.errors import UsageError

SERVICE_NAME = "courier-watch"


class Unit(StrEnum):
    """A unit that can be printed."""

    SERVICE = "systemd"
    ONCE = "systemd-once"
    TIMER = "systemd-timer"


def unit_text(unit: Unit, *, site: str, home: Path, user: str, options: Sequence[str], program: str | None) -> str:
    """The text of a unit for the watch of a site.

    ``options``: those of ``courier channel watch``. ``program``: the path of the command ``courier``; None: it is run
    as a module of this Python. Raises `UsageError` for a path that no unit can hold.
    """
    if unit is Unit.TIMER:
        return _TIMER.format(site=_words(site), name=SERVICE_NAME)
    begin = [program] if program else [sys.executable, "-m", "courier"]
    command = [*begin, "channel", "watch", *options, "--home", str(home)]
    line = " ".join(_quoted(word) for word in command)
    fields = {"site": _words(site), "user": _words(user), "command": line, "name": SERVICE_NAME}
    if unit is Unit.ONCE:
        return _ONCE.format(**fields)
    return _SERVICE.format(**fields)


def _words(text: str) -> str:
    return text.replace("%", "%%").replace("\n", " ")


def _quoted(word: str) -> str:
    """A word of a command line as systemd reads it (systemd.service, "Command lines"): ``%`` and ``$`` stand for
    themselves.
    """
    if not word.isprintable():
        raise UsageError(f"{word!r} cannot stand in a unit", hint="use a path without control characters")
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return word if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII) else f'"{word}"'


_SERVICE = """\
# /etc/systemd/system/{name}.service
# Then: systemctl daemon-reload && systemctl enable --now {name}.service
[Unit]
Description=Courier watch of site {site}: media, messages and notices
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
User={user}
ExecStart={command}
# A key with a passphrase, addresses of services in variables: a file that only root can read.
# EnvironmentFile=/etc/courier/watch.env
WatchdogSec=10min
Restart=on-failure
RestartSec=30s
# Wrong usage stays wrong.
RestartPreventExitStatus=2
# The medium at hand is finished first. What is ended by force goes on with the next start; nothing is lost.
TimeoutStopSec=15min
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
"""
_ONCE = """\
# /etc/systemd/system/{name}-once.service
# It is started by {name}-once.timer (--print-unit systemd-timer).
[Unit]
Description=One round of the courier watch of site {site}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User={user}
ExecStart={command}
NoNewPrivileges=yes
"""
_TIMER = """\
# /etc/systemd/system/{name}-once.timer
# Then: systemctl daemon-reload && systemctl enable --now {name}-once.timer
[Unit]
Description=Rounds of the courier watch of site {site}

[Timer]
OnBootSec=2min
OnUnitInactiveSec=5min

[Install]
WantedBy=timers.target
"""
