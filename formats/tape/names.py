"""The names of the files in a folder that mirrors a tape: one file for every run of blocks between two tape marks.

A reader needs only the five digits at the beginning, the number of the run from 0. The rest is for people, and the last
resort where labels are lost: ``00004-data+archives+000001.7z`` gives its path in any copy of the folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from formats.errors import FormatError, IllegalNameError
from formats.tape.index import INDEX_PATH
from formats.tape.labels import check_tape_path, find_file_label

LONGEST = 180
"""The most characters in a name; with a digest it fits into `formats.tape.drive.MARK_BYTES`."""

RunKind = Literal["header", "data", "trailer"]

_RUN = re.compile(r"([0-9]{5})(?![0-9])")
_PLAIN = re.compile(r"[A-Za-z0-9 ._~()\[\]{}@=,;!#$&'^`-]")
_LABEL_SUFFIX = ".label"


def run_kind(number: int) -> RunKind:
    """What run ``number`` holds: every tape file is three runs."""
    kinds: tuple[RunKind, ...] = ("header", "data", "trailer")
    return kinds[number % 3]


def run_number(name: str) -> int | None:
    """The number of the run in a file of this name, or None if the file is not part of the tape."""
    match = _RUN.match(name)
    return int(match[1]) if match else None


def label_name(number: int, first_record: bytes) -> str:
    """The name of a run of labels: ``00000-VOL1-HDR1.label``, ``00003-HDR1.label``, ``00005-EOF1.label``."""
    identifier = first_record[:4].decode("ascii", "replace")
    text = {"VOL1": "VOL1-HDR1"}.get(identifier, identifier)
    return f"{number:05d}-{text if re.fullmatch('[A-Z0-9-]+', text) else 'labels'}{_LABEL_SUFFIX}"


def data_name(number: int, labels: Sequence[bytes]) -> str:
    """The name of a run of data; ``labels`` are the records of the run before it.

    It is the path with ``+`` for ``/``, and ``%`` and two hexadecimal digits for a character that a file system might
    refuse; a path that is too long becomes ``file``.
    """
    try:
        path = find_file_label(labels).path
    except FormatError:
        path = "data"
    text = "".join("+" if c == "/" else c if _PLAIN.match(c) else f"%{ord(c):02X}" for c in path)
    if text[-1] in ". ":
        text = f"{text[:-1]}%{ord(text[-1]):02X}"
    return f"{number:05d}-{text if len(text) <= LONGEST - 6 else 'file'}"


def path_of(name: str) -> str | None:
    """The path in a name that `data_name` made; None if it has none, or the path was too long."""
    text = name[6:]
    if name[5:6] != "-" or text in ("", "data", "file"):
        return None
    path = re.sub("%([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text.replace("+", "/"))
    try:
        return check_tape_path(path)
    except IllegalNameError:
        return None


def bears_tape_name(name: str) -> bool:
    """Whether a file of this name shows that its folder mirrors a tape: it is a run of labels, or an index."""
    number = run_number(name)
    return number is not None and (name.endswith(_LABEL_SUFFIX) or name[6:] == INDEX_PATH)
