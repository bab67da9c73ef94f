"""A task sequence in TOML: what it may hold, that all faults come at once, and that its JSON schema says the same."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courier.deployment.sequence import (
    REST,
    ApplyImageStep,
    CaptureStateStep,
    Condition,
    InstallDriverStep,
    PackageUse,
    Part,
    PartitionStep,
    RestartStep,
    RestoreStateStep,
    RunStep,
    Sequence,
)
from courier.deployment.sequence_file import load_sequence, read_sequence
from courier.deployment.variables import package_of, runs, variables_of
from courier.errors import RefusedError

ROOT = Path(__file__).resolve().parents[2]
WHOLE = r"""
name = "New computers of the branch"
boot-image = "HQ100002:4"

[variables]
Language = "en"

[[step]]
type = "capture-state"
name = "Keep the files"
include = ["Users/**"]
exclude = ["**/*.tmp", "Users/*/Downloads/**"]
largest = "2GB"
part = "OldWindows"

[[step]]
type = "partition"
name = "Lay out the disk"
when = [{ variable = "Model", is-not = ["Server", "Rack"] }]

[[step.part]]
label = "EFI"
type = "efi"
size = "500MB"
format = "fat32"

[[step.part]]
label = "System"
type = "linux"
size = "rest"
format = "ext4"

[[step]]
type = "apply-image"
name = "Apply the image"
package = "HQ100001:3"
file = "images/install.wim"
index = 2
part = "System"

[[step]]
type = "install-driver"
name = "Drivers"
variable = "DriverPackage"
to = "opt/drivers/"
part = "System"
continue-on-error = true

[[step]]
type = "run"
name = "Set up"
command = ["sh", "-c", "echo $1\nsync", "x"]
package = "HQ100003"
success = [0, 3010]
timeout = 600

[[step]]
type = "restart"
name = "Restart"

[[step]]
type = "restore-state"
name = "Bring the files back"
to = "home"
part = "System"

[[step.when]]
variable = "Model"
matches = "lat*"

[[step.when]]
variable = "Language"
is = "EN"

