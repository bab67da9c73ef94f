"""What lies in watched folders: what may be a medium, whether it still changes, and by what it is known again.

Nothing is written to a medium, and nothing of it is read before it has settled: until then names, sizes and times are
looked at. It is known again by these and by what its volumes call themselves, not by where it lies.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from pathlib import Path

from courier.media.finding import OF_THE_SYSTEM, is_named_like_a_volume, is_volume

MOST_ENTRIES = 20_000
"""Names that are looked at on a medium; a volume has some twenty."""
DEPTH = 5
_SAMPLE = 64 << 10
_BAG_INFO, _LABELS, _LABEL_DEPTH = "bag-info.txt", 1000, 2
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
"""Flags for opening what a stranger may have made: no link is followed, and a pipe is not waited for."""
_DESCRIPTORS = 32 << 10
"""Where the volume descriptors of a disc image begin, with its label."""
REMOVABLE = ("/run/media/*/*", "/media/*", "/media/*/*")
"""Where systems mount removable media: udisks, and Debian's /etc/fstab."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """Something in a watched folder that may be a medium. ``listing``: a digest of its names, sizes and times."""

    path: Path
    listing: str


def look(folders: Sequence[Path], *, removable: Sequence[str] = ()) -> list[Sighting]:
    """What may be a medium now: in ``folders``, and at mount points that match the patterns ``removable``.

    A folder that is missing or cannot be read shows nothing: a share or drive that is not there comes back.
    """
    places = [*(place for folder in folders for place in _places_in(folder)), *_mounts(removable)]
    found = []
    for path in dict.fromkeys(places):
        listing = listing_of(path)
        if listing is not None:
            found.append(Sighting(path=path, listing=listing))
    return found


def _places_in(folder: Path) -> Iterator[Path]:
    if is_volume(folder):
        yield folder
        return
    try:
        with os.scandir(folder) as items:
            # Of a folder with millions of other files nothing is kept but what may be a medium.
            inside = sorted(Path(one.path) for one in items if _is_place(one))
    except OSError:
        return
    yield from inside


def _is_place(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or entry.name in OF_THE_SYSTEM:
        return False
    try:
        # Links are not followed: one may lead to the whole disk.
        if entry.is_dir(follow_symlinks=False):
            return True
        return is_named_like_a_volume(Path(entry.path)) and entry.is_file(follow_symlinks=False)
    except OSError:
        return False


def _mounts(patterns: Sequence[str]) -> Iterator[Path]:
    """The mount points that match: a folder in which nothing is mounted is no medium."""
    for pattern in patterns if os.name == "posix" else ():
        anchor = Path(pattern).anchor
        for path in sorted(Path(anchor).glob(pattern.removeprefix(anchor))):
            try:
                if path.is_mount() and os.access(path, os.R_OK | os.X_OK):
                    yield path
            except OSError:
                continue


def listing_of(path: Path) -> str | None:
    """A digest of the names, sizes and times of a medium, which changes while it is written; None where nothing is."""
    digest, count = hashlib.sha256(), 0
    try:
        info = path.stat()
    except OSError:
        return None
    if not stat.S_ISDIR(info.st_mode):
        return hashlib.sha256(f"{info.st_size} {info.st_mtime_ns}".encode()).hexdigest()
    for line in _lines(path, "", DEPTH):
        digest.update(line)
        count += 1
        if count >= MOST_ENTRIES:
            break
    return digest.hexdigest() if count else None


def _lines(folder: Path, prefix: str, depth: int) -> Iterator[bytes]:
    try:
        with os.scandir(folder) as items:
            # More than these are not looked at, and so not kept in memory either.
            entries = nsmallest(MOST_ENTRIES, items, key=lambda one: one.name)
    except OSError as error:
        yield os.fsencode(f"{prefix} {error.errno}\0")
        return
    for one in entries:
        if one.name.startswith(".") or one.name in OF_THE_SYSTEM:
            continue
        name = f"{prefix}{one.name}"
        try:
            if one.is_dir(follow_symlinks=False):
                if depth:
                    yield from _lines(Path(one.path), f"{name}/", depth - 1)
            elif one.is_file(follow_symlinks=False):
                info = one.stat(follow_symlinks=False)
                yield os.fsencode(f"{name} {info.st_size} {info.st_mtime_ns}\0")
        except OSError as error:
            yield os.fsencode(f"{name} {error.errno}\0")


def identity_of(sighting: Sighting) -> str:
    """By what a medium is known again, wherever it lies. Its labels are read for it; what fails to be read is left out.

    Names, sizes and times alone are the same for two discs of one batch, where a file system rounds its times.
    """
    digest = hashlib.sha256(sighting.listing.encode())
    path = sighting.path
    for label, offset in [(path, _DESCRIPTORS)] if path.is_file() else [(one, 0) for one in _bag_infos(path)]:
        with contextlib.suppress(OSError):
            digest.update(_sample(label, offset))
    return digest.hexdigest()


def _sample(path: Path, offset: int) -> bytes:
    """Some bytes of a regular file, empty for anything else: a pipe on a medium would be waited for without end."""
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    with os.fdopen(descriptor, "rb") as source:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        source.seek(offset)
        return source.read(_SAMPLE)


def _bag_infos(folder: Path) -> list[Path]:
    """The files of a medium that name its volumes, at most `_LABELS`; those further up come first."""
    found: list[Path] = []
    for depth in range(_LABEL_DEPTH + 1):
        found += nsmallest(_LABELS - len(found), _labels_at(folder, depth))
    return found


def _labels_at(folder: Path, depth: int) -> Iterator[Path]:
    """The files so many folders down that name volumes."""
    try:
        with os.scandir(folder) as items:
            for one in items:
                if depth and one.is_dir(follow_symlinks=False):
                    yield from _labels_at(Path(one.path), depth - 1)
                elif not depth and one.name.lower() == _BAG_INFO:
                    yield Path(one.path)
    except OSError:
        return


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """Something that may be a medium, by what it is known again, and whether it ``settled``."""

    path: Path
    identity: str
    settled: bool


@dataclass(kw_only=True, slots=True)
class Settling:
    """Tells which media have settled: their listing stayed the same for so many ``seconds``, by a clock that never
    jumps.
    """

    seconds: float
    known: dict[Path, tuple[str, str, float]] = field(default_factory=dict)
    """(listing, identity, since when it is so) of what was there at the last look."""

    def see(self, sightings: Sequence[Sighting], moment: float) -> list[Seen]:
        """What is there now. ``moment``: seconds of a monotonic clock."""
        before, self.known = self.known, {}
        for one in sightings:
            known = before.get(one.path)
            if known is None or known[0] != one.listing:
                known = one.listing, identity_of(one), moment
            self.known[one.path] = known
        return [
            Seen(path=path, identity=identity, settled=moment - since >= self.seconds)
            for path, (_, identity, since) in self.known.items()
        ]
