"""Signed documents: every record comes out of its bytes as it went in, and nothing else comes out of any bytes."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from document_samples import (
    RECIPIENT,
    SAMPLES,
    SHA,
    Document,
    cards,
    definitions,
    labels,
    notices,
    packing_lists,
    receipts,
)
from hypothesis import given
from hypothesis import strategies as st

from formats.blocks import BLOCK
from formats.documents.package import PackageDefinition
from formats.documents.packing import PackingList
from formats.errors import FormatError, MalformedError, UnknownFormatError
from formats.records import decode, encode

EVERY = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())


@given(definitions() | labels() | notices() | receipts() | cards() | packing_lists())
def test_a_document_comes_out_of_its_bytes_as_it_went_in(document: Document) -> None:
    payload = document.payload()
    parsed = type(document).parse(payload)
    assert parsed == document
    assert parsed.payload() == payload


def _known(sample: Document, payload: bytes) -> bool:
    """Whether the payload has no other keys than the sample's (others are ignored, for releases to come)."""

    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    return keys(decode(payload)) <= keys(decode(sample.payload()))


@EVERY
def test_every_byte_altered_removed_or_added_is_refused_or_read_as_what_it_says(sample: Document) -> None:
    good = sample.payload()
    damaged = [
        good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :] for at in range(len(good)) for mask in (1, 32, 128)
    ]
    damaged += [good[:at] + good[at + 1 :] for at in range(len(good))]
    damaged += [
        good[:at] + byte + good[at:] for at in range(len(good) + 1) for byte in (b"0", b" ", b'"', b"\\", b"\xff")
    ]
    damaged += [good[:at] for at in range(len(good))]
    for bad in damaged:
        try:
            parsed = type(sample).parse(bad)
        except FormatError:
            continue
        assert bad == good or parsed != sample or not _known(sample, bad)
        assert parsed.payload() == bad or not _known(sample, bad)


def _places(value: Any, place: str = "") -> Iterator[tuple[str, list[str | int]]]:
    """Every place in a JSON value: as an error names it, and as the steps to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            at = f"{place}.{key}" if place else key
            yield at, [key]
            yield from ((p, [key, *steps]) for p, steps in _places(inner, at))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield f"{place}[{n}]", [n]
            yield from ((p, [n, *steps]) for p, steps in _places(inner, f"{place}[{n}]"))


def _changed(payload: bytes, steps: list[str | int], change: Callable[[Any, str | int], None]) -> bytes:
    value = decode(payload)
    inner = value
    for step in steps[:-1]:
        inner = inner[step]
    change(inner, steps[-1])
    return encode(value)


@EVERY
def test_a_wrong_type_anywhere_is_refused_by_its_place(sample: Document) -> None:
    other: dict[type, Any] = {str: 5, int: "x", bool: 1, list: {}, dict: []}
    for place, steps in _places(decode(sample.payload())):
        for wrong in (None, "other"):

            def change(holder: Any, step: str | int, wrong: Any = wrong) -> None:
                holder[step] = wrong if wrong is None else other[type(holder[step])]

            with pytest.raises(MalformedError) as caught:
                type(sample).parse(_changed(sample.payload(), steps, change))
            assert caught.value.place == place


@EVERY
def test_a_missing_field_is_refused_by_its_place(sample: Document) -> None:
    for place, steps in _places(decode(sample.payload())):
        if isinstance(steps[-1], int) or place == "recipient":
            continue
        with pytest.raises(MalformedError) as caught:
            type(sample).parse(_changed(sample.payload(), steps, lambda holder, step: holder.pop(step)))
        assert (caught.value.place, caught.value.message) == (place, "missing")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**63) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@EVERY
@given(data=st.data())
def test_any_value_at_any_place_raises_only_our_errors(sample: Document, data: st.DataObject) -> None:
    _, steps = data.draw(st.sampled_from(list(_places(decode(sample.payload())))))
    value = data.draw(json_values)
    try:
        bad = _changed(sample.payload(), steps, lambda holder, step: holder.__setitem__(step, value))
    except UnicodeEncodeError:
        return
    try:
        assert type(sample).parse(bad).payload() == bad
    except FormatError:
        return
    except AssertionError:
        assert not _known(sample, bad)


@EVERY
@given(data=st.binary(max_size=300))
def test_any_bytes_raise_only_our_errors(sample: Document, data: bytes) -> None:
    with pytest.raises(FormatError):
        type(sample).parse(data)


@EVERY
def test_another_document_or_a_later_major_version_is_refused_before_all_else(sample: Document) -> None:
    for document in SAMPLES.values():
        if document is not sample:
            with pytest.raises(UnknownFormatError):
                type(sample).parse(document.payload())
    found = decode(sample.payload())["format"]
    with pytest.raises(UnknownFormatError):
        type(sample).parse(encode({"format": found[:-1] + "2", "nothing": "we know"}))


@EVERY
def test_a_later_minor_release_may_add_fields(sample: Document) -> None:
    more = encode({**decode(sample.payload()), "zz_new": [{"field": 1}]})
    assert type(sample).parse(more) == sample


def _refused(sample: str, **changes: Any) -> str:
    """The place where a sample with these fields is refused."""
    document = SAMPLES[sample]
    with pytest.raises(FormatError) as caught:
        type(document).parse(encode({**decode(document.payload()), **changes}))
    return caught.value.place


def test_a_document_about_a_parcel_is_by_the_site_that_made_the_parcel() -> None:
    """Else a trusted branch could speak about headquarters' parcels."""
    assert _refused("packing", **{"from": "BR1"}) == "parcel"
    assert _refused("label", **{"from": "BR1"}) == "parcel"
    assert _refused("notice", **{"from": "BR1"}) == "parcel"
    assert _refused("receipt", to=["BR2"]) == "parcel"


