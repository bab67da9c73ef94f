"""The checks before an import, one by one: each over facts alone, without a site."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from courier.errors import CourierError, NoSpaceError, RefusedError
from courier.parcel.import_checks import CHECKS, Facts, KeyFacts, Room, Stage, admit, judge
from courier.parcel.package_checks import judge_packages
from courier.parcel.states import ReceivedState
from courier.site.trust import DAY_NS, Trust
from formats.documents.listing import ListingSummary
from formats.documents.notice import PackageRef, ShipNotice
from formats.documents.package import PackageDefinition
from formats.documents.packing import FileRecord, PackingList, TableRef
from formats.documents.recall import Recall

PARCEL, LISTED, OTHER = "HQ1-000001", "11" * 32, "99" * 32
VERSION = "HQ100001", 1
NOW = 1_000 * DAY_NS

PACKING = PackingList(
    parcel=PARCEL,
    source="HQ1",
    destinations=("BR1",),
    created_ns=NOW - DAY_NS,
    priority="medium",
    edition=1,
    media="folder",
    capacity=1 << 30,
    volumes=1,
    encrypted=True,
    block_size=1 << 20,
    archives=(FileRecord(number=1, size=10, sha256="33" * 32, volume=1),),
    parity=(),
    groups=(),
    contents=TableRef(size=1, sha256="44" * 32),
    blocks=TableRef(size=1, sha256="55" * 32),
    key="on-arrival",
)
PLAIN = replace(PACKING, encrypted=False, key="media")
"""The same, not encrypted."""
NOTICE = ShipNotice(
    parcel=PARCEL,
    source="HQ1",
    destinations=("BR1",),
    issued_ns=NOW - DAY_NS,
    packing_list="66" * 32,
    build=PACKING.build,
    volumes=1,
    priority="medium",
    packages=(PackageRef(package=VERSION[0], version=VERSION[1], listing=LISTED),),
    seals={1: "A0001"},
)
DEFINITION = PackageDefinition(
    package=VERSION[0],
    version=VERSION[1],
    name="image",
    site="HQ1",
    created_ns=NOW - 2 * DAY_NS,
    issued_ns=NOW - 2 * DAY_NS,
    listing=ListingSummary(sha256=LISTED, entries=1, files=1, bytes=10, holes=0),
)
ROOM = Room(purpose="receiving", place="/home", needed=10, free=100, reserve=20)
GOOD = Facts(
    site="BR1",
    packing=PACKING,
    where="/mnt/disc",
    now_ns=NOW,
    trust=Trust(own="BR1", known={}, max_transit_days=30),
    recall=None,
    state=ReceivedState.ARRIVING,
    editions=(NOTICE.packing_list,),
    notices=(NOTICE,),
    definitions={VERSION: {LISTED: DEFINITION}},
    key=KeyFacts(here=True),
    room=ROOM,
)
"""A parcel that every check agrees with."""
RECALL = Recall(
    parcel=PARCEL, source="HQ1", destinations=("BR1",), build=PACKING.build, issued_ns=NOW, reason="wrong image"
)
UNTRUSTED = RefusedError("site HQ1 was revoked", hint="settle it")


def test_a_parcel_with_which_all_agree_is_admitted() -> None:
    for stage in Stage:
        assert judge(GOOD, stage).awaiting == ()
    admission = admit(GOOD)
    assert (admission.awaiting, admission.notice, admission.definitions) == ((), NOTICE, {VERSION: DEFINITION})


@pytest.mark.parametrize(
    ("stage", "change", "code"),
    [
        (Stage.AGREE, {"notices": (), "notice_error": UNTRUSTED}, "refused"),
        (Stage.AGREE, {"recall": RECALL}, "recalled"),
        (Stage.RECEIVE, {"recall": RECALL}, "recalled"),
        (Stage.RECEIVE, {"recall": UNTRUSTED}, "refused"),
        (Stage.RECEIVE, {"state": ReceivedState.REFUSED}, "parcel-refused"),
        (Stage.RECEIVE, {"other_builds": (ReceivedState.REFUSED,)}, "parcel-refused"),
        (Stage.RECEIVE, {"site": "HQ1", "numbered": {VERSION[0]: 1}}, "own-parcel"),
        (Stage.RECEIVE, {"site": "HQ1", "numbered": {VERSION[0]: 1}, "packing": PLAIN}, "own-parcel"),
        (Stage.RECEIVE, {"state": None, "other_builds": (ReceivedState.ARRIVING,)}, "other-build"),
        (Stage.ROOM, {"room": replace(ROOM, free=29)}, "no-space"),
        (Stage.AGREE, {"notices": (replace(NOTICE, build="88" * 16),)}, "notice-disagrees"),
        (Stage.AGREE, {"now_ns": NOW + 40 * DAY_NS}, "too-long-in-transit"),
        (Stage.AGREE, {"definitions": {VERSION: {OTHER: DEFINITION}}}, "definition-disagrees"),
        (Stage.AGREE, {"definitions": {VERSION: {LISTED: UNTRUSTED}}}, "refused"),
        (Stage.IMPORT, {"held": {VERSION: OTHER}}, "version-conflict"),
        (Stage.IMPORT, {"site": "HQ1"}, "foreign-version"),
        (Stage.IMPORT, {"site": "HQ1", "numbered": {VERSION[0]: 0}}, "foreign-version"),
        (Stage.IMPORT, {"key": KeyFacts(here=False, error=UNTRUSTED)}, "refused"),
    ],
)
def test_what_stands_against_it_is_refused_with_its_code(stage: Stage, change: dict[str, Any], code: str) -> None:
    facts = replace(GOOD, **change)
    with pytest.raises(CourierError) as caught:
        judge(facts, stage)
    assert caught.value.code == code
    assert caught.value.hint
    for other in {Stage.ROOM, Stage.IMPORT} - {stage}:
        judge(facts, other)


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        (Stage.RECEIVE, {"state": None, "other_builds": (ReceivedState.ANNOUNCED,)}),
        (Stage.RECEIVE, {"state": ReceivedState.HELD, "other_builds": (ReceivedState.HELD,)}),
        (Stage.ROOM, {"room": replace(ROOM, free=30)}),
        (Stage.AGREE, {"definitions": {VERSION: {OTHER: DEFINITION, LISTED: DEFINITION}}}),
        (Stage.IMPORT, {"held": {VERSION: LISTED}}),
        (Stage.IMPORT, {"site": "HQ1", "numbered": {VERSION[0]: 1}}),
        (Stage.IMPORT, {"key": None}),
    ],
)
def test_what_is_no_reason_to_refuse_agrees(stage: Stage, change: dict[str, Any]) -> None:
    assert judge(replace(GOOD, **change), stage).awaiting == ()


@pytest.mark.parametrize(
    ("change", "awaited"),
    [
        ({"notices": ()}, "the ship notice of HQ1"),
        ({"definitions": {}}, "the definition of HQ100001:1"),
        ({"key": KeyFacts(here=False), "packing": replace(PACKING, key="network")}, "in the ship notice of HQ1"),
        ({"key": KeyFacts(here=False, sealed=(1,))}, f"courier parcel arrived {PARCEL} --seal 1=SERIAL"),
        ({"key": KeyFacts(here=False, reported=True)}, "releases for our arrival report"),
        ({"key": KeyFacts(here=False, reported=True, report_refused="seal 1 is wrong")}, "seal 1 is wrong; to report"),
        (
            {"key": KeyFacts(here=False, reported=True, reported_lost=(2,))},
            "here now (volume 2); to report again: courier",
        ),
        ({"hold": True}, f"the operator: courier parcel import {PARCEL}"),
    ],
)
def test_what_has_not_come_is_awaited(change: dict[str, Any], awaited: str) -> None:
    admission = admit(replace(GOOD, **change))
    assert len(admission.awaiting) == 1
    assert awaited in admission.awaiting[0]
    assert bool(admission.report) == ("parcel arrived" in admission.awaiting[0])


def test_a_report_of_many_seals_comes_in_a_file_and_the_command_stands_as_it_is_given() -> None:
    admission = admit(replace(GOOD, key=KeyFacts(here=False, sealed=tuple(range(1, 31)), missing=(30,))))
    assert admission.report == f"courier parcel arrived {PARCEL} --seals-file FILE --lost 30"
    assert f"{admission.report} (FILE has a line VOLUME=SERIAL for each of 29 volumes)" in admission.awaiting[0]


def test_all_that_is_awaited_is_said_at_once() -> None:
    admission = admit(replace(GOOD, definitions={}, key=KeyFacts(here=False), hold=True))
    assert len(admission.awaiting) == 3


def test_the_first_check_that_refuses_is_told_and_the_latest_notice_counts() -> None:
    with pytest.raises(RefusedError, match="was recalled by HQ1: wrong image"):
        admit(replace(GOOD, recall=RECALL, held={VERSION: OTHER}))
    with pytest.raises(NoSpaceError, match="receiving needs 10 bytes"):
        judge(replace(GOOD, room=replace(ROOM, free=0)), Stage.ROOM)
    again = replace(NOTICE, issued_ns=NOW, seals={})
    assert admit(replace(GOOD, notices=(NOTICE, again))).notice == again


def test_every_check_is_made_at_some_stage() -> None:
    assert all(check.stages for check in CHECKS)
    assert {stage for check in CHECKS for stage in check.stages} == set(Stage)


SECOND = "HQ100002", 1
BOTH = replace(NOTICE, packages=(*NOTICE.packages, PackageRef(package=SECOND[0], version=SECOND[1], listing=OTHER)))
TWO = replace(
    GOOD,
    notices=(BOTH,),
    definitions={
        VERSION: {LISTED: DEFINITION},
        SECOND: {
            OTHER: replace(DEFINITION, package=SECOND[0], listing=replace(DEFINITION.listing, sha256=OTHER)),
        },
    },
)


def test_every_package_of_a_parcel_is_admitted_by_itself() -> None:
    found = judge_packages(TWO)
    assert set(found.admission.definitions) == {VERSION, SECOND}
    assert found.admission.notice == BOTH
    assert (found.awaiting, found.waiting, found.refused) == ((), {}, {})


def test_what_is_wrong_with_one_package_stops_that_one_alone() -> None:
    missing = judge_packages(replace(TWO, definitions={VERSION: {LISTED: DEFINITION}}))
    assert set(missing.admission.definitions) == {VERSION}
    assert "HQ100002:1" in missing.waiting[SECOND][0]
    held = judge_packages(replace(TWO, held={VERSION: OTHER}))
    assert set(held.admission.definitions) == {SECOND}
    assert held.refused[VERSION].code == "version-conflict"
    other = judge_packages(replace(TWO, definitions={**TWO.definitions, SECOND: {LISTED: DEFINITION}}))
    assert other.refused[SECOND].code == "definition-disagrees"


@pytest.mark.parametrize(
    "change", [{"hold": True}, {"key": KeyFacts(here=False)}, {"notices": ()}, {"notices": (), "key": None}]
)
def test_what_the_whole_parcel_awaits_every_package_awaits(change: dict[str, Any]) -> None:
    found = judge_packages(replace(TWO, **change))
    assert found.awaiting
    assert found.admission.definitions == {}


@pytest.mark.parametrize(
    "change", [{"recall": RECALL}, {"notice_error": UNTRUSTED}, {"key": KeyFacts(here=False, error=UNTRUSTED)}]
)
def test_what_refuses_the_parcel_refuses_every_package(change: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        judge_packages(replace(TWO, **change))
