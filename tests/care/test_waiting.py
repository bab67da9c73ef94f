"""What waits, judged from facts alone: thresholds, and on whom it waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from courier.care.facts import (
    DAY_NS,
    CacheClassFacts,
    DeploymentFacts,
    DeskFacts,
    DestinationFacts,
    PeerFacts,
    PointFacts,
    ReceivedFacts,
    SentFacts,
    SiteFacts,
    StateFacts,
)
from courier.care.metrics import metrics
from courier.care.status import waiting
from courier.care.waiting import Waiting

NOW = 20_000 * DAY_NS
QUIET = SiteFacts(site="HQ1", now_ns=NOW, key_until_ns=NOW + 1000 * DAY_NS)
OLD_STATE = StateFacts(migration="a", source="A", destination="B", state="complete", captured_ns=NOW - 31 * DAY_NS)
PEER = PeerFacts(code="BR1", pinned_ns=NOW - DAY_NS, key_until_ns=NOW + 1000 * DAY_NS, addresses=(("/share", 0),))


def under_way(days: float, **more: object) -> SiteFacts:
    to = DestinationFacts(site="BR1", copy=1, shipped_ns=NOW - int(days * DAY_NS), **more)  # type: ignore[arg-type]
    parcel = SentFacts(
        parcel="HQ1-000001",
        state="Sent",
        priority="medium",
        created_ns=NOW - 99 * DAY_NS,
        destinations=(to,),
        volumes=3,
    )
    return replace(QUIET, sent=(parcel,))


def only(facts: SiteFacts) -> Waiting:
    (one,) = waiting(facts)
    return one


def test_nothing_waits_at_a_quiet_site() -> None:
    assert waiting(replace(QUIET, peers=(PEER,))) == []


@pytest.mark.parametrize(
    ("days", "usual", "transit_days", "overdue"),
    [
        (13, {}, 0, False),
        (15, {}, 0, True),
        (5, {"BR1": 3 * 86_400}, 0, False),
        (7, {"BR1": 3 * 86_400}, 0, True),
        # Parcels that took minutes, as in a trial, make none overdue within a day.
        (0.9, {"BR1": 60}, 0, False),
        (1.1, {"BR1": 60}, 0, True),
        # What the operator said counts before what the past says.
        (4, {"BR1": 60}, 5, False),
        (6, {"BR1": 30 * 86_400}, 5, True),
    ],
)
def test_overdue_by_past_shipments_or_by_what_the_operator_said(
    days: float, usual: dict[str, int], transit_days: int, overdue: bool
) -> None:
    one = only(replace(under_way(days), usual_to=usual, transit_days=transit_days))
    assert (one.cause == "overdue", one.for_person) == (overdue, overdue)
    assert one.next == ("courier parcel show HQ1-000001" if overdue else "courier channel sync")


def test_once_volumes_arrived_it_waits_for_the_site_and_not_for_the_carrier() -> None:
    assert only(under_way(1)).on == "carrier"
    assert only(under_way(1, arrived=2)).on == "BR1"


def test_a_release_waits_for_a_decision() -> None:
    one = only(under_way(1, lost=(2,)))
    assert one.next == "courier parcel release HQ1-000001 --to BR1"
    assert (one.cause, one.for_person) == ("decision", True)


@pytest.mark.parametrize(
    ("received", "cause", "on"),
    [
        ({"state": "Announced", "since_ns": NOW - 20 * DAY_NS}, "overdue", "operator"),
        ({"state": "Arriving", "missing": (2, 3)}, "under-way", "carrier"),
        ({"state": "Arriving", "missing": (2, 3), "damaged": (2,)}, "under-way", "carrier"),
        ({"state": "Arriving", "missing": (2,), "damaged": (2,)}, "damage", "operator"),
        ({"state": "Held", "awaiting": ("a definition",)}, "definition", "HQ1"),
        ({"state": "Held", "awaiting": ("a definition",), "since_ns": NOW - 2 * DAY_NS}, "definition", "operator"),
        ({"state": "Held", "awaiting": ("x",), "report": "courier parcel arrived HQ1-000001"}, "report", "operator"),
        ({"state": "Complete"}, "to-import", "operator"),
    ],
)
def test_a_parcel_that_arrives_waits_on_whom_it_should(received: dict[str, object], cause: str, on: str) -> None:
    values = {"parcel": "HQ1-000001", "source": "HQ1", "since_ns": NOW, **received}
    one = only(replace(QUIET, site="BR1", received=(ReceivedFacts(**values),)))  # type: ignore[arg-type]
    assert (one.cause, one.on) == (cause, on)
    assert one.next.startswith("courier ")


@pytest.mark.parametrize(
    ("received", "by_label", "waits"),
    [
        ({"state": "Announced", "volumes": 3}, (1, 3), [("to-read", "operator"), ("under-way", "carrier")]),
        ({"state": "Announced", "volumes": 3}, (1, 2, 3), [("to-read", "operator")]),
        # All of it is here: it is not overdue, however long ago it was announced.
        ({"state": "Announced", "volumes": 2, "since_ns": NOW - 20 * DAY_NS}, (1, 2), [("to-read", "operator")]),
        (
            {"state": "Announced", "volumes": 3, "since_ns": NOW - 20 * DAY_NS},
            (1, 2),
            [("overdue", "operator"), ("to-read", "operator")],
        ),
        ({"state": "Announced"}, (1,), [("to-read", "operator")]),
        ({"state": "Arriving", "missing": (2, 3)}, (2,), [("to-read", "operator"), ("under-way", "carrier")]),
        ({"state": "Arriving", "missing": (2, 3)}, (2, 3), [("to-read", "operator")]),
        # A volume without content that is missing is not needed any more.
        ({"state": "Arriving", "missing": (2,)}, (3,), [("under-way", "carrier")]),
    ],
)
def test_labels_at_the_desk_wait_to_be_read_and_their_volumes_are_no_longer_to_come(
    received: dict[str, object], by_label: tuple[int, ...], waits: list[tuple[str, str]]
) -> None:
    values = {"parcel": "HQ1-000001", "source": "HQ1", "since_ns": NOW, **received}
    desk = {"HQ1-000001": DeskFacts(parcel="HQ1-000001", by_label=by_label, since_ns=NOW)}
    facts = replace(QUIET, site="BR1", received=(ReceivedFacts(**values),), desk=desk)  # type: ignore[arg-type]
    found = waiting(facts)
    assert [(str(one.cause), one.on) for one in found] == waits
    for one in found:
        if one.cause in ("under-way", "overdue"):
            said = one.what.split(" from HQ1")[1].split("; ask")[0]
            assert not [number for number in by_label if str(number) in said]


def test_a_report_with_seals_to_type_is_shown_and_not_given_as_the_next_command() -> None:
    one = ReceivedFacts(
        parcel="HQ1-000001", source="HQ1", state="Held", since_ns=NOW, report="courier parcel arrived X --seal 1=SERIAL"
    )
    assert only(replace(QUIET, received=(one,))).next == "courier parcel show HQ1-000001"


@pytest.mark.parametrize(
    ("peer", "cause", "on"),
    [
        ({"addresses": (("/share", 3),)}, "address", "operator"),
        ({"addresses": (), "queued": 1, "oldest_ns": NOW}, "address", "operator"),
        ({"queued": 1, "oldest_ns": NOW}, "messages", "BR1"),
        ({"queued": 1, "oldest_ns": NOW - 4 * DAY_NS}, "messages", "operator"),
        ({"pinned_ns": NOW - 99 * DAY_NS, "heard_ns": NOW - 31 * DAY_NS}, "silent", "operator"),
        ({"key_until_ns": NOW + DAY_NS}, "key", "BR1"),
        ({"key_until_ns": NOW - DAY_NS}, "key", "operator"),
    ],
)
def test_another_site_that_needs_attention(peer: dict[str, object], cause: str, on: str) -> None:
    one = only(replace(QUIET, peers=(replace(PEER, **peer),)))  # type: ignore[arg-type]
    assert (one.cause, one.on) == (cause, on)


@pytest.mark.parametrize(
    ("facts", "cause", "then"),
    [
        ({"key_until_ns": NOW + 30 * DAY_NS}, "key", "courier site rotate-key"),
        ({"free": 1, "reserve": 2}, "disk", "courier package list"),
        ({"dead_letters": 2}, "dead-letter", "courier channel status"),
        ({"contradicted": ("HQ100001:1",)}, "damage", "courier package show HQ100001:1"),
        (
            {"points": (PointFacts(name="P1", added_ns=NOW - 91 * DAY_NS, packages=1),)},
            "point",
            "courier point validate --point P1",
        ),
        ({"points": (PointFacts(name="P1", added_ns=NOW, short=(("/p", 1, 2),)),)}, "disk", "courier point show P1"),
        ({"points": (PointFacts(name="P1", added_ns=NOW, due=1),)}, "point", "courier point rule apply"),
        (
            {"cache_classes": (CacheClassFacts(name="desk", size=1, too_large=(("HQ100001:1", 2),)),)},
            "cache",
            "courier point class list",
        ),
        (
            {"states": (OLD_STATE,)},
            "state",
            "courier state list",
        ),
        (
            {"deployments": (DeploymentFacts(deployment="HQ1-D00001", deadline_ns=NOW - 1, open=1, of=2),)},
            "deployment",
            "courier deploy show HQ1-D00001",
        ),
    ],
)
def test_what_waits_of_the_site_itself(facts: dict[str, object], cause: str, then: str) -> None:
    one = only(replace(QUIET, **facts))  # type: ignore[arg-type]
    assert (one.cause, one.next, one.for_person) == (cause, then, True)


def test_a_label_of_a_metric_is_escaped() -> None:
    facts = replace(QUIET, peers=(replace(PEER, addresses=(('C:\\a"b', 1),)),))
    assert 'address="C:\\\\a\\"b"} 1\n' in metrics(facts, ())
