"""Encrypted files in the age format, age-encryption.org/v1 (https://c2sp.org/age), in binary form.

It is encrypted to X25519 recipients, or to a passphrase (`formats.age.passphrase`).

`EncryptingWriter` encrypts content of unknown size as it is written. `EncryptedView` encrypts content of known size as
it is read, from any byte on. `open_encrypted` decrypts, from any byte on; stock ``age`` does as well.
`formats.age.header` has the header and the keys, `formats.age.payload` the layout of the rest. Each takes a few MiB of
memory, whatever the size of the file, and two threads where much is read at once.
"""

from formats.age.header import Identity, parse_recipient
from formats.age.payload import CHUNK, encrypted_size
from formats.age.reader import DecryptedFile, needs_passphrase, open_encrypted
from formats.age.view import EncryptedView
from formats.age.writer import EncryptingWriter

__all__ = [
    "CHUNK",
    "DecryptedFile",
    "EncryptedView",
    "EncryptingWriter",
    "Identity",
    "encrypted_size",
    "needs_passphrase",
    "open_encrypted",
    "parse_recipient",
]
