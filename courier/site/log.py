"""The log of a site: what its commands did, in ``log/courier.log`` of its home.

Where several computers work on a home, each writes ``log/courier-COMPUTER.log``. A line has the time (UTC), the level,
the process, the command, and what happened, with the IDs of parcels and messages: every command with its end or its
error, each entry in the log of a parcel, and each message sent, received or given up.
What is recorded in the catalogue is logged when its transaction is committed, and not otherwise.

The log holds no secret, and never stops a command: where it cannot be written, it is left out.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from courier.errors import BusyError, CourierError, explain
from courier.files import explain_os, locked, make_folder, private_mode
from courier.site.file_names import SETTINGS
from courier.site.settings import Settings
from courier.site.this_computer import COMPUTER
from courier.text import one_line
from formats.errors import FormatError
from formats.records import format_time

if TYPE_CHECKING:
    from sqlalchemy import Connection

LOG_FOLDER = "log"
LOG_FILE = "courier.log"
MAX_BYTES = 2 << 20
"""Bytes of one log file; the next line begins a new one."""
OLDER_FILES = 4
"""Full log files that are kept: ``courier.log.1`` is the newest of them."""
MAX_LINE = 4000
"""Characters of one line; the rest is cut off."""
_WAIT_SECONDS = 1.0
"""How long a line waits for another process that writes one."""
_NOTES = "courier_notes"

_SECRETS = re.compile(
    r"(?P<url>://[^\s:/@]*:|[?&](?:password|sslpassword)=)(?:[^\s/@]+(?=@)|(?<==)[^\s&]+)"
    r"|AGE-SECRET-KEY-[0-9A-Z]+|-----BEGIN [A-Z ]*PRIVATE KEY-----.*",
    re.DOTALL,
)
"""What could only be a secret: a URL's password, an age identity, a private key. It is not expected to get here."""

_running = ["courier"]
"""The commands that this process runs, the innermost last."""

LOGGER = logging.getLogger("courier")
"""The logger of all that belongs into the log. Outside `logged` its lines go nowhere."""
LOGGER.setLevel(logging.INFO)
LOGGER.propagate = False
LOGGER.addHandler(logging.NullHandler())


@contextlib.contextmanager
def logged(home: Path, command: str) -> Iterator[None]:
    """Log the block as one run of ``command``: that it begins, what `LOGGER` is told, and how it ends.

    A folder without settings is no site home, and gets no log.
    """
    if not (home / SETTINGS).is_file():
        yield
        return
    handler = SharedLogFile(home / LOG_FOLDER, log_file(home))
    handler.setFormatter(LineFormatter(command))
    LOGGER.addHandler(handler)
    _running.append(command)
    begun = time.monotonic()
    LOGGER.info("begun")
    try:
        yield
    except BaseException as error:
        _log_end(error)
        raise
    else:
        LOGGER.info("done in %.1f s", time.monotonic() - begun)
    finally:
        _running.pop()
        LOGGER.removeHandler(handler)
        handler.close()


def running_command() -> str:
    """The command that this process runs, as it stands in the log."""
    return _running[-1]


def log_file(home: Path) -> str:
    """The name of the log file that this computer writes in a home.

    Where several computers can work on the home, because its catalogue is on a server, each has a file of its own:
    lines that are added through a network file system are mixed.
    """
    try:
        shared = bool(Settings.load(home).catalogue)
    except (CourierError, OSError):
        shared = False
    return f"courier-{COMPUTER}.log" if shared else LOG_FILE


