"""Which contents that a destination holds a new content is most likely made from: the same file of another version,
one of a similar name, or a similar size. Pure: no input or output, no clock.

A wrong guess costs bytes and time, and nothing else: what is made of a base is compared with its digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from formats.delta.rows import MAX_BASE_VERSIONS

LEAST = 16 << 10
"""Bytes of the smallest content that is worth a recipe; below, its lines cost as much as it saves."""
LARGE = 1 << 20
"""Bytes from which a content may be compared with one that only has the same kind of name."""
MOST_BASES = 3
"""Contents that a recipe is looked for in, at most."""
MOST_OTHERS = 30
"""Versions of other packages than those that are sent that are looked at, at most."""
MOST_ALIKE = 64
"""Contents to be sent that may be alike in one way; a name that more have, such as those of pictures, tells nothing."""
_DIGITS = re.compile(r"[0-9]+(?:[._~+-][0-9]+)*")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class HeldVersion:
    """A package version that all destinations hold, and the SHA-256 of its listing."""

    package: str
    version: int
    listing: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A content to be sent: where it stands first, and its bytes."""

    sha256: str
    size: int
    package: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A content of a held version (its place in the list of versions) that a new one may be made from."""

    sha256: str
    size: int
    version: int
    rank: int


def common(held: Iterable[Mapping[tuple[str, int], str]]) -> set[HeldVersion]:
    """The versions that all sites hold with the same listing; ``held`` maps versions to listings, for each site."""
    sets = [{HeldVersion(package=p, version=v, listing=listing) for (p, v), listing in one.items()} for one in held]
    return set.intersection(*sets) if sets else set()


def versions_to_try(held: Iterable[HeldVersion], sent: Sequence[tuple[str, int]]) -> list[HeldVersion]:
    """The held versions to look at, the likeliest first: those nearest to what is sent, then the newest of others.

    A version that is sent itself is none: who sends it again knows that it is not whole at its destination.
    """
    numbers: dict[str, list[int]] = {}
    for package, version in sent:
        numbers.setdefault(package, []).append(version)
    usable = [one for one in held if (one.package, one.version) not in set(sent)]
    same = [one for one in usable if one.package in numbers]
    same.sort(key=lambda one: (min(abs(one.version - n) for n in numbers[one.package]), -one.version, one.package))
    others = sorted((one for one in usable if one.package not in numbers), key=lambda one: (-one.version, one.package))
    return [*same, *others[:MOST_OTHERS]][:MAX_BASE_VERSIONS]


class Candidates:
    """Collects, for contents that are to be sent, what they may be made from; `look` at every file of the versions."""

    def __init__(self, wanted: Iterable[Wanted]) -> None:
        self._by_key: dict[tuple[str, ...], list[Wanted]] = {}
        self._found: dict[str, list[tuple[tuple[int, int, int], Candidate]]] = {}
        for one in wanted:
            if one.size < LEAST:
                continue
            self._found[one.sha256] = []
            for key in _keys(one.path, one.size):
                self._by_key.setdefault(key, []).append(one)

    def look(self, version: int, package: str, path: str, size: int, sha256: str) -> None:
        """Take a file of a held version, which is number ``version``, into account."""
        if size < LEAST:
            return
        for rank, key in enumerate(_keys(path, size)):
            alike = self._by_key.get(key, ())
            for one in alike if len(alike) <= MOST_ALIKE else ():
                # The same file of the same package before all others; then versions as they come, then sizes.
                near = 0 if one.package == package else 1
                order = (rank * 2 + near, version, abs(one.size - size))
                self._add(one.sha256, order, Candidate(sha256=sha256, size=size, version=version, rank=rank))

    def _add(self, wanted: str, order: tuple[int, int, int], candidate: Candidate) -> None:
        found = self._found[wanted]
        if found and found[0][1].rank < candidate.rank:
            return  # only the best kind of match counts
        for n, (before, one) in enumerate(found):
            if one.sha256 == candidate.sha256:
                if order < before:
                    found[n] = order, candidate
                break
        else:
            found.append((order, candidate))
        found.sort(key=lambda item: (item[0], item[1].sha256))
        del found[MOST_BASES:]

    def of(self, sha256: str) -> list[Candidate]:
        """What a content may be made from, the likeliest first: only the best kind of match, and what is as good."""
        found = [candidate for _, candidate in self._found.get(sha256, ())]
        return [one for one in found if one.rank == found[0].rank]


def _keys(path: str, size: int) -> Iterator[tuple[str, ...]]:
    """What makes two files alike, the strongest first."""
    folder, _, name = path.rpartition("/")
    plain = _DIGITS.sub("#", name)
    yield "path", path
    yield "plain path", _DIGITS.sub("#", folder), plain
    yield "name", name
    yield "plain name", plain
    if size >= LARGE:
        yield "kind", name.rpartition(".")[2].lower() if "." in name else ""
