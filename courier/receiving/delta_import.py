"""Importing what a delta does not carry: contents that are held here, and those that recipes make of them.

All bases are read and compared with their SHA-256 before the first is used. What is made is compared with its own:
so a base that is changed in between makes nothing that is wrong, only nothing.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.files import make_folder, remove_tree
from courier.parcel.patches import PATCHES
from courier.receiving.carried import CarriedContents
from courier.receiving.delta_needs import DeltaNeeds
from courier.receiving.held_bases import HeldBases
from courier.site.home import Site
from courier.site.store.content_store import Staging
from courier.text import plural, size_text
from formats.codecs import CODECS, STORE
from formats.delta.rebuild import rebuilt
from formats.delta.rows import RecipeRow
from formats.digest import chunks
from formats.documents.contents import DeltaReader, MemberRecord
from formats.documents.packing import PackingList
from formats.errors import DigestMismatchError, UnexpectedError


class DeltaImport:
    """The import of one delta, under the lock of the store, into a staging."""

    def __init__(self, site: Site, packing: PackingList, spool: Path, needs: DeltaNeeds, staging: Staging) -> None:
        """``spool``: the folder of the parcel's spool; patches lie there meanwhile."""
        self._site = site
        self._packing = packing
        self._needs = needs
        self._staging = staging
        self._bases = HeldBases(site, packing, spool, needs.held())
        self._patches = spool / PATCHES
        remove_tree(self._patches)

    def check_bases(self) -> None:
        """Read every content that the parcel builds on. Raises `DamagedError` for those that are missing or rotten.

        What is rotten is taken out of use, so that adding it again, or fetching it, puts it right.
        """
        missing = self._bases.missing()
        gone = {sha256 for sha256, _ in missing}
        rotten = []
        for sha256, size in self._needs.held():
            if sha256 in gone or self._is_good(sha256, size):
                continue
            rotten.append((sha256, size))
        if rotten:
            self._site.store.quarantine(*(sha256 for sha256, _ in rotten))
        if lost := [*missing, *rotten]:
            parcel, bytes_lost = self._packing.parcel, sum(size for _, size in lost)
            raise DamagedError(
                f"{parcel} builds on {self._packing.based_on}, of which {plural(len(lost), 'content')} "
                f"({size_text(bytes_lost)}) {'is' if len(lost) == 1 else 'are'} missing or damaged here",
                hint=f"courier parcel repair {parcel} --from-network asks {self._packing.source} for it",
                code=Code.BASE_MISSING,
            )

    def _is_good(self, sha256: str, size: int) -> bool:
        if not self._bases.is_fetched(sha256, size):
            return self._staging.holds(sha256, size)
        with self._bases.path(sha256).open("rb") as source:
            if hashlib.file_digest(source, "sha256").hexdigest() == sha256:
                return True
        self._bases.path(sha256).unlink()
        return False

    def is_patch(self, member: MemberRecord) -> bool:
        """Whether a member of an archive belongs to a patch, and not to a content of the parcel's packages alone."""
        return bytes.fromhex(member.sha256) in self._needs.patches

    def take(self, source: BinaryIO, member: MemberRecord, place: str) -> None:
        """Take in a member of a patch, which is read from ``source``; raises `FormatError`, which names ``place``."""
        path = make_folder(self._patches) / member.sha256
        if (path.stat().st_size if path.exists() else 0) != member.offset:
            raise UnexpectedError("parts out of order", place=place)
        codec = CODECS[member.coding]
        with path.open("ab") as out:
            for data in (STORE if codec.solid else codec).decode(source, member.length, place=place):
                out.write(data)
        if member.offset + member.length == member.of:
            with path.open("rb") as whole:
                if hashlib.file_digest(whole, "sha256").hexdigest() != member.sha256:
                    raise DigestMismatchError("patch differs from its signed SHA-256", place=place)

    def make(self, section: DeltaReader, carried: CarriedContents) -> None:
        """Make the contents that have a recipe, and take in those that are held; raises `FormatError`."""
        for recipe, steps in section.recipes():
            place = f"content {recipe.sha256}"
            with ExitStack() as stack:
                bases = [stack.enter_context(self._bases.open(sha256, size)) for sha256, size in recipe.bases]
                patch = stack.enter_context(self._patch(recipe)) if recipe.patch else None
                carried.take_made(recipe.sha256, recipe.of, rebuilt(steps, bases, patch, place=place), place)
        # Only now: the same change in two contents makes the same patch for both.
        remove_tree(self._patches)
        for key, size in sorted(self._needs.kept.items()):
            sha256 = key.hex()
            if self._bases.is_fetched(sha256, size):
                with self._bases.open(sha256, size) as source:
                    carried.take_made(sha256, size, chunks(source), f"content {sha256}")
            else:
                carried.take_held(sha256, size)

    def _patch(self, recipe: RecipeRow) -> BinaryIO:
        try:
            return (self._patches / recipe.patch).open("rb")
        except FileNotFoundError:
            raise UnexpectedError(f"not all of the patch {recipe.patch} was carried") from None
