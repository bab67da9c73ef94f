"""The errors that commands raise on purpose, each with what the operator can do about it.

All of them are a `CourierError`; the class decides the exit code (`courier.error_codes.EXIT_CODES`). `explain` turns
an error of `formats` into one.
"""

from __future__ import annotations

from typing import ClassVar

from courier.error_codes import Code
from formats import errors as fe


class CourierError(Exception):
    """Base of the errors: ``message`` says what went wrong and where, ``hint`` what to do, each in one line."""

    exit_code: ClassVar[int] = 1
    code: Code = Code.UNEXPECTED

    def __init__(self, message: str, *, hint: str, code: Code | None = None) -> None:
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code
        super().__init__(message)


class UsageError(CourierError):
    """An option, argument or value is wrong."""

    exit_code = 2
    code = Code.USAGE


class RefusedError(CourierError):
    """Trust, a signature or a policy forbids it."""

    exit_code = 3
    code = Code.REFUSED


class DamagedError(CourierError):
    """Content is damaged or incomplete; the hint says how to repair it."""

    exit_code = 4
    code = Code.DAMAGED


class NoSpaceError(CourierError):
    """A disk or medium has too little space."""

    exit_code = 5
    code = Code.NO_SPACE

    @classmethod
    def short_of(cls, purpose: str, *, needed: int, free: int, reserve: int, place: str) -> NoSpaceError:
        """The error for a disk at ``place`` that has ``free`` bytes where ``needed`` and a ``reserve`` are wanted."""
        return cls(
            f"{purpose} needs {needed:,} bytes (and {reserve:,} in reserve) at {place}; {free:,} are free",
            hint=f"free {needed + reserve - free:,} bytes there, or use another disk",
        )


class NotFoundError(CourierError):
    """A site, package, parcel, volume or file is not there."""

    exit_code = 6
    code = Code.NOT_FOUND


class UnreachableError(CourierError):
    """The network did not answer; messages are kept for the next try."""

    exit_code = 7
    code = Code.UNREACHABLE


class StoppedError(CourierError):
    """The operator or the system stopped the command; the same command goes on from there."""

    exit_code = 8
    code = Code.INTERRUPTED


class BusyError(CourierError):
    """Another command, or another program, is using it; the same command works later."""

    exit_code = 9
    code = Code.BUSY


class InUseError(BusyError):
    """What a message is about is in use by another command: it stays where it is, for the next exchange."""


class FailedError(CourierError):
    """A program failed that a task sequence runs, or that a step needs."""

    exit_code = 12
    code = Code.STEP_FAILED


class WaitingError(CourierError):
    """Nothing is wrong with the command; something at the site waits for a person, as monitoring is told."""

    exit_code = 10
    code = Code.WAITS_FOR_PERSON


_READ_AGAIN = "read the medium again, in another drive if you have one, or ask the sender for another one"

_EXPLANATIONS: tuple[tuple[type[fe.FormatError], type[CourierError], str], ...] = (
    (
        fe.BadSignatureError,
        RefusedError,
        "compare the sender's fingerprint by phone; do not use this medium or message before the cause is known",
    ),
    (
        fe.NotForUsError,
        RefusedError,
        "it was encrypted for another site, or for keys that this site lost (courier site rotate-key --lost): ask the "
        "sender to create the parcel again for this site's present card",
    ),
    (
        fe.UnknownFormatError,
        RefusedError,
        "another release made it: update this toolkit, or ask the sender which release it was",
    ),
    (fe.IllegalNameError, RefusedError, "the name is not allowed in a package or parcel; rename it at its source"),
    (
        fe.UnexpectedError,
        RefusedError,
        "the medium does not hold what its signed packing list says; ask the sender for another one",
    ),
    (fe.TooLargeError, RefusedError, "it is larger than the format allows; ask the sender what it is"),
    (
        fe.DigestMismatchError,
        DamagedError,
        _READ_AGAIN,
    ),
    (
        fe.UnreadableError,
        DamagedError,
        _READ_AGAIN,
    ),
    (
        fe.UnmendableError,
        DamagedError,
        "ask the sender for the missing blocks: courier parcel repair PARCEL --from-network",
    ),
    (
        fe.MalformedError,
        DamagedError,
        "read the medium or fetch the message again; if that does not help, ask the sender for another one",
    ),
    (fe.NoRoomError, NoSpaceError, "choose a larger medium"),
    (fe.FormatError, DamagedError, "ask the sender for another one"),
)


def explain(error: fe.FormatError, *, where: str = "", hint: str = "") -> CourierError:
    """The `CourierError` for an error of `formats`; ``where`` names the medium, message or file it is in.

    ``hint`` stands in place of the usual one for that kind of error.
    """
    for kind, turned, usual in _EXPLANATIONS:
        if isinstance(error, kind):
            message = f"{where}: {error}" if where else str(error)
            return turned(message, hint=hint or usual, code=Code(error.code))
    raise AssertionError("every format error has an explanation")
