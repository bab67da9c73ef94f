"""What a build keeps on our disk, and the files of a parcel that are composed from it.

Archives are not kept, because their content is in the store. For each archive a build keeps a *recipe* and, if members
are compressed, a *pack* with their compressed bytes one after the other. From these the archive is composed whenever it
is read (decision 0006). Parity files are kept as they are.

    recipes/000001.json     what archive 1 is made of, its size and digests; then the SHA-256 of the recipe itself
    packs/000001            the compressed members of archive 1, if it has any
    parity-1/               the parity files of edition 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Protocol, cast

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.files import write_atomic
from courier.parcel.archive_plan import PlannedArchive
from courier.parcel.base_contents import base_list
from courier.parcel.recipe_columns import COLUMNS, HEX, RecipeColumns, RecipeMember
from courier.site.store.pack_file import LARGEST
from formats.archive.view import ArchiveView
from formats.blocks import DIGEST
from formats.digest import sha256_hex
from formats.documents.packing import PackingList
from formats.errors import FormatError
from formats.records import Count, Digest, NamedRecord, read_named, text

RECIPES = "recipes"
PACKS = "packs"


class Encryptor(Protocol):
    """Encrypts the archives of a parcel."""

    def view(self, plain: BinaryIO, size: int, number: int) -> BinaryIO:
        """The encrypted bytes of archive ``number`` as a seekable file; ``plain`` has ``size`` bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveRecipe:
    """What a finished archive is composed from, and what it must be.

    ``pack`` is the size of its pack in bytes (0: none). ``size`` and ``sha256`` are those of the archive file, which is
    encrypted if the parcel is; ``blocks`` are the digests of its blocks, 32 bytes each.
    """

    number: int
    columns: RecipeColumns
    pack: int
    pack_sha256: str
    size: int
    sha256: str
    blocks: bytes

    @property
    def members(self) -> Iterator[RecipeMember]:
        """Its members, made anew each time."""
        return self.columns.members()

    @property
    def plan(self) -> PlannedArchive:
        """The archive as it was planned."""
        return PlannedArchive(number=self.number, members=tuple(member.planned for member in self.members))

    def save(self, folder: Path) -> None:
        """Write the recipe into the folder of its parcel. It names files: as with keys, only the owner can read it."""
        head = _Recipe(
            number=self.number,
            members=len(self.columns.names),
            pack=self.pack,
            pack_sha256=self.pack_sha256,
            size=self.size,
            sha256=self.sha256,
            blocks=self.blocks.hex(),
        ).json()
        data = head + b"\n" + COLUMNS.line(self.columns)
        write_atomic(recipe_path(folder, self.number), data + sha256_hex(data).encode(), private=True)

    @classmethod
    def load(cls, folder: Path, number: int) -> ArchiveRecipe | None:
        """Read the recipe of archive ``number``; None if there is none, or if it is damaged."""
        try:
            data = recipe_path(folder, number).read_bytes()
        except FileNotFoundError:
            return None
        data, digest = data[:-HEX], data[-HEX:]
        if sha256_hex(data).encode() != digest:
            return None
        try:
            head, _, rest = data.partition(b"\n")
            recipe = read_named(_Recipe, head)
            (columns,) = COLUMNS.decode([rest.rstrip(b"\n")], lambda _: "members")
        except FormatError:
            return None
        return cls(
            number=recipe.number,
            columns=columns,
            pack=recipe.pack,
            pack_sha256=recipe.pack_sha256,
            size=recipe.size,
            sha256=recipe.sha256,
            blocks=bytes.fromhex(recipe.blocks),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Recipe(NamedRecord):
    """The first line of a recipe: ``blocks`` in hexadecimal, and how many ``members`` the next line tells of."""

    NAME = "recipe"

    number: Count
    members: Count
    pack: Count
    pack_sha256: Annotated[str, text(64)]
    size: Count
    sha256: Digest
    blocks: Annotated[str, text(1 << 20)]


def recipe_path(folder: Path, number: int) -> Path:
    """The recipe file of an archive, in the folder of its parcel."""
    return folder / RECIPES / f"{number:06d}.json"


def pack_path(folder: Path, number: int) -> Path:
    """The pack of an archive, in the folder of its parcel."""
    return folder / PACKS / f"{number:06d}"


def parity_name(edition: int) -> str:
    """The name of the folder with the parity files of an edition."""
    return f"parity-{edition}"


def opened(_digest: bytes) -> None:
    """No content is had other than by opening it."""


def compose(
    recipe: ArchiveRecipe,
    folder: Path,
    open_content: Callable[[str], BinaryIO],
    encryptor: Encryptor | None,
    small: Callable[[bytes], bytes | None] = opened,
    compared: Callable[[int, BinaryIO], BinaryIO] | None = None,
) -> BinaryIO:
    """The archive as a seekable file, encrypted if ``encryptor`` is given; made as it is read, and not checked.

    ``small``: as `Contents.small`. ``compared`` makes of the content of a member, by its number from 0, that is stored
    as it is and not had by ``small`` one that is compared while it is read.
    """
    columns, pack = recipe.columns, pack_path(folder, recipe.number)
    stored, digests = columns.stored(), bytes.fromhex(columns.digests)
    # Of other members a part is taken, or what is made of them.
    whole = bytes(
        [
            is_stored and size <= LARGEST and size == of
            for is_stored, size, of in zip(stored, columns.sizes, columns.of, strict=True)
        ]
    )

    def open_member(number: int) -> BinaryIO:
        if stored[number]:
            content = open_content(digests[number * DIGEST : (number + 1) * DIGEST].hex())
            return content if compared is None else compared(number, content)
        return pack.open("rb")

    def at_once(number: int) -> bytes | None:
        return small(digests[number * DIGEST : (number + 1) * DIGEST]) if whole[number] else None

    view = ArchiveView.of_columns(columns.archive(), offsets=columns.ats, opener=open_member, at_once=at_once)
    return view if encryptor is None else encryptor.view(view, view.size, recipe.number)


class ComposedFiles:
    """The files of a parcel we built: archives are composed from the store and the build's packs, parity is on disk.

    An ``index`` counts the files as `PackingList.files` does.
    """

    def __init__(
        self,
        folder: Path,
        packing: PackingList,
        *,
        open_content: Callable[[str], BinaryIO],
        lacking: Callable[[Iterable[tuple[str, int]]], Iterator[str]],
        small: Callable[[bytes], bytes | None] = opened,
        encryptor: Callable[[], Encryptor | None],
    ) -> None:
        """``open_content``, ``lacking`` and ``small`` are those of `Contents`.

        ``encryptor`` is called once, when the first archive of an encrypted parcel is read.
        """
        self._folder = folder
        self._packing = packing
        self._open_content = open_content
        self._lacking = lacking
        self._small = small
        self._make_encryptor = encryptor
        self._encryptor: Encryptor | None = None
        self._last: ArchiveRecipe | None = None

    def parity_path(self, index: int) -> Path:
        """Where parity file ``index`` is."""
        return self._folder / parity_name(self._packing.edition) / Path(self._packing.path(index)).name

    def is_archive(self, index: int) -> bool:
        """Whether a file is an archive, not a parity file."""
        return index < len(self._packing.archives)

    def recipe(self, index: int) -> ArchiveRecipe | None:
        """The recipe of an archive; None if it is not kept here, or makes other bytes than were signed."""
        if self._last is None or self._last.number != index + 1:
            self._last = ArchiveRecipe.load(self._folder, index + 1)
        if self._last is not None and self._last.sha256 != self._packing.archives[index].sha256:
            return None
        return self._last

    def is_whole(self, index: int) -> bool:
        """Whether everything that a file is read from is here, by its size."""
        return next(self.missing(index), None) is None

    def missing(self, index: int) -> Iterator[str]:
        """What of a file is not here: ``recipe``, ``pack``, ``parity``, or the path of a content."""
        if not self.is_archive(index):
            if not _has_size(self.parity_path(index), self._packing.files()[index].size):
                yield "parity"
            return
        recipe = self.recipe(index)
        if recipe is None:
            yield "recipe"
            return
        if recipe.pack and not _has_size(pack_path(self._folder, recipe.number), recipe.pack):
            yield "pack"
        columns = recipe.columns
        needed = zip(columns.stored(), columns.contents(), columns.of, strict=True)
        lost = set(self._lacking((sha256, size) for is_stored, sha256, size in needed if is_stored))
        if lost:
            yield from (path for sha256, path in zip(columns.contents(), columns.paths, strict=True) if sha256 in lost)

    def open(self, index: int) -> BinaryIO:
        """Open a file for reading, seekable; raises `DamagedError` if it is not here any more."""
        if not self.is_archive(index):
            try:
                return cast(BinaryIO, self.parity_path(index).open("rb", buffering=0))
            except FileNotFoundError:
                # A parcel that was discarded has none; it is no reason to build anew.
                hint = f"courier parcel write {self._packing.parcel} makes its missing files again"
                raise _missing(f"{self.parity_path(index)} is missing", hint=hint) from None
        recipe = self.recipe(index)
        if recipe is None:
            raise _missing(f"{recipe_path(self._folder, index + 1)}, how archive {index + 1} is made, is missing")
        if self._encryptor is None and self._packing.encrypted:
            self._encryptor = self._make_encryptor()
        return compose(recipe, self._folder, self._open_content, self._encryptor, self._small)


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _missing(what: str, *, hint: str = "create the parcel anew") -> DamagedError:
    return DamagedError(what, hint=hint, code=Code.BUILD_DAMAGED)


def pinned(folder: Path) -> Iterator[bytes]:
    """The SHA-256 of every content that a parcel's archives are composed from, or that it builds on and a destination
    may ask for; none if the parcel was discarded.
    """
    if not (folder / PACKS).is_dir():
        return
    for sha256, _ in base_list(folder):
        yield bytes.fromhex(sha256)
    for path in sorted((folder / RECIPES).glob("*.json")):
        recipe = ArchiveRecipe.load(folder, int(path.stem))
        for sha256 in recipe.columns.contents() if recipe is not None else ():
            yield bytes.fromhex(sha256)
