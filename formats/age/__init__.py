"""Sealed files: the age format, age-encryption.org/v1 (https://c2sp.org/age), to X25519 recipients, binary form only.

`SealedView` is one that is made while it is read, from anywhere; `SealingWriter` writes one of which nothing is known
beforehand; `open_sealed` reads them; stock ``age`` does as well. The header is `formats.age.header`'s, the payload is
laid out in `formats.age.payload`. Much at once is sealed and opened by two threads. All take a few MiB of memory,
whatever the file's size.
"""

from formats.age.header import Identity, parse_recipient
from formats.age.payload import CHUNK, sealed_size
from formats.age.reader import OpenedSeal, open_sealed
from formats.age.view import SealedView
from formats.age.writer import SealingWriter

__all__ = [
    "CHUNK",
    "Identity",
    "OpenedSeal",
    "SealedView",
    "SealingWriter",
    "open_sealed",
    "parse_recipient",
    "sealed_size",
]
