"""The status messages of a client: one small file for each step that begins or ends, known by a key. Pure.

A file has two lines: the message in canonical JSON, and ``hmac-sha256`` with the HMAC-SHA256 of that line in
hexadecimal, by the status key of the computer's policy. Whoever does not have the policy can make no message for the
computer. The name of a file is `file_name`; a client writes it whole or not at all, and a site takes it any number of
times.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from formats.documents.deployment import ComputerName, DeploymentId
from formats.errors import BadSignatureError, MalformedError, TooLargeError
from formats.records import Count, Key, NamedRecord, Number, Time, matching, read_named, text

MAX_MESSAGE = 2000
"""Characters of the longest message; a client cuts what is longer."""
MAX_FILE = 1 << 16
"""Bytes of the largest file that is read."""
SUFFIX = ".status"
_CONTEXT = b"courier status 1\n"
"""Goes into the HMAC before the line, so that the key authenticates nothing else."""

Outcome = Literal["started", "done", "skipped", "failed"]
RunId = Annotated[str, matching("[0-9a-f]{32}")]
"""One run of a client, made at random; a run that was cut goes on under the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusMessage(NamedRecord):
    """What became of a step of ``computer`` in the run ``run``.

    ``number`` counts the messages of a run from 1. ``step``: its number in the sequence, 0 for the sequence as a whole.
    ``at_ns``: by the client's clock (UTC).
    """

    NAME = "deployment-status"

    deployment: DeploymentId
    computer: ComputerName
    run: RunId
    number: Number
    step: Count
    outcome: Outcome
    message: Annotated[str, text(MAX_MESSAGE)]
    at_ns: Annotated[Time, Key("at")]


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusFile:
    """A file as it was read, its HMAC not verified yet: who it says it is of, and its bytes."""

    message: StatusMessage
    line: bytes
    mac: bytes


def file_name(message: StatusMessage) -> str:
    """The name of the file of a message: files of one run sort in the order of their numbers."""
    return f"{message.deployment}.{message.computer}.{message.run}.{message.number:06d}{SUFFIX}"


def make_status(message: StatusMessage, key: bytes) -> bytes:
    """The bytes of a message's file; ``key`` is the status key of the computer's policy."""
    line = message.json()
    return line + b"\nhmac-sha256 " + _mac(line, key).hex().encode() + b"\n"


def parse_status(data: bytes, *, place: str = "status") -> StatusFile:
    """Read a file without judging its HMAC. Raises `TooLargeError`, `UnknownFormatError` and `MalformedError`."""
    if len(data) > MAX_FILE:
        raise TooLargeError(f"more than {MAX_FILE} bytes", place=place)
    found = re.fullmatch(rb"([^\n]+)\nhmac-sha256 ([0-9a-f]{64})\n", data)
    if found is None:
        raise MalformedError("not a message and its HMAC, a line each", place=place)
    message = read_named(StatusMessage, found[1], place=place)
    if message.json() != found[1]:
        raise MalformedError("not written as such a message is", place=place)
    return StatusFile(message=message, line=found[1], mac=bytes.fromhex(found[2].decode()))


def verify_status(file: StatusFile, key: bytes, *, place: str = "status") -> StatusMessage:
    """The message of a file whose HMAC is by ``key``. Raises `BadSignatureError` for any other, and an empty key."""
    if not key or not hmac.compare_digest(file.mac, _mac(file.line, key)):
        raise BadSignatureError("not authenticated by the key of that computer, or altered since", place=place)
    return file.message


def _mac(line: bytes, key: bytes) -> bytes:
    return hmac.new(key, _CONTEXT + line, hashlib.sha256).digest()
