"""The folder transport: messages through a mounted share, a folder that a tool synchronises, or a stick.

``FOLDER/BR1/HEX.msg`` is a message for site BR1, named by the SHA-256 of its bytes. A message appears whole or not
at all; the receiving site removes it once it is taken. A file whose bytes do not have the digest in its name is left
alone: a tool may still be writing it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from courier.channel.transport import MAX_MESSAGE, Outgoing, Pace, RejectedError, Unlimited
from courier.error_codes import Code
from courier.errors import RefusedError, UnreachableError
from courier.files import TEMP, atomic_file, make_folder

_NAME = re.compile(r"([0-9a-f]{64})\.msg")
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags to open a message with. Whoever writes to the share may put a link or a pipe in its place: neither is read."""
_REPLACED = {errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR}
"""Errors of opening a link, a pipe, a folder, or a file that another run has taken meanwhile."""
_REFUSED = {errno.EACCES, errno.EPERM}
"""Errors of what this user may not read or write."""
LEFT_OVER_SECONDS = 7 * 24 * 3600
"""A temporary file that a killed sender left for us is removed when it has not grown for this time."""


class FolderTransport:
    """Messages through a folder that both sites reach; see `courier.channel.transport.Transport`."""

    def __init__(self, folder: Path, pace: Pace | None = None) -> None:
        self._folder = folder
        self._pace = pace or Unlimited()

    def deliver(self, to: str, message: Outgoing) -> None:
        """See `Transport.deliver`."""
        self._require()
        path = self._folder / to / f"{message.sha256}.msg"
        try:
            if path.is_dir():
                raise RejectedError(f"{path} is a folder", hint="remove it; the message is tried again later")
            make_folder(path.parent, readable=True)
            # Another site reads it, as another user: it is signed and encrypted.
            with atomic_file(path, readable=True) as out:
                offset = 0
                while offset < message.size:
                    data = message.read(offset, self._pace.block())
                    if not data:
                        # Settled by another run meanwhile: there is nothing to hand over any more.
                        raise self._unreachable(f"message {message.sha256[:12]} is not kept any more")
                    offset += out.write(data)
                    self._pace.moved(len(data))
        except OSError as error:
            raise self._broken(error, making=path) from None

    def fetch(self, own: str) -> Iterator[tuple[str, bytes]]:
        """See `Transport.fetch`; files with other names, links and half-written ones are passed over.

        A message that this user may not read says nothing against the folder: all others are taken, then it is told.
        """
        self._require()
        box = self._folder / own
        try:
            names = sorted(os.listdir(box))  # noqa: PTH208 (names alone: there may be many)
        except FileNotFoundError:
            # No message ever came; or the share has gone this moment.
            self._require()
            return
        except OSError as error:
            raise self._broken(error) from None
        unreadable: list[OSError] = []
        for name in names:
            if name.startswith(TEMP):
                self._remove_left_over(box / name)
                continue
            match = _NAME.fullmatch(name)
            body = self._read(box / name, unreadable) if match else None
            if match and body is not None and hashlib.sha256(body).hexdigest() == match[1]:
                yield match[1], body
        if (failure := next((one for one in unreadable if one.errno not in _REFUSED), None)) is not None:
            raise self._broken(failure)
        if unreadable:
            others = f", and {len(unreadable) - 1:,} more" if len(unreadable) > 1 else ""
            raise RefusedError(
                f"message {unreadable[0].filename}{others}: {unreadable[0].strerror}",
                hint="let this user read and delete it there; what else waited was taken: courier channel sync",
                code=Code.PERMISSION,
            )

    def _read(self, path: Path, unreadable: list[OSError]) -> bytes | None:
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return None
            with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _FLAGS)) as source:
                found = os.fstat(source.fileno())
                if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_MESSAGE:
                    return None
                self._pace.block()
                # It may grow while it is read.
                body = source.read(MAX_MESSAGE + 1)
        except OSError as error:
            self._require()
            if error.errno not in _REPLACED:
                unreadable.append(error)  # the others are taken first
            return None
        self._pace.moved(len(body))
        return body

    def remove_left_overs(self, to: str) -> None:
        """Remove what killed senders left half-written in the box of site ``to``, where we may."""
        try:
            names = [name for name in os.listdir(self._folder / to) if name.startswith(TEMP)]  # noqa: PTH208
        except OSError:
            return
        for name in names:
            self._remove_left_over(self._folder / to / name)

    @staticmethod
    def _remove_left_over(path: Path) -> None:
        try:
            if path.lstat().st_mtime < time.time() - LEFT_OVER_SECONDS:
                path.unlink()
        except OSError:
            return

    def done(self, own: str, sha256: str) -> None:
        """See `Transport.done`; on a share where we may not delete, the writer takes it back (`take_back`)."""
        try:
            (self._folder / own / f"{sha256}.msg").unlink(missing_ok=True)
        except OSError:
            return

    def lying(self, to: str) -> set[str]:
        """The names of the messages in the box of site ``to``; none where it cannot be looked into."""
        found = set()
        try:
            with os.scandir(self._folder / to) as entries:
                for entry in entries:
                    match = _NAME.fullmatch(entry.name)
                    if match and entry.is_file(follow_symlinks=False):
                        found.add(match[1])
        except OSError:
            return set()
        return found

    def close(self) -> None:
        """See `Transport.close`."""

    def _require(self) -> None:
        try:
            there = self._folder.is_dir()
        except OSError as error:  # a share that hangs or whose server forgot it
            raise self._broken(error) from None
        if not there:
            raise self._unreachable("it does not exist")

    def _broken(self, error: OSError, *, making: Path | None = None) -> UnreachableError:
        path = Path(str(error.filename or self._folder))
        # The name of a message that is not there yet says nothing to an operator.
        path = path.parent if path == making else path
        where = "" if path == self._folder else f" ({path})"
        refused = error.errno in _REFUSED
        return self._unreachable(f"{error.strerror or error}{where}", refused=refused)

    def _unreachable(self, why: str, *, refused: bool = False) -> UnreachableError:
        cure = "let this user read and write there" if refused else "mount the share or make the folder"
        return UnreachableError(
            f"channel folder {self._folder}: {why}",
            hint=f"{cure}; the messages are kept and go with the next: courier channel sync",
        )
