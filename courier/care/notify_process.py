"""The process that sends one message: it reads what to send on stdin, and prints what became of it as a line of JSON.

It is the one module that knows apprise. The addresses come on stdin, because other users of the computer can see the
arguments of a process.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from courier.care.notify import Outcome, Sent, without_addresses


def send_here(addresses: list[str], title: str, text: str, *, seconds: float) -> Sent:
    """Send a message to all addresses, one after the other.

    ``seconds``: when this process is ended from outside. apprise itself waits four seconds for an answer, and then says
    that a message failed which the service has taken: so it waits for longer than we live.
    """
    import apprise

    gathered = _Lines()
    logger = logging.getLogger("apprise")
    logger.addHandler(gathered)
    logger.propagate = False
    reasons = []
    sent = 0
    for number, address in enumerate(addresses, 1):
        service: Any = apprise.Apprise.instantiate(address, suppress_exceptions=True)
        if service is None:
            reasons.append(f"address {number}: apprise knows no service of that form")
            continue
        service.socket_read_timeout = seconds + 60
        gathered.lines.clear()
        if service.notify(body=text, title=title, body_format=apprise.NotifyFormat.TEXT):
            sent += 1
        else:
            why = "; ".join(gathered.lines[-3:]) or "it says no more"
            reasons.append(f"address {number}: {why}")
    reason = without_addresses(" | ".join(reasons), addresses)
    if not reasons:
        return Sent(outcome=Outcome.SENT)
    # Sent again, it would come twice to those who have it.
    return Sent(outcome=Outcome.UNKNOWN if sent else Outcome.FAILED, reason=reason)


class _Lines(logging.Handler):
    """Gathers warnings and errors: apprise says why in them, and nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage()[:300])


def main() -> None:
    """Send what stdin says, and print what became of it."""
    asked = json.loads(sys.stdin.buffer.read())
    try:
        done = send_here(asked["addresses"], asked["title"], asked["text"], seconds=asked["seconds"])
    except ImportError as error:
        done = Sent(outcome=Outcome.FAILED, reason=f"apprise cannot be loaded: {error}")
    print(json.dumps({"outcome": done.outcome, "reason": done.reason}), flush=True)


if __name__ == "__main__":
    main()
