"""``config.toml``: checked, with places in its errors; options win over it; groups of destinations."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from journey import FIXTURES, Sites, add, make_sites

from courier.care.config import Config, config_text, parse_config
from courier.care.gather import gather
from courier.errors import NotFoundError, UsageError
from courier.site.home import open_site


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path, "HQ1", "BR1", "BR2")


def test_what_is_set_stands_in_for_options_and_options_win(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    for key, value in (
        ("capacity", "2MB"),
        ("redundancy", "5%"),
        ("compress", "none"),
        ("carrier", "Speedy Vans"),
        ("groups.branches", "br1, BR2"),
    ):
        sites.hq("config", "set", key, value)
    made = sites.hq("parcel", "create", package, "--to", "@branches")
    (known,) = sites.hq("status")["parcels"]["sent"]
    assert [one["code"] for one in known["destinations"]] == ["BR1", "BR2"]
    assert len(made["volumes"]) == 1
    other = sites.hq("parcel", "create", package, "--to", "BR1", "--capacity", "863KB", "--redundancy", "none")
    assert len(other["volumes"]) > 1
    sites.hq("parcel", "write", made["parcel_id"], "--layout", "folder", "--out", sites.root / "m")
    sites.hq("parcel", "ship", made["parcel_id"], "--to", "BR1", "--carrier", "Another")
    sites.hq("parcel", "ship", made["parcel_id"])
    known = next(one for one in sites.hq("status")["parcels"]["sent"] if one["parcel_id"] == made["parcel_id"])
    assert [one["carrier"] for one in known["destinations"]] == ["Another", "Speedy Vans"]
    assert sites.hq.fails("parcel", "create", package, "--to", "@nobody", code=6)["code"] == "not-found"


def test_what_was_set_is_shown_and_taken_away(sites: Sites) -> None:
    sites.hq("config", "set", "media", "bd25")
    sites.hq("config", "set", "groups.all", "BR1,BR2")
    # A parcel goes on one kind of medium: what was set last counts.
    assert sites.hq("config", "set", "capacity", "64GB")["media"] == ""
    shown = sites.hq("config", "show")
    assert (shown["capacity"], shown["groups"]) == ("64GB", {"all": ["BR1", "BR2"]})
    sites.hq("config", "unset", "capacity")
    sites.hq("config", "unset", "groups.all")
    assert "Nothing is set." in sites.hq.says("config", "show")
    for key, value in (
        ("media", "dvd6"),
        ("colour", "red"),
        ("groups.A", "BR1"),
        ("groups.a", "X"),
        ("transit_days", "x"),
    ):
        assert sites.hq.fails("config", "set", key, value, code=2)["code"] == "usage"


def test_a_group_stands_for_its_sites_wherever_several_are_named(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    sites.hq("config", "set", "groups.branches", "BR1,BR2")
    made = sites.hq("parcel", "create", package, "--to", "@branches", "--capacity", "64MB")["parcel_id"]
    places = sites.hq("plan", "space", package, "--to", "@branches", code=None)["places"]
    assert {one["site"] for one in places} == {"BR1", "BR2"}
    sites.hq("package", "offer", package, "--to", "@branches")
    assert len(sites.hq("package", "offer", "--to", "@Branches")["offered"]) == 2
    labels = ("--to", "@branches", "--out", sites.root / "labels.pdf")
    sites.hq("parcel", "write", made, "--layout", "folder", "--out", sites.root / "m")
    assert len(sites.hq("parcel", "ship", made, "--to", "@branches")["to"]) == 2
    assert sites.hq("parcel", "labels", made, *labels)["labels"] == 1  # one set goes to both
    assert sites.hq("parcel", "waybill", made, *labels)["pages"] == 1
    assert sites.hq("parcel", "unship", made, "--to", "@branches")["to"] == ["BR1", "BR2"]
    for words in (("plan", "space", package), ("package", "offer", package), ("parcel", "ship", made)):
        assert sites.hq.fails(*words, "--to", "@brunches", code=6)["code"] == "not-found"


def test_transit_days_decide_what_is_overdue(sites: Sites) -> None:
    sites.hq("config", "set", "transit_days", "5")
    with closing(open_site(sites.hq.path)) as site:
        assert gather(site).transit_days == 5


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("media = 'dvd6'", "there is no kind of medium"),
        ("media = 5", "media: not one line"),
        ("media = 'bd25'\ncapacity = '1GB'", "both set"),
        ("transit_days = -1", "transit_days: -1"),
        ("transit_days = true", "transit_days: True"),
        ("colour = 'red'", "colour: nothing"),
        ("groups = 5", "groups: nothing"),
        ("[groups]\nbranches = ['BR1', 'b']", "groups.branches[1]"),
        ("[groups]\nbranches = []", "groups.branches: not a list"),
        ("[groups]\nBranches = ['BR1']", "groups.Branches: no name"),
        ("compress = 'zip'", "compress: there is no method"),
        ("redundancy = '99%'", "redundancy: "),
        ("quota = '5GB'", "quota: that is a setting of the site"),
        ("notify_events = 'fire'", "notify_events: there is no event 'fire'"),
        ("hook_seconds = 9999", "hook_seconds: 9999"),
        ("[hooks]\nfire = ['true']", "hooks.fire: there is no event"),
        ("[hooks]\ndamage = 'true'", "hooks.damage: not the words"),
        ("[hooks]\ndamage = ['']", "hooks.damage: not the words"),
        ("[notify]\ndesk = 'json://u:secret@h'", "notify.desk: not file:FILE or env:NAME"),
        ("[notify]\ndesk = 5", "notify.desk: not file:FILE or env:NAME"),
        ("[notify]\ndesk = 'file:desk.url'", "notify.desk: desk.url is no absolute path"),
        ("[notify]\ndesk = 'env:A B'", "notify.desk: A B is no name of a variable"),
        ("[notify]\nDesk = 'env:A'", "notify.Desk: no name of a service"),
        ("media = 'bd25'\nx 5", "line 2"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_config(text, where="config.toml")
    assert caught.value.message.startswith("config.toml: ")
    assert "secret" not in caught.value.message + caught.value.hint
    assert place in caught.value.message


def test_what_is_written_is_read_again() -> None:
    config = Config(
        media="bd25",
        carrier='Śpeedy "Vans" \\',
        transit_days=3,
        groups={"a": ("BR1", "BR2"), "branches": ("BR1",)},
        notify={"desk": "file:/etc/desk.url"},
        hooks={"key-ending": ("sh", "-c", 'echo "$COURIER_WHAT"\\n')},
    )
    again = parse_config(config_text(config), where="x")
    assert (again.media, again.carrier, again.transit_days) == (config.media, config.carrier, 3)
    assert dict(again.groups) == dict(config.groups)
    assert (dict(again.notify), dict(again.hooks)) == (dict(config.notify), dict(config.hooks))
    assert again.expand(["BR3", "@A", "BR1"]) == ["BR3", "BR1", "BR2"]
    assert again.expand(["BR1", "@A", "BR1"]) == ["BR1", "BR2", "BR1"]  # twice: refused by who plans
    with pytest.raises(NotFoundError):
        again.expand(["@b"])
    with pytest.raises(UsageError):
        again.expand(["branches"])
    assert again.expand(["br1", "other"]) == ["br1", "other"]
