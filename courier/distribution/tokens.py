"""Client tokens: where a point's server asks for one, only clients that show a token of its file are served."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

from courier.errors import UsageError
from courier.files import read_private

_LINE = re.compile(r"(?:([A-Za-z0-9._-]{1,64})\s+)?([A-Za-z0-9._~+/=-]{16,200})")


class Tokens:
    """The tokens of a file: one a line, a name before it where there is one; ``#`` begins a comment.

    The file is read again when it changes, so that a token is given or taken away while the server runs.
    """

    def __init__(self, path: Path) -> None:
        """Raises `UsageError` for a file that holds no token, `RefusedError` where others can read it."""
        self._path = path
        self._state: tuple[int, int] | None = None
        self._known: dict[bytes, str] = {}
        self._read()

    def client(self, header: str) -> str | None:
        """The name of the client whose token an ``Authorization`` header shows; None where it shows none of ours."""
        self._read_again()
        kind, _, token = header.partition(" ")
        if kind.lower() != "bearer":
            return None
        shown = hashlib.sha256(token.strip().encode("utf-8", "replace")).digest()
        found = None
        for digest, name in self._known.items():
            if hmac.compare_digest(digest, shown):
                found = name
        return found

    def _read_again(self) -> None:
        try:
            info = self._path.stat()
            if (info.st_mtime_ns, info.st_size) != self._state:
                self._read()
        except Exception:  # the file is being replaced, or is not right now: the tokens known so far count
            return

    def _read(self) -> None:
        info = self._path.stat()
        known = {}
        for number, line in enumerate(read_private(self._path).decode("utf-8", "replace").splitlines(), 1):
            text = line.partition("#")[0].strip()
            if not text:
                continue
            match = _LINE.fullmatch(text)
            if match is None:
                raise UsageError(
                    f"{self._path}, line {number}: not a token", hint="NAME TOKEN, the token of 16 characters or more"
                )
            digest = hashlib.sha256(match[2].encode()).digest()
            known[digest] = f"token {match[1] or number}"
        if not known:
            raise UsageError(f"{self._path} holds no token", hint="one a line: NAME TOKEN")
        self._known, self._state = known, (info.st_mtime_ns, info.st_size)
