"""The keys of one migration: the identity that its objects are encrypted to, and what proves them.

The identity is made for the migration by the client that captures. Two further keys come from it and from the ID of the
migration, which whoever only sees the point does not know: one gives objects their names, the other proves records and
manifests. So whoever can write to the point can neither read what is there, nor put something else in its place.
"""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import Sequence
from typing import BinaryIO

from formats.age import EncryptingWriter, Identity, open_encrypted
from formats.age.bech32 import decode
from formats.age.header import derive
from formats.documents.deployment import MigrationId
from formats.errors import DigestMismatchError, MalformedError, TooLargeError

_SALT = "courier-state/1 "
_HEAD = "# courier-state/1 "
_MAX_SMALL = 64 << 10
"""Bytes of the largest record, and of the largest file with a key."""
_MAC = 64
"""Characters of a keyed digest."""


def folder_name(migration: MigrationId) -> str:
    """The name of a migration's folder at its point; the ID cannot be told from it."""
    return hashlib.sha256(f"{_SALT}folder {migration}".encode()).hexdigest()[:32]


class MigrationKeys:
    """The keys of a migration. ``key_id`` names them where the migration has several."""

    __slots__ = ("_identity", "_names", "_records", "key_id", "migration")

    def __init__(self, identity: Identity, migration: MigrationId) -> None:
        self._identity = identity
        self.migration = migration
        self.key_id = hashlib.sha256(identity.recipient.encode()).hexdigest()[:16]
        secret = decode(identity.to_text())[1]
        salt = f"{_SALT}{migration}".encode()
        self._names = derive(secret, salt=salt, info=b"names")
        self._records = derive(secret, salt=salt, info=b"records")

    def __repr__(self) -> str:
        return f"<MigrationKeys {self.key_id}>"

    @classmethod
    def make(cls, migration: MigrationId) -> MigrationKeys:
        """New keys."""
        return cls(Identity.generate(), migration)

    def digest(self, content: bytes) -> str:
        """The keyed digest of the content of an object: its name."""
        return hmac.digest(self._names, content, "sha256").hex()

    def manifest_digest(self) -> hmac.HMAC:
        """What the lines of a manifest go through; its digest stands in the record."""
        return hmac.new(self._records, b"manifest\0", "sha256")

    def encrypt(self, content: bytes) -> bytes:
        """An object: the content, encrypted to the migration's identity."""
        out = io.BytesIO()
        with self.encrypting(out) as writer:
            writer.write(content)
        return out.getvalue()

    def encrypting(self, out: BinaryIO) -> EncryptingWriter:
        """A stream that encrypts to the migration's identity."""
        return EncryptingWriter(out, [self._identity.recipient])

    def decrypting(self, source: BinaryIO) -> BinaryIO:
        """The plain content of an encrypted file. Raises `FormatError`, as does reading it."""
        return open_encrypted(source, [self._identity])

    def decrypt(self, data: bytes, *, most: int = _MAX_SMALL) -> bytes:
        """The content of a small encrypted file. Raises `FormatError`; `TooLargeError` over ``most`` bytes."""
        with open_encrypted(io.BytesIO(data), [self._identity]) as plain:
            content = plain.read(most + 1)
        if len(content) > most:
            raise TooLargeError(f"over {most} bytes")
        return content

    def prove(self, kind: str, record: bytes) -> bytes:
        """An encrypted record of a kind, with the digest that proves it."""
        return self.encrypt(b"%b\n%b\n" % (record, self._mac(kind, record)))

    def proved(self, kind: str, data: bytes) -> bytes:
        """The record in an encrypted file. Raises `FormatError` where it was altered, or is not of this migration."""
        content = self.decrypt(data)
        record, mac = content[: -_MAC - 2], content[-_MAC - 1 : -1]
        if content[-_MAC - 2 : -_MAC - 1] != b"\n" or content[-1:] != b"\n":
            raise MalformedError("not a record and its digest")
        if not hmac.compare_digest(mac, self._mac(kind, record)):
            raise DigestMismatchError("altered, or of another migration")
        return record

    def _mac(self, kind: str, record: bytes) -> bytes:
        return hmac.digest(self._records, kind.encode() + b"\0" + record, "sha256").hex().encode()

    def for_client(self) -> bytes:
        """The secret as the client that captures keeps it, for a private file."""
        return f"{_HEAD}{self.migration}\n{self._identity.to_text()}\n".encode()

    @classmethod
    def of_client(cls, data: bytes) -> MigrationKeys:
        """The keys in `for_client`'s text. Raises `MalformedError`."""
        head, _, rest = data[:_MAX_SMALL].decode("ascii", "replace").partition("\n")
        migration = head.removeprefix(_HEAD)
        if head == migration or len(migration) != 32 or not rest.endswith("\n"):
            raise MalformedError("not the key of a migration")
        return cls(Identity.from_text(rest[:-1]), migration)

    def for_recipients(self, recipients: Sequence[str]) -> bytes:
        """The same text, encrypted to those who may open what is captured; stock age takes it for an identity file."""
        out = io.BytesIO()
        with EncryptingWriter(out, recipients) as writer:
            writer.write(self.for_client())
        return out.getvalue()

    @classmethod
    def open(cls, data: bytes, identities: Sequence[Identity]) -> MigrationKeys:
        """The keys in `for_recipients`'s file. Raises `NotForUsError`, and other `FormatError`."""
        with open_encrypted(io.BytesIO(data), identities) as plain:
            return cls.of_client(plain.read(_MAX_SMALL))
