"""Deployments at a site: made by commands, refused with findings, given to computers, and what these report."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_client import tree_of, wim_of
from journey import Home, add, make_home, run

from courier.deployment.deployments import policy_for
from courier.deployment.reports import record_status
from courier.deployment.status import StatusMessage, file_name, make_status
from courier.errors import NotFoundError, RefusedError
from courier.site.card import pinned_card
from courier.site.catalog import deployments
from courier.site.clock import now
from courier.site.home import Site, open_site
from courier.site.trust import KnownSite, Trust
from formats.documents import deployment as policy_doc
from formats.documents.deployment import DeploymentPolicy

SEQUENCE = """
name = "New computer"
boot-image = "HQ100002"
[[step]]
type = "partition"
name = "Disk"
when = [{ variable = "Keep", exists = false }]
[[step.part]]
label = "System"
type = "linux"
size = "rest"
format = "ext4"
[[step]]
type = "apply-image"
name = "Image"
package = "HQ100001"
file = "install.wim"
part = "System"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A site with an image, a boot image, a point that has both, and two computers."""
    root = tmp_path_factory.mktemp("site")
    home = make_home(root, "HQ1")
    image = wim_of(root / "wim", {"a.txt": b"a" * 5000})
    add(home, tree_of(root / "image", {"install.wim": image, "readme": b"r"}), name="Image")
    add(home, tree_of(root / "boot", {"vmlinuz": b"k"}), name="Boot")
    home("point", "add", "P1", root / "P1", "--reserve", "1MB")
    for package in ("HQ100001", "HQ100002"):
        home("point", "distribute", package, "--point", "P1")
    for name, mac in (("PC1", "00:1A:2B:3C:4D:5E"), ("PC2", "00:1A:2B:3C:4D:5F")):
        home("computer", "add", name, "--mac", mac)
    return home


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    path = tmp_path / "new.toml"
    path.write_text(SEQUENCE, encoding="utf-8")
    return path


def create(home: Home, sequence: Path, *more: object, to: str = "PC1", code: int | None = 0) -> dict[str, Any]:
    arguments = ("deploy", "create", "HQ100001", "--to", to, "--sequence", sequence)
    return home.ran(*arguments, "--option", "run-from-point", *more, code=code).document


@pytest.fixture
def site(made: Home) -> Iterator[Site]:
    opened = open_site(made.path)
    yield opened
    opened.close()


def test_what_is_refused_is_not_stored_and_all_its_faults_are_told(made: Home, sequence: Path) -> None:
    before = made("deploy", "list")
    arguments = ("HQ100001", "--to", "PC9", "--to", "PC1", "--sequence", sequence)
    for command in ("create", "check"):
        ran = made.ran("deploy", command, *arguments, code=3)
        assert [(one["code"], one["step"]) for one in ran.document["findings"]] == [
            ("unknown-computer", None),
            ("repartition-erases-cache", 1),
        ]
        assert ran.error["code"] == "repartition-erases-cache"
        assert "step 1 (Disk)" in ran.error["message"]
        assert "--option run-from-point" in ran.error["hint"]
    said = made.says("deploy", "create", *arguments, code=3)
    assert "courier computer add PC9" in said
    assert "2 faults; no deployment was made" in said
    assert made("deploy", "list") == before


def test_faults_of_the_sequence_are_findings_with_their_step(made: Home, sequence: Path) -> None:
    sequence.write_text(SEQUENCE.replace('part = "System"', 'parts = "System"\nindx = 1'), encoding="utf-8")
    document = create(made, sequence, code=3)
    assert [(one["code"], one["step"]) for one in document["findings"]] == [("sequence-key", 2), ("sequence-key", 2)]


def test_what_is_in_the_store_is_judged_by_its_files(made: Home, sequence: Path) -> None:
    for change, code in (
        ('file = "install.wim"|file = "instal.wim"', "image-unusable"),
        ('file = "install.wim"\n|', "image-unusable"),
        ('part = "System"|part = "System"\nindex = 2', "no-index"),
        ('size = "rest"|size = "2kB"', "partition-too-small"),
        ('boot-image = "HQ100002"|boot-image = "HQ100077"', "boot-image-missing"),
        ('package = "HQ100001"|package = "HQ100001:9"', "package-missing"),
    ):
        old, new = change.split("|")
        assert old in SEQUENCE
        sequence.write_text(SEQUENCE.replace(old, new), encoding="utf-8")
        assert code in [one["code"] for one in create(made, sequence, code=3)["findings"]], change


@pytest.mark.parametrize(
    "wrong",
    [
        ("deploy", "create", "HQ100001", "--sequence", "SEQUENCE"),
        ("deploy", "create", "HQ100001", "--to", "PC1"),
        ("deploy", "create", "HQ1", "--to", "PC1", "--sequence", "SEQUENCE"),
        ("deploy", "create", "HQ100001", "--to", "PC 1", "--sequence", "SEQUENCE"),
        ("deploy", "create", "HQ100001", "--to", "PC1", "--sequence", "SEQUENCE", "--option", "download"),
        ("deploy", "create", "HQ100001", "--to", "PC1", "--sequence", "SEQUENCE", "--expires", "soon"),
        ("deploy", "check", "HQ1-D00001", "--to", "PC1"),
        ("deploy", "check", "HQ1-D00001", "--option", "download-all"),
        ("deploy", "check", "HQ1-D00001", "--deadline", "2030-01-01"),
        ("deploy", "policy", "HQ1-D00001", "PC1"),
    ],
)
def test_wrong_words_are_wrong_usage(made: Home, sequence: Path, wrong: tuple[str, ...]) -> None:
    made.fails(*(sequence if word == "SEQUENCE" else word for word in wrong), code=2)


def test_erasing_several_disks_takes_a_yes_or_their_number(made: Home, sequence: Path) -> None:
    words: tuple[object, ...] = ("deploy", "create", "HQ100001", "--to", "PC1", "--to", "PC2", "--sequence", sequence)
    words = (*words, "--option", "run-from-point", "--home", made.path, "--json")
    count = len(made("deploy", "list")["deployments"])
    together = ("deploy", "check", "HQ100001", "--to", "PC2,PC1", "--sequence", sequence, "--option", "as-needed")
    assert made(*together)["computers"] == ["PC2", "PC1"]
    made.fails("deploy", "check", "HQ100001", "--to-group", "north", "--sequence", sequence, code=6)
    made("computer", "set", "PC1", "--group", "north")
    by_group = ("deploy", "check", "HQ100001", "--to-group", "north", "--sequence", sequence, "--option", "as-needed")
    try:
        assert made(*by_group)["computers"] == ["PC1"]
    finally:
        made("computer", "set", "PC1", "--group", "")
    assert run(*words, code=3).error["hint"] == "give --count 2, or --yes"
    assert run(*words, "--count", "3", code=2).error["message"].startswith("--count 3: it erases 2 disks (PC1, PC2)")
    assert run(*words, "--dry-run").document["erased"] == ["PC1", "PC2"]
    assert len(made("deploy", "list")["deployments"]) == count
    assert run(*words, "--count", "2").document["computers"] == ["PC1", "PC2"]
    made("computer", "set", "PC2", "--variable", "Keep=yes")
    try:
        found = run(*words, "--dry-run").document["erased"]
    finally:
        made("computer", "set", "PC2", "--unset", "Keep")
    # The image still goes onto the disk of PC2, over what is there.
    assert found == ["PC1", "PC2"]


def test_a_deployment_is_made_shown_checked_and_removed(made: Home, sequence: Path) -> None:
    times = ("--available", "2026-01-01", "--deadline", "2036-01-01T10:00", "--expires", "2037-01-01T00:00+01:00")
    new = create(made, sequence, *times)
    name = new["deployment"]
    assert new["findings"] == []
    assert [(one["package_id"], one["version"]) for one in new["packages"]] == [("HQ100001", 1), ("HQ100002", 1)]
    listed = next(one for one in made("deploy", "list")["deployments"] if one["deployment"] == name)
    assert (listed["count"], listed["expires"]) == (1, "2036-12-31 23:00:00Z")
    assert made("deploy", "check", name.lower())["findings"] == []
    shown = made("deploy", "show", name)
    (timeline,) = shown["timelines"]
    assert timeline["computers"] == ["PC1"]
    assert [(one["step"], one["package"], one["point"]) for one in timeline["steps"]] == [
        (0, "HQ100002:1", "P1"),
        (1, None, None),
        (2, "HQ100001:1", "P1"),
    ]
    assert "begins by itself at 2036-01-01 10:00:00Z" in made.says("deploy", "show", name, "--computer", "pc1")
    made.fails("deploy", "show", name, "--computer", "PC2", code=6)
    assert "PC1 is a target of deployment" in made.fails("computer", "remove", "PC1", code=3)["message"]
    made("deploy", "remove", name)
    for command in ("show", "check", "remove"):
        made.fails("deploy", command, name, code=6)
    assert name not in str(made("deploy", "list"))
    assert name in str(made("deploy", "list", "--all"))


def test_a_deployment_keeps_the_versions_that_it_was_made_with(
    made: Home, sequence: Path, tmp_path: Path, site: Site
) -> None:
    name = create(made, sequence)["deployment"]
    tree = tree_of(tmp_path / "new", {"vmlinuz": b"newer"})
    made("package", "add", tree, "--name", "Boot", "--id", "HQ100002")
    try:
        policy = policy_for(site, name, "pc1")
        assert [(one.package, one.version) for one in policy.packages] == [("HQ100001", 1), ("HQ100002", 1)]
        assert made("deploy", "check", name)["findings"] == []
    finally:
        made("package", "remove", "HQ100002:2")


def test_a_policy_is_signed_private_and_for_one_computer(made: Home, sequence: Path, tmp_path: Path) -> None:
    name = create(made, sequence, "--expires", "2037-01-01")["deployment"]
    out = tmp_path / "PC1.policy"
    done = made("deploy", "policy", name, "PC1", "--out", out)
    assert (done["computer"], done["points"]) == ("PC1", ["P1"])
    if os.name == "posix":
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
    card = tmp_path / "HQ1.card"
    made("site", "card", "--out", card)
    trust = Trust(own=None, known={"HQ1": KnownSite(card=pinned_card(card.read_bytes()))})
    policy, _ = trust.verify(out.read_bytes(), policy_doc.KIND, now_ns=now(), where="policy")
    assert isinstance(policy, DeploymentPolicy)
    assert policy.computer is not None
    assert (policy.computer.name, policy.computer.macs, policy.option) == (
        "PC1",
        ("00:1A:2B:3C:4D:5E",),
        "run-from-point",
    )
    assert policy.sequence == SEQUENCE
    assert policy.points[0].address == str(made.path.parent / "P1")
    assert len(policy.status_key) == 32
    assert policy.state is None
    made.fails("deploy", "policy", name, "PC2", "--out", out, code=6)
    made.fails("deploy", "policy", name, "PC1", "--out", tmp_path, code=2)


def test_no_policy_erases_a_computer_that_was_protected_since(made: Home, sequence: Path, tmp_path: Path) -> None:
    name = create(made, sequence)["deployment"]
    made("computer", "set", "PC1", "--protect")
    try:
        error = made.fails("deploy", "policy", name, "PC1", "--out", tmp_path / "p", code=3)
        assert "protected" in error["message"]
        assert not (tmp_path / "p").exists()
        ran = made.ran("deploy", "check", name, code=3)
        assert {one["code"] for one in ran.document["findings"]} == {"protected-computer"}
    finally:
        made("computer", "set", "PC1", "--no-protect")
    made("computer", "associate", "PC1", "PC2")
    try:
        error = made.fails("deploy", "policy", name, "PC1", "--out", tmp_path / "p", code=3)
        assert "was not captured" in error["message"]
    finally:
        made("computer", "dissociate", "PC1")
    made("deploy", "policy", name, "PC1", "--out", tmp_path / "p")


def test_a_policy_takes_a_place_for_state_where_the_sequence_captures(
    made: Home, sequence: Path, tmp_path: Path, site: Site
) -> None:
    text = SEQUENCE + '[[step]]\ntype = "restore-state"\nname = "Back"\npart = "System"\n'
    capture = '[[step]]\ntype = "capture-state"\nname = "Keep"\ninclude = ["home/**"]\npart = "Old"\n'
    sequence.write_text(text.replace("[[step]]", capture + "[[step]]", 1), encoding="utf-8")
    made("computer", "add", "PC3", "--mac", "00:1A:2B:3C:4D:60")
    found = create(made, sequence, to="PC3", code=3)["findings"]
    assert {one["code"] for one in found} == {"not-associated", "no-state-point"}
    assert "courier computer associate PC3 DESTINATION" in [one["remedy"] for one in found]
    made("computer", "associate", "PC3", "PC3")
    made("state", "point", "add", "S1", tmp_path / "S1", "--max-clients", "5", "--min-free", "1MB")
    name = create(made, sequence, to="PC3")["deployment"]
    place = policy_for(site, name, "PC3").state
    assert place is not None
    assert (place.point, place.source, place.destination) == ("S1", "PC3", "PC3")
    assert place.recipients
    assert place.identity
    assert policy_for(site, name, "PC3").state == place


def test_no_policy_is_made_for_a_restore_of_what_is_not_captured(
    made: Home, sequence: Path, tmp_path: Path, site: Site
) -> None:
    text = SEQUENCE + '[[step]]\ntype = "restore-state"\nname = "Back"\npart = "System"\n'
    sequence.write_text(text, encoding="utf-8")
    made("computer", "add", "PC4", "--mac", "00:1A:2B:3C:4D:61")
    made("computer", "add", "PC5", "--mac", "00:1A:2B:3C:4D:62")
    made("computer", "associate", "PC5", "PC4")
    if not made("state", "point", "list")["points"]:
        made("state", "point", "add", "S1", tmp_path / "S1", "--max-clients", "5", "--min-free", "1MB")
    document = create(made, sequence, to="PC4")
    assert [one["code"] for one in document["findings"]] == ["not-captured-yet"]
    error = made.fails("deploy", "policy", document["deployment"], "PC4", "--out", tmp_path / "p", code=6)
    assert error["message"] == "no state is kept for PC4"
    assert "PC5" not in {one["source"] for one in made("state", "list")["migrations"]}


def test_an_expired_deployment_gives_no_policy(made: Home, sequence: Path, site: Site) -> None:
    name = create(made, sequence)["deployment"]
    with site.catalogue.writing() as connection:
        found = deployments.find(connection, name)
        assert found is not None
        from sqlalchemy import update

        from courier.site.catalog.schema import deployment

        connection.execute(update(deployment).where(deployment.c.deployment == name).values(expires_ns=5))
    with pytest.raises(RefusedError, match="expired"):
        policy_for(site, name, "PC1")


# --- status ---------------------------------------------------------------------------------------------------------


def message(name: str, number: int, step: int, outcome: Any, *, text: str = "", who: str = "PC1") -> StatusMessage:
    return StatusMessage(
        deployment=name,
        computer=who,
        run="ab" * 16,
        number=number,
        step=step,
        outcome=outcome,
        message=text,
        at_ns=10**18 + number,
    )


def test_status_files_are_collected_once_and_only_where_the_key_is_right(
    made: Home, sequence: Path, tmp_path: Path, site: Site
) -> None:
    name = create(made, sequence)["deployment"]
    key = policy_for(site, name, "PC1").status_key
    folder = tmp_path / "status"
    folder.mkdir()
    good = [message(name, 1, 0, "started"), message(name, 2, 1, "done"), message(name, 3, 0, "failed", text="no disk")]
    for one in good:
        (folder / file_name(one)).write_bytes(make_status(one, key))
    forged = message(name, 4, 0, "done")
    (folder / file_name(forged)).write_bytes(make_status(forged, b"x" * 32))
    stranger = message(name, 1, 0, "done", who="PC2")
    (folder / file_name(stranger)).write_bytes(make_status(stranger, key))
    (folder / "junk.status").write_bytes(b"no message")
    (folder / "other.txt").write_bytes(b"no status file")
    (folder / "folder.status").mkdir()
    odd = 1
    if os.name == "posix":
        os.mkfifo(folder / "pipe.status")  # whoever waits for it waits for ever
        (folder / "link.status").symlink_to("/dev/zero")
        (folder / os.fsdecode(b"\xff\n\x1b[2J.status")).write_bytes(b"")
        odd += 3
    assert made("deploy", "status", name)["computers"][0]["state"] == "waiting"
    done = made("deploy", "status", name, "--take", folder)
    assert (done["taken"]["new"], done["taken"]["known"]) == (3, 0)
    assert len(done["taken"]["refused"]) == 3 + odd
    assert all(one["reason"] for one in done["taken"]["refused"])
    (only,) = done["computers"]
    assert (only["computer"], only["state"]) == ("PC1", "failed")
    assert [(one["number"], one["step"], one["outcome"]) for one in only["messages"]] == [
        (1, 0, "started"),
        (2, 1, "done"),
        (3, 0, "failed"),
    ]
    again = made("deploy", "status", name, "--take", folder)
    assert (again["taken"]["new"], again["taken"]["known"]) == (0, 3)
    assert again["computers"] == done["computers"]
    assert "no disk" in made.says("deploy", "status", name)
    made.fails("deploy", "status", name, "--take", tmp_path / "none", code=6)
    made.fails("deploy", "status", "HQ1-D99999", code=6)


def test_a_message_is_recorded_at_once_where_the_home_is_at_hand(made: Home, sequence: Path, site: Site) -> None:
    name = create(made, sequence)["deployment"]
    first = message(name, 1, 0, "started", who="pc1")
    assert record_status(site, first)
    assert not record_status(site, first)
    with pytest.raises(RefusedError, match="something else"):
        record_status(site, message(name, 1, 0, "failed"))
    with pytest.raises(NotFoundError):
        record_status(site, message(name, 1, 0, "started", who="PC2"))
    assert made("deploy", "status", name)["computers"][0]["state"] == "running"
