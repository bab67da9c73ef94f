"""Making the files of a parcel that are missing on our disk, because it was discarded or they were damaged.

Archives are composed from the store. What a build keeps besides, compressed members and parity files, can be made
again. The result is compared with what was signed, and kept only if it is the same to the byte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from courier.error_codes import Code
from courier.errors import CourierError, DamagedError
from courier.files import make_folder, naming_space, remove_tree, require_space
from courier.parcel.made_anew import MadeAnew
from courier.parcel.parity_files import make_parity
from courier.parcel.patches import PATCH_SUFFIX, bad_patch
from courier.parcel.recipes import PACKS, RECIPES, ArchiveRecipe, ComposedFiles, pack_path, parity_name
from courier.sending.archive_builder import ArchiveBuilder
from courier.sending.outgoing_parcel import ALTERNATIVE, OutgoingParcel
from courier.site.home import Site


def ensure_files(site: Site, parcel: OutgoingParcel, indexes: Iterable[int], files: ComposedFiles | None = None) -> int:
    """Make what is missing of these files (indexes into ``packing.files()``); return how many packs and parity files.

    ``files``: those of the parcel, where they are read afterwards. Raises `DamagedError`, which says why and what is
    missing, or `NoSpaceError`.
    """
    files, needed = files or parcel.files(site), 0
    out, purpose = site.home / "parcels" / "out", "making missing files of the parcel again"
    with site.locked(out / "lock"), naming_space(out, lambda: needed, purpose=purpose):
        archives, parity = _missing(parcel, files, indexes)
        if not archives and not parity:
            return 0
        needed = sum(_recipe(site, parcel, files, index).pack for index in archives)
        needed += sum(parcel.packing.files()[index].size for index in parity)
        require_space(site.home, needed, purpose=purpose)
        recipes = MadeAnew(lambda: (_recipe(site, parcel, files, index) for index in archives), len(archives))
        _restore_packs(site, parcel, recipes)
        if parity:
            _restore_parity(parcel, files)
        return len(archives) + len(parity)


def _missing(parcel: OutgoingParcel, files: ComposedFiles, indexes: Iterable[int]) -> tuple[list[int], list[int]]:
    """(archives, parity files) to be made again. A parity file is made from every archive of its group."""
    count = len(parcel.packing.archives)
    wanted = sorted({index for index in indexes if not files.is_whole(index)})
    if not wanted or wanted[-1] < count:
        return wanted, []
    everything = [index for index in range(len(parcel.packing.files())) if not files.is_whole(index)]
    return [index for index in everything if index < count], [index for index in everything if index >= count]


def _recipe(site: Site, parcel: OutgoingParcel, files: ComposedFiles, index: int) -> ArchiveRecipe:
    """The recipe of an archive whose pack is to be made; raises `DamagedError` if it cannot be made."""
    name = parcel.sent.parcel
    recipe = files.recipe(index)
    if recipe is None:
        raise DamagedError(
            f"{name}: how archive {index + 1} is made is not kept here", hint=ALTERNATIVE, code=Code.NO_RECIPE
        )
    contents = parcel.contents(site)
    for member in recipe.members:
        content = member.planned.content
        if not contents.has(content.sha256, content.size):
            if parcel.packing.bases and content.path.endswith(PATCH_SUFFIX):
                raise bad_patch(f"{name} lacks {content.path}, one of its patches", parcel.anew(site))
            raise DamagedError(
                f"{name}: archive {index + 1} cannot be made: {content.path} is not in the store any more",
                hint=f"add that very file again (courier package add); or {ALTERNATIVE}",
                code=Code.NO_CONTENT,
            )
    return recipe


def _restore_packs(site: Site, parcel: OutgoingParcel, recipes: Collection[ArchiveRecipe]) -> None:
    """Make the packs in a folder apart, and move them into place when all are right."""
    make_folder(parcel.folder / PACKS)
    again = parcel.folder / "again"
    remove_tree(again)
    try:
        make_packs(site, parcel, recipes, again)
        for recipe in recipes:
            pack_path(again, recipe.number).replace(pack_path(parcel.folder, recipe.number))
    finally:
        remove_tree(again)


def make_packs(
    site: Site,
    parcel: OutgoingParcel,
    recipes: Collection[ArchiveRecipe],
    folder: Path,
) -> None:
    """Compress the members of these archives again, into packs below ``folder``.

    Raises `DamagedError` if content is missing or bad, or if an archive differs from what was signed.
    """
    name = parcel.sent.parcel
    level = parcel.build_settings().level
    for place in (PACKS, RECIPES):
        make_folder(folder / place)
    contents = parcel.contents(site)
    builder = ArchiveBuilder(
        folder,
        contents,
        level=level,
        encryptor=parcel.encryptor(),
        progress=lambda _: None,
    )
    try:
        builder.build(MadeAnew(lambda: (recipe.plan for recipe in recipes), len(recipes)))
    except CourierError as error:
        raise DamagedError(
            f"{name}: archives cannot be built again from the store: {error.message}",
            hint=ALTERNATIVE,
            code=Code.NO_CONTENT,
        ) from None
    for before in recipes:
        if ArchiveRecipe.load(folder, before.number) != before:
            raise DamagedError(
                f"{name}: archive {before.number}, built again, differs from the signed packing list "
                "(another version of a compression library gives other bytes)",
                hint=ALTERNATIVE,
                code=Code.NOT_REPRODUCIBLE,
            )


def _restore_parity(parcel: OutgoingParcel, files: ComposedFiles) -> None:
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
