"""The cover of a message: an age file to the one site it is for, around the signed envelope.

Who carries a message, or keeps it for the other site (a shared folder, a stick, a server on the way), sees for which
site it is and how large, and nothing of what it says. The signature is inside, so a cover says nothing of the sender
and needs no trust: whatever comes out of it is judged as an envelope that came bare.
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


def is_covered(body: bytes) -> bool:
    """Whether a message is sealed (in whatever version of the age format)."""
    return body.startswith(_BEGIN)


def covered(envelope: BinaryIO, size: int, recipient: str, seed: bytes) -> EncryptedView:
    """The covered message of an envelope of ``size`` bytes, to be read from anywhere; it closes the envelope.

    ``seed``: `SEED_BYTES` random bytes that are this message's alone; with them the same cover can be made again, so
    that a transfer that was cut goes on.
    """
    from formats.age import EncryptedView

    return EncryptedView(envelope, size, [recipient], seed=seed, context=_CONTEXT)


def open_cover(body: bytes, identities: Sequence[Identity]) -> bytes:
    """The envelope in a covered message; raises `RefusedError` where it is not for these keys, `DamagedError` where it
    is broken.

    A cover has one stanza, that of the site it is for; nothing in it grows when it is opened.
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
            "encrypted message: not encrypted to this site's keys, so it cannot be read here, nor whom it is from",
            hint=hint,
            code=Code.NOT_FOR_US,
        ) from None
    except FormatError as error:
        raise DamagedError(f"encrypted message: {error}", hint=hint, code=Code(error.code)) from None
