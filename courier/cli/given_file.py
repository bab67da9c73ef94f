"""Files that an operator gives to a command to be read as a whole."""

from __future__ import annotations

from pathlib import Path

from courier.errors import NotFoundError, UsageError


def read_given(path: Path, most: int, *, hint: str) -> bytes:
    """The bytes of a file, ``most`` at most. Raises `NotFoundError` and `UsageError`, with ``hint``."""
    if not path.exists() or path.is_dir():
        raise NotFoundError(f"{path} is not there, or is no file", hint=hint)
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise UsageError(f"{path} has more than {most:,} bytes", hint=hint)
    return data


def read_given_text(path: Path, most: int, *, hint: str) -> str:
    """The text of a file in UTF-8, with or without a byte order mark. Raises as `read_given` does."""
    try:
        return read_given(path, most, hint=hint).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8", hint=hint) from None
