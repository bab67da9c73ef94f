"""The errors of this package: what can be wrong with bytes.

Every parser and container of this package raises only these, whatever the input. Each has a message of one line and a
``place`` (``volumes[3].archives[0].size``, a member name, a block number). What an operator should do about it is
decided in ``courier.errors``.
"""

from __future__ import annotations


class FormatError(Exception):
    """The base class of all errors of this package.

    ``code`` is a stable kebab-case word for tests, vectors and JSON output; ``place`` says where, or is empty.
    """

    code = "format"

    def __init__(self, message: str, *, place: str = "") -> None:
        self.message = message
        self.place = place
        super().__init__(f"{place}: {message}" if place else message)


class MalformedError(FormatError):
    """The bytes do not follow the format: garbage, non-canonical, truncated or trailing data."""

    code = "malformed"


class UnknownFormatError(FormatError):
    """A format name or major version that this release does not know."""

    code = "unknown-format"


class IllegalNameError(FormatError):
    """A name that leads out of its folder, is reserved, or cannot be kept on every medium."""

    code = "illegal-name"


class BadSignatureError(FormatError):
    """A signature is missing, is by another key, or does not fit the bytes."""

    code = "bad-signature"


class DigestMismatchError(FormatError):
    """Content does not have the digest or size that a signed document gives it."""

    code = "digest-mismatch"


class UnexpectedError(FormatError):
    """A container holds members that it should not, or lacks some."""

    code = "unexpected-member"


class TooLargeError(FormatError):
    """A size, count or nesting is beyond the limit of the format, as in a decompression bomb."""

    code = "too-large"


class UnreadableError(FormatError):
    """The medium could not be read at a place: a bad sector, or an early end."""

    code = "unreadable"


class NotForUsError(FormatError):
    """Encrypted bytes that none of the given keys decrypts."""

    code = "not-for-us"


class UnmendableError(FormatError):
    """More is damaged or missing than the parity covers."""

    code = "unmendable"


class NoRoomError(FormatError):
    """What is to be written does not fit into the capacity given."""

    code = "no-room"
