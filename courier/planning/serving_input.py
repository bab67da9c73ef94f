"""Groups of clients and distribution points as an operator gives them: as options, or in a file in TOML. Pure.

[groups.desk]
clients = 120
rate = "100Mbit/s"

[points.P1]
groups = ["desk"]
rate = "1Gbit/s"
connections = 10
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from courier.errors import UsageError
from courier.planning.quantities import parse_rate
from courier.planning.serving import ClientGroup, ServingPoint

DEFAULT_CONNECTIONS = 10
"""Most connections of a point where none are given."""
DEFAULT_RATE = "1Gbit/s"
_CLIENTS_HINT = "write it like desk=120,100Mbit/s: the group, how many clients, the speed of each"
_POINT_HINT = "write it like P1=desk,1Gbit/s,10: the point, its group, its speed, its most connections"


def parse_clients(text: str) -> ClientGroup:
    """A group of ``desk=120,100Mbit/s``. Raises `UsageError`."""
    name, _, rest = text.partition("=")
    count, _, rate = rest.partition(",")
    if not name.strip() or not rate:
        raise UsageError(f"{text[:60]!r} is no group of clients", hint=_CLIENTS_HINT)
    return ClientGroup(name=name.strip(), clients=_number(count, text, _CLIENTS_HINT), rate=parse_rate(rate))


def parse_point(text: str) -> ServingPoint:
    """A point of ``P1=desk,1Gbit/s,10``; several groups are joined by ``+``, and the end may be left out.

    Raises `UsageError`.
    """
    name, _, rest = text.partition("=")
    groups, *more = rest.split(",")
    if not name.strip() or not groups.strip() or len(more) > 2:
        raise UsageError(f"{text[:60]!r} is no point", hint=_POINT_HINT)
    return ServingPoint(
        name=name.strip(),
        groups=tuple(dict.fromkeys(group.strip() for group in groups.split("+"))),
        rate=parse_rate(more[0] if more else DEFAULT_RATE),
        connections=_number(more[1], text, _POINT_HINT) if len(more) > 1 else DEFAULT_CONNECTIONS,
    )


def _number(text: str, whole: str, hint: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise UsageError(f"{text[:60]!r} in {whole[:60]!r} is no number", hint=hint)
    return int(digits)


def parse_serving_file(text: str, *, name: str) -> tuple[list[ClientGroup], list[ServingPoint]]:
    """The groups and points in the text of a file; ``name`` is the file's. Raises `UsageError`."""
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, and brackets in brackets, as well
        raise UsageError(f"{name}: {error}", hint="it is written in TOML: see docs/planning.md") from None
    _check_keys(found, {"groups", "points"}, name)
    groups = [
        ClientGroup(
            name=key,
            clients=_whole(table, "clients", f"{name}: groups.{key}", None),
            rate=_rate(table, f"{name}: groups.{key}", None),
        )
        for key, table in _tables(found, "groups", {"clients", "rate"}, name)
    ]
    points = [
        ServingPoint(
            name=key,
            groups=_names(table, f"{name}: points.{key}"),
            rate=_rate(table, f"{name}: points.{key}", DEFAULT_RATE),
            connections=_whole(table, "connections", f"{name}: points.{key}", DEFAULT_CONNECTIONS),
        )
        for key, table in _tables(found, "points", {"groups", "rate", "connections"}, name)
    ]
    return groups, points


def _tables(found: Mapping[str, Any], key: str, known: set[str], name: str) -> list[tuple[str, Mapping[str, Any]]]:
    tables = found.get(key, {})
    if not isinstance(tables, dict):
        raise UsageError(f"{name}: {key} is no table", hint=f"[{key}.NAME]")
    for one, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{name}: {key}.{one} is no table", hint=f"[{key}.{one}]")
        _check_keys(table, known, f"{name}: {key}.{one}")
    return list(tables.items())


def _check_keys(found: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(found.keys() - known)
    if unknown:
        raise UsageError(f"{where}: nothing is called {unknown[0]!r}", hint=f"it has {', '.join(sorted(known))}")


def _whole(table: Mapping[str, Any], key: str, where: str, default: int | None) -> int:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{where}: {key} is no whole number", hint=f"{key} = 10")
    return value


def _rate(table: Mapping[str, Any], where: str, default: str | None) -> int:
    value = table.get("rate", default)
    if not isinstance(value, str):
        raise UsageError(f"{where}: rate is no text", hint='rate = "100Mbit/s"')
    return parse_rate(value)


def _names(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    value = table.get("groups")
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise UsageError(f"{where}: groups is no list of names", hint='groups = ["desk"]')
    return tuple(dict.fromkeys(value))
