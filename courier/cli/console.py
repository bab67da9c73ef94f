"""What a command prints: for people, or one JSON document; progress on stderr when that is a terminal."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from courier.error_codes import Code
from courier.errors import CourierError, RefusedError
from courier.text import one_line

if TYPE_CHECKING:
    from courier.site.home import Site


@dataclass(kw_only=True)
class Console:
    """One command's way to the operator, and the options every command has; ``command``: its name, for the log."""

    home: Path | None = None
    command: str = ""
    json: bool = False
    json_lines: bool = False
    quiet: bool = False
    yes: bool = False

    @property
    def for_people(self) -> bool:
        """Whether people read stdout."""
        return not (self.json or self.json_lines)

    @contextlib.contextmanager
    def site(self, *, lost_catalogue: bool = False) -> Iterator[Site]:
        """The site of this command, opened; ``lost_catalogue`` as for `courier.site.home.open_site`."""
        from courier.site.home import open_site
        from courier.site.log import logged
        from courier.site.settings import find_home

        home = find_home(self.home)
        with logged(home, self.command), closing(open_site(home, lost_catalogue=lost_catalogue)) as site:
            yield site

    def say(self, text: str = "") -> None:
        """A line for people, unless they asked for quiet."""
        if self.for_people and not self.quiet:
            _put(one_line(text))

    def warn(self, text: str) -> None:
        """A line for people that quiet does not hide, on stderr, and in the log of the site."""
        _log(logging.WARNING, text)
        if self.for_people:
            print(text, file=sys.stderr, flush=True)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Columns for people; numbers to the right."""
        if not self.for_people or self.quiet:
            return
        cells = [[one_line(str(cell)) for cell in row] for row in rows]
        widths = [max(len(line[n]) for line in [list(headings), *cells]) for n in range(len(headings))]
        numeric = [bool(rows) and all(isinstance(row[n], int) for row in rows) for n in range(len(headings))]
        for line in [list(headings), *cells]:
            parts = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(line, widths, numeric, strict=True)]
            _put("  ".join(parts).rstrip())

    def event(self, record: dict[str, Any]) -> None:
        """One JSON line of a long-running command, when lines were asked for."""
        if self.json_lines:
            _put(json.dumps(record, ensure_ascii=True))

    def result(self, document: dict[str, Any]) -> None:
        """The JSON document of this command."""
        if self.json:
            _put(json.dumps(document, indent=2, ensure_ascii=True))
        elif self.json_lines:
            self.event(document)

    def error(self, error: CourierError, document: dict[str, Any] | None = None, *, about: str = "") -> None:
        """What went wrong, with what (``about``), and what to do: two lines on stderr, or in the JSON document."""
        message = one_line(_about(about, error))
        _log(logging.ERROR, f"{error.code}: {message}")
        if self.for_people:
            print(f"courier: {message}", file=sys.stderr)
            print(f"  -> {one_line(error.hint)}", file=sys.stderr, flush=True)
        else:
            described = {"code": error.code, "message": message, "hint": one_line(error.hint)}
            self.result({**(document or {}), "error": described})

    def errors(self, failures: Sequence[tuple[str, CourierError]], document: dict[str, Any]) -> int:
        """What went wrong with each thing of several, the last as the error of the command; return its exit code."""
        for name, error in failures[:-1]:
            self.warn(f"courier: {one_line(_about(name, error))}\n  -> {one_line(error.hint)}")
        name, last = failures[-1]
        self.error(last, document, about=name)
        return last.exit_code

    def confirm(self, question: str, *, hint: str = "give --yes") -> None:
        """Ask before something that cannot be taken back; raises `RefusedError` when the answer is not yes.

        ``hint``: what a script gives in place of an answer.
        """
        if self.yes:
            return
        if not _is_terminal(sys.stdin) or not self.for_people:
            raise RefusedError(f"{question} needs a yes", hint=hint, code=Code.NOT_CONFIRMED)
        if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
            raise RefusedError(
                "not confirmed; nothing was changed", hint="give --yes, or answer y", code=Code.NOT_CONFIRMED
            )

    @property
    def present(self) -> bool:
        """Whether a person can be asked."""
        return self.for_people and not self.yes and _is_terminal(sys.stdin) and _is_terminal(sys.stdout)

    def ask_if_present(self, question: str) -> None:
        """Ask a person before a long piece of work; a script has asked for it by calling. Raises `RefusedError`."""
        if self.present:
            self.confirm(question)

    def change_media(self, what: str) -> bool:
        """Have a person change media: says ``what`` and waits; with nothing to say, only whether there is a person."""
        if not self.present:
            return False
        if what:
            input(f"{what}, then press Enter (Ctrl-C stops; the same command goes on) ")
        return True

    @contextlib.contextmanager
    def progress(self, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A progress bar in bytes on stderr while the block runs; call what it yields with bytes done."""
        if self.quiet or not self.for_people or not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as Speed

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn())
        with Progress(*columns, console=Terminal(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda count: bar.advance(task, count)


def _put(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Whoever read our output has gone (such as `head`): the work goes on without them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _log(level: int, text: str) -> None:
    # The logger has handlers only while a site is open (`courier.site.log.logged`).
    logger = logging.getLogger("courier")
    if logger.handlers:
        logger.log(level, "%s", text)


def _about(name: str, error: CourierError) -> str:
    return error.message if name in error.message else f"{name}: {error.message}"


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a person is at the other end; a stream that was closed is None."""
    return stream is not None and stream.isatty()


def size_text(count: int) -> str:
    """Bytes for people: ``3.6 GB``."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{int(value)} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def duration_text(seconds: int) -> str:
    """Seconds for people: ``4 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds} s"
    hours, minutes = divmod(-(-seconds // 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def time_text(ns: int | None) -> str:
    """A moment for people, UTC to the second, or ``-``."""
    from formats.records import format_time

    return "-" if ns is None else f"{format_time(ns)[:19].replace('T', ' ')}Z"
