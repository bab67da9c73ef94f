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
from courier.parcel.archive_plan import Content, PlannedArchive, PlannedMember
from courier.parcel.base_contents import base_list
from formats.archive.view import ArchiveView, Span
from formats.blocks import DIGEST
from formats.codecs import NAMES
from formats.digest import sha256_hex
from formats.documents.packing import PackingList
from formats.errors import FormatError
from formats.records import Count, Digest, NamedRecord, Record, Text, matching, read_named, text

RECIPES = "recipes"
PACKS = "packs"


class Encryptor(Protocol):
    """Encrypts the archives of a parcel."""

    def view(self, plain: BinaryIO, size: int, number: int) -> BinaryIO:
        """The encrypted bytes of archive ``number`` as a seekable file; ``plain`` has ``size`` bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeMember:
    """A member of an archive that takes ``size`` bytes there, and holds a run of a content.

    ``at``: where these bytes begin, in the content (not compressed) or in the archive's pack (compressed). ``crc32`` is
    that of the member: of these bytes or, in a solid group, of the run. The bytes of a group are those of its first
    member.
    """

    planned: PlannedMember
    size: int
    crc32: int
    at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveRecipe:
    """What a finished archive is composed from, and what it must be.

    ``pack`` is the size of its pack in bytes (0: none). ``size`` and ``sha256`` are those of the archive file, which is
    encrypted if the parcel is; ``blocks`` are the digests of its blocks, 32 bytes each.
    """

    number: int
    members: tuple[RecipeMember, ...]
    pack: int
    pack_sha256: str
    size: int
    sha256: str
    blocks: bytes

    @property
    def plan(self) -> PlannedArchive:
        """The archive as it was planned."""
        return PlannedArchive(number=self.number, members=tuple(member.planned for member in self.members))

    def save(self, folder: Path) -> None:
        """Write the recipe into the folder of its parcel. It names files: as with keys, only the owner can read it."""
        data = _Recipe(
            number=self.number,
            members=tuple(_to_recipe(member) for member in self.members),
            pack=self.pack,
            pack_sha256=self.pack_sha256,
            size=self.size,
            sha256=self.sha256,
            blocks=self.blocks.hex(),
        ).json()
        write_atomic(recipe_path(folder, self.number), data + b"\n" + sha256_hex(data).encode(), private=True)

    @classmethod
    def load(cls, folder: Path, number: int) -> ArchiveRecipe | None:
        """Read the recipe of archive ``number``; None if there is none, or if it is damaged."""
        try:
            data, _, digest = recipe_path(folder, number).read_bytes().rpartition(b"\n")
        except FileNotFoundError:
            return None
        if sha256_hex(data).encode() != digest:
            return None
        try:
            recipe = read_named(_Recipe, data)
        except FormatError:
            return None
        return cls(
            number=recipe.number,
            members=tuple(_from_recipe(member) for member in recipe.members),
            pack=recipe.pack,
            pack_sha256=recipe.pack_sha256,
            size=recipe.size,
            sha256=recipe.sha256,
            blocks=bytes.fromhex(recipe.blocks),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _MemberRecord(Record):
    """A member in a recipe; ``mtime`` is in nanoseconds since 1970, as decimal digits."""

    name: Text
    size: Count
    crc32: Count
    at: Count
    offset: Count
    length: Count
    sha256: Digest
    of: Count
    mtime: Annotated[str, matching("-?[0-9]{1,40}")]
    folder: Text
    path: Text
    coding: Annotated[str, matching(NAMES)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Recipe(NamedRecord):
    """The recipe of an archive; ``blocks`` in hexadecimal."""

    NAME = "recipe"

    number: Count
    members: tuple[_MemberRecord, ...]
    pack: Count
    pack_sha256: Annotated[str, text(64)]
    size: Count
    sha256: Digest
    blocks: Annotated[str, text(1 << 20)]


def _to_recipe(member: RecipeMember) -> _MemberRecord:
    planned, content = member.planned, member.planned.content
    return _MemberRecord(
        name=planned.name,
        size=member.size,
        crc32=member.crc32,
        at=member.at,
        offset=planned.offset,
        length=planned.length,
        sha256=content.sha256,
        of=content.size,
        mtime=str(content.mtime_ns),
        folder=content.folder,
        path=content.path,
        coding=content.coding,
    )


def _from_recipe(member: _MemberRecord) -> RecipeMember:
    content = Content(
        sha256=member.sha256,
        size=member.of,
        mtime_ns=int(member.mtime),
        folder=member.folder,
        path=member.path,
        coding=member.coding,
    )
    planned = PlannedMember(name=member.name, content=content, offset=member.offset, length=member.length)
    return RecipeMember(planned=planned, size=member.size, crc32=member.crc32, at=member.at)


def recipe_path(folder: Path, number: int) -> Path:
    """The recipe file of an archive, in the folder of its parcel."""
    return folder / RECIPES / f"{number:06d}.json"


def pack_path(folder: Path, number: int) -> Path:
    """The pack of an archive, in the folder of its parcel."""
    return folder / PACKS / f"{number:06d}"


def parity_name(edition: int) -> str:
    """The name of the folder with the parity files of an edition."""
    return f"parity-{edition}"


def compose(
    recipe: ArchiveRecipe,
    folder: Path,
    open_content: Callable[[str], BinaryIO],
    encryptor: Encryptor | None,
    compared: Callable[[RecipeMember, BinaryIO], BinaryIO] | None = None,
) -> BinaryIO:
    """The archive as a seekable file, encrypted if ``encryptor`` is given; made as it is read, and not checked.

    ``compared`` makes of the content of a member that is stored as it is one that is compared while it is read.
    """
    pack = pack_path(folder, recipe.number)
    stored = bytes(member.planned.content.codec.as_is for member in recipe.members)
    digests = b"".join(bytes.fromhex(member.planned.content.sha256) for member in recipe.members)
    members = () if compared is None else recipe.members

    def open_member(number: int) -> BinaryIO:
        if stored[number]:
            content = open_content(digests[number * DIGEST : (number + 1) * DIGEST].hex())
            return content if compared is None else compared(members[number], content)
        return pack.open("rb")

    view = ArchiveView(
        [Span(member=m.planned.stored(m.size), crc32=m.crc32, open=open_member, offset=m.at) for m in recipe.members]
    )
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
        encryptor: Callable[[], Encryptor | None],
    ) -> None:
        """``lacking``: those of many contents, by SHA-256 and size, that the store does not have.

        ``encryptor`` is called once, when the first archive of an encrypted parcel is read.
        """
        self._folder = folder
        self._packing = packing
        self._open_content = open_content
        self._lacking = lacking
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
        contents = [member.planned.content for member in recipe.members if member.planned.content.codec.as_is]
        lost = set(self._lacking((content.sha256, content.size) for content in contents))
        yield from (content.path for content in contents if content.sha256 in lost)

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
        return compose(recipe, self._folder, self._open_content, self._encryptor)


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
        for member in recipe.members if recipe is not None else ():
            yield bytes.fromhex(member.planned.content.sha256)
