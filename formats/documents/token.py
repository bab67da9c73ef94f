"""The label token: what the code on a printed label says, signed, in letters and digits that any scanner can type.

The signed document is an ordinary one (`LabelToken`). A label has little room, so its envelope is packed: the text
begins with `PREFIX`, the rest is base32 (RFC 4648, without padding) of

    3 bytes   source, in ASCII            2   set of media (0: not known)
    3         number of the parcel        8   issued, nanoseconds since 1970, signed
    2         volume                      16  first bytes of the packing list's SHA-256
    2         of how many                 1   how many destinations, then 3 bytes for each, in ASCII
    2         edition
    8 bytes   first bytes of the ID of the key, then the signature (64), then the CRC-32 of all before it (4)

Integers are big-endian. All that is signed can be told from these bytes, so a reader makes the envelope again and
judges it as any other. A signature by ECDSA is its two numbers, 32 bytes each. The CRC-32 only tells a label that was
misread from one that was forged.

Where no scanner is at hand a person types parcel, volume and `typed_check`, which finds slips and proves nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from formats.documents.fields import Issued, ParcelDocument, Receivers
from formats.documents.kind import DocumentKind
from formats.documents.packing import MAX_VOLUMES
from formats.envelope import Envelope, PublicKey
from formats.errors import MalformedError
from formats.names import check_parcel, parcel_id
from formats.records import integer, matching

PREFIX = "CP1"
"""What every token begins with: the kind of code, and its major version."""
MAX_EDITION = 999
MAX_SETS = 0xFFFF
MAX_SITES = 20
"""Destinations of one label, at most: more make the code too fine for a small label."""
DIGEST_BYTES = 16
"""Bytes of the packing list's digest on a label."""
CHECK_LENGTH = 6
"""Characters of the check value that a person types."""
_KEY_BYTES, _SIGNATURE, _CRC = 8, 64, 4
_FIXED = 39
_LOOK_ALIKE = str.maketrans("018", "OIB")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelToken(ParcelDocument):
    """Label of volume ``number`` of ``of``, for the set of media ``copy`` (0: not known) that goes to ``destinations``.

    ``packing_list`` is the beginning of the SHA-256 of the packing list's payload (32 hexadecimal digits), ``edition``
    its edition. ``issued_ns`` is when the medium was written, or laid out if it is not written yet (UTC), so that a
    label printed again is the same, and that of a medium in another's place is not.
    """

    NAME = "label-token"

    destinations: Receivers
    number: Annotated[int, integer(1, MAX_VOLUMES)]
    of: Annotated[int, integer(1, MAX_VOLUMES)]
    edition: Annotated[int, integer(1, MAX_EDITION)]
    copy: Annotated[int, integer(0, MAX_SETS)]
    packing_list: Annotated[str, matching(f"[0-9a-f]{{{2 * DIGEST_BYTES}}}")]
    issued_ns: Issued

    def check(self) -> None:
        """Raise `MalformedError` for a parcel that is not of its source, a volume beyond the last, more than
        `MAX_SITES` destinations, or a time that does not fit into 63 bits.
        """
        check_parcel(self.parcel, source=self.source, place="parcel")
        if self.number > self.of:
            raise MalformedError(f"volume {self.number} of {self.of}", place="number")
        if len(self.destinations) > MAX_SITES:
            raise MalformedError(f"more than {MAX_SITES} destinations", place="to")
        if not -(1 << 63) <= self.issued_ns < 1 << 63:
            raise MalformedError("not between the years 1678 and 2262", place="issued")

    def is_of(self, packing_list: str) -> bool:
        """Whether the label is of the layout whose packing list has this digest (64 hexadecimal digits)."""
        return packing_list.startswith(self.packing_list)


KIND = DocumentKind(
    document=LabelToken,
    title="label",
    made_ns=lambda document: document.issued_ns,
    signer=lambda document: document.source,
)
"""The label token, as the trust rules know it."""
TYPE = KIND.type


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedToken:
    """A token as it was read, its signature not judged yet. ``key``: the beginning of the key's ID, in hexadecimal."""

    document: LabelToken
    key: str
    signature: bytes

    def envelope(self, keys: Iterable[PublicKey]) -> Envelope:
        """The envelope that was packed; ``keys``: those that the source's card names.

        Where none of them is meant, the ID of the key has zeros after what the token gives, and nobody signed it.
        """
        keyid, signature = self.key.ljust(64, "0"), self.signature
        for key in keys:
            if key.keyid.startswith(self.key):
                keyid, signature = key.keyid, _unpacked(self.signature, key.scheme)
        return Envelope(payload=self.document.payload(), payload_type=TYPE, signatures=((keyid, signature),))