[[step]]
type = "apply-image"
name = "The whole disk"
variable = "DiskImage"
whole-disk = true
"""


def test_all_that_a_sequence_may_hold() -> None:
    assert load_sequence(WHOLE, name="s.toml") == Sequence(
        name="New computers of the branch",
        boot_image=PackageUse(package="HQ100002", version=4),
        variables={"Language": "en"},
        steps=(
            CaptureStateStep(
                number=1,
                name="Keep the files",
                include=("Users/**",),
                exclude=("**/*.tmp", "Users/*/Downloads/**"),
                largest=2 * 10**9,
                part="OldWindows",
            ),
            PartitionStep(
                number=2,
                name="Lay out the disk",
                conditions=(Condition(variable="Model", is_not=("Server", "Rack")),),
                parts=(
                    Part(label="EFI", kind="efi", file_system="fat32", size=500 * 10**6),
                    Part(label="System", kind="linux", file_system="ext4", size=REST),
                ),
            ),
            ApplyImageStep(
                number=3,
                name="Apply the image",
                use=PackageUse(package="HQ100001", version=3),
                file="images/install.wim",
                index=2,
                part="System",
            ),
            InstallDriverStep(
                number=4,
                name="Drivers",
                use=PackageUse(variable="DriverPackage"),
                to="opt/drivers",
                part="System",
                continue_on_error=True,
            ),
            RunStep(
                number=5,
                name="Set up",
                command=("sh", "-c", "echo $1\nsync", "x"),
                use=PackageUse(package="HQ100003"),
                success=(0, 3010),
                timeout=600.0,
            ),
            RestartStep(number=6, name="Restart"),
            RestoreStateStep(
                number=7,
                name="Bring the files back",
                conditions=(
                    Condition(variable="Model", matches="lat*"),
                    Condition(variable="Language", is_one_of=("EN",)),
                ),
                to="home",
                part="System",
            ),
            ApplyImageStep(number=8, name="The whole disk", use=PackageUse(variable="DiskImage"), whole_disk=True),
        ),
    )


FAULTS = """
nam = "x"
[variables]
a = "too short"
Bb = 1
[[step]]
type = "partition"
name = "P"
[[step.part]]
label = "A"
type = "efi"
size = "rest"
format = "ntfs"
[[step.part]]
label = "a"
type = "data"
size = "rest"
format = "ext4"
[[step.part]]
label = "no good"
type = "swap"
size = 12
[[step]]
type = "apply-image"
name = "I"
package = "HQ1"
idx = 1
[[step]]
type = "install-driver"
name = "D"
to = "../up"
when = [{variable = "Model", is = "x", exists = true}]
[[step]]
type = "format"
"""


def test_all_faults_come_at_once_each_with_its_step_and_a_remedy() -> None:
    sequence, findings = read_sequence(FAULTS)
    assert sequence is None
    assert [(one.step, one.message) for one in findings] == [
        (None, "nothing is called 'nam' here"),
        (None, "name is missing"),
        (None, "variables.a: 'a' is not what stands here"),
        (None, "variables.Bb: 1 is no text"),
        (1, "step 1 (P), part 3: label: 'no good' is not what stands here"),
        (1, "step 1 (P), part 3: type: 'swap' is none of the words for it"),
        (1, "step 1 (P), part 3: size: 12 is no size in quotes"),
        (1, "step 1 (P), part 3: format is missing"),
        (1, "step 1 (P): two partitions are called a"),
        (1, "step 1 (P): more than one partition takes the rest"),
        (1, "step 1 (P): part A: efi is not ntfs"),
        (2, "step 2 (I): nothing is called 'idx' here"),
        (2, "step 2 (I): package: 'HQ1' is no package"),
        (3, "step 3 (D), when 1: a condition has exactly one test"),
        (3, "step 3 (D): to: '../up' does not lie below the partition or folder"),
        (3, "step 3 (D): no package is given"),
        (4, "step 4: there is no type 'format'"),
    ]
    assert all(one.remedy and one.code for one in findings)


STEP = 'name = "s"\n[[step]]\nname = "n"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
        ("x" * 300_000, "characters"),
        ('name = "s"', "there is no step"),
        ('name = "s"\nstep = 3', "there is no step"),
        ('name = "s"\nstep = [1]', "there is no step"),
        ('name = "s"\nvariables = 3\n[[step]]\ntype = "restart"\nname = "n"', "variables is no table"),
        ('name = "s"\n[variables]\nAb = "1"\naB = "2"\n[[step]]\ntype = "restart"\nname = "n"', "differ in case only"),
        (STEP, "no type is given"),
        (STEP + "type = 3", "there is no type 3"),
        (STEP + 'type = "restart"\nwhen = []', "when is no list"),
        (STEP + 'type = "restart"\nwhen = [{variable = "Ab", is = []}]', "no list of 1 or more"),
        (STEP + 'type = "restart"\nwhen = [{variable = "Ab", exists = "yes"}]', "neither true nor false"),
        (STEP + 'type = "restart"\nwhen = [{variable = "Ab"}]', "exactly one test"),
        (STEP + 'type = "partition"', "part is missing"),
        (STEP + 'type = "apply-image"\npackage = "HQ100001:0"', "no version after its colon"),
        (STEP + 'type = "apply-image"\npackage = "HQ100001"\nvariable = "Image"', "both given"),
        (STEP + 'type = "apply-image"\npackage = "HQ100001"\npart = "A"\nwhole-disk = true', "part and whole-disk"),
        (STEP + 'type = "apply-image"\npackage = "HQ100001"\nindex = 2\nwhole-disk = true', "index and whole-disk"),
        (STEP + 'type = "apply-image"\npackage = "HQ100001"\nindex = 0', "not a number for it"),
        (STEP + 'type = "apply-image"\npackage = "HQ100001"\nindex = true', "not a number for it"),
        (STEP + 'type = "capture-state"\ninclude = []', "no list of 1 or more"),
        (STEP + 'type = "capture-state"\ninclude = ["C:/Users"]', "path of Windows"),
        (STEP + 'type = "capture-state"\ninclude = ["Users\\\\ada"]', "path of Windows"),
        (STEP + 'type = "capture-state"\ninclude = ["/home"]', "does not lie below"),
        (STEP + 'type = "capture-state"\ninclude = ["a"]\nlargest = "rest"', "not a size"),
        (STEP + 'type = "run"\ncommand = "ls -l"', "no list"),
        (STEP + 'type = "run"\ncommand = ["ls"]\ntimeout = 0', "no number of seconds"),
        (STEP + 'type = "run"\ncommand = ["ls"]\nsuccess = [-1]', "not a number for it"),
        (STEP + 'type = "run"\ncommand = ["a\\u0000b"]', "control character"),
    ],
)
def test_each_fault_is_named(text: str, said: str) -> None:
    sequence, findings = read_sequence(text)
    assert sequence is None
    assert said in " ".join(one.message for one in findings)
    with pytest.raises(RefusedError, match=r"^s\.toml: ") as caught:
        load_sequence(text, name="s.toml")
    assert caught.value.hint


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_no_text_whatever_raises(text: str) -> None:
    sequence, findings = read_sequence(text)
    assert (sequence is None) == bool(findings)


# --- the JSON schema ------------------------------------------------------------------------------------------------


def valid(schema: Any, value: Any) -> bool:
    """Whether ``value`` follows a JSON schema of the few words that ours uses."""
    checks: dict[str, Callable[[Any], bool]] = {
        "type": lambda want: {
            "object": isinstance(value, dict),
            "array": isinstance(value, list),
            "string": isinstance(value, str),
            "boolean": isinstance(value, bool),
            "integer": isinstance(value, int) and not isinstance(value, bool),
            "number": isinstance(value, int | float) and not isinstance(value, bool),
        }[want],
        "enum": lambda want: value in want,
        "const": lambda want: value == want,
        "pattern": lambda want: not isinstance(value, str) or re.search(want, value) is not None,
        "minLength": lambda want: not isinstance(value, str) or len(value) >= want,
        "maxLength": lambda want: not isinstance(value, str) or len(value) <= want,
        "minItems": lambda want: not isinstance(value, list) or len(value) >= want,
        "maxItems": lambda want: not isinstance(value, list) or len(value) <= want,
        "minimum": lambda want: not isinstance(value, int | float) or value >= want,
        "maximum": lambda want: not isinstance(value, int | float) or value <= want,
        "exclusiveMinimum": lambda want: not isinstance(value, int | float) or value > want,
        "required": lambda want: not isinstance(value, dict) or set(want) <= value.keys(),
        "items": lambda want: not isinstance(value, list) or all(valid(want, one) for one in value),
        "propertyNames": lambda want: not isinstance(value, dict) or all(valid(want, one) for one in value),
        "properties": lambda want: (
            not isinstance(value, dict) or all(valid(want[key], one) for key, one in value.items() if key in want)
        ),
        "additionalProperties": lambda want: (
            not isinstance(value, dict)
            or (value.keys() <= schema.get("properties", {}).keys() if want is False else True)
        ),
        "oneOf": lambda want: sum(valid(one, value) for one in want) == 1,
        "anyOf": lambda want: any(valid(one, value) for one in want),
        "not": lambda want: not valid(want, value),
        **dict.fromkeys(("$schema", "title", "description"), lambda _: True),
    }
    return all(checks[word](want) for word, want in schema.items())


def test_the_schema_of_the_docs_is_made_from_the_table_that_the_reader_uses() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_sequence_schema.py"))["make"]()
    there = (ROOT / "docs" / "sequence.schema.json").read_text("utf-8")
    assert there == made, "run: python docs/make_sequence_schema.py"


def test_the_schema_takes_what_the_reader_takes_and_refuses_what_it_refuses() -> None:
    schema = json.loads((ROOT / "docs" / "sequence.schema.json").read_text("utf-8"))
    whole = tomllib.loads(WHOLE)
    assert valid(schema, whole)
    for key, wrong in (("nam", "x"), ("name", 3), ("boot-image", "HQ1"), ("step", []), ("variables", {"a": "b"})):
        assert not valid(schema, {**whole, key: wrong})
    for number, step in enumerate(whole["step"]):
        for key, wrong in (("type", "x"), ("odd", 1), ("name", ""), ("when", []), ("continue-on-error", "yes")):
            steps = list(whole["step"])
            steps[number] = {**step, key: wrong}
            assert not valid(schema, {**whole, "step": steps}), (number, key)
        for key in step.keys() & {"type", "name", "include", "part", "package", "variable", "command", "to"}:
            steps = list(whole["step"])
            steps[number] = {name: value for name, value in step.items() if name != key}
            text_of = read_table({**whole, "step": steps})
            assert valid(schema, {**whole, "step": steps}) == text_of, (number, key)


def read_table(document: dict[str, Any]) -> bool:
    """Whether the reader takes a document, written as TOML once more."""

    def put(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {put(one)}" for key, one in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(put, value)) + "]"
        return json.dumps(value)

    return read_sequence("\n".join(f"{key} = {put(value)}" for key, value in document.items()))[0] is not None


# --- variables and conditions ---------------------------------------------------------------------------------------


def test_a_step_runs_where_all_its_conditions_hold() -> None:
    sequence = load_sequence(WHOLE, name="s.toml")
    capture, partition, *_, restore, _ = sequence.steps
    bare = variables_of(sequence, "PC1", {})
    assert runs(capture, bare)
    assert runs(partition, bare)
    assert not runs(restore, bare)
    assert not runs(partition, variables_of(sequence, "PC1", {"model": "SERVER"}))
    assert runs(restore, variables_of(sequence, "PC1", {"MODEL": "Latitude 5400"}))
    assert not runs(restore, variables_of(sequence, "PC1", {"MODEL": "Latitude 5400", "language": "de"}))


@pytest.mark.parametrize(
    ("condition", "unset", "set_to_x"),
    [
        (Condition(variable="V1", exists=True), False, True),
        (Condition(variable="V1", exists=False), True, False),
        (Condition(variable="V1", is_one_of=("y", "X")), False, True),
        (Condition(variable="V1", is_not=("y",)), True, True),
        (Condition(variable="V1", matches="?"), False, True),
        (Condition(variable="V1", matches="[a-w]"), False, False),
        (Condition(variable="computername", is_one_of=("pc1",)), True, True),
    ],
)
def test_each_test_of_a_condition(condition: Condition, unset: bool, set_to_x: bool) -> None:
    sequence = Sequence(name="s", steps=())
    step = RestartStep(number=1, name="n", conditions=(condition,))
    assert runs(step, variables_of(sequence, "PC1", {})) is unset
    assert runs(step, variables_of(sequence, "PC1", {"v1": "x"})) is set_to_x


def test_a_package_is_named_by_id_or_by_a_variable() -> None:
    variables = variables_of(Sequence(name="s", steps=()), "", {"Drivers": " hq100004:2 "})
    assert package_of(PackageUse(package="HQ100001"), variables) == "HQ100001"
    assert package_of(PackageUse(package="HQ100001", version=7), variables) == "HQ100001:7"
    assert package_of(PackageUse(variable="DRIVERS"), variables) == "HQ100004:2"
    assert package_of(PackageUse(variable="Other"), variables) == ""
