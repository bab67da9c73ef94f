"""Sealed files: the age format, age-encryption.org/v1 (https://c2sp.org/age), to X25519 recipients, binary form only.

`EncryptedView` is one that is made while it is read, from anywhere; `EncryptingWriter` writes one of which nothing is
known beforehand; `open_encrypted` reads them; stock ``age`` does as well. The header is `formats.age.header`'s, the
payload is laid out in `formats.age.payload`. Much at once is sealed and opened by two threads. All take a few MiB of
memory, whatever the file's size.
"""

from formats.age.header import Identity, parse_recipient
from formats.age.payload import CHUNK, encrypted_size
from formats.age.reader import DecryptedFile, open_encrypted
from formats.age.view import EncryptedView
from formats.age.writer import EncryptingWriter

__all__ = [
    "CHUNK",
    "DecryptedFile",
    "EncryptedView",
    "EncryptingWriter",
    "Identity",
    "encrypted_size",
    "open_encrypted",
    "parse_recipient",
]
