"""The inbox of our server: messages that peers brought and that wait to be taken in, and uploads that are not whole.

``in/BR1/HEX.msg`` is a whole message that site BR1 brought, ``part/BR1/HEX-SIZE.part`` the beginning of one. A message
is in ``in`` only when its bytes have the digest in its name and are flushed to disk, so that the answer which says so
stays true. Both are bounded for each site: no peer fills the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from courier.channel.transport import MAX_MESSAGE
from courier.error_codes import Code
from courier.errors import CourierError
from courier.files import make_folder, sync_file, sync_folder, write_atomic

MAX_WAITING_BYTES = 4 * MAX_MESSAGE
"""Bytes of messages from one site that may wait to be taken in."""
MAX_WAITING = 4096
"""Messages from one site that may wait to be taken in."""
MAX_PART_BYTES = 4 * MAX_MESSAGE
"""Bytes that one site's uploads may have together once they are whole."""
PART_LIFE_SECONDS = 7 * 24 * 3600
"""An upload that has not grown for this time is given up."""
_PART = re.compile(r"([0-9a-f]{64})-([0-9]{1,10})\.part")
_NAME = re.compile(r"([0-9a-f]{64})\.msg")


class OutOfStepError(CourierError):
    """A part does not begin where the bytes of the upload end; ``offset`` is where it must begin."""

    code = Code.OUT_OF_STEP

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(f"the upload stands at {offset}", hint="go on from there")


class WrongDigestError(CourierError):
    """An upload came whole and does not have the digest in its name; it was given up."""

    code = Code.WRONG_DIGEST


class FullError(CourierError):
    """Too many messages or uploads of this site wait already."""

    code = Code.FULL


