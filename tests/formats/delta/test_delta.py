"""Recipes: any content is made again from any bases; what is malformed is refused with its place; cut points stay."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listing_trees import file
from memory import at_most

from formats.codecs.prefix import MAX_FRAME, MAX_PREFIX, pack_with_prefix, unpack_with_prefix
from formats.delta import encode
from formats.delta.cut import average_for, is_compiled, pieces_of
from formats.delta.encode import find_steps, used_bases, write_steps
from formats.delta.match import Base, Index
from formats.delta.rebuild import rebuilt
from formats.delta.rows import (
    DELTA_LINES,
    MAX_STEPS,
    BaseVersionRow,
    CopyRow,
    FrameRow,
    NewRow,
    RecipeCheck,
    RecipeRow,
    StepRow,
    ZeroRow,
)
from formats.digest import sha256_hex
from formats.documents.contents import ContentsReader, ContentsWriter, PackageHeader
from formats.documents.listing import entry_line, write_listing
from formats.errors import FormatError, MalformedError, UnknownFormatError
from formats.records import changed

CUTS = Path(__file__).resolve().parents[2] / "vectors" / "delta" / "cuts.json"
PARCEL = "HQ1-000042"


def stream(size: int, seed: str = "courier") -> bytes:
    """Bytes that any language can make: SHA-256 of a text and a number, one after the other."""
    return b"".join(hashlib.sha256(f"{seed} {n}".encode()).digest() for n in range(-(-size // 32)))[:size]


def made(base: Sequence[bytes], new: bytes) -> tuple[RecipeRow, list[StepRow], bytes]:
    """A recipe for ``new``, its steps, and its patch."""
    bases = [Base(sha256=sha256_hex(data), size=len(data), source=io.BytesIO(data)) for data in base]
    index, patch, source = Index(bases), io.BytesIO(), io.BytesIO(new)
    index.fill()
    assert index.wrong == []
    steps = find_steps(source, len(new), index)
    used = used_bases(steps, bases)
    rows = list(write_steps(source, index, steps, used, patch))
    data = patch.getvalue()
    recipe = RecipeRow(
        sha256=sha256_hex(new),
        of=len(new),
        patch=sha256_hex(data) if data else "",
        size=len(data),
        bases=tuple((bases[n].sha256, bases[n].size) for n in used),
        steps=len(rows),
    )
    return recipe, rows, data


def again(base: Sequence[bytes], recipe: RecipeRow, rows: Sequence[StepRow], patch: bytes) -> bytes:
    """What a reader makes by a recipe, which it judges first, from the lines that it reads."""
    lines = DELTA_LINES.encode([recipe, *rows]).splitlines()
    first, *steps = DELTA_LINES.decode(lines, str)
    assert first == recipe
    check = RecipeCheck(recipe)
    for step in steps:
        assert not isinstance(step, (RecipeRow, BaseVersionRow))
        check.add(step)
    check.finish()
    by_digest = {sha256_hex(data): data for data in base}
    sources = [io.BytesIO(by_digest[sha256]) for sha256, _ in recipe.bases]
    return b"".join(rebuilt(rows, sources, io.BytesIO(patch), place="here"))


PIECES = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 9000), st.integers(1, 20_000)), min_size=1, max_size=8)


def put_together(pieces: Sequence[tuple[int, int, int]]) -> bytes:
    """Bytes out of pieces of a few streams, and zeros, so that two of them have something in common."""
    out = b"".join(bytes(n) if which == 0 else stream(at + n, str(which))[at:] for which, at, n in pieces)
    return out or b"x"


@settings(max_examples=40, deadline=None)
@given(first=PIECES, second=PIECES, new=PIECES)
@pytest.mark.parametrize("whole", [0, 16 << 20])
def test_any_content_is_made_again_from_any_bases(whole: int, first: Any, second: Any, new: Any) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(encode, "WHOLE_BASE", whole)  # without it, small contents would all go to the compressor
        patched.setattr(encode, "FRAME", 30_000)
        bases = list(dict.fromkeys(map(put_together, (first, second))))
        content = put_together(new)
        if content in bases:
            return
        assert again(bases, *made(bases, content)) == content


@settings(max_examples=60, deadline=None)
@given(base=st.binary(min_size=1, max_size=300), new=st.binary(min_size=1, max_size=300))
def test_any_pair_of_byte_strings_is_made_again(base: bytes, new: bytes) -> None:
    if base != new:
        assert again([base], *made([base], new)) == new


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small contents are compared piece by piece, as large ones are."""
    monkeypatch.setattr(encode, "WHOLE_BASE", 0)


