"""An archive that is digested while it is written to a medium, in the one reading of its content."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError
from courier.parcel.archive_plan import PlannedArchive
from courier.parcel.patches import Contents
from courier.parcel.recipe_columns import RecipeColumns
from courier.parcel.recipes import ArchiveRecipe, Encryptor, compose
from courier.sending.archive_builder import BuiltArchive
from courier.sending.run_crcs import stored_members
from courier.sending.verified_run import BlockTables, VerifiedRun
from formats.archive import check_clashes
from formats.blocks import SideBlockHasher
from formats.digest import CHUNK
from formats.streams import Stream


class ArchiveStreams:
    """The archives of one parcel, all of whose members are stored as they are, each to be read once.

    What has been read to its end is in ``built`` by its number, and has its recipe in ``folder``.
    """

    def __init__(
        self,
        folder: Path,
        contents: Contents,
        tables: BlockTables,
        *,
        encryptor: Encryptor | None,
        pool: Executor,
    ) -> None:
        self._folder = folder
        self._contents = contents
        self._tables = tables
        self._encryptor = encryptor
        self._pool = pool
        self.built: dict[int, BuiltArchive] = {}

    def open(self, archive: PlannedArchive, size: int) -> BinaryIO:
        """An archive, which will have ``size`` bytes, as a stream that is read from its start to its end.

        Raises `DamagedError` where content is missing or bad, then or while it is read.
        """
        members = list(stored_members(self._contents, archive))
        columns = RecipeColumns.of_members(members)
        check_clashes(columns.names)
        recipe = ArchiveRecipe(
            number=archive.number, columns=columns, pack=0, pack_sha256="", size=size, sha256="", blocks=b""
        )

        def verified(at: int, source: BinaryIO) -> BinaryIO:
            member = members[at].planned
            return VerifiedRun(source, member, self._tables.table(member.content), self._pool)

        # What is had by `Contents.small` was compared with its SHA-256 too.
        contents = self._contents
        source = compose(recipe, self._folder, contents.open_content, self._encryptor, contents.small, verified)
        if source.seek(0, os.SEEK_END) != size:
            raise DamagedError(
                f"archive {archive.number} has not the size that was planned for it",
                hint="run the same command again; if it stays so, in two steps: courier parcel create, then write",
                code=Code.BUILD_DAMAGED,
            )
        source.seek(0)
        return _DigestedStream(source, size, lambda sha256, blocks: self._done(recipe, sha256, blocks))

    def _done(self, recipe: ArchiveRecipe, sha256: str, blocks: bytes) -> None:
        replace(recipe, sha256=sha256, blocks=blocks).save(self._folder)
        self.built[recipe.number] = BuiltArchive(number=recipe.number, size=recipe.size, sha256=sha256, blocks=blocks)


class _DigestedStream(Stream):
    """A stream of ``size`` bytes that is hashed as a whole and block by block; ``done`` gets both at its end."""

    def __init__(self, source: BinaryIO, size: int, done: Callable[[str, bytes], None]) -> None:
        self._source = source
        self._size = size
        self._hasher = SideBlockHasher()
        self._done = done

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Read the next bytes; more than a few MiB are never given at once."""
        data = self._source.read(min(size, CHUNK) if size >= 0 else CHUNK)
        if data:
            self._hasher.update(data)
            if self._hasher.count == self._size:
                self._done(*self._hasher.finish_all())
        return data

    def close(self) -> None:
        """Close the content, and end the threads."""
        self._hasher.close()
        self._source.close()
        super().close()
