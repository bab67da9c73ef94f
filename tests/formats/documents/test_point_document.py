"""The statement of a distribution point: what is written is read again, and what contradicts itself is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.documents.fields import PackageRef
from formats.documents.point import (
    CacheSettings,
    PointStatement,
    Withdrawn,
    blocks_path,
    content_path,
    definition_path,
    listing_path,
)
from formats.errors import FormatError, MalformedError, UnknownFormatError
from formats.records import decode, encode

SHA = "ab" + "0" * 62
sites = st.text("ABCXYZ019", min_size=3, max_size=3)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
times = st.integers(0, 2**60)
versions = st.integers(1, 10**18)
packages = st.builds(lambda site, n: f"{site}{n:05X}", sites, st.integers(0, 0xFFFFF))
names = st.from_regex("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
keys = st.tuples(packages, versions)


@st.composite
def statements(draw: st.DrawFn) -> PointStatement:
    known = draw(st.lists(keys, max_size=6, unique=True))
    cut = draw(st.integers(0, len(known)))
    held, gone = sorted(known[:cut]), sorted(known[cut:])
    least: dict[str, int] = {}
    for package, version in held:
        least[package] = min(version, least.get(package, version))
    kept = draw(st.sets(st.sampled_from(sorted(least)))) if least else set()
    settings = st.builds(
        CacheSettings,
        client_class=names,
        size=st.integers(1, 2**50),
        minimum_age=st.integers(0, 10_080),
        retry=st.integers(1, 10_000),
        retries=st.integers(0, 100),
    )
    cache = draw(st.lists(settings, max_size=3, unique_by=lambda one: one.client_class))
    peers = draw(st.sets(names.map("http://{}:8080/".format), max_size=3))
    return PointStatement(
        site=draw(sites),
        point=draw(names),
        serial=draw(st.integers(1, 2**63 - 1)),
        issued_ns=draw(times),
        packages=tuple(PackageRef(package=p, version=v, listing=draw(digests)) for p, v in held),
        least={package: version for package, version in least.items() if package in kept},
        withdrawn=tuple(Withdrawn(package=p, version=v, reason="old") for p, v in gone),
        cache=tuple(sorted(cache, key=lambda one: one.client_class)),
        peers=tuple(sorted(peers)),
        group=draw(st.just("") | names),
    )


def sample(**more: Any) -> PointStatement:
    values: dict[str, Any] = {
        "site": "BR1",
        "point": "P1",
        "serial": 7,
        "issued_ns": 0,
        "packages": (
            PackageRef(package="HQ100001", version=2, listing=SHA),
            PackageRef(package="HQ100001", version=3, listing=SHA),
        ),
        "least": {"HQ100001": 2},
        "withdrawn": (Withdrawn(package="HQ100001", version=1, reason="replaced"),),
        "cache": (CacheSettings(client_class="desk", size=5120 * 10**6, minimum_age=1440, retry=240, retries=18),),
        "peers": ("http://10.0.0.5:8080/",),
        "group": "north",
    }
    return PointStatement(**{**values, **more})


@given(statements())
def test_what_is_written_is_read_again(statement: PointStatement) -> None:
    assert PointStatement.parse(statement.payload()) == statement


@given(statements(), st.data())
def test_a_field_taken_out_or_of_another_kind_is_refused(statement: PointStatement, data: st.DataObject) -> None:
    record = decode(statement.payload())
    name = data.draw(st.sampled_from(sorted(record)))
    others: tuple[Any, ...] = (None, True, [5], {})
    for value in others:
        changed = {key: other for key, other in record.items() if key != name}
        if value is not None:
            changed[name] = value
        with pytest.raises(FormatError):
            PointStatement.parse(encode(changed))


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_our_errors(data: bytes) -> None:
    with pytest.raises(FormatError):
        PointStatement.parse(data)


def test_the_bytes_of_a_statement_stay_as_they_are() -> None:
    # Written out: a client of any release reads it so.
    assert sample().payload() == (
        b'{"cache":[{"class":"desk","minimum_age":1440,"retries":18,"retry":240,"size":5120000000}],'
        b'"format":"courier-point/1","from":"BR1","group":"north","issued":"1970-01-01T00:00:00.000000000Z",'
        b'"least":[{"package":"HQ100001","version":2}],'
        b'"packages":[{"listing":"' + SHA.encode() + b'","package":"HQ100001","version":2},'
        b'{"listing":"' + SHA.encode() + b'","package":"HQ100001","version":3}],'
        b'"peers":["http://10.0.0.5:8080/"],"point":"P1","serial":7,'
        b'"withdrawn":[{"package":"HQ100001","reason":"replaced","version":1}]}'
    )


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"least": {"HQ100001": 3}}, "packages[0].version"),
        ({"withdrawn": (Withdrawn(package="HQ100001", version=2, reason=""),)}, "withdrawn"),
        ({"packages": (PackageRef(package="HQ100001", version=3, listing=SHA),) * 2}, "packages"),
        ({"peers": ("http://b/", "http://a/")}, "peers"),
        ({"peers": ("ftp://a/",)}, "peers[0]"),
        ({"point": "../P1"}, "point"),
        ({"point": ""}, "point"),
        ({"group": "a b"}, "group"),
        ({"serial": 0}, "serial"),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(MalformedError) as caught:
        PointStatement.parse(sample(**changes).payload())
    assert caught.value.place.startswith(place)


def test_another_major_is_refused() -> None:
    record = {**decode(sample().payload()), "format": "courier-point/2"}
    with pytest.raises(UnknownFormatError):
        PointStatement.parse(encode(record))


def test_versions_are_found() -> None:
    statement = sample()
    newest, named = statement.find("HQ100001"), statement.find("HQ100001", 2)
    assert (newest and newest.version, named and named.version) == (3, 2)
    assert statement.find("HQ100001", 1) is None
    assert statement.find("HQ100002") is None
    gone = statement.withdrawal("HQ100001", 1)
    assert gone is not None
    assert gone.reason == "replaced"
    assert statement.withdrawal("HQ100001", 2) is None
    assert replace(statement, packages=()).find("HQ100001") is None


def test_paths_are_named_by_digest() -> None:
    assert definition_path("HQ100001", 3) == "definitions/HQ100001-3.json"
    assert listing_path(SHA) == f"listings/{SHA}"
    assert blocks_path(SHA) == f"blocks/{SHA}"
    assert content_path(SHA) == f"content/ab/{SHA}"
