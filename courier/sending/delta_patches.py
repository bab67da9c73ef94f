"""Making the recipe of a content from its bases, and its patch: the new bytes that travel.

They are kept in ``parcels/delta`` until the next plan makes others, so that a plan which was only looked at is not
worked out again when it is carried out:

    KEY.lines     the lines of the recipe, as they go into the contents; empty where a recipe would save nothing
    KEY.patch     the patch
    KEY.sha256    the SHA-256 of the lines: what has rotted here is made anew, never signed

KEY is the SHA-256 of what goes in. The same content and bases make the same patch, as long as the libraries are the
same; so a build that was killed finds its plan again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from courier.errors import BusyError
from courier.files import atomic_file, make_folder, naming_space, sweep, write_atomic
from courier.parcel.archive_plan import Content
from courier.parcel.patches import PATCH_SUFFIX, PATCHES
from courier.progress import Progress
from courier.sending.member_source import bad_content
from courier.site.home import Site
from courier.site.store.content_store import ContentStore
from formats.codecs import STORE
from formats.delta.encode import find_steps, used_bases, write_steps
from formats.delta.match import NEW, Base, Index, TooManyStepsError
from formats.delta.rebuild import rebuilt
from formats.delta.rows import DELTA_LINES, BaseVersionRow, RecipeRow, StepRow
from formats.digest import sha256_hex
from formats.errors import MalformedError

FOLDER = "delta"
_WAY = "1"
"""Changes whenever the same content and bases would make another recipe."""
_HOPELESS = 0.98
"""A large content of which more than this part is new is not packed only to see that it was in vain."""
_BATCH = 1024
_SUM = ".sha256"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a content is made: the first line of its recipe; the files of its lines and its patch begin with ``path``."""

    content: Content
    row: RecipeRow
    path: Path

    @property
    def lines(self) -> int:
        """How many lines of the contents it has."""
        return self.row.steps + 1

    @property
    def patch(self) -> Content | None:
        """The content that carries its new bytes; None without any."""
        if not self.row.patch:
            return None
        one = self.content
        return Content(
            sha256=self.row.patch,
            size=self.row.size,
            mtime_ns=one.mtime_ns,
            folder=one.folder,
            path=f"{one.path}{PATCH_SUFFIX}",
            coding=STORE.name,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A content, the contents that it may be made from, and the most bytes that a recipe may cost to be worth it."""

    content: Content
    bases: tuple[tuple[str, int], ...]
    most: int

    @property
    def key(self) -> str:
        """Names the recipe before it is made."""
        return sha256_hex(repr([_WAY, self.content.sha256, self.bases, self.most]).encode())


def make_recipes(site: Site, jobs: Sequence[Job], progress: Progress) -> tuple[list[Recipe], set[str]]:
    """The recipes that are worth it, and the SHA-256 of bases that turned out to be damaged in our own store.

    Raises `DamagedError` for a content that is damaged itself.
    """
    if not jobs:
        return [], set()
    folder = make_folder(site.home / "parcels" / FOLDER)
    recipes: list[Recipe] = []
    damaged: set[str] = set()
    progress.begin("Comparing with what is held", sum(job.content.size for job in jobs))
    purpose = "comparing with what is held"
    with site.locked(folder / "lock"), naming_space(folder, lambda: 0, purpose=purpose):
        sweep(folder)
        _forget_others(folder, {job.key for job in jobs})
        for job in jobs:
            path = folder / job.key
            if not _is_whole(path):
                damaged |= _make(site.store, job, path)
            if recipe := _load(job, path):
                recipes.append(recipe)
            progress(job.content.size)
    return recipes, damaged


def _forget_others(folder: Path, keys: set[str]) -> None:
    for path in folder.iterdir():
        unfinished = path.suffix == ".steps"
        if unfinished or (path.suffix in (".lines", ".patch", _SUM) and path.stem not in keys):
            path.unlink()


def _is_whole(path: Path) -> bool:
    """Whether what an earlier plan made is here as it was made."""
    try:
        lines = path.with_suffix(".lines")
        if not lines.stat().st_size:
            return True
        if path.with_suffix(_SUM).read_text() != _digest(lines):
            return False
        with lines.open("rb") as source:
            row = DELTA_LINES.decode([source.readline()[:-1]], lambda _: "recipe")[0]
        return isinstance(row, RecipeRow) and (not row.patch or _digest(path.with_suffix(".patch")) == row.patch)
    except FileNotFoundError:
        return False


def _load(job: Job, path: Path) -> Recipe | None:
    """The recipe that was made; None where it was not worth it, or turned out to be damaged."""
    with suppress(FileNotFoundError), path.with_suffix(".lines").open("rb") as source:
        first = source.readline()
        if first:
            row = DELTA_LINES.decode([first[:-1]], lambda _: "recipe")[0]
            if isinstance(row, RecipeRow):
                return Recipe(content=job.content, row=row, path=path)
    return None


def _make(store: ContentStore, job: Job, path: Path) -> set[str]:
    """Make the recipe of a job and write its files; return the bases that are damaged (then nothing is written)."""
    content = job.content
    with ExitStack() as stack:
        source = stack.enter_context(store.open_content(content.sha256))
        opened = [(sha256, size, stack.enter_context(store.open_content(sha256))) for sha256, size in job.bases]
        index = Index([Base(sha256=sha256, size=size, source=base) for sha256, size, base in opened])
        index.fill()
        if index.wrong:
            return {base.sha256 for base in index.wrong}
        try:
            steps = find_steps(source, content.size, index)
        except TooManyStepsError:
            _write_none(path)
            return set()
        new = sum(length for kind, _, _, length in steps if kind == NEW)
        if len(steps) > 1 and new > content.size * _HOPELESS:
            _write_none(path)
            return set()
        used = used_bases(steps, index.bases)
        with atomic_file(path.with_suffix(".patch")) as patch, atomic_file(path.with_suffix(".steps")) as out:
            count, size = 0, 0
            for batch in _batches(write_steps(source, index, steps, used, patch)):
                data = DELTA_LINES.encode(batch)
                out.write(data)
                count, size = count + len(batch), size + len(data)
            packed = patch.tell()
        row = RecipeRow(
            sha256=content.sha256,
            of=content.size,
            patch=_digest(path.with_suffix(".patch")) if packed else "",
            size=packed,
            bases=tuple((index.bases[n].sha256, index.bases[n].size) for n in used),
            steps=count,
        )
        # A line takes a third of its bytes, about, when the contents are packed.
        if packed + size // 3 + 200 > job.most:
            _write_none(path)
        else:
            _check(content, row, path, [index.bases[n].source for n in used])
            with atomic_file(path.with_suffix(".lines")) as out, path.with_suffix(".steps").open("rb") as made:
                out.write(DELTA_LINES.line(row))
                shutil.copyfileobj(made, out)
            write_atomic(path.with_suffix(_SUM), _digest(path.with_suffix(".lines")).encode())
            path.with_suffix(".steps").unlink()
    return set()


def _check(content: Content, row: RecipeRow, path: Path, bases: Sequence[BinaryIO]) -> None:
    """Make the content by its recipe before anything is signed. Raises `DamagedError` if it is not what it must be."""
    made = hashlib.sha256()
    try:
        with path.with_suffix(".patch").open("rb") as patch:
            for data in rebuilt(_steps(path.with_suffix(".steps")), bases, patch, place=content.path):
                made.update(data)
    except MalformedError:
        raise bad_content(content.path) from None
    if made.hexdigest() != row.sha256:
        raise bad_content(content.path)


def _steps(path: Path) -> Iterator[StepRow]:
    with path.open("rb") as source:
        while lines := source.readlines(1 << 16):
            rows = DELTA_LINES.decode([line[:-1] for line in lines], lambda n: f"step {n}")
            yield from (row for row in rows if not isinstance(row, (BaseVersionRow, RecipeRow)))


def _batches(rows: Iterable[StepRow]) -> Iterator[list[StepRow]]:
    batch: list[StepRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _write_none(path: Path) -> None:
    write_atomic(path.with_suffix(".lines"), b"")
    path.with_suffix(".patch").unlink(missing_ok=True)
    path.with_suffix(".steps").unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def lines_of(recipes: Iterable[Recipe]) -> Iterator[bytes]:
    """The lines of recipes, as they go into the contents, in pieces. Raises `BusyError` if they are gone."""
    for recipe in recipes:
        with _present(recipe.path.with_suffix(".lines")) as source:
            yield from iter(lambda: source.read(1 << 20), b"")


def keep_patches(recipes: Iterable[Recipe], folder: Path) -> tuple[Recipe, ...]:
    """Copy the patches into the folder of a parcel, under their SHA-256, where they are not there yet as they must be.

    The lines go there too until the contents are written: other plans may be made while a long build runs. Return the
    recipes with their lines there. Raises `BusyError` if another command has made others in their place already.
    """
    place = make_folder(folder / PATCHES)
    sweep(place)
    kept = []
    for recipe in recipes:
        target = place / recipe.row.patch
        if recipe.row.patch and not (target.exists() and _digest(target) == recipe.row.patch):
            _copy(recipe.path.with_suffix(".patch"), target)
        _copy(recipe.path.with_suffix(".lines"), place / f"{recipe.path.name}.lines")
        kept.append(replace(recipe, path=place / recipe.path.name))
    return tuple(kept)


def drop_lines(folder: Path) -> None:
    """Delete the lines that `keep_patches` put into the folder of a parcel, once its contents have them."""
    for path in (folder / PATCHES).glob("*.lines"):
        path.unlink()


def _copy(path: Path, target: Path) -> None:
    with _present(path) as source, atomic_file(target) as out:
        shutil.copyfileobj(source, out, 1 << 20)


def _present(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise BusyError(
            "another command has planned another delta meanwhile", hint="run this command again: it plans anew"
        ) from None
