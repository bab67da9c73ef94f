"""The contents that a parcel's archives are composed from: those of the store, and the patches of a delta.

Patches are of one parcel alone: they lie in its folder, ``patches/HEX`` by their SHA-256, and stay there as long as its
recipes do. So a delta can be written again whatever becomes of the versions that it was made from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

from courier.site.store.content_store import ContentStore

PATCHES = "patches"


class Contents(Protocol):
    """What archives are composed from."""

    def has(self, sha256: str, size: int) -> bool:
        """Whether this content is here with ``size`` bytes. Its bytes are not read."""

    def lacking(self, contents: Iterable[tuple[str, int]]) -> Iterator[str]:
        """Those of many contents, by SHA-256 and bytes, that are not here."""

    def open_content(self, sha256: str) -> BinaryIO:
        """Open a content for reading; it can be sought in. Raises `DamagedError` when it is missing."""

    def small(self, digest: bytes) -> bytes | None:
        """The bytes of a small content, compared with its SHA-256; None where it is best opened."""


class ParcelContents:
    """Contents of the store, and beside them the patches of a parcel."""

    def __init__(self, store: ContentStore, patches: Path) -> None:
        """``patches``: the folder of the patches, which need not exist."""
        self._store = store
        self._patches = patches

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
                return (self._patches / sha256).open("rb")
        return self._store.open_content(sha256)

    def small(self, digest: bytes) -> bytes | None:
        """See `Contents.small`."""
        return None if self._has_patches else self._store.small_content(digest)