def changed_image() -> tuple[bytes, bytes]:
    base = stream(3 << 20)
    new = bytearray(base)
    for n in range(20):
        at = n * 150_000 + 12_345
        new[at : at + 10] = stream(70, f"change {n}")
    return base, bytes(new)


@pytest.mark.usefixtures("in_pieces")
def test_a_changed_image_costs_little_more_than_its_changes() -> None:
    base, new = changed_image()
    recipe, rows, patch = made([base], new)
    assert sum(isinstance(row, CopyRow) for row in rows) < 60
    assert len(patch) + len(DELTA_LINES.encode([recipe, *rows])) < 10_000
    assert again([base], recipe, rows, patch) == new


@pytest.mark.usefixtures("in_pieces")
def test_a_base_that_differs_by_one_byte_makes_nothing_that_passes_for_the_content() -> None:
    base, new = changed_image()
    recipe, rows, patch = made([base], new)
    copy = max((row for row in rows if isinstance(row, CopyRow)), key=lambda row: row.length)
    wrong = bytearray(base)
    wrong[copy.offset + copy.length // 2] ^= 1
    sources = [io.BytesIO(bytes(wrong))]
    out = b"".join(rebuilt(rows, sources, io.BytesIO(patch), place="here"))
    assert sha256_hex(out) != recipe.sha256
    index = Index([Base(sha256=sha256_hex(base), size=len(base), source=io.BytesIO(bytes(wrong)))])
    index.fill()
    assert index.wrong == index.bases


def test_a_prefix_that_differs_by_one_byte_fails_the_checksum_of_its_frame() -> None:
    prefix = stream(100_000)
    new = prefix[:50_000] + b"more" + prefix[50_000:]
    frame = pack_with_prefix(new, prefix, level=3)
    assert len(frame) < 200
    assert unpack_with_prefix(frame, prefix, len(new), place="frame") == new
    wrong = bytearray(prefix)
    wrong[70_000] ^= 1
    with pytest.raises(MalformedError, match=r"^frame: .*checksum"):
        unpack_with_prefix(frame, bytes(wrong), len(new), place="frame")
    for length in (len(new) - 1, len(new) + 1):
        with pytest.raises(MalformedError):
            unpack_with_prefix(frame, prefix, length, place="frame")
    with pytest.raises(MalformedError):
        unpack_with_prefix(frame[:-1], prefix, len(new), place="frame")
    with pytest.raises(MalformedError):
        unpack_with_prefix(frame + b"\0", prefix, len(new), place="frame")


def test_cut_points_stay_where_they_are() -> None:
    for vector in json.loads(CUTS.read_text()):
        source = io.BytesIO(stream(vector["size"]))
        lengths = [len(piece) for piece in pieces_of(source, vector["average"])]
        assert sum(lengths) == vector["size"]
        assert lengths == vector["lengths"], vector["average"]


def test_cutting_in_windows_cuts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = stream(3 << 20)
    once = list(pieces_of(io.BytesIO(data), 4096))
    monkeypatch.setattr("formats.delta.cut._WINDOW", 100_001)
    assert list(pieces_of(io.BytesIO(data), 4096)) == once


def test_pieces_grow_with_the_bases_so_that_their_index_does_not() -> None:
    assert average_for(1) == 2 << 10
    assert average_for(8 << 30) == 16 << 10
    assert average_for(1 << 50) == 64 << 10
    assert is_compiled()


BASE = RecipeRow(sha256="a" * 64, of=100, patch="b" * 64, size=20, bases=(("c" * 64, 50),), steps=3)
STEPS: list[StepRow] = [
    CopyRow(base=0, offset=0, length=50),
    FrameRow(size=20, length=40, prefix=((0, 0, 50),)),
    NewRow(length=40),
    ZeroRow(length=10),
]
COPY, FRAME, NEW, ZERO = STEPS


@pytest.mark.parametrize(
    ("steps", "recipe", "said"),
    [
        ([COPY, FRAME, NEW], BASE, "makes 90 of the 100 bytes"),
        ([*STEPS, COPY], BASE, "reaches past the 100 bytes of its content"),
        ([COPY, FRAME, NEW, NEW], BASE, "40 new bytes where 0 are left"),
        ([COPY, NEW, ZERO], BASE, "40 new bytes where 0 are left"),
        ([COPY, FRAME, ZERO, ZERO], BASE, "follows a line of its own kind"),
        ([FRAME, FRAME], BASE, "40 new bytes of the one before are left"),
        ([COPY, CopyRow(base=0, offset=0, length=50)], changed(BASE, patch="", size=0), ""),
        ([CopyRow(base=0, offset=0, length=9), CopyRow(base=0, offset=9, length=9)], BASE, "goes on where the copy"),
        ([CopyRow(base=1, offset=0, length=1)], BASE, "base 1 of 1"),
        ([CopyRow(base=0, offset=41, length=10)], BASE, "reaches past the 50 bytes of base 0"),
        ([CopyRow(base=0, offset=(1 << 63) - 1, length=10)], BASE, "reaches past the 50 bytes of base 0"),
        ([FrameRow(size=20, length=40, prefix=((0, 45, 10),))], BASE, "reaches past the 50 bytes of base 0"),
        ([FrameRow(size=21, length=40, prefix=())], BASE, "reaches past the 20 bytes of the patch"),
        ([COPY, FrameRow(size=19, length=40, prefix=()), NEW, ZERO], BASE, "does not use all of its patch"),
        ([COPY, FrameRow(size=20, length=41, prefix=()), NEW, ZERO], BASE, "does not use all of its patch"),
    ],
)
def test_a_recipe_with_gaps_overlaps_or_foreign_places_is_refused(
    steps: list[StepRow], recipe: RecipeRow, said: str
) -> None:
    check = RecipeCheck(recipe)
    if not said:
        for step in steps:
            check.add(step)
        check.finish()
        return
    with pytest.raises(MalformedError, match=said):
        for step in steps:
            check.add(step)
        check.finish()


A, B = "a" * 64, "b" * 64


def line(text: str) -> None:
    DELTA_LINES.decode([text.encode()], lambda _: "here")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f'["r","{A}",0,"",0,[["{B}",1]],1]', "here.of"),
        (f'["r","{A}",9,"",0,[["{A}",1]],1]', "here.bases"),
        (f'["r","{A}",9,"",0,[["{B}",1],["{B}",1]],1]', "here.bases"),
        (f'["r","{A}",9,"",1,[["{B}",1]],1]', "here.size"),
        (f'["r","{A}",9,"",0,[],1]', "here.bases"),
        (f'["r","{A}",9,"",0,[["{B}",1]],{MAX_STEPS + 1}]', "here.steps"),
        ('["c",-1,0,1]', "here.base"),
        ('["c",0,0,0]', "here.length"),
        ('["n",0]', "here.length"),
        ('["o",1.5]', "here.length"),
        (f'["z",1,{MAX_FRAME + 1},[]]', "here.length"),
        (f'["z",1,1,[[0,0,{MAX_PREFIX + 1}]]]', "here.prefix"),
        ('["z",1,1,[[0,0,7]]]', "here.prefix"),
        ('["z",1,1,[[0,0]]]', "here.prefix"),
        (f'["v","nonsense",1,"{A}"]', "here.package"),
        (f'["v","HQ100001",0,"{A}"]', "here.version"),
    ],
)
def test_a_line_that_breaks_a_rule_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(FormatError) as caught:
        line(text)
    assert caught.value.place.startswith(place)


