"""Encryption of messages: an age file, for the one site that it is for, around the signed envelope.

Whoever carries a message or keeps it for the other site (a shared folder, a stick, a server on the way) sees which site
it is for and how large it is, and nothing of what it says. The signature is inside, so the encryption says nothing of
the sender and needs no trust: what comes out of it is judged like an envelope that came unencrypted.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError
from formats.errors import FormatError, NotForUsError

if TYPE_CHECKING:
    from formats.age import EncryptedView, Identity

SEED_BYTES = 32
_CONTEXT = b"courier message"
_BEGIN = b"age-encryption.org/"


def is_encrypted(body: bytes) -> bool:
    """Whether the bytes of a message are an age file, of whatever version of that format."""
    return body.startswith(_BEGIN)


def encrypted_message(envelope: BinaryIO, size: int, recipient: str, seed: bytes) -> EncryptedView:
    """An envelope of ``size`` bytes, encrypted to ``recipient``; it can be read from any offset, and closes the
    envelope.

    ``seed``: `SEED_BYTES` random bytes of this message alone. The same seed gives the same bytes, so a transfer that
    was cut can go on.
    """
    from formats.age import EncryptedView

    return EncryptedView(envelope, size, [recipient], seed=seed, context=_CONTEXT)


def decrypt_message(body: bytes, identities: Sequence[Identity]) -> bytes:
    """The envelope in an encrypted message.

    Raises `RefusedError` when it is not encrypted to one of these keys, or to more than one recipient, and
    `DamagedError` when it is broken. Nothing in it expands, so it is never larger than ``body``.
    """
    from formats.age import open_encrypted
    from formats.age.header import MAX_HEADER, parse_header

    hint = "the sender sends it again by itself; if it stays so, send it our card: courier site card"
    try:
        if len(parse_header(body[:MAX_HEADER]).stanzas) != 1:
            raise RefusedError(
                "encrypted message: encrypted to more than one key", hint="ask the sender", code=Code.MALFORMED
            )
        with open_encrypted(io.BytesIO(body), identities) as opened:
            return opened.read()
    except NotForUsError:
        raise RefusedError(
            "encrypted message: not encrypted to this site's keys, so it cannot be read, and its sender is unknown",
            hint=hint,
            code=Code.NOT_FOR_US,
        ) from None
    except FormatError as error:
        raise DamagedError(f"encrypted message: {error}", hint=hint, code=Code(error.code)) from None
