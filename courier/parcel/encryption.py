"""Encryption of a parcel: its archives and contents become age files for the recipients of its destinations.

A parcel has one secret seed, kept with its build, from which the keys of all its encrypted files are derived. As long
as the seed is kept, a file can be encrypted again to the same bytes. Each file has a context of its own, so that no two
files ever share keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from courier.error_codes import Code
from courier.errors import NotFoundError
from courier.files import read_private, write_atomic

if TYPE_CHECKING:
    from formats.age import Identity

SEED = "encryption.seed"
SEED_BYTES = 32
PARCEL_KEY = "parcel.key"
BY_NETWORK = "by-network"
"""Stands for the recipient of a parcel whose key travels by network and is not on its media."""


def network_identity(folder: Path, *, make: bool = False) -> Identity:
    """The key of the parcel in ``folder``, if it travels by network; ``make``: create it if there is none.

    Raises `NotFoundError` if it is gone: that of a recalled parcel was deleted.
    """
    from formats.age import Identity

    path = folder / PARCEL_KEY
    if make and not path.exists():
        write_atomic(path, f"{Identity.generate().to_text()}\n".encode(), private=True)
    if not path.exists():
        raise NotFoundError(
            f"{path}, the key of this parcel, is gone", hint="create the parcel anew", code=Code.NO_PARCEL_KEY
        )
    return Identity.from_text(read_private(path).decode().strip())


def forget_network_identity(folder: Path) -> None:
    """Delete the key of a parcel that must not be opened any more; does nothing if its key is on its media."""
    (folder / PARCEL_KEY).unlink(missing_ok=True)


def has_keys(folder: Path, recipients: Sequence[str]) -> bool:
    """Whether the build in ``folder`` has all keys that a parcel for these recipients is encrypted with."""
    by_network = tuple(recipients) == (BY_NETWORK,)
    return not recipients or ((folder / SEED).exists() and (not by_network or (folder / PARCEL_KEY).exists()))


class ParcelEncryptor:
    """Encrypts the files of one parcel for its recipients."""

    def __init__(self, seed: bytes, recipients: Sequence[str]) -> None:
        self._seed = seed
        self._recipients = recipients

    @classmethod
    def in_folder(cls, folder: Path, recipients: Sequence[str]) -> ParcelEncryptor:
        """The encryptor of the parcel built in ``folder``; creates its seed when the build begins."""
        path = folder / SEED
        if not path.exists():
            write_atomic(path, secrets.token_bytes(SEED_BYTES), private=True)
        if tuple(recipients) == (BY_NETWORK,):
            recipients = (network_identity(folder, make=True).recipient,)
        return cls(read_private(path), recipients)

    def wrap(self, out: BinaryIO, number: int) -> BinaryIO:
        """A stream that encrypts file ``number`` into ``out`` (archives from 1; 0: the contents).

        Closing it finishes the file.
        """
        from formats.age import EncryptingWriter

        return EncryptingWriter(out, self._recipients, seed=self._seed, context=_context(number))

    def view(self, plain: BinaryIO, size: int, number: int) -> BinaryIO:
        """The encrypted file ``number`` of ``size`` plain bytes as a seekable file; it is not written anywhere."""
        from formats.age import EncryptedView

        return EncryptedView(plain, size, self._recipients, seed=self._seed, context=_context(number))


def _context(number: int) -> bytes:
    return f"courier parcel file {number}".encode()


def encrypted_bytes(plain: int, recipients: int) -> int:
    """Bytes of the encrypted file of ``plain`` bytes; with 0 ``recipients`` nothing is encrypted."""
    if not recipients:
        return plain
    from formats.age import encrypted_size

    return encrypted_size(plain, recipients)


def plain_limit(limit: int, recipients: int) -> int:
    """The most plain bytes whose encrypted file has at most ``limit`` bytes."""
    return limit - (encrypted_bytes(limit, recipients) - limit)


def opened(source: BinaryIO, identities: Sequence[Identity]) -> BinaryIO:
    """The plain bytes of an encrypted file; raises `NotForUsError`, `MalformedError` or `UnknownFormatError`."""
    from formats.age import open_encrypted

    return open_encrypted(source, identities)
