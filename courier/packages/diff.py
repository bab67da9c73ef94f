"""What differs between two versions: files that were added, changed, moved, and that are gone. Pure, but for reading.

The listings are read side by side in the order of their paths; only what is in one of them alone is kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from formats.documents.listing import Entry, FileEntry, FolderEntry, HardLinkEntry, LinkEntry, path_key


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """A path at which both versions have something, and not the same; sizes in bytes, 0 for what is no file."""

    path: str
    before: int
    after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """A file of ``size`` bytes that stands at another path."""

    before: str
    after: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What has to be done to one version to have the other.

    ``added`` and ``gone``: path and bytes, for what is no file 0. ``same``: how many files have the same content at
    the same path; ``touched``: how many of these have other times or permissions.
    """

    added: tuple[tuple[str, int], ...]
    changed: tuple[Changed, ...]
    moved: tuple[Moved, ...]
    gone: tuple[tuple[str, int], ...]
    same: int
    touched: int


def difference(before: Iterable[Entry], after: Iterable[Entry]) -> Difference:
    """Compare two listings, whose entries come in path order. A folder counts where it is new or gone alone."""
    gone: list[Entry] = []
    added: list[Entry] = []
    changed: list[Changed] = []
    same = touched = 0
    for old, new in _side_by_side(before, after):
        if old is None and new is not None:
            added.append(new)
        elif new is None and old is not None:
            gone.append(old)
        elif old is not None and new is not None:
            if _what(old) != _what(new):
                changed.append(Changed(path=new.path, before=_size(old), after=_size(new)))
            elif not isinstance(new, FolderEntry):
                same += 1
                touched += old != new
    moved = tuple(_moves(gone, added))
    from_paths, to_paths = {one.before for one in moved}, {one.after for one in moved}
    return Difference(
        added=tuple((one.path, _size(one)) for one in added if one.path not in to_paths),
        changed=tuple(changed),
        moved=moved,
        gone=tuple((one.path, _size(one)) for one in gone if one.path not in from_paths),
        same=same,
        touched=touched,
    )


def _side_by_side(before: Iterable[Entry], after: Iterable[Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    olds, news = iter(before), iter(after)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if new is None or (old is not None and path_key(old.path) < path_key(new.path)):
            yield old, None
            old = next(olds, None)
        elif old is None or path_key(new.path) < path_key(old.path):
            yield None, new
            new = next(news, None)
        else:
            yield old, new
            old, new = next(olds, None), next(news, None)


def _what(entry: Entry) -> tuple[str, str]:
    """What stands at a path, without its times and permissions."""
    match entry:
        case FileEntry():
            return "file", entry.sha256
        case LinkEntry():
            return "link", entry.target
        case HardLinkEntry():
            return "name", entry.first
        case FolderEntry():
            return "folder", ""


def _size(entry: Entry) -> int:
    return entry.size if isinstance(entry, FileEntry) else 0


def _moves(gone: Iterable[Entry], added: Iterable[Entry]) -> Iterator[Moved]:
    """Files with content that are gone at one path and were added at another, each once."""
    places: dict[str, list[str]] = {}
    for old in gone:
        if isinstance(old, FileEntry) and old.size:
            places.setdefault(old.sha256, []).append(old.path)
    for new in added:
        if isinstance(new, FileEntry) and places.get(new.sha256):
            yield Moved(before=places[new.sha256].pop(0), after=new.path, size=new.size)
