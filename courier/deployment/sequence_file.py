"""Reading a task sequence from TOML: one table says which keys there are, for reading and for the JSON schema. Pure.

All findings come at once, each with the number and the name of its step. docs/deployment.md explains the keys, and
docs/sequence.schema.json is made from the same table (``python docs/make_sequence_schema.py``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from courier.deployment import sequence as records
from courier.deployment.findings import Finding
from courier.deployment.sequence import REST, AnyStep, Condition, PackageUse, Part, RestartStep
from courier.deployment.sequence import Sequence as TaskSequence
from courier.deployment.sequence_fields import (
    LABEL,
    VARIABLE,
    Choice,
    Field,
    Flag,
    KindError,
    Package,
    Place,
    Schema,
    Seconds,
    Several,
    Size,
    Text,
    Whole,
    shown,
    table_schema,
)
from courier.error_codes import Code
from courier.errors import RefusedError

MAX_CHARACTERS = 1 << 18
"""Longest text of a sequence: what the policy of a computer takes (`formats.documents.deployment`)."""
MAX_STEPS = 1000
MAX_PARTS = 128
"""Entries of the GPT that is written."""
SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"

_PLACE = Place()
_PATTERNS = Several(of=Place())
_PART = Field(name="part", kind=LABEL, says="Label of a partition; without it, the folder that the sequence runs into.")
_USE = (
    Field(name="package", kind=Package(), says="The package: an ID for its newest version, or ID:VERSION."),
    Field(name="variable", kind=VARIABLE, says="In place of package: a variable of the computer that holds the ID."),
)
_WHEN = (
    Field(name="variable", kind=VARIABLE, says="The variable that is looked at.", must=True),
    Field(
        name="is",
        kind=Several(of=Text(least=0), alone=True),
        record="is_one_of",
        says="Holds when the value is this, or one of these, without regard to case.",
    ),
    Field(
        name="is-not",
        kind=Several(of=Text(least=0), alone=True),
        says="Holds when the value is none of these, or the variable is not set.",
    ),
    Field(name="matches", kind=Text(), says="Holds when the value matches this shell pattern, without regard to case."),
    Field(name="exists", kind=Flag(), says="Holds when the variable is set (true), or is not (false)."),
)
_TESTS = ("is", "is-not", "matches", "exists")
_FORMATS: Mapping[str, tuple[str, ...]] = {
    "efi": ("fat32",),
    "linux": ("ext4", "none"),
    "windows": ("ntfs", "none"),
    "data": ("fat32", "ext4", "ntfs", "none"),
}
"""What a partition of each type may be formatted with."""
_PARTS = (
    Field(name="label", kind=LABEL, says="Its name in the GPT, by which later steps name it.", must=True),
    Field(name="type", kind=Choice(words=tuple(_FORMATS)), record="kind", says="What it is for.", must=True),
    Field(name="size", kind=Size(rest=True), says="Its size, such as 500MB, or rest.", must=True),
    Field(
        name="format",
        kind=Choice(words=("fat32", "ext4", "ntfs", "none")),
        record="file_system",
        says="Its file system; none leaves it empty, for a raw image.",
        must=True,
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _StepType:
    """A type of step: its record, its keys, and a check of what the keys say together."""

    record: type[Any]
    fields: tuple[Field, ...]
    says: str
    check: Callable[[Mapping[str, Any]], list[KindError]] = field(default=lambda _: [])


def _check_use(values: Mapping[str, Any], *, must: bool = True) -> list[KindError]:
    given = [name for name in ("package", "variable") if name in values]
    if len(given) == 2:
        return [KindError("package and variable are both given", "give one of them")]
    return [KindError("no package is given", 'package = "ID", or variable = "NAME"')] if must and not given else []


def _check_image(values: Mapping[str, Any]) -> list[KindError]:
    found = _check_use(values)
    if values.get("whole-disk") and "part" in values:
        found.append(KindError("part and whole-disk are both given", "an image of a whole disk has its own partitions"))
    if values.get("whole-disk") and "index" in values:
        found.append(KindError("index and whole-disk are both given", "index is of a WIM, which is no image of a disk"))
    return found


def _check_parts(values: Mapping[str, Any]) -> list[KindError]:
    parts: Sequence[Part] = values.get("part", ())
    found = []
    folded = [part.label.casefold() for part in parts]
    twice = sorted({label for label in folded if folded.count(label) > 1})
    if twice:
        found.append(KindError(f"two partitions are called {', '.join(twice)}", "give each its own label"))
    if sum(part.size == REST for part in parts) > 1:
        found.append(KindError("more than one partition takes the rest", "give the others a size"))
    for part in parts:
        if part.file_system not in _FORMATS[part.kind]:
            fits = " or ".join(_FORMATS[part.kind])
            found.append(KindError(f"part {part.label}: {part.kind} is not {part.file_system}", f"format it as {fits}"))
    return found


STEP_TYPES: Mapping[str, _StepType] = {
    "partition": _StepType(
        record=records.PartitionStep,
        fields=(Field(name="part", record="parts", kind=None, tables=_PARTS, says="The partitions.", must=True),),
        says="Erase the disk, write a GPT, and make the file systems.",
        check=_check_parts,
    ),
    "apply-image": _StepType(
        record=records.ApplyImageStep,
        fields=(
            *_USE,
            Field(name="file", kind=_PLACE, says="Path in the package; may be left out where it has one file."),
            Field(name="index", kind=Whole(least=1, most=1000), says="Image of a WIM, from 1, which is the default."),
            _PART,
            Field(name="whole-disk", kind=Flag(), says="It is a raw image of a whole disk, which it erases."),
        ),
        says="Put a WIM, an ESD or a raw image onto a partition, or a raw image onto the disk.",
        check=_check_image,
    ),
    "capture-state": _StepType(
        record=records.CaptureStateStep,
        fields=(
            Field(name="include", kind=_PATTERNS, says="Files that are taken: shell patterns.", must=True),
            Field(name="exclude", kind=_PATTERNS, says="Files that are not, though include names them."),
            Field(name="largest", kind=Size(), says="Larger files are left out, and listed."),
            _PART,
        ),
        says="Take the user's files to the state migration point.",
    ),
    "restore-state": _StepType(
        record=records.RestoreStateStep,
        fields=(
            Field(name="to", kind=_PLACE, says="Folder below which they come; without it, where they were."),
            _PART,
        ),
        says="Bring back what was captured.",
    ),
    "install-driver": _StepType(
        record=records.InstallDriverStep,
        fields=(*_USE, Field(name="to", kind=_PLACE, says="Folder that the drivers come into.", must=True), _PART),
        says="Copy the drivers of a package.",
        check=_check_use,
    ),
    "run": _StepType(
        record=records.RunStep,
        fields=(
            Field(
                name="command",
                kind=Several(of=Text(lines=True)),
                says="The program and its arguments, a list.",
                must=True,
            ),
            *_USE,
            Field(
                name="success",
                kind=Several(of=Whole(least=0, most=0xFFFFFFFF)),
                says="Exit codes that are good; [0] without it.",
            ),
            Field(name="timeout", kind=Seconds(), says="Seconds after which it is stopped, and has failed."),
        ),
        says="Run a program, of the client or of a package.",
        check=lambda values: _check_use(values, must=False),
    ),
    "restart": _StepType(record=RestartStep, fields=(), says="Restart, and go on with the next step."),
}
"""The types of steps, with all keys that each has beside those of every step."""
_COMMON = (
    Field(name="name", kind=Text(most=200), says="What people read of the step.", must=True),
    Field(name="when", kind=None, tables=_WHEN, record="conditions", says="It runs when all of these hold."),
    Field(name="continue-on-error", kind=Flag(), says="The sequence goes on though the step failed."),
)
_TOP = (
    Field(name="name", kind=Text(most=200), says="What people read of the sequence.", must=True),
    Field(name="boot-image", kind=Package(), says="The package that computers start from."),
)


def read_sequence(text: str) -> tuple[TaskSequence | None, list[Finding]]:
    """The sequence that a text of TOML holds, and all that is wrong with it; None where anything is."""
    reader = _Reader()
    sequence = reader.sequence(text)
    return (None, reader.findings) if reader.findings else (sequence, [])


def load_sequence(text: str, *, name: str) -> TaskSequence:
    """The sequence in the text of the file called ``name``. Raises `RefusedError` with all that is wrong with it."""
    sequence, findings = read_sequence(text)
    if sequence is None:
        raise RefusedError(
            f"{name}: {'; '.join(one.message for one in findings)}", hint=findings[0].remedy, code=Code.SEQUENCE
        )
    return sequence


class _Reader:
    """Reads one document, and gathers what is wrong with it."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._step: int | None = None
        self._where = ""

    def _find(self, code: str, message: str, remedy: str) -> None:
        message = f"{self._where}: {message}" if self._where else message
        self.findings.append(Finding(code=code, step=self._step, message=message, remedy=remedy))

    def sequence(self, text: str) -> TaskSequence | None:
        """The whole document; None where a part of it could not be read."""
        if len(text) > MAX_CHARACTERS:
            self._find("sequence-syntax", f"{len(text):,} characters", f"write {MAX_CHARACTERS:,} at most")
            return None
        try:
            found = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and brackets in brackets
            self._find("sequence-syntax", f"not TOML: {error}", "mend that line; docs/deployment.md has an example")
            return None
        tables = found.pop("step", None)
        given = found.pop("variables", {})
        top = self._values(found, _TOP, also=("[variables]", "[[step]]"))
        variables = self._variables(given)
        steps = self._steps(tables)
        if self.findings:
            return None
        boot: PackageUse = top.get("boot_image", PackageUse())
        return TaskSequence(name=top["name"], boot_image=boot, variables=variables, steps=tuple(steps))

    def _variables(self, given: Any) -> dict[str, str]:
        if not isinstance(given, dict):
            self._find("sequence-value", "variables is no table", '[variables], then lines such as Language = "en"')
            return {}
        read: dict[str, str] = {}
        seen: dict[str, str] = {}
        for name, value in given.items():
            try:
                VARIABLE.read(name)
                read[name] = Text(least=0).read(value)
            except KindError as wrong:
                self._find("sequence-value", f"variables.{name[:60]}: {wrong.what}", wrong.remedy)
            other = seen.setdefault(name.casefold(), name)
            if other != name:
                self._find("sequence-value", f"variables {other} and {name} differ in case only", "keep one of them")
        return read

    def _steps(self, tables: Any) -> list[AnyStep]:
        listed = isinstance(tables, list) and all(isinstance(table, dict) for table in tables)
        if not listed or not 1 <= len(tables) <= MAX_STEPS:
            self._find("sequence-key", "there is no step", f"[[step]], once for each step, {MAX_STEPS} at most")
            return []
        steps = []
        for number, table in enumerate(tables, start=1):
            self._step = number
            name = table.get("name")
            self._where = f"step {number} ({name[:60]})" if isinstance(name, str) and name else f"step {number}"
            step = self._one_step(number, dict(table))
            if step is not None:
                steps.append(step)
        self._step, self._where = None, ""
        return steps

    def _one_step(self, number: int, table: dict[str, Any]) -> AnyStep | None:
        name = table.pop("type", None)
        kind = STEP_TYPES.get(name) if isinstance(name, str) else None
        if kind is None:
            what = "no type is given" if name is None else f"there is no type {shown(name)}"
            self._find("sequence-key", what, f"type is one of: {', '.join(STEP_TYPES)}")
            return None
        before = len(self.findings)
        values = self._values(table, (*_COMMON, *kind.fields), also=("type",))
        read = {one.name: values[one.attribute] for one in kind.fields if one.attribute in values}
        # A key that is there but wrong counts as given: it is not said to be missing as well.
        for wrong in kind.check(
            {**{key: value for key, value in table.items() if key in ("package", "variable")}, **read}
        ):
            self._find("sequence-value", wrong.what, wrong.remedy)
        if len(self.findings) > before:
            return None
        package, variable = values.pop("package", None), values.pop("variable", "")
        if package is not None or variable:
            values["use"] = package or PackageUse(variable=variable)
        step: AnyStep = kind.record(number=number, **values)
        return step

    def _values(self, table: Mapping[str, Any], fields: Sequence[Field], also: Sequence[str] = ()) -> dict[str, Any]:
        """The values of a table by the fields of its record; what is unknown, missing or wrong becomes a finding."""
        known = {one.name: one for one in fields}
        for key in table:
            if key not in known:
                has = ", ".join([*also, *known])
                self._find("sequence-key", f"nothing is called {shown(key)} here", f"what there is: {has}")
        values: dict[str, Any] = {}
        for one in fields:
            if one.name not in table:
                if one.must:
                    self._find("sequence-key", f"{one.name} is missing", f"{one.name}: {one.says}")
            elif one.kind is None:
                values[one.attribute] = self._tables(one, table[one.name])
            else:
                try:
                    values[one.attribute] = one.kind.read(table[one.name])
                except KindError as wrong:
                    self._find("sequence-value", f"{one.name}: {wrong.what}", wrong.remedy)
        return values

    def _tables(self, one: Field, value: Any) -> tuple[Any, ...]:
        parts = one.name == "part"
        example = "[[step.part]], once for each" if parts else 'when = [{variable = "Model", is = "X1"}]'
        listed = isinstance(value, list) and all(isinstance(table, dict) for table in value)
        if not listed or not 1 <= len(value) <= MAX_PARTS:
            self._find("sequence-value", f"{one.name} is no list of 1 to {MAX_PARTS} tables", example)
            return ()
        read = []
        where = self._where
        for number, table in enumerate(value, start=1):
            before = len(self.findings)
            self._where = f"{where}, {one.name} {number}"
            values = self._values(table, one.tables)
            if not parts and sum(test in table for test in _TESTS) != 1:
                self._find("sequence-value", "a condition has exactly one test", f"give one of: {', '.join(_TESTS)}")
            if len(self.findings) == before:
                read.append(Part(**values) if parts else Condition(**values))
        self._where = where
        return tuple(read)