class Inbox:
    """The inbox in a folder. Safe to use from several threads; another process may take messages meanwhile."""

    def __init__(self, folder: Path, *, room: Callable[[str], int] | None = None) -> None:
        """``room``: bytes that a site may put here, besides what the catalogue has of it; None: no such limit."""
        self._room = room
        self._in, self._part = folder / "in", folder / "part"
        self._locks = [threading.Lock() for _ in range(16)]
        self._counting = threading.Lock()
        self._waiting: dict[str, tuple[int, int]] = {}

    def offset(self, peer: str, sha256: str) -> tuple[int, bool]:
        """(bytes of a message that are here, whether it is whole)."""
        whole = _size(self._path(peer, sha256))
        if whole is not None:
            return whole, True
        return next((_size(part) or 0 for part in self._parts(peer, sha256)), 0), False

    def store(self, peer: str, sha256: str, *, start: int, total: int, data: bytes) -> int:
        """Keep a part that begins at byte ``start`` of ``total``; return how many bytes are here now.

        Raises `OutOfStepError`, `WrongDigestError`, `FullError`.
        """
        with self._locks[int(sha256[:2], 16) % len(self._locks)]:
            path = self._path(peer, sha256)
            if path.exists():
                return total
            if start == 0 and len(data) == total:
                _check_digest(hashlib.sha256(data).hexdigest(), sha256)
                self._make_room(peer, total)
                make_folder(path.parent)
                write_atomic(path, data)
                self._drop_part(peer, sha256)
                return total
            return self._append(peer, sha256, start=start, total=total, data=data)

    def _append(self, peer: str, sha256: str, *, start: int, total: int, data: bytes) -> int:
        part = self._part / peer / f"{sha256}-{total}.part"
        here = _size(part) or 0
        # All of it may be here already: when it had come there was no room, or this server was killed.
        if here < total:
            if start != here:
                raise OutOfStepError(here)
            if start == 0:
                self._make_part_room(peer, total)
                self._drop_part(peer, sha256)
                make_folder(part.parent)
            with part.open("ab") as out:
                out.write(data)
            here += len(data)
            if here < total:
                return here
        with part.open("rb+") as whole:
            sync_file(whole.fileno(), part)
        with part.open("rb") as source:
            found = hashlib.file_digest(source, "sha256").hexdigest()
        if found != sha256:
            part.unlink(missing_ok=True)
        _check_digest(found, sha256)
        self._make_room(peer, total)
        target = self._path(peer, sha256)
        make_folder(target.parent)
        part.replace(target)
        sync_folder(target.parent)
        return total

    def fetch(self) -> Iterator[tuple[str, str, bytes]]:
        """(site that brought it, name, bytes) of every whole message; call `done` for each that was dealt with."""
        for box in sorted(self._in.iterdir()) if self._in.is_dir() else []:
            names = sorted(os.listdir(box)) if box.is_dir() else []  # noqa: PTH208
            for name in names:
                match = _NAME.fullmatch(name)
                if match is None:
                    continue
                try:
                    body = (box / name).read_bytes()
                except FileNotFoundError:
                    continue  # another run has taken it meanwhile
                yield box.name, match[1], body

    def done(self, peer: str, sha256: str) -> None:
        """Remove a message that was taken in or refused."""
        path = self._path(peer, sha256)
        size = _size(path) or 0
        path.unlink(missing_ok=True)
        with self._counting:
            count, total = self._waiting.get(peer, (1, size))
            self._waiting[peer] = max(0, count - 1), max(0, total - size)

    def sweep(self) -> None:
        """Give up uploads that have not grown for a week, and remove what a killed process left."""
        oldest = time.time() - PART_LIFE_SECONDS
        for folder in (self._part, self._in):
            for path in folder.glob("*/*") if folder.is_dir() else []:
                with contextlib.suppress(FileNotFoundError):  # finished or taken meanwhile
                    if not _NAME.fullmatch(path.name) and path.stat().st_mtime <= oldest:
                        path.unlink()

    def _path(self, peer: str, sha256: str) -> Path:
        return self._in / peer / f"{sha256}.msg"

    def _parts(self, peer: str, sha256: str = "") -> list[Path]:
        """The uploads of a site that are not whole: all of them, or those of one message."""
        folder = self._part / peer
        found = list(folder.iterdir()) if folder.is_dir() else []
        return [path for path in found if _PART.fullmatch(path.name) and path.name.startswith(sha256)]

    def _drop_part(self, peer: str, sha256: str) -> None:
        for path in self._parts(peer, sha256):
            path.unlink(missing_ok=True)

    def _make_part_room(self, peer: str, size: int) -> None:
        # An upload counts as what it says it will be, so that many small beginnings cannot grow past the limit.
        promised = self._promised(peer)
        if promised + size > MAX_PART_BYTES:
            raise FullError("too many uploads are not finished", hint="finish those that were begun, or wait a week")
        self._require_room(peer, promised + self._count(peer)[1] + size)

    def _promised(self, peer: str) -> int:
        return sum(int(match[2]) for path in self._parts(peer) if (match := _PART.fullmatch(path.name)))

    def _require_room(self, peer: str, held: int) -> None:
        if self._room is not None and held > self._room(peer):
            raise FullError(
                f"{peer} has put as much here as one site may",
                hint="the operator here takes more: courier parcel limits --site-quota SIZE",
            )

    def _make_room(self, peer: str, size: int) -> None:
        with self._counting:
            count, total = self._waiting.get(peer) or self._count(peer)
            if count >= MAX_WAITING or total + size > MAX_WAITING_BYTES:
                count, total = self._count(peer)
            if count >= MAX_WAITING or total + size > MAX_WAITING_BYTES:
                raise FullError("too many messages wait to be taken in", hint="try again later")
            self._waiting[peer] = count + 1, total + size

    def _count(self, peer: str) -> tuple[int, int]:
        box = self._in / peer
        sizes = [_size(path) for path in box.iterdir()] if box.is_dir() else []
        return len(sizes), sum(size or 0 for size in sizes)


def _size(path: Path) -> int | None:
    """Bytes of a file, or None where there is none: another run may take or finish it at any moment."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _check_digest(found: str, sha256: str) -> None:
    if found != sha256:
        raise WrongDigestError(f"what came is not {sha256[:12]}", hint="send the message again from its beginning")