def test_a_version_no_command_could_name_is_refused() -> None:
    assert _refused("package", version=10**18 + 1) == "version"
    packages = [{"package": "HQ100001", "version": 10**18 + 1, "listing": SHA[0]}]
    assert _refused("notice", packages=packages) == "packages[0].version"
    assert _refused("receipt", packages=[{**packages[0], "outcome": "imported"}]) == "packages[0].version"


def test_lists_that_mean_a_set_have_one_spelling() -> None:
    seal = [{"volume": 1, "serial": "A"}, {"volume": 3, "serial": "B"}]
    assert _refused("notice", seals=seal[::-1]) == "seals"
    assert _refused("notice", seals=[seal[0], {"volume": 1, "serial": "B"}]) == "seals"
    assert _refused("notice", seals=[{"volume": 4, "serial": ""}]) == "seals[0].volume"
    assert _refused("notice", to=["BR1", "BR1"]) == "to"
    assert _refused("notice", to=[]) == "to"
    assert _refused("packing", to=["BR1", "BR1"]) == "to"
    assert _refused("packing", to=[]) == "to"
    assert _refused("receipt", to=[]) == "to"
    assert _refused("receipt", to=["HQ1", "HQ1"]) == "to"
    tag = {"path": "a", "sha256": SHA[0]}
    assert _refused("label", tags=[tag, tag]) == "tags"
    assert _refused("label", tags=[{**tag, "path": "../a"}]) == "tags[0].path"


def test_a_label_is_of_a_volume_there_is() -> None:
    assert _refused("label", number=4) == "number"
    assert _refused("label", number=0) == "number"


