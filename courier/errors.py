"""What goes wrong, by who must act, each with what to do about it; and the table of exit codes.

Everything a command raises on purpose is a `CourierError`. Errors of the bytes floor (`formats.errors`) are turned
into one by `explain`.
"""

from __future__ import annotations

from typing import ClassVar

from courier.error_codes import Code
from formats import errors as fe


class CourierError(Exception):
    """Base: ``message`` says what and where in one line, ``hint`` what to do in one line."""

    exit_code: ClassVar[int] = 1
    code: Code = Code.UNEXPECTED

    def __init__(self, message: str, *, hint: str, code: Code | None = None) -> None:
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code
        super().__init__(message)


class UsageError(CourierError):
    """The command was given something it cannot take."""

    exit_code = 2
    code = Code.USAGE


class RefusedError(CourierError):
    """Trust, signature or policy forbids it."""

    exit_code = 3
    code = Code.REFUSED


class DamagedError(CourierError):
    """Content is damaged or not all there; it can be repaired, and the hint says how."""

    exit_code = 4
    code = Code.DAMAGED


class NoSpaceError(CourierError):
    """A disk or medium has too little room."""

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
    """A site, package, parcel, volume or file that is not there."""

    exit_code = 6
    code = Code.NOT_FOUND


class UnreachableError(CourierError):
    """The network did not answer; what was to be sent is kept for the next try."""

    exit_code = 7
    code = Code.UNREACHABLE


class StoppedError(CourierError):
    """Stopped by the operator; the same command goes on."""

    exit_code = 8
    code = Code.INTERRUPTED


EXIT_CODES = {
    0: "done",
    1: "unexpected",
    2: "usage",
    3: "refused (trust, signature, policy)",
    4: "damaged or incomplete content (repairable: says how)",
    5: "no space",
    6: "not found",
    7: "network unreachable (kept for retry)",
    8: "interrupted",
}

_EXPLANATIONS: tuple[tuple[type[fe.FormatError], type[CourierError], str], ...] = (
    (
        fe.BadSignatureError,
        RefusedError,
        "compare the sender's fingerprint by phone; do not use this medium or message until it is explained",
    ),
    (
        fe.NotForUsError,
        RefusedError,
        "it was encrypted for another site, or for keys that were lost here (courier site rotate-key --lost): ask the "
        "sender to create the parcel anew, for this site's present card",
    ),
    (
        fe.UnknownFormatError,
        RefusedError,
        "it was made by another release; update this toolkit or ask the sender which release made it",
    ),
    (fe.IllegalNameError, RefusedError, "the name is not allowed in a package or parcel; rename it at its source"),
    (
        fe.UnexpectedError,
        RefusedError,
        "the medium does not hold what its signed packing list says; ask the sender for it again",
    ),
    (fe.TooLargeError, RefusedError, "it is beyond the limits of the format; ask the sender what it is"),
    (
        fe.DigestMismatchError,
        DamagedError,
        "read the medium again, in another drive if there is one, or ask the sender for it again",
    ),
    (
        fe.UnreadableError,
        DamagedError,
        "read the medium again, in another drive if there is one, or ask the sender for it again",
    ),
    (
        fe.UnmendableError,
        DamagedError,
        "ask the sender for the missing blocks: courier parcel repair PARCEL --from-network",
    ),
    (fe.MalformedError, DamagedError, "read the medium or message again; if it stays so, ask the sender for it again"),
    (fe.NoRoomError, NoSpaceError, "choose a larger medium"),
    (fe.FormatError, DamagedError, "ask the sender for it again"),
)


def explain(error: fe.FormatError, *, where: str = "", hint: str = "") -> CourierError:
    """The `CourierError` for an error of the bytes floor; ``where`` names the medium, message or file it is in."""
    for kind, turned, usual in _EXPLANATIONS:
        if isinstance(error, kind):
            message = f"{where}: {error}" if where else str(error)
            return turned(message, hint=hint or usual, code=Code(error.code))
    raise AssertionError("every format error has an explanation")