def write_token(envelope: Envelope, key: PublicKey) -> str:
    """The text of the code on a label: the token in ``envelope``, which ``key`` signed.

    Raises `MalformedError` for the envelope of anything else.
    """
    token = LabelToken.parse(envelope.payload)
    signature = dict(envelope.signatures).get(key.keyid)
    if envelope.payload_type != TYPE or signature is None:
        raise MalformedError("not a label token signed by this key")
    body = b"".join(
        (
            token.source.encode(),
            int(token.parcel[4:]).to_bytes(3, "big"),
            *(n.to_bytes(2, "big") for n in (token.number, token.of, token.edition, token.copy)),
            token.issued_ns.to_bytes(8, "big", signed=True),
            bytes.fromhex(token.packing_list),
            bytes([len(token.destinations)]),
            *(site.encode() for site in token.destinations),
            bytes.fromhex(key.keyid)[:_KEY_BYTES],
            _packed(signature, key.scheme),
        )
    )
    return PREFIX + base64.b32encode(body + zlib.crc32(body).to_bytes(_CRC, "big")).decode().rstrip("=")


def is_token(text: str) -> bool:
    """Whether a text that was scanned or typed is meant to be a token."""
    return _tidy(text).startswith(PREFIX) and len(_tidy(text)) > 60


def read_token(text: str) -> PackedToken:
    """The token in a text, whatever its case and spaces; raises `MalformedError` for a misread or incomplete one."""
    tidy = _tidy(text)
    body = _decode(tidy.removeprefix(PREFIX)) if tidy.startswith(PREFIX) else b""
    rest, crc = body[:-_CRC], body[-_CRC:]
    if zlib.crc32(rest).to_bytes(_CRC, "big") != crc:
        raise MalformedError("its check value is wrong: it was misread, or is not complete")
    count = rest[_FIXED - 1] if len(rest) >= _FIXED else 0
    end = _FIXED + 3 * count
    if len(rest) != end + _KEY_BYTES + _SIGNATURE:
        raise MalformedError(f"{len(rest)} bytes, which is not the length of a token for {count} sites")
    try:
        source, sites = rest[:3].decode("ascii"), rest[_FIXED:end].decode("ascii")
    except UnicodeDecodeError:
        raise MalformedError("a site code is not in ASCII") from None
    numbers = [int.from_bytes(rest[n : n + 2], "big") for n in (6, 8, 10, 12)]
    token = LabelToken(
        parcel=parcel_id(source, int.from_bytes(rest[3:6], "big")),
        source=source,
        destinations=tuple(sites[n : n + 3] for n in range(0, len(sites), 3)),
        number=numbers[0],
        of=numbers[1],
        edition=numbers[2],
        copy=numbers[3],
        issued_ns=int.from_bytes(rest[14:22], "big", signed=True),
        packing_list=rest[22 : _FIXED - 1].hex(),
    )
    # The rules of the document are those of its parser.
    return PackedToken(
        document=LabelToken.parse(token.payload()),
        key=rest[end : end + _KEY_BYTES].hex(),
        signature=rest[end + _KEY_BYTES :],
    )


def typed_check(parcel: str, volume: int, edition: int) -> str:
    """The check value that a person types with a parcel and a volume: 30 bits of a SHA-256, in base32."""
    digest = hashlib.sha256(f"courier label check/1\n{parcel}\n{volume}\n{edition}\n".encode()).digest()
    return base64.b32encode(digest[:5]).decode()[:CHECK_LENGTH]


def edition_of_check(parcel: str, volume: int, check: str) -> int | None:
    """The edition whose check value this is; None where it is of none, so that something was mistyped.

    A digit 0, 1 or 8 counts as the letter O, I or B, which it may be taken for: there are none in a check value.
    """
    tidy = _tidy(check).translate(_LOOK_ALIKE)
    return next((n for n in range(1, MAX_EDITION + 1) if typed_check(parcel, volume, n) == tidy), None)


def _tidy(text: str) -> str:
    return "".join(text.split()).upper()


def _decode(text: str) -> bytes:
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except (ValueError, binascii.Error):
        return b""
    return data if base64.b32encode(data).decode().rstrip("=") == text else b""


def _packed(signature: bytes, scheme: str) -> bytes:
    """A signature in 64 bytes."""
    if scheme == "ed25519":
        return signature
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    return b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(signature))


def _unpacked(signature: bytes, scheme: str) -> bytes:
    """The signature as the key's scheme has it, of the 64 bytes of a token."""
    if scheme == "ed25519":
        return signature
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
