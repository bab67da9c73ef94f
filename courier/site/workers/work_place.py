"""Where workers work: a home of a site that every one of them has to see, and how their errors come back.

A task looks before it begins whether this worker sees the same files as the command that gave it, and runs the same
release. An error is sent back as a value, because its class need not be one that can be sent.
"""

from __future__ import annotations

import contextlib
import platform
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from courier import __version__, errors
from courier.error_codes import Code
from courier.errors import BusyError, CourierError, RefusedError
from courier.files import explain_os, make_folder, write_atomic
from courier.site.home import Site, open_site

MARK = "workers.txt"
"""The file in a folder of work by which a worker sees that it has the same folder before it."""
_LOOSE = "workers-"
"""Beginning of the names of marks that stand in no folder of work."""
_MOST_MARKS = 64
"""Commands of a site that may have workers for such work at once."""

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkPlace:
    """A home, and a mark in it as every worker must see them.

    ``mark`` is what the file ``marked`` holds; ``release`` the release of the toolkit that gives the work.
    """

    home: Path
    marked: Path
    mark: str
    release: str

    @classmethod
    def in_folder(cls, site: Site, folder: Path) -> WorkPlace:
        """Mark a folder of work in the home of a site. The mark goes with the folder, or is replaced by the next."""
        place = cls(home=site.home, marked=folder / MARK, mark=secrets.token_hex(16), release=__version__)
        write_atomic(place.marked, place.mark.encode())
        return place


@contextlib.contextmanager
def marked_home(site: Site) -> Iterator[WorkPlace]:
    """Mark the home of a site for work that has no folder of its own, until the end of the block.

    Each command has a mark of its own, which is locked while it is wanted, at every computer of the site; one that a
    killed command left is taken by the next. Raises `BusyError` where very many commands have workers at once.
    """
    with contextlib.ExitStack() as stack:
        path = _free_mark(site, stack)
        mark = secrets.token_hex(16)
        stack.callback(path.write_text, "")
        path.write_text(mark)
        yield WorkPlace(home=site.home, marked=path, mark=mark, release=__version__)


def _free_mark(site: Site, stack: contextlib.ExitStack) -> Path:
    """A mark that no other command has; its lock is held until ``stack`` ends."""
    folder = make_folder(site.home / "locks")
    for number in range(1, _MOST_MARKS):
        with contextlib.suppress(BusyError):
            path = folder / f"{_LOOSE}{number}"
            stack.enter_context(site.locked(path))
            return path
    last = folder / f"{_LOOSE}{_MOST_MARKS}"
    stack.enter_context(site.locked(last))
    return last


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An error of a worker, in a form that travels: the class of the error by its name, and what it says."""

    kind: str
    message: str
    hint: str
    code: str

    def error(self) -> CourierError:
        """The error, to be raised here."""
        kind: type[CourierError] = getattr(errors, self.kind, CourierError)
        return kind(self.message, hint=self.hint, code=Code(self.code))


def at_work(place: WorkPlace, work: Callable[[Site], _T]) -> _T | Failure:
    """Do a piece of work at a worker, with the site opened; return what it gives, or its error."""
    try:
        _check(place)
        with closing(open_site(place.home)) as site:
            return work(site)
    except CourierError as error:
        return Failure(kind=type(error).__name__, message=error.message, hint=error.hint, code=error.code)
    except OSError as error:
        known = explain_os(error)
        message = f"the worker at {this_computer()}: {known.message}"
        return Failure(kind=type(known).__name__, message=message, hint=known.hint, code=known.code)


def _check(place: WorkPlace) -> None:
    """Raise `RefusedError` unless this worker sees the place and runs the same release."""
    if place.release != __version__:
        raise RefusedError(
            f"the worker at {this_computer()} runs release {__version__}, and the command {place.release}",
            hint="install the same release of courier-parcels for all workers, and start them again",
            code=Code.CLUSTER,
        )
    try:
        seen = place.marked.read_text()
    except OSError:
        seen = ""
    if seen != place.mark:
        raise RefusedError(
            f"the worker at {this_computer()} does not see {place.marked.parent}",
            hint="workers need the home of the site at the same path, on a file system that all of them share",
            code=Code.CLUSTER,
        )


def this_computer() -> str:
    """The name of the computer that this worker runs at."""
    return platform.node() or "an unknown computer"
