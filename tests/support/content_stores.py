"""Every implementation of `ContentStore`, with the means to look and reach into it behind its back.

A new implementation is one class here and one line in `CONTENT_STORES`; the suite in
``tests/site/store/test_content_store.py`` then runs over it too.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Protocol

from courier.site.store.content_store import ContentStore
from courier.site.store.folder import FolderStore
from formats.digest import sha256_hex
from formats.documents.listing import Entry, FileEntry, ListingSummary


class StoreUnderTest(Protocol):
    """A store and its insides. What is kept is named ``content/HEX``, ``listings/HEX`` and ``damaged/HEX``."""

    store: ContentStore

    def __init__(self, place: Path) -> None:
        """Make an empty store in a folder of the test's own."""

    def kept(self) -> dict[str, bytes]:
        """Everything that the store keeps, by name, but its lock; what is staged has some other name."""

    def replace(self, name: str, data: bytes | None) -> None:
        """Put other bytes in place of something kept, or delete it."""


class FolderUnderTest(StoreUnderTest):
    """The store in a folder."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "store"
        self.store = FolderStore(self.folder)

    def kept(self) -> dict[str, bytes]:
        """See `StoreUnderTest.kept`."""
        paths = (path for path in self.folder.rglob("*") if path.is_file() and path.name != "lock")
        found = {path.relative_to(self.folder).parts: path.read_bytes() for path in paths}
        return {"/".join([parts[0], *parts[2:]] if parts[0] == "content" else parts): found[parts] for parts in found}

    def path(self, name: str) -> Path:
        """The file of something kept."""
        kind, sha256 = name.split("/")
        return self.folder / kind / sha256[:2] / sha256 if kind == "content" else self.folder / name

    def replace(self, name: str, data: bytes | None) -> None:
        """See `StoreUnderTest.replace`."""
        if data is None:
            self.path(name).unlink()
        else:
            self.path(name).write_bytes(data)


CONTENT_STORES: dict[str, type[StoreUnderTest]] = {"folder": FolderUnderTest}
"""Name -> class of every implementation under test."""


def listing(files: dict[str, bytes]) -> list[Entry]:
    """The entries of a package of those files."""
    return [
        FileEntry(path=path, size=len(data), sha256=sha256_hex(data), mtime_ns=0, mode=0o644)
        for path, data in sorted(files.items())
    ]


def add(store: ContentStore, files: dict[str, bytes]) -> ListingSummary:
    """Take a package of those files in."""
    with store.lock(), store.stage() as staging:
        for data in files.values():
            assert staging.add(io.BytesIO(data)).sha256 == sha256_hex(data)
        summary = staging.add_listing(listing(files))
        staging.commit()
    return summary


def check_whole(tested: StoreUnderTest) -> None:
    """Fail unless everything that is in use is what its name says."""
    for name, data in tested.kept().items():
        kind, _, sha256 = name.partition("/")
        assert kind not in ("content", "listings") or sha256_hex(data) == sha256
