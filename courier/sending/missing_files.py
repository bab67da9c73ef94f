"""Making what a built parcel is read from again, after it was discarded or went bad on our disk.

An archive is composed from the store; what a build kept beside, compressed members and parity, is reproducible. What
comes out is compared with what was signed, and kept only if it is the same to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from courier.error_codes import Code
from courier.errors import CourierError, DamagedError
from courier.files import locked, make_folder, naming_space, remove_tree, require_space
from courier.parcel.parity_files import make_parity
from courier.parcel.recipes import PACKS, RECIPES, ArchiveRecipe, ComposedFiles, pack_path, parity_name
from courier.sending.archive_builder import Builder
from courier.sending.outgoing_parcel import AGAIN, OutgoingParcel
from courier.site.home import Site


def ensure_files(
    site: Site, parcel: OutgoingParcel, indexes: Iterable[int], progress: Callable[[int], None] = lambda _: None
) -> int:
    """Have all that these files (of ``packing.files()``) are read from; return how many packs and parity files it made.

    Raises `DamagedError` where that cannot be, and says why and what is missing; `NoSpaceError`.
    """
    packing, files = parcel.packing, parcel.files(site)
    needed, out, purpose = 0, site.home / "parcels" / "out", "building it again"
    with locked(out / "lock"), naming_space(out, lambda: needed, purpose=purpose):
        wanted = {index for index in indexes if not files.is_whole(index)}
        if not wanted:
            return 0
        parity = [index for index in range(len(packing.archives), len(packing.files())) if not files.is_whole(index)]
        if parity and not wanted.isdisjoint(parity):
            # A parity file is made out of every archive of its group.
            wanted = {index for index in range(len(packing.archives)) if not files.is_whole(index)}
        else:
            parity = []
        packs = [recipe for index in sorted(wanted) if (recipe := _recipe(site, parcel, files, index)) is not None]
        make_folder(parcel.folder / PACKS)
        needed = sum(recipe.pack for recipe in packs) + sum(packing.files()[index].size for index in parity)
        require_space(site.home, needed, purpose=purpose)
        again = parcel.folder / "again"
        remove_tree(again)
        try:
            make_packs(site, parcel, packs, again, progress)
            for recipe in packs:
                pack_path(again, recipe.number).replace(pack_path(parcel.folder, recipe.number))
        finally:
            remove_tree(again)
        if parity:
            _make_parity(parcel, files)
        return len(packs) + len(parity)


def _recipe(site: Site, parcel: OutgoingParcel, files: ComposedFiles, index: int) -> ArchiveRecipe | None:
    """The recipe of an archive whose pack is to be made; None for parity. Raises `DamagedError` for what cannot be
    made."""
    if not files.is_archive(index):
        return None
    name = parcel.sent.parcel
    recipe = files.recipe(index)
    if recipe is None:
        raise DamagedError(f"{name}: how archive {index + 1} is made is not kept here", hint=AGAIN, code=Code.NO_RECIPE)
    for member in recipe.members:
        content = member.planned.content
        if not site.store.has(content.sha256, content.size):
            raise DamagedError(
                f"{name}: archive {index + 1} cannot be made: {content.path} is not in the store any more",
                hint=f"add that very file again (courier package add); or {AGAIN}",
                code=Code.NO_CONTENT,
            )
    return recipe


def make_packs(
    site: Site,
    parcel: OutgoingParcel,
    recipes: Sequence[ArchiveRecipe],
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Compress the members of these archives again, into packs below ``folder``; raises `DamagedError` where one
    differs."""
    name = parcel.sent.parcel
    level, _ = parcel.how()
    for place in (PACKS, RECIPES):
        make_folder(folder / place)
    builder = Builder(folder, site.store.open_content, level=level, encryptor=parcel.encryptor(), progress=progress)
    try:
        built = builder.build([recipe.plan for recipe in recipes])
    except CourierError as error:
        raise DamagedError(
            f"{name}: archives cannot be built again from the store: {error.message}", hint=AGAIN, code=Code.NO_CONTENT
        ) from None
    for before, now in zip(recipes, built, strict=True):
        if now != before:
            raise DamagedError(
                f"{name}: archive {before.number}, built again, differs from the signed packing list "
                "(another version of a compression library builds otherwise)",
                hint=AGAIN,
                code=Code.NOT_REPRODUCIBLE,
            )


def _make_parity(parcel: OutgoingParcel, files: ComposedFiles) -> None:
    make_folder(parcel.folder / parity_name(parcel.packing.edition))
    made = make_parity(parcel.packing, files)
    for file, (sha256, _) in zip(parcel.packing.parity, made, strict=True):
        if file.sha256 != sha256:
            files.parity_path(len(parcel.packing.archives) + file.number - 1).unlink()
            raise DamagedError(
                f"{parcel.sent.parcel}: parity file {file.number}, made again, differs from the signed packing list",
                hint="content changed on our disk: courier package verify names it; add it again, then write again",
                code=Code.NOT_REPRODUCIBLE,
            )
