"""``courier plan points``: rounds of clients within the connections of each point, and how many points are wanted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journey import Home, add, make_home, noise, write_files

from courier.errors import UsageError
from courier.planning.serving import (
    ClientGroup,
    Content,
    ServingPoint,
    plan_serving,
    points_wanted,
    serving_seconds,
)
from courier.planning.serving_input import parse_clients, parse_point, parse_serving_file

GB = 10**9
HOUR = 3600
CONTENT = Content(bytes=GB, files=0)
DESK = ClientGroup(name="desk", clients=20, rate=10_000_000)  # 100 s alone
POINT = ServingPoint(name="P1", groups=("desk",), rate=100_000_000, connections=10)


def test_clients_come_in_rounds_of_as_many_as_a_point_has_connections() -> None:
    assert serving_seconds(CONTENT, DESK, 1, POINT) == 100
    assert serving_seconds(CONTENT, DESK, 10, POINT) == 100
    assert serving_seconds(CONTENT, DESK, 11, POINT) == 200
    assert serving_seconds(CONTENT, DESK, 20, POINT) == 200


def test_a_full_line_is_shared() -> None:
    assert serving_seconds(CONTENT, DESK, 20, replace(POINT, connections=100)) == 200
    assert serving_seconds(CONTENT, DESK, 20, replace(POINT, connections=100, rate=10_000_000)) == 2000


def test_files_cost_beside_their_bytes() -> None:
    assert serving_seconds(replace(CONTENT, files=20_000), DESK, 10, POINT) == 200


def test_groups_points_and_what_holds_them_up() -> None:
    lab = ClientGroup(name="lab", clients=5, rate=10_000_000)
    home = ClientGroup(name="home", clients=3, rate=1_000_000)
    second = replace(POINT, name="P2", groups=("desk", "lab"))
    plan = plan_serving(CONTENT, [DESK, lab, home], [POINT, second], usual=POINT, within=150)
    assert dict(plan.points[0].clients) == {"desk": 10}
    assert dict(plan.points[1].clients) == {"desk": 10, "lab": 5}
    assert [load.seconds for load in plan.points] == [100, 200]
    desk, _, lost = plan.groups
    assert desk.points == ("P1", "P2")
    assert desk.seconds == 200
    assert not desk.is_in_time
    assert desk.wanted == 2
    assert plan.without_point == ("home",)
    assert lost.wanted is None
    assert "no point serves it; even one client alone takes 17 min" in lost.do
    assert not plan.ok


@pytest.mark.parametrize(
    ("clients", "connections", "rate", "bound"),
    [(20, 10, 10**9, "connections"), (20, 100, 10**7, "line"), (5, 10, 10**9, "clients")],
)
def test_what_holds_a_point_up(clients: int, connections: int, rate: int, bound: str) -> None:
    point = replace(POINT, connections=connections, rate=rate)
    plan = plan_serving(CONTENT, [replace(DESK, clients=clients)], [point], usual=POINT, within=HOUR)
    assert plan.points[0].bound == bound


GROUPS = st.builds(
    lambda clients, rate: ClientGroup(name="desk", clients=clients, rate=rate),
    st.integers(1, 5000),
    st.integers(1000, 10**9),
)
POINTS = st.builds(
    lambda rate, connections: ServingPoint(name="P", groups=("desk",), rate=rate, connections=connections),
    st.integers(1000, 10**10),
    st.integers(1, 500),
)
CONTENTS = st.builds(
    lambda size, files: Content(bytes=size, files=files), st.integers(0, 10**12), st.integers(0, 10**5)
)


@given(CONTENTS, GROUPS, POINTS, st.integers(0, 5000), st.integers(0, 5000))
def test_more_clients_never_take_less_and_more_connections_cost_a_round_of_one_at_most(
    content: Content, group: ClientGroup, point: ServingPoint, clients: int, more: int
) -> None:
    took = serving_seconds(content, group, clients, point)
    assert took <= serving_seconds(content, group, clients + more, point)
    # A last round of a few clients, who leave the line of the point half empty, takes no longer than one alone.
    wider = serving_seconds(content, group, clients, replace(point, connections=point.connections + more))
    assert wider <= took + serving_seconds(content, group, 1, point) + 1 + clients // 1000
    assert took >= content.bytes * clients // point.rate


@given(CONTENTS, GROUPS, POINTS, st.integers(1, 10**7))
def test_as_many_points_as_wanted_are_enough_and_one_less_is_not(
    content: Content, group: ClientGroup, point: ServingPoint, within: int
) -> None:
    wanted = points_wanted(content, group, point, within)
    if wanted is None:
        assert serving_seconds(content, group, 1, point) > within
        return
    plan = plan_serving(
        content,
        [group],
        [replace(point, name=f"P{n}") for n in range(wanted)] if wanted < 50 else [],
        usual=point,
        within=within,
    )
    if wanted < 50:
        assert plan.ok
        assert sum(count for load in plan.points for _, count in load.clients) == group.clients
    if wanted > 1:
        assert serving_seconds(content, group, -(-group.clients // (wanted - 1)), point) > within


@given(GROUPS, st.lists(POINTS, min_size=1, max_size=8))
def test_every_client_of_a_group_is_served_by_one_of_its_points(group: ClientGroup, points: list[ServingPoint]) -> None:
    named = [replace(point, name=f"P{n}") for n, point in enumerate(points)]
    plan = plan_serving(CONTENT, [group], named, usual=POINT, within=HOUR)
    assert sum(count for load in plan.points for _, count in load.clients) == group.clients
    assert plan.groups[0].seconds == max(load.seconds for load in plan.points) == plan.seconds


def test_groups_and_points_as_they_are_typed() -> None:
    assert parse_clients("desk=120,100Mbit/s") == ClientGroup(name="desk", clients=120, rate=12_500_000)
    whole = ServingPoint(name="P1", groups=("desk", "lab"), rate=125_000_000, connections=10)
    assert parse_point("P1=desk+lab") == parse_point("P1=desk+lab,1Gbit/s,10") == whole


@pytest.mark.parametrize("text", ["", "desk", "desk=120", "desk=x,1MB/s", "=1,1MB/s", "desk=1,0MB/s", "desk=-1,1MB/s"])
def test_what_is_no_group_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_clients(text)


@pytest.mark.parametrize(
    "text", ["", "P1", "P1=", "P1=desk,1Gbit/s,x", "P1=desk,1Gb/s", "P1=desk,1Gbit/s,1,2", "=desk"]
)
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_point(text)


FILE = """
[groups.desk]
clients = 120
rate = "100Mbit/s"
[points.P1]
groups = ["desk"]
rate = "1Gbit/s"
"""


def test_groups_and_points_in_a_file() -> None:
    groups, points = parse_serving_file(FILE, name="points.toml")
    assert groups == [parse_clients("desk=120,100Mbit/s")]
    assert points == [parse_point("P1=desk")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "TOML"),
        ("group = 1", "group"),
        ("groups = 1", "groups"),
        ("[groups]\ndesk = 1", "desk"),
        ('[groups.desk]\nclients = 1.5\nrate = "1MB/s"', "clients"),
        ("[groups.desk]\nclients = 1\nrate = 5", "rate"),
        ("[groups.desk]\nclients = 1\nspeed = 5", "speed"),
        ("[points.P1]\nrate = '1MB/s'", "groups"),
        ("[points.P1]\ngroups = 'desk'", "groups"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_serving_file(text, name="points.toml")
    assert says in refused.value.message + refused.value.hint


@pytest.fixture(scope="module")
def hq(quick: Path) -> Home:
    made = make_home(quick, "HQ1")
    add(made, write_files(quick / "files", a_bin=noise(1_000_000), b_bin=noise(1_000_000)))
    return made


def test_the_command_says_who_is_served_when_and_by_whom(hq: Home, tmp_path: Path) -> None:
    (tmp_path / "points.toml").write_text(FILE)
    more = ("--file", tmp_path / "points.toml", "--clients", "home=30,10kB/s", "--within", "10min")
    found = hq("plan", "points", "HQ100001", *more)
    assert found["bytes"] == 1_000_000  # the content that stands twice is fetched once
    desk, home = found["groups"]
    assert (desk["ok"], desk["points"], desk["seconds"]) == (True, ["P1"], 2)
    assert (home["ok"], home["seconds"], home["points_wanted"]) == (False, None, 1)
    assert found["without_point"] == ["home"]
    assert not found["ok"]
    said = hq.says("plan", "points", "HQ100001", *more)
    assert "home: no point serves it" in said
    assert "P1 serves 120 of desk in 2 s: clients wait for a connection" in said
    assert "It rests on:" in said


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        ((), 2, "no group"),
        (("--clients", "desk=0,1MB/s"), 2, "clients"),
        (("--clients", "desk=1,1MB/s", "--clients", "desk=2,1MB/s"), 2, "twice"),
        (("--clients", "desk=1,1MB/s", "--point", "P1=lab"), 2, "lab"),
        (("--clients", "desk=1,1MB/s", "--point", "P1=desk,1MB/s,0"), 2, "connections"),
        (("--clients", "desk=1,1MB/s", "--within", "0"), 2, "--within"),
        (("--clients", "desk=1,1MB/s", "--usual-rate", "0MB/s"), 2, "rate"),
        (("--file", "/nowhere.toml"), 6, "nowhere"),
    ],
)
def test_bad_input_is_refused_in_plain_words(hq: Home, more: tuple[str, ...], code: int, says: str) -> None:
    error = hq.fails("plan", "points", "HQ100001", *more, code=code)
    assert says in error["message"] + error["hint"]


@pytest.mark.parametrize("text", [f"a = {'9' * 5000}", f"a = {'[' * 5000}"], ids=["digits", "brackets"])
def test_a_file_that_is_beyond_the_reader_of_toml_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"points\.toml"):
        parse_serving_file(text, name="points.toml")
