"""What a command prints: lines and tables for people or a JSON document, progress on stderr, and its questions."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from courier.cli.tables import table_lines
from courier.error_codes import Code
from courier.errors import CourierError, RefusedError
from courier.progress import Progress as WorkProgress
from courier.text import harmless, one_line

if TYPE_CHECKING:
    from courier.site.home import Site

_INDENT = 2
"""Columns by which the further lines of a line that is wrapped begin more to the right."""
_UNLIMITED = 100_000
"""Columns of a table that goes into a file or pipe: wider than any row."""


SHOWN = 20
"""Lines of one kind that are printed for people; a longer list is cut, and ``--json`` has all of it."""


@dataclass(kw_only=True)
class Console:
    """How one command speaks with the operator, and the options that every command has.

    ``command``: its name, for the log.
    """

    home: Path | None = None
    command: str = ""
    json: bool = False
    json_lines: bool = False
    quiet: bool = False
    yes: bool = False

    @property
    def for_people(self) -> bool:
        """Whether stdout is for people, not for a script that reads JSON."""
        return not (self.json or self.json_lines)

    @contextlib.contextmanager
    def site(self, *, lost_catalogue: bool = False, read_only: bool = False) -> Iterator[Site]:
        """Open the site of this command; ``read_only``: its catalogue for reading only.

        ``lost_catalogue``: a catalogue that is missing or damaged is begun anew. When the block raises, that is undone.
        """
        from courier.site.home import open_site
        from courier.site.log import logged
        from courier.site.lost_catalogue import catalogue_begun_anew
        from courier.site.permissions import open_to_others, password_in_settings, shared_with_group
        from courier.site.settings import find_home

        home = find_home(self.home)
        with (
            shared_with_group(home),
            logged(home, self.command),
            catalogue_begun_anew(home) if lost_catalogue else contextlib.nullcontext(),
            closing(open_site(home, lost_catalogue=lost_catalogue, read_only=read_only)) as site,
        ):
            for warning in (open_to_others(home), password_in_settings(home, site.settings.catalogue)):
                if warning:
                    self.note(warning)
            yield site

    def say(self, text: str = "") -> None:
        """Print a line for people, unless ``--quiet`` was given."""
        if self.for_people and not self.quiet:
            _put(_wrapped(one_line(text), sys.stdout))

    def warn(self, text: str, *, hint: str = "") -> None:
        """Print a line for people on stderr, also with ``--quiet``, and write it into the log of the site.

        ``hint``: what to do about it, on a line of its own.
        """
        _log(logging.WARNING, f"{text} ({hint})" if hint else text)
        if self.for_people:
            lines = [harmless(text), *([f"  -> {harmless(hint)}"] if hint else [])]
            print("\n".join(_wrapped(line, sys.stderr) for line in lines), file=sys.stderr, flush=True)

    def note(self, text: str, *, hint: str = "") -> None:
        """Print what an operator should know though nothing is wrong, as `warn` does."""
        self.warn(f"Note: {text}", hint=hint)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print columns for people; a column of whole numbers is aligned to the right.

        On a terminal that is too narrow, cells are wrapped between words and never inside one.
        """
        if self.for_people and not self.quiet:
            for line in table_lines(headings, rows, width=_terminal_width()):
                _put(line)

    def event(self, record: dict[str, Any]) -> None:
        """Print one line of JSON while a command runs, when ``--json-lines`` was given."""
        if self.json_lines:
            _put(json.dumps(record, ensure_ascii=True))

    def result(self, document: dict[str, Any]) -> None:
        """Print the JSON document of this command, when one was asked for."""
        if self.json:
            _put(json.dumps(document, indent=2, ensure_ascii=True))
        elif self.json_lines:
            self.event(document)

    def error(self, error: CourierError, document: dict[str, Any] | None = None, *, about: str = "") -> None:
        """Report an error and what to do about it: two lines on stderr, or in the JSON document; also in the log.

        ``about`` names the thing it is about, where the message does not.
        """
        message, hint = harmless(_about(about, error)), harmless(error.hint)
        _log(logging.ERROR, f"{error.code}: {message}")
        if self.for_people:
            for line in (f"courier: {message}", f"  -> {hint}"):
                print(_wrapped(line, sys.stderr), file=sys.stderr, flush=True)
        else:
            described = {"code": error.code, "message": message, "hint": hint}
            self.result({**(document or {}), "error": described})

    def errors(self, failures: Sequence[tuple[str, CourierError]], document: dict[str, Any]) -> int:
        """Report an error for each of several things, the last as the error of the command; return its exit code."""
        for name, error in failures[:-1]:
            self.warn(f"courier: {_about(name, error)}", hint=error.hint)
        name, last = failures[-1]
        self.error(last, document, about=name)
        return last.exit_code

    def confirm(self, question: str, *, hint: str = "give --yes") -> None:
        """Ask before something that is long or cannot be undone. Raises `RefusedError` when the answer is not yes.

        ``hint`` says what a script gives in place of an answer.
        """
        if self.yes:
            return
        if not _is_terminal(sys.stdin) or not self.for_people:
            raise RefusedError(f"{question} This needs a yes", hint=hint, code=Code.NOT_CONFIRMED)
        if input(f"{harmless(question)} [y/N] ").strip().lower() not in ("y", "yes"):
            raise RefusedError(
                "not confirmed; nothing was changed", hint="answer y, or give --yes", code=Code.NOT_CONFIRMED
            )

    @property
    def present(self) -> bool:
        """Whether there is a person at the terminal who can be asked."""
        return self.for_people and not self.yes and _is_terminal(sys.stdin) and _is_terminal(sys.stdout)

    def change_media(self, what: str) -> bool:
        """Ask a person for another medium (``what``) and wait; return whether there is a person.

        With an empty ``what`` nothing is asked.
        """
        if not self.present:
            return False
        if what:
            input(f"{harmless(what)}, then press Enter (Ctrl-C stops; the same command continues later) ")
        return True

    @contextlib.contextmanager
    def progress(self, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Show a progress bar on stderr while the block runs; it yields a function that takes the bytes just done.

        ``total``: bytes in all, or None where that is not known.
        """
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

    @contextlib.contextmanager
    def phases(self) -> Iterator[WorkProgress]:
        """Show a progress bar on stderr for each phase that begins while the block runs, one after the other."""
        with contextlib.ExitStack() as shown:
            yield _Phases(self, shown)


class _Phases(WorkProgress):
    """Shows the phases of work, each in a bar of its own in place of the one before."""

    def __init__(self, console: Console, shown: contextlib.ExitStack) -> None:
        self._console, self._shown = console, shown
        self._advance: Callable[[int], None] = lambda _: None

    def begin(self, phase: str, total: int) -> None:
        """Show another bar."""
        self._shown.close()
        self._advance = self._shown.enter_context(self._console.progress(phase, total))

    def __call__(self, count: int) -> None:
        """Move the bar on."""
        self._advance(count)


def _put(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Whoever read our output has gone (such as `head`): the work continues without them.
        drop_output()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from None


def drop_output() -> None:
    """Let whatever is still printed go nowhere, because the output cannot be written any more."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a file, as tests have it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _log(level: int, text: str) -> None:
    # The logger has handlers only while a site is open (`courier.site.log.logged`).
    logger = logging.getLogger("courier")
    if logger.handlers:
        logger.log(level, "%s", text)


def _wrapped(text: str, stream: TextIO) -> str:
    """A line that is too long for the terminal, in several: a terminal by itself breaks inside words.

    Output that goes into a file or a pipe stays one line; a word that is longer than the terminal, such as a path, too.
    """
    columns = shutil.get_terminal_size().columns
    if len(text) <= columns or not _is_terminal(stream):
        return text
    indent = " " * (len(text) - len(text.lstrip(" ")) + _INDENT)
    lines = textwrap.wrap(
        text,
        columns,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )
    return "\n".join(lines)


def _terminal_width() -> int:
    """Columns that a table may take; output that goes into a file or a pipe is never wrapped."""
    if _is_terminal(sys.stdout):
        return shutil.get_terminal_size().columns
    return _UNLIMITED


def _about(name: str, error: CourierError) -> str:
    return error.message if name in error.message else f"{name}: {error.message}"


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal; a stream that was closed is None."""
    return stream is not None and stream.isatty()


def duration_text(seconds: int) -> str:
    """A number of seconds for people: ``4 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds} s"
    hours, minutes = divmod(-(-seconds // 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def time_text(ns: int | None) -> str:
    """A time for people, in UTC to the second, or ``-``; ``ns`` are nanoseconds since 1970."""
    from formats.records import format_time

    return "-" if ns is None else f"{format_time(ns)[:19].replace('T', ' ')}Z"
