"""The judgement of deployments: each fault is found, with its step and a remedy, and nothing else is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from courier.deployment.checks import check_deployment, wiped
from courier.deployment.deployment_facts import (
    ComputerFacts,
    DeploymentFacts,
    ImageFile,
    PackageFacts,
    StatePointFacts,
    WimSize,
)
from courier.deployment.findings import Finding
from courier.deployment.sequence_file import load_sequence
from courier.deployment.timeline import timeline
from courier.deployment.variables import variables_of
from formats.documents.fields import PackageRef

WIPE = """
name = "New computer"
boot-image = "HQ100002"
[[step]]
type = "partition"
name = "Disk"
[[step.part]]
label = "EFI"
type = "efi"
size = "100MB"
format = "fat32"
[[step.part]]
label = "System"
type = "windows"
size = "20GB"
format = "ntfs"
[[step]]
type = "apply-image"
name = "Image"
package = "HQ100001"
part = "System"
"""
FILES = """
name = "Files"
[[step]]
type = "install-driver"
name = "Office"
package = "HQ100001"
to = "office"
"""
CAPTURE = """
[[step]]
type = "capture-state"
name = "Keep"
include = ["Users/**"]
"""
RESTORE = """
[[step]]
type = "restore-state"
name = "Back"
part = "System"
"""


def package(number: int, version: int = 1, *, size: int = 10**9, **more: Any) -> PackageFacts:
    ref = PackageRef(package=f"HQ10000{number}", version=version, listing=f"{number}" * 64)
    return PackageFacts(ref=ref, bytes=size, points=more.pop("points", frozenset({"P1"})), **more)


IMAGE, BOOT, DRIVERS = package(1, size=4 * 10**9), package(2, size=500 * 10**6), package(3, size=10**6)
WIM = ImageFile(name="install.wim of HQ100001:1", bytes=4 * 10**9, wim=(WimSize(index=1, bytes=15 * 10**9),))


def computer(
    name: str = "PC1", text: str = WIPE, *, own: Mapping[str, str] | None = None, **more: Any
) -> ComputerFacts:
    variables = variables_of(load_sequence(text, name="s"), name, own or {})
    facts: dict[str, Any] = {"known": True, "points": ("P1",), **more}
    return ComputerFacts(name=name, variables=variables, **facts)


def facts(text: str = WIPE, *computers: ComputerFacts, **more: Any) -> DeploymentFacts:
    fields: dict[str, Any] = {
        "now_ns": 10**18,
        "option": "run-from-point",
        "wanted": "HQ100001",
        "package": IMAGE,
        "sequence": load_sequence(text, name="s"),
        "computers": computers or (computer(text=text),),
        "versions": {"HQ100001": IMAGE, "HQ100002": BOOT, "HQ100003": DRIVERS},
        "images": {(step, "HQ100001"): WIM for step in range(1, 9)},
        "state_points": (StatePointFacts(name="S1", places=10, room=10**12),),
        "all_points": ("P1", "P2"),
        **more,
    }
    return DeploymentFacts(**fields)


def found(*arguments: Any, **more: Any) -> list[Finding]:
    return check_deployment(facts(*arguments, **more))


def codes(*arguments: Any, **more: Any) -> list[tuple[str, int | None]]:
    findings = found(*arguments, **more)
    assert all(one.message and one.remedy for one in findings)
    return [(one.code, one.step) for one in findings if one.refuses]


def test_a_good_deployment_has_no_findings() -> None:
    assert found() == found(FILES) == []
    assert found(option="as-needed") == []


# --- erasing --------------------------------------------------------------------------------------------------------


def test_repartition_with_download_all_names_the_step_and_the_option_that_works() -> None:
    (one,) = found(option="download-all")
    assert (one.code, one.step) == ("repartition-erases-cache", 1)
    assert "step 1 (Disk)" in one.message
    assert "--option run-from-point" in one.remedy
    assert codes(option="as-needed") == codes(option="run-from-point") == []


def test_an_image_of_a_whole_disk_erases_the_cache_too() -> None:
    text = 'name = "s"\nboot-image = "HQ100002"\n[[step]]\ntype = "apply-image"\nname = "Disk"\npackage = "HQ100001"\n'
    raw = {(1, "HQ100001"): ImageFile(name="disk.img", bytes=10)}
    whole = text + "whole-disk = true\n"
    assert codes(whole, option="download-all", images=raw) == [("repartition-erases-cache", 1)]
    assert codes(text + 'part = "A"\n', option="download-all", images=raw) == []


def test_a_wipe_that_runs_on_none_of_the_computers_hinders_nobody() -> None:
    text = WIPE.replace('name = "Disk"', 'name = "Disk"\nwhen = [{variable = "New", is = "yes"}]')
    old, new = computer("OLD", text), computer("NEW", text, own={"New": "yes"})
    assert codes(text, old, option="download-all") == []
    assert codes(text, old, new, option="download-all") == [("repartition-erases-cache", 1)]
    assert [one.name for one in wiped(facts(FILES, computer(text=FILES)))] == []


def test_a_protected_computer_is_never_erased() -> None:
    findings = found(WIPE, computer("PC1"), computer("SRV1", protected=True))
    assert {(one.code, one.step) for one in findings} == {("protected-computer", 1), ("protected-computer", 2)}
    assert all(one.message.startswith("SRV1: ") for one in findings)
    assert codes(FILES, computer(text=FILES, protected=True)) == []


def test_a_wipe_needs_a_boot_image() -> None:
    text = WIPE.replace('boot-image = "HQ100002"\n', "")
    assert codes(text) == [("no-boot-image", 1)]


def test_the_boot_image_is_in_the_store_and_at_a_point() -> None:
    assert codes(versions={"HQ100001": IMAGE}) == [("boot-image-missing", None)]
    away = dataclasses.replace(BOOT, points=frozenset())
    assert codes(versions={"HQ100001": IMAGE, "HQ100002": away}) == [("package-not-at-point", None)]


# --- computers, times, sequence -------------------------------------------------------------------------------------


def test_an_unknown_computer_is_refused_with_the_command_that_adds_it() -> None:
    (one,) = found(WIPE, computer("PC7", known=False, points=()))
    assert one.code == "unknown-computer"
    assert one.remedy.startswith("courier computer add PC7")


def test_many_computers_with_one_fault_are_one_finding() -> None:
    many = [computer(f"PC{n}", known=False, points=()) for n in range(40)]
    (one,) = found(WIPE, *many)
    assert one.message.startswith("PC0, PC1, PC2, PC3, PC4 and 35 more: ")


def test_a_computer_known_by_its_name_alone_is_only_noted() -> None:
    (one,) = found(WIPE, computer(recognisable=False))
    assert (one.code, one.refuses) == ("known-by-name-only", False)


@pytest.mark.parametrize(
    ("times", "code"),
    [
        ({"available_ns": 3 * 10**18, "deadline_ns": 2 * 10**18}, "times-out-of-order"),
        ({"deadline_ns": 2 * 10**18, "expires_ns": 2 * 10**18}, "times-out-of-order"),
        ({"available_ns": 3 * 10**18, "expires_ns": 2 * 10**18}, "times-out-of-order"),
        ({"expires_ns": 10**18}, "expired"),
    ],
)
def test_times_are_in_order_and_not_over(times: dict[str, int], code: str) -> None:
    assert codes(**times) == [(code, None)]
    assert codes(available_ns=1, deadline_ns=2 * 10**18, expires_ns=3 * 10**18) == []


def test_faults_of_the_text_come_with_all_others() -> None:
    fault = Finding(code="sequence-key", step=3, message="step 3: nothing is called 'x'", remedy="mend it")
    got = codes(sequence=None, faults=(fault,), expires_ns=5, package=None)
    assert {code for code, _ in got} == {"sequence-key", "expired", "package-missing"}


# --- content --------------------------------------------------------------------------------------------------------


def test_a_package_is_at_a_point_that_the_computer_reaches() -> None:
    elsewhere = dataclasses.replace(IMAGE, points=frozenset({"P2"}))
    versions = {"HQ100001": elsewhere, "HQ100002": BOOT}
    (one,) = found(package=elsewhere, versions=versions)
    assert (one.code, one.step) == ("package-not-at-point", 2)
    assert one.remedy == "courier point distribute HQ100001:1 --point P1"
    assert codes(WIPE, computer(points=("P1", "P2")), package=elsewhere, versions=versions) == []


def test_a_computer_without_any_point_is_told_once() -> None:
    (one,) = found(WIPE, computer(points=(), group="north"))
    assert one.code == "no-point"
    assert "--group north" in one.remedy


DRIVERS_BY_VARIABLE = (
    WIPE + '[[step]]\ntype = "install-driver"\nname = "Drivers"\nvariable = "Drv"\nto = "d"\npart = "System"\n'
)


def test_a_package_named_by_a_variable_is_judged_for_each_computer() -> None:
    text = DRIVERS_BY_VARIABLE
    good = computer("GOOD", text, own={"drv": "hq100003"})
    unset = computer("UNSET", text)
    wrong = computer("WRONG", text, own={"Drv": "HQ1FFFFF"})
    assert codes(text, good) == []
    findings = found(text, good, unset, wrong)
    assert [(one.code, one.message.partition(":")[0]) for one in findings] == [
        ("variable-not-set", "UNSET"),
        ("package-missing", "WRONG"),
    ]
    assert findings[0].remedy.startswith("courier computer set UNSET --variable Drv=ID")


def test_a_package_that_is_deployed_is_used_and_in_that_version() -> None:
    other = WIPE.replace('package = "HQ100001"', 'package = "HQ100003"')
    images = {(2, "HQ100003"): WIM}
    assert codes(other, images=images) == [("package-unused", None)]
    text = WIPE.replace('package = "HQ100001"', 'package = "HQ100001:2"')
    versions = {"HQ100001": IMAGE, "HQ100002": BOOT, "HQ100001:2": package(1, 2)}
    assert ("version-differs", 2) in codes(text, versions=versions)


def test_a_retired_version_is_refused() -> None:
    retired = dataclasses.replace(IMAGE, retired="it loses data")
    (one,) = found(package=retired, versions={"HQ100001": retired, "HQ100002": BOOT})
    assert one.code == "package-retired"
    assert "it loses data" in one.message


@pytest.mark.parametrize(
    ("option", "size", "refused"),
    [
        ("download-all", 4 * 10**9 + 10**6, False),
        ("download-all", 4 * 10**9 + 10**6 - 1, True),
        ("as-needed", 4 * 10**9, False),
        ("as-needed", 4 * 10**9 - 1, True),
        ("run-from-point", 1, False),
    ],
)
def test_the_cache_of_a_class_holds_what_is_downloaded(option: str, size: int, refused: bool) -> None:
    text = FILES + '[[step]]\ntype = "run"\nname = "Set up"\ncommand = ["x"]\npackage = "HQ100003"\n'
    findings = found(text, computer(text=text, client_class="desk", cache_size=size), option=option)
    assert [one.code for one in findings] == (["cache-too-small"] if refused else [])
    if refused:
        assert findings[0].remedy.startswith("courier point class set desk --size ")


def test_without_a_class_the_usual_cache_counts() -> None:
    large = package(1, size=5_120_000_001)
    (one,) = found(FILES, computer(text=FILES), option="as-needed", package=large, versions={"HQ100001": large})
    assert one.code == "cache-too-small"
    assert "courier cache config --size 6GB" in one.remedy


# --- images ---------------------------------------------------------------------------------------------------------


def image(**more: Any) -> dict[str, Any]:
    return {"images": {(2, "HQ100001"): ImageFile(name="x of HQ100001:1", **more)}}


@pytest.mark.parametrize(
    ("text", "more", "code"),
    [
        (WIPE, image(problem="it has no file x", remedy="name another"), "image-unusable"),
        (WIPE, image(wim=(WimSize(index=2, bytes=1),)), "no-index"),
        (WIPE, image(wim=(WimSize(index=1, bytes=20 * 10**9 + 1),)), "image-too-large"),
        (WIPE, image(bytes=20 * 10**9 + 1), "image-too-large"),
        (WIPE + "index = 2\n", image(bytes=5), "no-index"),
        (WIPE.replace('part = "System"', 'part = "Data"'), {}, "no-partition"),
        (WIPE.replace('part = "System"\n', ""), {}, "no-partition"),
        (WIPE.replace('part = "System"\n', "whole-disk = true\n"), {}, "wim-on-disk"),
        (WIPE.replace('format = "ntfs"', 'format = "none"'), {}, "no-file-system"),
    ],
)
def test_images_are_what_their_steps_take_them_for_and_fit(text: str, more: dict[str, Any], code: str) -> None:
    assert (code, 2) in codes(text, **more)


def test_a_partition_too_small_for_its_file_system() -> None:
    assert codes(WIPE.replace('size = "100MB"', 'size = "20MB"')) == [("partition-too-small", 1)]


def test_files_that_do_not_go_onto_their_partition() -> None:
    step = '[[step]]\ntype = "install-driver"\nname = "D"\npackage = "HQ100003"\nto = "d"\npart = "EFI"\n'
    text = WIPE + step
    for drivers, code in (
        (package(3, size=5 * 10**9, largest=4 * 2**30), "too-large-for-fat32"),
        (package(3, size=10**9, largest=5), "image-too-large"),
    ):
        versions = {"HQ100001": IMAGE, "HQ100002": BOOT, "HQ100003": drivers}
        assert codes(text, versions=versions) == [(code, 3)]


# --- state ----------------------------------------------------------------------------------------------------------

REFRESH = WIPE.replace("[[step]]", CAPTURE + "[[step]]", 1) + RESTORE
ITSELF: dict[str, Any] = {"state_goes_to": "PC1", "state_comes_from": ("PC1",)}


def test_a_computer_that_gets_its_own_state_back_is_good() -> None:
    assert found(REFRESH, computer(text=REFRESH, **ITSELF)) == []


def test_capture_and_restore_need_an_association() -> None:
    findings = found(REFRESH, computer(text=REFRESH))
    assert [(one.code, one.step) for one in findings] == [("not-associated", 1)]
    assert findings[0].remedy == "courier computer associate PC1 DESTINATION"
    text = WIPE + RESTORE
    (one,) = found(text, computer(text=text))
    assert (one.code, one.step, one.remedy) == ("not-associated", 3, "courier computer associate SOURCE PC1")


def test_state_that_goes_to_another_is_not_restored_here() -> None:
    away = computer(text=REFRESH, state_goes_to="PC2")
    assert codes(REFRESH, away) == [("association-differs", 4)]


def test_a_restore_before_its_capture_is_only_noted() -> None:
    text = WIPE + RESTORE
    (one,) = found(text, computer(text=text, state_comes_from=("OLD",)))
    assert (one.code, one.refuses) == ("not-captured-yet", False)
    assert found(text, computer(text=text, state_comes_from=("OLD",), awaits=True)) == []


def test_a_wipe_needs_a_capture_before_it_when_the_state_is_to_go_somewhere() -> None:
    (one,) = found(WIPE, computer(state_goes_to="PC2"))
    assert (one.code, one.step) == ("capture-missing", 1)
    assert found(WIPE, computer(state_goes_to="PC2", captured=True)) == []
    late = WIPE + CAPTURE
    got = codes(late, computer(text=late, state_goes_to="PC2"))
    assert got == [("capture-missing", 1), ("capture-after-wipe", 3)]


def test_a_capture_that_is_left_out_does_not_count() -> None:
    text = REFRESH.replace('name = "Keep"', 'name = "Keep"\nwhen = [{variable = "Keep", is = "yes"}]')
    assert ("capture-missing", 2) in codes(text, computer(text=text, **ITSELF))
    assert codes(text, computer(text=text, own={"Keep": "yes"}, **ITSELF)) == []


def test_a_capture_before_a_wipe_may_not_fail_unseen() -> None:
    text = REFRESH.replace('name = "Keep"', 'name = "Keep"\ncontinue-on-error = true')
    (one,) = found(text, computer(text=text, **ITSELF))
    assert (one.code, one.step) == ("capture-may-fail", 1)
    alone = FILES + CAPTURE + "continue-on-error = true\n"
    assert codes(alone, computer(text=alone, state_goes_to="PC2")) == []


def test_a_computer_is_captured_by_one_step_because_only_the_newest_capture_comes_back() -> None:
    second = CAPTURE.replace('name = "Keep"', 'name = "Keep more"')
    text = REFRESH.replace(CAPTURE, CAPTURE + second)
    assert text != REFRESH
    assert ("capture-twice", 2) in codes(text, computer(text=text, **ITSELF))
    other = second + 'when = [{variable = "Keep", is = "more"}]\n'
    text = REFRESH.replace(CAPTURE, CAPTURE + other)
    assert codes(text, computer(text=text, **ITSELF)) == []


def test_what_was_restored_is_not_erased() -> None:
    text = (
        'name = "s"\nboot-image = "HQ100002"\n'
        + RESTORE.replace('part = "System"\n', "")
        + WIPE[WIPE.index("[[step]]") :]
    )
    images = {(3, "HQ100001"): WIM}
    assert ("restore-then-wipe", 2) in codes(
        text, computer(text=text, state_comes_from=("OLD",), awaits=True), images=images
    )


@pytest.mark.parametrize(
    ("points", "code"),
    [
        ((), "no-state-point"),
        ((StatePointFacts(name="S1", places=5, room=None),), "no-state-point"),
        ((StatePointFacts(name="S1", places=1, room=10**12),), "state-points-full"),
        ((StatePointFacts(name="S1", places=5, room=499_999_999),), "state-no-space"),
        (
            (StatePointFacts(name="S1", places=0, room=10**12), StatePointFacts(name="S2", places=2, room=0)),
            "state-no-space",
        ),
    ],
)
def test_the_state_migration_points_take_the_state_of_all(points: tuple[StatePointFacts, ...], code: str) -> None:
    pair = [computer(name, REFRESH, state_goes_to=name, state_comes_from=(name,)) for name in ("PC1", "PC2")]
    assert codes(REFRESH, *pair, state_points=points) == [(code, 1)]
    placed = [dataclasses.replace(one, has_place=True) for one in pair]
    assert codes(REFRESH, *placed, state_points=points) == []


# --- the timeline ---------------------------------------------------------------------------------------------------


def test_the_timeline_tells_each_step_its_package_and_where_it_comes_from() -> None:
    text = DRIVERS_BY_VARIABLE.replace(
        'variable = "Drv"', 'variable = "Drv"\nwhen = [{variable = "Model", matches = "X*"}]'
    )
    two = dataclasses.replace(IMAGE, points=frozenset({"P1", "P2"}))
    versions = {"HQ100001": two, "HQ100002": BOOT, "HQ100003": DRIVERS}
    plain = computer(text=text, points=("P2", "P1"))
    all_facts = facts(text, plain, versions=versions, package=two)
    entries = timeline(all_facts, plain)
    assert [(one.step, one.package, one.point, one.others, one.cached, one.runs) for one in entries] == [
        (0, "HQ100002:1", "P1", (), False, True),
        (1, "", "", (), False, True),
        (2, "HQ100001:1", "P2", ("P1",), False, True),
        (3, "", "", (), False, False),
    ]
    assert entries[3].why == "it runs where Model matches X*"
    whole = timeline(dataclasses.replace(all_facts, option="download-all"), plain)
    assert [(one.step, one.what, one.cached) for one in whole][:2] == [
        (0, "starts from the boot image", False),
        (0, "downloads into its cache", True),
    ]


def test_the_timeline_speaks_of_an_index_for_a_wim_alone() -> None:
    raw = {(2, "HQ100001"): ImageFile(name="disk.raw of HQ100001:1", bytes=10**9)}
    for images, what in ((None, "applies image 1 on System"), (raw, "writes the image on System")):
        known = facts() if images is None else facts(images=images)
        assert timeline(known, computer())[2].what == what
