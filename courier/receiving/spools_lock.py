"""Who may do what with the spools: several volumes gather at one time, and all else is done by one command alone.

Three kinds of locks, which count at all computers of the site. The *door* (``parcels/in/lock``) is held for moments,
and waited for: while a spool is begun, and while one of the others is taken. The lock of a *volume* is held while its
blocks are read into the spool, so that different volumes of one parcel gather at once, and the same one does not. The
lock of a *spool* is held for what wants all of it: mending, import, discarding, blocks that come by network. Nobody
gathers meanwhile.

Whoever ends a volume gives its lock back before it asks for the spool. Both are taken at the door. So of several that
end at one time the last at the door finds nobody at work any more, and goes on with the parcel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from courier.errors import BusyError, InUseError
from courier.files import make_folder
from courier.site.home import Site

DOOR_SECONDS = 120.0
"""How long a command waits for the door: the tables of a parcel with millions of files are read behind it."""
SPOOL_SECONDS = 10.0
"""How long a command waits for a spool that another has for itself, before it says so."""
EXCHANGE_SECONDS = 2.0
"""How long an exchange of messages waits for a spool that another has, and which is only being looked at mostly."""
MESSAGE_SECONDS = 0.3
"""How long the handler of one message waits for the door; the next exchange brings the message again."""
_LOOK_AGAIN_SECONDS = 0.1
_HINT = "wait for it to end, then run this command again"


_Begun = TypeVar("_Begun")


class OthersGatherError(BusyError):
    """Other commands read volumes of the parcel now: what wants its spool alone is for the last of them to do."""


class SpoolInUseError(BusyError):
    """Another command has the spool for itself."""


@contextmanager
def spools_door(site: Site, *, patience: float | None = None) -> Iterator[None]:
    """Hold the door while the block runs, which takes a moment.

    Raises `BusyError` where it stays shut for ``patience`` seconds, `DOOR_SECONDS` where none are given.
    """
    path = make_folder(site.home / "parcels" / "in") / "lock"
    until = time.monotonic() + (DOOR_SECONDS if patience is None else patience)
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(site.locked(path))
                break
            except BusyError:
                if time.monotonic() > until:
                    raise
            time.sleep(_LOOK_AGAIN_SECONDS)
        yield


@contextmanager
def gathering(site: Site, folder: Path, *, number: int, layout: str, begin: Callable[[], _Begun]) -> Iterator[_Begun]:
    """Gather a volume in the block, side by side with other volumes of its parcel.

    ``folder``: the spool. ``layout``: the digest of the volume's packing list. ``begin`` is called at the door, once
    nobody has the spool alone; what it returns is given to the block. Raises `BusyError` where the same volume is being
    received, or one of another layout, in which archives lie on other volumes; and where another has the spool alone.
    """
    own, parcel = f"{layout[:8]}-{number}", _parcel(folder)
    with ExitStack() as stack:
        with _door_when_free(site, folder):
            for path in _volume_files(site, folder):
                if not _volume_of(path).startswith(layout[:8]) and site.is_locked(path):
                    what = f"a volume of another layout of {parcel} is being received by another command"
                    raise BusyError(f"{what}{_who(site, path)}", hint=_HINT)
            path = _volume_file(site, folder, own)
            try:
                stack.enter_context(site.locked(path))
            except BusyError:
                what = f"volume {number} of {parcel} is being received by another command"
                raise BusyError(f"{what}{_who(site, path)}", hint=_HINT) from None
            stack.callback(path.unlink, missing_ok=True)
            begun = begin()
        yield begun


@contextmanager
def _door_when_free(site: Site, folder: Path) -> Iterator[None]:
    """Hold the door once nobody has a spool alone; raises `SpoolInUseError` where that takes too long."""
    until, path = time.monotonic() + SPOOL_SECONDS, _spool_file(site, folder)
    with ExitStack() as stack:
        while True:
            with ExitStack() as door:
                door.enter_context(spools_door(site))
                if not site.is_locked(path):
                    stack.enter_context(door.pop_all())
                    break
            if time.monotonic() > until:
                raise _in_use(site, folder)
            time.sleep(_LOOK_AGAIN_SECONDS)
        yield


@contextmanager
def alone_with_spool(site: Site, folder: Path, *, patience: float = 0.0, door: float | None = None) -> Iterator[None]:
    """Have the spool ``folder`` alone while the block runs: nobody gathers in it, mends it, imports or discards it.

    ``patience``: seconds to wait for another command that has it alone; ``door``: for the door. Raises
    `OthersGatherError` at once where volumes are being gathered, and `SpoolInUseError`.
    """
    until = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                with spools_door(site, patience=door):
                    stack.enter_context(alone_at_door(site, folder))
                break
            except SpoolInUseError:
                if time.monotonic() > until:
                    raise
            time.sleep(_LOOK_AGAIN_SECONDS)
        yield


@contextmanager
def alone_at_door(site: Site, folder: Path) -> Iterator[None]:
    """`alone_with_spool` for who holds the door already; it may be left before the block ends."""
    path = _spool_file(site, folder)
    with ExitStack() as stack:
        try:
            stack.enter_context(site.locked(path))
        except BusyError:
            raise _in_use(site, folder) from None
        stack.callback(path.unlink, missing_ok=True)
        _check_nobody_gathers(site, folder)
        yield


@contextmanager
def message_alone_with_spool(site: Site, folder: Path) -> Iterator[None]:
    """`alone_with_spool` for the handlers of messages: raises `InUseError` while other commands use the spool."""
    with ExitStack() as stack:
        try:
            stack.enter_context(alone_with_spool(site, folder, door=MESSAGE_SECONDS))
        except BusyError as error:
            raise InUseError(error.message, hint=error.hint, code=error.code) from None
        yield


@contextmanager
def message_at_door(site: Site) -> Iterator[None]:
    """`spools_door` for the handlers of messages: raises `InUseError` where it stays shut."""
    with ExitStack() as stack:
        try:
            stack.enter_context(spools_door(site, patience=MESSAGE_SECONDS))
        except BusyError as error:
            raise InUseError(error.message, hint=error.hint, code=error.code) from None
        yield


def others_gather(site: Site, folder: Path, *, number: int) -> bool:
    """Whether any other volume than this is being gathered in a spool. Call it at the door."""
    return any(_number_of(path) != number and site.is_locked(path) for path in _volume_files(site, folder))


def _check_nobody_gathers(site: Site, folder: Path) -> None:
    """Raise `OthersGatherError` while volumes are gathered; remove what killed commands left. Call it at the door."""
    busy = []
    for path in _volume_files(site, folder):
        if site.is_locked(path):
            busy.append(path)
        else:
            path.unlink(missing_ok=True)
    if busy:
        numbers = sorted(map(_number_of, busy))
        text = f"volume {numbers[0]}" if len(numbers) == 1 else f"volumes {', '.join(map(str, numbers))}"
        raise OthersGatherError(
            f"{text} of {_parcel(folder)} {'is' if len(numbers) == 1 else 'are'} being received by another command"
            f"{_who(site, busy[0])}",
            hint=_HINT,
        )


def _in_use(site: Site, folder: Path) -> SpoolInUseError:
    what = f"{_parcel(folder)} is being mended, imported or discarded by another command"
    return SpoolInUseError(f"{what}{_who(site, _spool_file(site, folder))}", hint=_HINT)


def _who(site: Site, path: Path) -> str:
    """Who holds a lock, to be added to a message; empty where the catalogue does not know."""
    who = site.catalogue.holder(path.relative_to(site.home).as_posix())
    return f": {who}" if who else ""


def _parcel(folder: Path) -> str:
    return folder.name.rpartition("-")[0]


def _spool_file(site: Site, folder: Path) -> Path:
    return site.home / "locks" / f"arriving-{folder.name}"


def _volume_file(site: Site, folder: Path, which: str) -> Path:
    return site.home / "locks" / f"arriving-{folder.name}-volume-{which}"


def _volume_files(site: Site, folder: Path) -> list[Path]:
    return list((site.home / "locks").glob(f"arriving-{folder.name}-volume-*"))


def _volume_of(path: Path) -> str:
    return path.name.partition("-volume-")[2]


def _number_of(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
