"""Parsers and writers made of a record's declarations (`formats.records.declare`), once for each class.

msgspec reads and judges JSON in C. It cannot rename the fields of a dataclass, require a field that has a default, or
carry a value in another form. A record that asks for none of this is decoded by msgspec as it is, which is fast where
there are many. For any other, a msgspec Struct of the JSON object is made (its *wire* form), and from that the record.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from formats.errors import FormatError, MalformedError
from formats.records.canonical import moved
from formats.records.declare import Check, Form, Key, Optional

Step = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Codec:
    """How values of one declaration are read and written.

    ``wire`` is the type that msgspec decodes. ``load`` makes the value of what was decoded, None where it is the value;
    it raises `FormatError` with the place relative to the value. ``dump`` makes what msgspec encodes, None where that
    is the value. ``same``: what ``load`` returns is what it was given, judged.
    """

    wire: Any
    load: Step | None = None
    dump: Step | None = None
    same: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class _Field:
    """One field of a record: its attribute, its key in JSON, and how its value is read and written."""

    attribute: str
    key: str
    codec: Codec
    optional: bool
    default: Any


@cache
def codec_of(declaration: Any) -> Codec:
    """How values of ``declaration`` (the annotation of a field, or a record's class) are read and written.

    Raises `TypeError` for what is not a declaration, such as a bare ``int``.
    """
    origin = get_origin(declaration)
    if origin is Annotated:
        base, *marks = get_args(declaration)
        return _annotated(base, marks)
    if origin is tuple and get_args(declaration)[1:] == (...,):
        return _listed(codec_of(get_args(declaration)[0]))
    if origin in (Union, types.UnionType):
        return _either(get_args(declaration))
    if dataclasses.is_dataclass(declaration):
        return _record(cast("type", declaration))
    if origin is not Literal and declaration in (int, str, float):
        raise TypeError(f"{declaration.__name__} has no limits: declare it with those of formats.records.declare")
    return Codec(wire=declaration)


def _annotated(base: Any, marks: list[Any]) -> Codec:
    base = _without_none(base)
    forms = [mark for mark in marks if isinstance(mark, Form)]
    metas = tuple(mark for mark in marks if isinstance(mark, Meta))
    if forms:
        codec = _formed(forms[-1])
    elif metas and base in (int, str):
        codec = Codec(wire=Annotated[(base, *metas)])
    else:
        codec = codec_of(base)
        if metas:
            codec = dataclasses.replace(codec, wire=Annotated[(codec.wire, *metas)])
    for mark in marks:
        if isinstance(mark, Check):
            codec = _checked(codec, mark)
    return codec


def _without_none(declaration: Any) -> Any:
    """What is left of ``X | None``: JSON has no null, a key without a value is left out."""
    kinds = [kind for kind in get_args(declaration) if kind is not type(None)]
    either = get_origin(declaration) in (Union, types.UnionType)
    return kinds[0] if either and len(kinds) == 1 else declaration


def _formed(form: Form[Any]) -> Codec:
    inner = codec_of(form.carried)
    return Codec(wire=inner.wire, load=_chain(inner.load, form.load), dump=_chain(form.dump, inner.dump), same=False)


def _chain(first: Step | None, second: Step | None) -> Step | None:
    if first is None or second is None:
        return first or second
    before, after = first, second
    return lambda value: after(before(value))


def _checked(codec: Codec, check: Check) -> Codec:
    def judge(value: Any) -> Any:
        try:
            check.judge(value)
        except FormatError as error:
            # The place is that of the field, whatever the rule says of its own.
            raise type(error)(error.message) from None
        return value

    return dataclasses.replace(codec, load=_chain(codec.load, judge))


def _listed(item: Codec) -> Codec:
    wire = types.GenericAlias(tuple, (item.wire, ...))
    load, dump = item.load, item.dump
    return Codec(
        wire=wire,
        load=None if load is None else _load_each(load, same=item.same),
        dump=None if dump is None else _dump_each(dump),
        same=item.same,
    )


def _load_each(load: Step, *, same: bool) -> Step:
    def each(wires: tuple[Any, ...]) -> Iterator[Any]:
        for n, wire in enumerate(wires):
            try:
                yield load(wire)
            except FormatError as error:
                raise moved(error, f"[{n}]") from None

    def load_all(wires: tuple[Any, ...]) -> tuple[Any, ...]:
        loaded = tuple(each(wires))
        return wires if same else loaded

    return load_all


def _dump_each(dump: Step) -> Step:
    return lambda values: [dump(value) for value in values]


def _either(kinds: tuple[Any, ...]) -> Codec:
    """One of several records, told apart by their tags."""
    codecs = {kind: codec_of(kind) for kind in kinds}
    loads = {codec.wire: cast("Step", codec.load) for codec in codecs.values()}
    dumps = {kind: cast("Step", codec.dump) for kind, codec in codecs.items()}
    return Codec(
        wire=Union[tuple(loads)],  # noqa: UP007 (made at run time)
        load=lambda wire: loads[type(wire)](wire),
        dump=lambda record: dumps[type(record)](record),
        same=False,
    )


def _record(kind: type) -> Codec:
    fields = tuple(_fields(kind))
    checks = [vars(base)["check"] for base in reversed(kind.__mro__) if "check" in vars(base)]
    tag = getattr(kind, "TAG", None)
    name = getattr(kind, "NAME", None)
    plain = all(
        field.key == field.attribute and field.default is dataclasses.MISSING and field.codec.dump is None
        for field in fields
    )
    if plain and tag is None and name is None and all(field.codec.same for field in fields):
        return Codec(wire=kind, load=_judge(fields, checks))
    wire = _wire(kind.__name__, fields, tag, name)
    return Codec(wire=wire, load=_build(kind, fields, checks), dump=_dump(wire, fields, name), same=False)


def _fields(kind: type) -> Iterator[_Field]:
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        marks = get_args(hints[field.name])[1:] if get_origin(hints[field.name]) is Annotated else ()
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        yield _Field(
            attribute=field.name,
            key=next((mark.name for mark in marks if isinstance(mark, Key)), field.name),
            codec=codec_of(hints[field.name]),
            optional=any(isinstance(mark, Optional) for mark in marks),
            default=default,
        )


def _wire(name: str, fields: tuple[_Field, ...], tag: tuple[str, str] | None, document: str | None) -> type:
    """The Struct of the JSON object; a key without an optional field's value is unset."""
    members: list[Any] = [("format", str)] if document else []
    for field in fields:
        if field.optional:
            members.append((field.attribute, Union[field.codec.wire, UnsetType], UNSET))  # noqa: UP007
        else:
            members.append((field.attribute, field.codec.wire))
    return msgspec.defstruct(
        name,
        members,
        kw_only=True,
        rename={field.attribute: field.key for field in fields},
        tag_field=tag[0] if tag else None,
        tag=tag[1] if tag else None,
    )


def _run(checks: list[Any], record: Any) -> None:
    for check in checks:
        check(record)


def _judge(fields: tuple[_Field, ...], checks: list[Any]) -> Step | None:
    """What is left to do on a record that msgspec has decoded as it is."""
    loads = [(field.attribute, field.codec.load) for field in fields if field.codec.load]
    if not loads and not checks:
        return None

    def judge(record: Any) -> Any:
        for attribute, load in loads:
            _step(load, getattr(record, attribute), attribute)
        _run(checks, record)
        return record

    return judge


def _step(load: Step, value: Any, key: str) -> Any:
    try:
        return load(value)
    except FormatError as error:
        raise moved(error, key) from None


def _build(kind: type, fields: tuple[_Field, ...], checks: list[Any]) -> Step:
    """What makes a record of its wire form."""
    loads = [(field.attribute, field.key, field.codec.load) for field in fields if field.codec.load]
    optional = [field for field in fields if field.optional]
    document = hasattr(kind, "NAME")

    def build(wire: Any) -> Any:
        values = msgspec.structs.asdict(wire)
        if document:
            del values["format"]
        absent = [field for field in optional if values[field.attribute] is UNSET]
        for field in absent:
            del values[field.attribute]
        for attribute, key, load in loads:
            if attribute in values:
                values[attribute] = _step(load, values[attribute], key)
        for field in optional:
            if field.attribute in values and values[field.attribute] == field.default:
                raise MalformedError("its default value is not written", place=field.key)
        record = kind(**values)
        _run(checks, record)
        return record

    return build


def _dump(wire: type, fields: tuple[_Field, ...], document: str | None) -> Step:
    """What makes the wire form of a record."""
    steps = [(field.attribute, field.codec.dump, field.optional, field.default) for field in fields]
    fixed = {"format": f"courier-{document}/1"} if document else {}

    def dump(record: Any) -> Any:
        values: dict[str, Any] = {**fixed}
        for attribute, step, optional, default in steps:
            value = getattr(record, attribute)
            if not (optional and value == default):
                values[attribute] = step(value) if step else value
        return wire(**values)

    return dump
