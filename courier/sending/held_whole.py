"""Which contents of a parcel its destinations hold whole, in little memory: some 55 bytes for each content."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from courier.parcel.archive_plan import Content
from courier.site.store.key_set import KeySet


class HeldWhole:
    """The contents of a parcel in their order, and of each the number of the first held version that has it.

    Its length, and what it gives one by one, are those that are held.
    """

    def __init__(self, contents: Iterable[Content]) -> None:
        """``contents``: each once."""
        self._keys = KeySet(32)
        self._sizes = array("Q")
        for content in contents:
            if self._keys.add(bytes.fromhex(content.sha256)):
                self._sizes.append(content.size)
        self._versions = array("I", bytes(4 * len(self._sizes)))
        """0 for a content that is not held, else the number of the version and one more."""
        self._count = self.bytes = 0

    def is_wanted(self, sha256: str) -> bool:
        """Whether this is a content of the parcel, held or not."""
        return bytes.fromhex(sha256) in self._keys

    def note(self, sha256: str, version: int) -> None:
        """Note that a version, by its number from 0, has a content; the first that is noted counts."""
        at = self._keys.find(bytes.fromhex(sha256))
        if at >= 0 and not self._versions[at]:
            self._versions[at] = version + 1
            self._count += 1
            self.bytes += self._sizes[at]

    def version(self, number: int) -> int | None:
        """The version that has the content of this number, counted from 0; None where none has."""
        found = self._versions[number]
        return found - 1 if found else None

    def __len__(self) -> int:
        return self._count

    def __contains__(self, sha256: object) -> bool:
        at = self._keys.find(bytes.fromhex(sha256)) if isinstance(sha256, str) else -1
        return at >= 0 and self._versions[at] > 0

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """SHA-256 and bytes of each content that is held."""
        for number, version in enumerate(self._versions):
            if version:
                yield self._keys[number].hex(), self._sizes[number]
