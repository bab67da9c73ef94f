"""Sealed files: the age format, age-encryption.org/v1 (https://c2sp.org/age), to X25519 recipients, binary form only.

`SealingWriter` and `seal_stream` make them, `SealedView` any part of one, `open_sealed` reads them, from anywhere;
stock ``age`` does both as well. The header is `formats.seal_header`'s, the payload is laid out in
`formats.seal_payload`. Sealing and opening go on in threads beside the caller's, in batches of 1 MiB: while one is
sealed, the one before is written and the next is fetched. They take a few MiB of memory, whatever the file's size.
"""

from formats.seal_header import Identity, parse_recipient
from formats.seal_payload import CHUNK, sealed_size
from formats.seal_reader import OpenedSeal, open_sealed
from formats.seal_view import SealedView
from formats.seal_writer import SealingWriter, seal_stream

__all__ = [
    "CHUNK",
    "Identity",
    "OpenedSeal",
    "SealedView",
    "SealingWriter",
    "open_sealed",
    "parse_recipient",
    "seal_stream",
    "sealed_size",
]
