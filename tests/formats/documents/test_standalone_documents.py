"""The set list and the contents of stand-alone media: what they may say, and what is refused with its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from formats.blocks import BLOCK
from formats.documents.packing import TableRef
from formats.documents.standalone import (
    MAX_PIECE,
    SET,
    BootFile,
    ContentFile,
    Piece,
    StandaloneContents,
    StandaloneSet,
    disc_name,
    piece_path,
)
from formats.errors import FormatError
from formats.records import read_named

DIGEST = "ab" * 32


def _piece(number: int, disc: int, size: int = 5, path: str = "") -> Piece:
    return Piece(number=number, disc=disc, path=path or piece_path(number, encrypted=False), size=size, sha256=DIGEST)


SAMPLE = StandaloneSet(
    site="HQ1",
    deployment="HQ1-D00007",
    name="New computers",
    created_ns=10**18,
    layout="iso",
    media="dvd9",
    capacity=8_543_666_176,
    discs=2,
    valid_from_ns=10**18,
    valid_until_ns=2 * 10**18,
    boot=(BootFile(path="isolinux/isolinux.bin", size=40_000, sha256=DIGEST, table=True),),
    pieces=(_piece(1, 1), _piece(2, 1, BLOCK + 1), _piece(3, 2)),
    blocks=TableRef(size=4 * 32, sha256=DIGEST),
    contents=TableRef(size=9, sha256=DIGEST),
    key=TableRef(size=300, sha256=DIGEST),
)


def test_a_set_list_reads_back_as_it_was_written() -> None:
    assert StandaloneSet.parse(SAMPLE.payload()) == SAMPLE
    plain = replace(SAMPLE, key=None, valid_from_ns=None, valid_until_ns=None)
    assert StandaloneSet.parse(plain.payload()) == plain
    assert (SAMPLE.encrypted, plain.encrypted) == (True, False)
    assert SAMPLE.on_disc(1) == SAMPLE.pieces[:2]
    assert SAMPLE.disc_name(2) == "HQ1_D00007_02"
    # The longest name still is a volume ID, and a name of FAT when its first characters are left out.
    assert len(disc_name("HQ1-D9999999", 99)) == 15


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda one: replace(one, deployment="BR1-D00007"), "deployment"),
        (lambda one: replace(one, valid_until_ns=one.valid_from_ns), "valid-until"),
        (lambda one: replace(one, discs=3), "discs"),
        (lambda one: replace(one, discs=1), "pieces[2].disc"),
        (lambda one: replace(one, discs=100), "discs"),
        (lambda one: replace(one, pieces=(_piece(2, 1), _piece(1, 2))), "pieces[0].number"),
        (lambda one: replace(one, pieces=(_piece(1, 2), _piece(2, 1))), "pieces[1].disc"),
        (lambda one: replace(one, pieces=(_piece(1, 1, path="boot/x"), _piece(2, 2))), "pieces[0].path"),
        (lambda one: replace(one, pieces=(_piece(1, 1, path="courier/SET.JSON"), _piece(2, 2))), "pieces[0].path"),
        (lambda one: replace(one, pieces=(_piece(1, 1, MAX_PIECE + 1), _piece(2, 2))), "pieces[0].size"),
        (lambda one: replace(one, boot=(*one.boot, *one.boot)), "boot[1].path"),
        (lambda one: replace(one, boot=(replace(one.boot[0], path=SET),)), "boot[0].path"),
        (lambda one: replace(one, boot=(replace(one.boot[0], path="../x"),)), "boot[0].path"),
        (lambda one: replace(one, blocks=TableRef(size=96, sha256=DIGEST)), "blocks.size"),
    ],
)
def test_a_list_that_contradicts_itself_is_refused_with_its_place(
    change: Callable[[StandaloneSet], StandaloneSet], place: str
) -> None:
    with pytest.raises(FormatError) as error:
        StandaloneSet.parse(change(SAMPLE).payload())
    assert error.value.place == place


def test_contents_name_each_piece_once_in_order() -> None:
    def contents(*pieces: tuple[int, ...]) -> StandaloneContents:
        files = [ContentFile(path=f"content/{n}", size=1, sha256=DIGEST, pieces=one) for n, one in enumerate(pieces)]
        return StandaloneContents(policy=b"envelope", files=tuple(files))

    good = contents((1,), (2, 3))
    assert read_named(StandaloneContents, good.json()) == good
    for bad in (contents((1,), (1,)), contents((2,), (1,)), contents((1, 3)), contents((1,), (3,))):
        with pytest.raises(FormatError):
            read_named(StandaloneContents, bad.json())
    double = replace(good, files=(good.files[0], replace(good.files[1], path="CONTENT/0")))
    with pytest.raises(FormatError):
        read_named(StandaloneContents, double.json())
