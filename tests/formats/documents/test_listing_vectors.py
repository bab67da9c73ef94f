"""Listings and contents with one fault each, and good ones (``tests/vectors/listings`` and ``contents``)."""

from __future__ import annotations

import gzip
import io

import pytest
from make_listings import PARCEL, committed, vectors

from formats.delta.rows import DELTA_LINES
from formats.documents.contents import ContentsReader, ContentsWriter
from formats.documents.listing import entry_line, read_listing, write_listing
from formats.errors import FormatError

VECTORS = vectors()
GOOD = [name for name in VECTORS if name.split("/")[1] == "good"]
BAD = [name for name in VECTORS if name.split("/")[1] != "good"]


def test_the_committed_vectors_are_those_the_generator_makes() -> None:
    assert committed() == VECTORS


def read(name: str) -> bytes:
    """Read a vector to its end, and write what was read again."""
    out = io.BytesIO()
    if name.startswith("listings/"):
        entries = list(read_listing(io.BytesIO(VECTORS[name])))
        write_listing(entries, out)
        return out.getvalue()
    source = io.BytesIO(gzip.compress(VECTORS[name]))
    reader = ContentsReader(source, parcel=PARCEL, archives=1)
    writer = ContentsWriter(out, parcel=PARCEL, packages=1, archives=1)
    for header, entries_of in reader.packages():
        writer.package(header, map(entry_line, entries_of))
    for number, members in reader.archives():
        writer.archive(number, members)
    section = reader.delta()
    if section is not None:
        recipes = [(row, list(steps)) for row, steps in section.recipes()]
        lines = [DELTA_LINES.encode([row, *steps]) for row, steps in recipes]
        writer.delta(section.versions, lines, lines=sum(1 + len(steps) for _, steps in recipes))
    writer.close()
    return gzip.decompress(out.getvalue())


@pytest.mark.parametrize("name", GOOD)
def test_what_is_good_is_read_and_written_again_as_it_was(name: str) -> None:
    assert read(name) == VECTORS[name].replace(b',"zz":1', b"")


@pytest.mark.parametrize("name", BAD)
def test_each_fault_is_refused_with_the_code_of_its_folder_and_a_place(name: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(name)
    assert caught.value.code == name.split("/")[1]
    assert caught.value.place
    assert caught.value.message.isprintable()