def _log_end(error: BaseException) -> None:
    """Log the error that ended a command: its code and message."""
    if isinstance(error, FormatError):
        error = explain(error)
    elif isinstance(error, OSError):
        error = explain_os(error)
    if isinstance(error, CourierError):
        LOGGER.error("failed: %s: %s", error.code, error.message)
    elif isinstance(error, KeyboardInterrupt):
        LOGGER.warning("stopped by the operator")
    elif isinstance(code := getattr(error, "exit_code", None), int):
        # typer's way to end a command that has said everything.
        LOGGER.log(logging.ERROR if code else logging.INFO, "ended with exit code %d", code)
    else:
        # The text of an error that nobody foresaw may hold anything, such as the values of an SQL statement.
        LOGGER.error("failed: unexpected: %s%s", type(error).__name__, _place(error))


def _place(error: BaseException) -> str:
    """Where an error was raised: `` in FUNCTION (FILE:LINE)``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f" in {code.co_name} ({Path(code.co_filename).name}:{trace.tb_lineno})"


def note(connection: Connection, text: str, *, level: int = logging.INFO) -> None:
    """Log a line when the transaction of this connection is committed; see `noting`."""
    notes: list[tuple[int, str]] = connection.info.setdefault(_NOTES, [])
    notes.append((level, text))


@contextlib.contextmanager
def noting(connection: Connection) -> Iterator[list[tuple[int, str]]]:
    """Gather the notes of a transaction; give them to `log_notes` once it is committed."""
    info = connection.info  # the pool hands it on to the next transaction
    notes: list[tuple[int, str]] = []
    info[_NOTES] = notes
    try:
        yield notes
    finally:
        del info[_NOTES]


@contextlib.contextmanager
def noting_within(connection: Connection) -> Iterator[None]:
    """Drop what is noted in a part of a transaction that is undone by itself."""
    notes: list[tuple[int, str]] = connection.info[_NOTES]
    before = len(notes)
    try:
        yield
    except BaseException:
        del notes[before:]
        raise


def log_notes(notes: list[tuple[int, str]]) -> None:
    """Log the notes of a transaction that was committed."""
    for level, text in notes:
        LOGGER.log(level, "%s", text)


class LineFormatter(logging.Formatter):
    """``2026-07-01T12:00:00.000Z INFO 4711 parcel ship: ...``, one line whatever the text holds."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, without secrets and control characters."""
        moment = format_time(int(record.created * 1000) * 10**6)[:23]
        text = one_line(_SECRETS.sub(_without_secret, record.getMessage()))
        line = f"{moment}Z {record.levelname} {record.process} {self._command}: {text}"
        return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}..."


def _without_secret(found: re.Match[str]) -> str:
    return f"{found['url'] or ''}***"


class SharedLogFile(logging.Handler):
    """A log file that several processes write at once, and that is replaced when it is full.

    One process at a time writes a line or replaces files, under a lock; no file stays open between lines. So no line is
    lost to another process's replacing, and none is mixed with another. All errors are kept from the caller.
    """

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__()
        self._folder, self._path = folder, folder / name
        self._lock = folder / ("lock" if name == LOG_FILE else f"{name}.lock")
        with contextlib.suppress(OSError):
            make_folder(folder)

    def emit(self, record: logging.LogRecord) -> None:
        """Append the line of a record."""
        line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        with contextlib.suppress(OSError):
            self._append(line)

    def _append(self, line: bytes) -> None:
        if not (self._folder.parent / SETTINGS).is_file():
            return  # the home was moved away: nothing may lie where it is to be restored
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                with locked(self._lock):
                    if self._size() + len(line) > MAX_BYTES:
                        with contextlib.suppress(OSError):
                            self._begin_new_file()
                    # Where files cannot be replaced, one file may be twice as large, and then no line is added.
                    if self._size() + len(line) <= 2 * MAX_BYTES:
                        self._write(line)
                    return
            except BusyError:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.002)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _begin_new_file(self) -> None:
        for number in range(OLDER_FILES - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _write(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        handle = os.open(self._path, flags, private_mode(self._folder))
        try:
            before = os.fstat(handle).st_size
            if os.write(handle, line) < len(line):
                os.ftruncate(handle, before)  # the disk is full: no half lines
        finally:
            os.close(handle)
