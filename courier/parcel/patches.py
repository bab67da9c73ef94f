"""The contents that a parcel's archives are composed from: those of the store, and the patches of a delta.

Patches are of one parcel alone: they lie in its folder, ``patches/HEX`` by their SHA-256, and stay there as long as its
recipes do. So a delta can be written again whatever becomes of the versions that it was made from. A patch that rotted
there cannot be put right by adding or verifying a package: only a new parcel brings it back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.site.store.content_store import ContentStore

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
        return self._store.lacking((sha256, size) for sha256, size in contents if not self._is_patch(sha256, size))

    def _is_patch(self, sha256: str, size: int) -> bool:
        try:
            return (self._patches / sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def open_content(self, sha256: str) -> BinaryIO:
        """See `Contents.open_content`."""
        try:
            source = (self._patches / sha256).open("rb")
        except FileNotFoundError:
            return self._from_store(sha256)
        if self._anew is not None and sha256 not in self._good:
            if hashlib.file_digest(source, "sha256").hexdigest() != sha256:
                source.close()
                raise bad_patch(f"{self._patches / sha256} is damaged", self._anew())
            self._good.add(sha256)
            source.seek(0)
        return source

    def _from_store(self, sha256: str) -> BinaryIO:
        try:
            return self._store.open_content(sha256)
        except DamagedError as error:
            if self._anew is None:
                raise
            # Which of both it was, its digest does not tell.
            hint = f"{error.hint}; or, if it is a patch of the delta, make the parcel anew: {self._anew()}"
            raise DamagedError(error.message, hint=hint, code=error.code) from None


def bad_patch(what: str, anew: str) -> DamagedError:
    """The error for a patch of a delta that is gone or damaged; ``anew``: the command that makes the parcel anew."""
    return DamagedError(
        f"the delta cannot be made: {what}",
        hint=f"the patch was made for this parcel alone and stands nowhere else; make a new one in its place: {anew}",
        code=Code.NO_CONTENT,
    )