def test_a_packing_list_agrees_with_itself() -> None:
    record = decode(SAMPLES["packing"].payload())
    archive, group = record["archives"][0], record["groups"][0]
    assert _refused("packing", volumes=2) == "parity[0].volume"
    assert _refused("packing", volumes=10_000) == "volumes"
    assert _refused("packing", archives=[{**archive, "number": 2}]) == "archives[0].number"
    assert _refused("packing", archives=[archive, archive]) == "archives[1].number"
    assert _refused("packing", archives=[{**archive, "size": 1 << 32}]) == "archives[0].size"
    assert _refused("packing", archives=[{**archive, "size": 0}]) == "archives[0].size"
    assert _refused("packing", archives=[archive]) == "blocks.size"
    assert _refused("packing", block_size=BLOCK - 1) == "block_size"
    assert _refused("packing", block_size=2 * BLOCK) == "blocks.size"
    assert _refused("packing", media="DVD 5") == "media"
    assert _refused("packing", priority="urgent") == "priority"
    assert _refused("packing", groups=[]) == "groups"
    assert _refused("packing", groups=[group, group]) == "groups"
    wrongs: list[dict[str, Any]] = [
        {"files": [2]},
        {"files": [1, 1]},
        {"volumes": [1, 4]},
        {"volumes": [1, 1]},
        {"spares": [1]},
        {"spares": []},
        {"spares": [3, 1]},
        {"columns": 3},
        {"columns": 256},
        {"parity": 2},
        {"volumes": []},
    ]
    for wrong in wrongs:
        assert _refused("packing", groups=[{**group, **wrong}]).startswith("groups[0]")
    own = {"volumes": [1], "spares": [], "columns": 200, "parity": 57, "files": [1]}
    assert _refused("packing", groups=[own]) == "groups[0]"


def test_the_build_is_named_by_what_is_built_not_by_its_layout() -> None:
    packing = SAMPLES["packing"]
    assert isinstance(packing, PackingList)
    moved = tuple(dataclasses.replace(file, volume=3) for file in packing.archives)
    again = dataclasses.replace(packing, edition=2, media="lto9", archives=moved, capacity=1, created_ns=0)
    assert again.build == packing.build
    other = dataclasses.replace(packing.archives[0], sha256=SHA[0])
    assert dataclasses.replace(packing, archives=(other, packing.archives[1])).build != packing.build
    assert [packing.path(n) for n in range(3)] == [
        "data/archives/000001.7z.age",
        "data/archives/000002.7z.age",
        "data/parity/000001.par",
    ]
    assert [packing.on_volume(n) for n in (1, 2, 3)] == [[0], [1], [2]]
    assert packing.volume_bytes(2) == BLOCK + 1
    packing.on_volume(2).append(7)  # what is given is the caller's own
    assert packing.on_volume(2) == [1]
    assert [again.on_volume(n) for n in (1, 2, 3)] == [[], [], [0, 1, 2]]
    assert packing == PackingList.parse(packing.payload())
    assert packing.volume_label(3) == "HQ1_000042_V003"


def test_a_key_on_a_card_has_one_spelling_and_a_time() -> None:
    key = decode(SAMPLES["card"].payload())["keys"][0]
    der = base64.b64decode(key["public"])
    assert _refused("card", keys=[]) == "keys"
    assert _refused("card", keys=[key, key]) == "keys"
    assert _refused("card", keys=[{**key, "until": key["from"]}]) == "keys[0].until"
    spelt = [key["public"] + "\n", key["public"].replace("=", ""), key["public"] + "=", "\u0661" * 60, "AAAA"]
    assert key["public"].endswith("w=")
    spelt += [f"{key['public'][:-2]}{spare_bits}=" for spare_bits in "xyz"]
    for public in spelt:
        assert _refused("card", keys=[{**key, "public": public}]) == "keys[0].public"
    for other in (der[:-1], der + b"\0", b"", bytes(100)):
        assert _refused("card", keys=[{**key, "public": base64.b64encode(other).decode()}]) == "keys[0].public"
    for recipient in ("", "age1", RECIPIENT.upper(), RECIPIENT + "q", "age1" + "b" * 58, RECIPIENT + "\n"):
        assert _refused("card", recipient=recipient) == "recipient"


@EVERY
def test_a_text_that_some_database_cannot_keep_is_refused_by_its_place(sample: Document) -> None:
    record = decode(sample.payload())
    for name in [name for name, value in record.items() if isinstance(value, str)]:
        with pytest.raises(FormatError) as caught:
            type(sample).parse(encode({**record, name: "a\0b"}))
        assert caught.value.place == name


def test_any_surrogate_text_is_refused_by_its_place() -> None:
    raw = SAMPLES["package"].payload().replace("Büro-Image".encode(), b"\\ud800")
    with pytest.raises(MalformedError):
        PackageDefinition.parse(raw)