def schema() -> Schema:
    """The JSON schema of a task sequence, made from the same table that it is read by."""
    when = next(one for one in _COMMON if one.name == "when")
    variants = []
    for name, kind in STEP_TYPES.items():
        table = table_schema((*_COMMON, *kind.fields))
        table["properties"] = {"type": {"const": name}, **table["properties"]}
        table["required"] = ["type", *table["required"]]
        table["description"] = kind.says
        table["properties"]["when"] = {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_PARTS,
            "description": when.says,
            "items": table_schema(_WHEN, {"oneOf": [{"required": [test]} for test in _TESTS]}),
        }
        if "part" in table["properties"] and kind.record is records.PartitionStep:
            table["properties"]["part"] |= {"minItems": 1, "maxItems": MAX_PARTS}
        if any(one.name == "package" for one in kind.fields):
            both = {"not": {"required": ["package", "variable"]}}
            one_of_both = {"oneOf": [{"required": ["package"]}, {"required": ["variable"]}]}
            table |= both if kind.record is records.RunStep else one_of_both
        variants.append(table)
    whole = table_schema(_TOP)
    whole["properties"]["variables"] = {
        "type": "object",
        "description": "Variables that a computer has where it does not set them itself.",
        "additionalProperties": {"type": "string", "maxLength": 4096},
        "propertyNames": VARIABLE.schema(),
    }
    whole["properties"]["step"] = {
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_STEPS,
        "description": "The steps, in their order.",
        "items": {"oneOf": variants},
    }
    whole["required"].append("step")
    return {"$schema": SCHEMA_ID, "title": "Task sequence of courier deploy", **whole}
