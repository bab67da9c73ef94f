"""What the import of a delta needs of what is held here, as the contents of the parcel tell before anything is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from courier.parcel.contents import open_contents
from courier.parcel.keys import identities_for
from courier.site.home import Site
from formats.age import Identity
from formats.delta.rows import RecipeRow
from formats.documents.contents import ContentsReader
from formats.documents.listing import FileEntry
from formats.documents.packing import PackingList
from formats.errors import UnexpectedError


@dataclass(frozen=True, kw_only=True)
class DeltaNeeds:
    """By SHA-256, with their sizes: contents that are ``kept`` whole from what is held, ``bases`` that recipes copy
    from, and the ``patches`` that archives bring.
    """

    kept: dict[bytes, int] = field(default_factory=dict)
    bases: dict[bytes, int] = field(default_factory=dict)
    patches: dict[bytes, int] = field(default_factory=dict)

    def held(self) -> Iterator[tuple[str, int]]:
        """All contents that must be held here, each once, by SHA-256 in hexadecimal."""
        for sha256, size in sorted({**self.bases, **self.kept}.items()):
            yield sha256.hex(), size


def needs_of(
    site: Site, packing: PackingList, path: Path, identities: Sequence[Identity] | None = None
) -> DeltaNeeds | None:
    """What a parcel needs; None for one that is no delta, or whose key is not here. ``path``: its contents.

    Raises `FormatError` for contents that break a rule.
    """
    if not packing.bases:
        return None
    if identities is None and packing.encrypted:
        identities = identities_for(site, packing)
        if not identities and packing.key != "media":
            return None
    with open_contents(site, packing, path, identities) as contents:
        return read_needs(packing, contents)


def read_needs(packing: PackingList, contents: ContentsReader) -> DeltaNeeds:
    """What contents say that the parcel needs; they are read to their end."""
    kept: dict[bytes, int] = {}
    for _, entries in contents.packages():
        for entry in entries:
            if isinstance(entry, FileEntry) and entry.size:
                kept[bytes.fromhex(entry.sha256)] = entry.size
    carried: dict[bytes, int] = {}
    for _, members in contents.archives():
        for member in members:
            carried[bytes.fromhex(member.sha256)] = member.of
    section = contents.delta()
    told = [(one.package, one.version, one.listing) for one in section.versions] if section else []
    if told != [(one.package, one.version, one.listing) for one in packing.bases]:
        raise UnexpectedError("contents and packing list name other versions that the parcel builds on")
    needs = DeltaNeeds()
    for recipe, steps in section.recipes() if section else ():
        for _ in steps:
            pass
        _note(recipe, needs, kept, carried)
    for sha256 in carried:
        kept.pop(sha256, None)
    needs.kept.update(kept)
    return needs


def _note(recipe: RecipeRow, needs: DeltaNeeds, kept: dict[bytes, int], carried: Mapping[bytes, int]) -> None:
    """Enter what a recipe needs; what it makes is not ``kept``. Raises `UnexpectedError`."""
    made = bytes.fromhex(recipe.sha256)
    if kept.pop(made, 0) != recipe.of or made in carried:
        raise UnexpectedError(f"content {recipe.sha256} is made, and of no package or carried as well")
    if recipe.patch:
        patch = bytes.fromhex(recipe.patch)
        if carried.get(patch) != recipe.size:
            raise UnexpectedError(f"no archive of the parcel holds the patch {recipe.patch}")
        needs.patches[patch] = recipe.size
    for sha256, size in recipe.bases:
        base = bytes.fromhex(sha256)
        if base in carried or needs.bases.setdefault(base, size) != size:
            raise UnexpectedError(f"content {sha256} is a base, and carried as well or of two sizes")