VERSION = BaseVersionRow(package="HQ100001", version=1, listing="d" * 64)


def contents(
    rows: Sequence[Any], *, versions: Sequence[BaseVersionRow] = (VERSION,), lines: int | None = None
) -> bytes:
    out = io.BytesIO()
    writer = ContentsWriter(out, parcel=PARCEL, packages=1, archives=0)
    entries = [file("a", 100)]
    header = PackageHeader(package="HQ100001", version=2, name="x", listing=write_listing(entries, io.BytesIO()))
    writer.package(header, map(entry_line, entries))
    writer.delta(versions, [DELTA_LINES.encode(rows)], lines=len(rows) if lines is None else lines)
    writer.close()
    return out.getvalue()


def read(data: bytes) -> list[tuple[RecipeRow, list[StepRow]]]:
    reader = ContentsReader(io.BytesIO(data), parcel=PARCEL, archives=0)
    for _, entries in reader.packages():
        list(entries)
    assert list(reader.archives()) == []
    section = reader.delta()
    assert section is not None
    return [(recipe, list(steps)) for recipe, steps in section.recipes()]


GOOD = changed(BASE, steps=4)
OTHER = changed(GOOD, sha256="e" * 64)


def test_a_section_is_read_as_it_was_written() -> None:
    assert read(contents([GOOD, *STEPS, OTHER, *STEPS])) == [(GOOD, STEPS), (OTHER, STEPS)]
    assert read(contents([])) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (contents([GOOD, *STEPS, GOOD, *STEPS]), "is made twice"),
        (contents([GOOD, *STEPS, changed(OTHER, bases=((GOOD.sha256, 50),)), *STEPS]), "a recipe makes"),
        (contents([changed(OTHER, bases=((GOOD.sha256, 50),)), *STEPS, GOOD, *STEPS]), "a recipe makes"),
        (contents([GOOD, *STEPS[:3], OTHER, *STEPS]), "ends before its last step"),
        (contents([GOOD, *STEPS[:3]]), "ends before its last step"),
        (contents([*STEPS]), "a recipe is due"),
        (contents([GOOD, *STEPS, VERSION]), "a recipe is due"),
        (contents([GOOD, *STEPS], lines=6), "ends early"),
        (contents([GOOD, *STEPS], lines=4), "goes on after its end|ends before its last step"),
        (contents([], versions=[]), "one or more"),
        (contents([], versions=[VERSION, VERSION]), "one or more"),
        (contents([], versions=[changed(VERSION, version=n) for n in range(1, 102)]), "more than 100 versions"),
    ],
)
def test_a_section_that_breaks_a_rule_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        read(data)


def test_another_section_is_refused_by_its_name() -> None:
    plain = gzip.decompress(contents([GOOD, *STEPS])).replace(b'["s","delta",', b'["s","later",')
    with pytest.raises(UnknownFormatError, match="a section 'later'"):
        read(gzip.compress(plain))


def test_many_steps_are_judged_in_little_memory() -> None:
    recipe = RecipeRow(sha256="a" * 64, of=2 * 20_000, patch="", size=0, bases=(("c" * 64, 50),), steps=40_000)
    rows = [CopyRow(base=0, offset=0, length=1), ZeroRow(length=1)] * 20_000
    data = contents([recipe, *rows])
    del rows

    def judge() -> None:
        reader = ContentsReader(io.BytesIO(data), parcel=PARCEL, archives=0)
        for _, entries in reader.packages():
            list(entries)
        assert list(reader.archives()) == []
        section = reader.delta()
        assert section is not None
        for _, steps in section.recipes():
            assert sum(1 for _ in steps) == 40_000

    with at_most(3 << 20):
        judge()
