"""Recipes of archives: what is kept is what was built, whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from courier.files import make_folder
from courier.parcel.archive_plan import Content, PlannedMember
from courier.parcel.recipe_columns import RecipeColumns, RecipeMember
from courier.parcel.recipes import RECIPES, ArchiveRecipe, compose, recipe_path
from formats.codecs import CODECS
from formats.digest import sha256_hex
from formats.documents.listing import FIRST_TIME, LAST_TIME
from formats.records import changed

NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=20)


@st.composite
def members(draw: st.DrawFn) -> list[RecipeMember]:
    found = []
    for number in range(draw(st.integers(1, 5))):
        size = draw(st.integers(1, 1 << 40))
        content = Content(
            sha256=sha256_hex(b"%d" % number),
            size=size,
            mtime_ns=draw(st.integers(FIRST_TIME, LAST_TIME)),
            folder=draw(NAMES),
            path=draw(NAMES),
            coding=draw(st.sampled_from(list(CODECS))),
        )
        planned = PlannedMember(name=draw(NAMES), content=content, offset=draw(st.integers(0, 1 << 40)), length=size)
        found.append(
            RecipeMember(
                planned=planned, size=size, crc32=draw(st.integers(0, (1 << 32) - 1)), at=draw(st.integers(0, 99))
            )
        )
    return found


def recipe_of(found: Sequence[RecipeMember]) -> ArchiveRecipe:
    return ArchiveRecipe(
        number=7,
        columns=RecipeColumns.of_members(found),
        pack=5,
        pack_sha256=sha256_hex(b"pack"),
        size=1000,
        sha256=sha256_hex(b"archive"),
        blocks=bytes(64),
    )


@given(members())
def test_a_recipe_is_read_as_it_was_written(tmp_path_factory: object, found: list[RecipeMember]) -> None:
    folder = Path(tmp_path_factory.mktemp("parcel"))  # type: ignore[attr-defined]
    make_folder(folder / RECIPES)
    recipe = recipe_of(found)
    recipe.save(folder)
    loaded = ArchiveRecipe.load(folder, 7)
    assert loaded == recipe
    assert list(loaded.members) == found
    planned = [member.planned for member in found]
    assert list(loaded.plan.members) == planned
    assert loaded.columns.are_planned(planned)
    assert not loaded.columns.are_planned(planned[:-1])
    other = changed(planned[-1], content=changed(planned[-1].content, mtime_ns=planned[-1].content.mtime_ns ^ 1))
    assert not loaded.columns.are_planned([*planned[:-1], other])


def test_a_recipe_that_is_damaged_or_not_there_is_none(tmp_path: Path) -> None:
    make_folder(tmp_path / RECIPES)
    assert ArchiveRecipe.load(tmp_path, 7) is None
    content = Content(sha256=sha256_hex(b"a"), size=1, mtime_ns=0, folder="P-1", path="a", coding="store")
    planned = PlannedMember(name="P-1/a", content=content, offset=0, length=1)
    recipe_of([RecipeMember(planned=planned, size=1, crc32=1, at=0)]).save(tmp_path)
    good = recipe_path(tmp_path, 7).read_bytes()
    for bad in (
        b"",
        good[:-1],
        good[:-64],
        good.replace(b"P-1/a", b"P-1/b"),
        b"x" + good,
        b"\n" + sha256_hex(b"\n").encode(),
    ):
        recipe_path(tmp_path, 7).write_bytes(bad)
        assert ArchiveRecipe.load(tmp_path, 7) is None


def test_small_contents_are_taken_whole_and_parts_are_opened(tmp_path: Path) -> None:
    data = {"a": b"whole", "b": b"a part of this", "c": b"damaged"}
    found, asked = [], list[str]()
    for name, offset, length in (("a", 0, 5), ("b", 2, 4), ("c", 0, 7)):
        content = Content(
            sha256=sha256_hex(data[name]), size=len(data[name]), mtime_ns=0, folder="P-1", path=name, coding="store"
        )
        planned = PlannedMember(name=name, content=content, offset=offset, length=length)
        found.append(RecipeMember(planned=planned, size=length, crc32=0, at=offset))
    by_digest = {sha256_hex(one): one for one in data.values()}

    def small(digest: bytes) -> bytes | None:
        asked.append(digest.hex())
        return None if by_digest[digest.hex()] == b"damaged" else by_digest[digest.hex()]

    source = compose(recipe_of(found), tmp_path, lambda sha256: io.BytesIO(by_digest[sha256]), None, small)
    assert source.read()[32:].startswith(b"whole" + b"part" + b"damaged")
    assert asked == [sha256_hex(data["a"]), sha256_hex(data["c"])]
