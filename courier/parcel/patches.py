"""The contents that a parcel's archives are composed from: those of the store, and the patches of a delta.

Patches are of one parcel alone: they lie in its folder, ``patches/HEX`` by their SHA-256, and stay there as long as its
recipes do. So a delta can be written again whatever becomes of the versions that it was made from. A patch that rotted
there cannot be put right by adding or verifying a package: only a new parcel brings it back.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.site.store.block_sums import sums_of
from courier.site.store.content_store import ContentStore
from formats.digest import chunks

PATCHES = "patches"
PATCH_SUFFIX = ".delta"
"""What is added to the path of a file for the member that is the patch of it."""


class Contents(Protocol):
    """What archives are composed from."""

    def has(self, sha256: str, size: int) -> bool:
        """Whether this content is here with ``size`` bytes. Its bytes are not read."""

    def lacking(self, contents: Iterable[tuple[str, int]]) -> Iterator[str]:
        """Those of many contents, by SHA-256 and bytes, that are not here."""

    def open_content(self, sha256: str) -> BinaryIO:
        """Open a content for reading; it can be sought in. Raises `DamagedError` when it is missing."""

    def block_crcs(self, sha256: str, size: int) -> bytes:
        """The CRC-32 (4 bytes, little-endian) of each block of 1 MiB of a content of more than one.

        Raises `DamagedError` when it is missing, or had to be read for it and differs from its SHA-256.
        """

    def small(self, digest: bytes) -> bytes | None:
        """The bytes of a small content, compared with its SHA-256; None where it is best opened."""


class ParcelContents:
    """Contents of the store, and beside them the patches of a parcel."""

    def __init__(self, store: ContentStore, patches: Path, anew: Callable[[], str] | None = None) -> None:
        """``patches``: the folder of the patches, which need not exist.

        ``anew``: gives the command that makes the parcel anew, for a delta that was built already: then each patch is
        compared with its SHA-256 before it is first used, so that a damaged one is told from content of the store.
        """
        self._store = store
        self._patches = patches
        self._anew = anew
        self._good: set[str] = set()

    def has(self, sha256: str, size: int) -> bool:
        """See `Contents.has`."""
        return self._is_patch(sha256, size) or self._store.has(sha256, size)

    def lacking(self, contents: Iterable[tuple[str, int]]) -> Iterator[str]:
        """See `Contents.lacking`."""
        if not self._has_patches:
            return self._store.lacking(contents)
        return self._store.lacking((sha256, size) for sha256, size in contents if not self._is_patch(sha256, size))

    @cached_property
    def _has_patches(self) -> bool:
        """Whether there are any: most parcels have none, and very many contents."""
        return self._patches.is_dir()

    def _is_patch(self, sha256: str, size: int) -> bool:
        try:
            return self._has_patches and (self._patches / sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def open_content(self, sha256: str) -> BinaryIO:
        """See `Contents.open_content`."""
        if self._has_patches:
            with contextlib.suppress(FileNotFoundError):
                return self._patch(sha256)
        try:
            return self._store.open_content(sha256)
        except DamagedError as error:
            if self._anew is None:
                raise
            # Which of both it was, its digest does not tell.
            hint = f"{error.hint}; or, if it is a patch of the delta, make the parcel anew: {self._anew()}"
            raise DamagedError(error.message, hint=hint, code=error.code) from None

    def _patch(self, sha256: str) -> BinaryIO:
        source = (self._patches / sha256).open("rb")
        if self._anew is not None and sha256 not in self._good:
            if hashlib.file_digest(source, "sha256").hexdigest() != sha256:
                source.close()
                raise bad_patch(f"{self._patches / sha256} is damaged", self._anew())
            self._good.add(sha256)
            source.seek(0)
        return source

    def block_crcs(self, sha256: str, size: int) -> bytes:
        """See `Contents.block_crcs`. A patch is read for it."""
        if not self._is_patch(sha256, size):
            return self._store.block_crcs(sha256, size)
        with self.open_content(sha256) as source:
            digest, _, sums = sums_of(chunks(source))
        if sums is None or digest != sha256:
            raise DamagedError(f"{self._patches / sha256} is damaged", hint="create the parcel anew")
        return sums.crcs

    def small(self, digest: bytes) -> bytes | None:
        """See `Contents.small`."""
        return None if self._has_patches else self._store.small_content(digest)


def bad_patch(what: str, anew: str) -> DamagedError:
    """The error for a patch of a delta that is gone or damaged; ``anew``: the command that makes the parcel anew."""
    return DamagedError(
        f"the delta cannot be made: {what}",
        hint=f"the patch was made for this parcel alone and stands nowhere else; make a new one in its place: {anew}",
        code=Code.NO_CONTENT,
    )
