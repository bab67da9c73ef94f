"""The shared folder: any mounted share, sync tool, or a stick carried the other way.

``ADDRESS/BR1/HEX.msg`` is a message for site BR1, named by the SHA-256 of its bytes. A message appears whole or not
at all; the receiving site removes it once it is taken. A file that is not what its name says is left alone: a sync
tool may still be writing it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from courier.channel.transport import MAX_MESSAGE, Outgoing, Pace, Unlimited
from courier.errors import Unreachable
from courier.files import atomic_file, make_folder

_NAME = re.compile(r"([0-9a-f]{64})\.msg")


class FolderTransport:
    """Messages through a folder that both sites reach."""

    def __init__(self, folder: Path, pace: Pace | None = None) -> None:
        self._folder = folder
        self._pace = pace or Unlimited()

    def deliver(self, to: str, message: Outgoing) -> None:
        """See `Transport.deliver`."""
        if not self._folder.is_dir():
            raise self._unreachable("is not there")
        try:
            with atomic_file(make_folder(self._folder / to) / f"{message.sha256}.msg") as out:
                offset = 0
                while offset < message.size:
                    data = message.read(offset, self._pace.block())
                    if not data:
                        # Settled by another run meanwhile: there is nothing to hand over any more.
                        raise self._unreachable(f"message {message.sha256[:12]} is not kept any more")
                    offset += out.write(data)
                    self._pace.moved(len(data))
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from None

    def fetch(self, own: str) -> Iterator[tuple[str, bytes]]:
        """See `Transport.fetch`; files with other names, links and half-written ones are passed over."""
        if not self._folder.is_dir():
            raise self._unreachable("is not there")
        box = self._folder / own
        try:
            paths = sorted(box.iterdir()) if box.is_dir() else []
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from None
        for path in paths:
            match = _NAME.fullmatch(path.name)
            body = self._read(path) if match else None
            if match and body is not None and hashlib.sha256(body).hexdigest() == match[1]:
                yield match[1], body

    def _read(self, path: Path) -> bytes | None:
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_MESSAGE:
                return None
            self._pace.block()
            body = path.read_bytes()
        except FileNotFoundError:
            return None  # another run has taken it meanwhile
        except OSError as error:
            raise self._unreachable(error.strerror or str(error)) from None
        self._pace.moved(len(body))
        return body

    def done(self, own: str, sha256: str) -> None:
        """See `Transport.done`; a share we may not delete on keeps the file, which does no harm."""
        try:
            (self._folder / own / f"{sha256}.msg").unlink(missing_ok=True)
        except OSError:
            return

    def close(self) -> None:
        """See `Transport.close`."""

    def _unreachable(self, why: str) -> Unreachable:
        return Unreachable(
            f"channel folder {self._folder}: {why}",
            hint="mount the share or make the folder; the messages are kept and go with the next: courier channel sync",
        )
