"""Imports go down only, judgement is pure, and each heavy library has one door (decision 0010, docs/architecture.md).

`FLOORS` is the order of packages, from the ground up. A package is one room to the others: its modules may import one
another, though never in a circle. `PURE` names the modules that neither read nor change the world. A new package needs
a line in `FLOORS`; a new module needs none, unless it is pure.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest
from imports import MODULES, Module, imports


@dataclass(frozen=True, kw_only=True, slots=True)
class Floor:
    """One floor of rooms; ``apart`` where its rooms may not import each other."""

    name: str
    rooms: tuple[str, ...]
    apart: bool = True


FLOORS = (
    Floor(
        name="formats: bytes",
        rooms=(
            "formats",
            "formats.errors",
            "formats.names",
            "formats.digest",
            "formats.blocks",
            "formats.crc32",
            "formats.holes",
            "formats.records*",
            "formats.streams",
            "formats.codecs*",
        ),
        apart=False,
    ),
    Floor(
        name="formats: one room a format",
        rooms=(
            "formats.age*",
            "formats.archive*",
            "formats.bag",
            "formats.delta*",
            "formats.disk*",
            "formats.envelope",
            "formats.fat*",
            "formats.iso*",
            "formats.parity*",
            "formats.pax",
            "formats.restore",
            "formats.tape*",
        ),
    ),
    Floor(name="formats: documents", rooms=("formats.documents*",)),
    Floor(
        name="ground",
        rooms=(
            "courier",
            "courier.error_codes",
            "courier.errors",
            "courier.files",
            "courier.niceties",
            "courier.progress",
            "courier.text",
            "courier.uncached",
        ),
        apart=False,
    ),
    Floor(name="site", rooms=("courier.site*",)),
    Floor(name="media", rooms=("courier.media*",)),
    Floor(name="parcel", rooms=("courier.parcel*",)),
    Floor(name="packages", rooms=("courier.packages*",)),
    Floor(name="sending and receiving", rooms=("courier.sending*", "courier.receiving*")),
    Floor(name="channel", rooms=("courier.channel*",)),
    Floor(name="distribution", rooms=("courier.distribution*",)),
    Floor(name="planning", rooms=("courier.planning*",)),
    Floor(name="deployment", rooms=("courier.deployment*",)),
    Floor(name="care", rooms=("courier.care*",)),
    Floor(name="web", rooms=("courier.web*",)),
    Floor(name="command line", rooms=("courier.__main__", "courier.cli*"), apart=False),
)

PURE = (
    "courier.care.ailment",
    "courier.care.facts",
    "courier.care.metrics",
    "courier.care.notices",
    "courier.care.status",
    "courier.care.waiting",
    "courier.care.waiting_parcels",
    "courier.care.waiting_site",
    "courier.error_codes",
    "courier.errors",
    "courier.text",
    "courier.media.kinds",
    "courier.site.trust",
    "courier.packages.numbering",
    "courier.parcel.archive_plan",
    "courier.parcel.archive_sizes",
    "courier.parcel.content_table",
    "courier.parcel.custody",
    "courier.parcel.import_checks",
    "courier.site.store.key_set",
    "courier.parcel.made_anew",
    "courier.parcel.parity_left",
    "courier.parcel.package_checks",
    "courier.parcel.parity_plan",
    "courier.parcel.parity_room",
    "courier.parcel.parity_repair",
    "courier.parcel.seals",
    "courier.parcel.sheets",
    "courier.parcel.states",
    "courier.parcel.volume_layout",
    "courier.media.volume_files",
    "courier.sending.largest_fit",
    "courier.receiving.intake_rules",
    "courier.sending.readiness",
    "courier.channel.refusal_log",
    "courier.channel.schedule",
    "courier.deployment.checks",
    "courier.deployment.computer_csv",
    "courier.deployment.content_checks",
    "courier.deployment.deployment_facts",
    "courier.deployment.finding_list",
    "courier.deployment.findings",
    "courier.deployment.identifiers",
    "courier.deployment.image_checks",
    "courier.deployment.run.facts",
    "courier.deployment.run.file_system_kinds",
    "courier.deployment.run.judge",
    "courier.deployment.run.partitions",
    "courier.deployment.run.wim",
    "courier.deployment.sequence",
    "courier.deployment.sequence_fields",
    "courier.deployment.sequence_file",
    "courier.deployment.standalone.disc_plan",
    "courier.deployment.status",
    "courier.deployment.timeline",
    "courier.deployment.variables",
    "courier.deployment.state_rules",
    "courier.distribution.cache_rules",
    "courier.distribution.download_limits",
    "courier.distribution.point_reader",
    "courier.distribution.ranges",
    "courier.planning.activities",
    "courier.planning.courier_time",
    "courier.planning.loss",
    "courier.planning.network_time",
    "courier.planning.prices",
    "courier.planning.quantities",
    "courier.planning.recommendation",
    "courier.planning.serving",
    "courier.planning.serving_input",
    "courier.planning.space",
)
"""Modules of pure judgement: no input or output, and the clock is an argument. They import only pure modules and
`formats`."""

DOORS = {
    "backports": ("formats.codecs*",),
    "pyfastcdc": ("formats.delta*",),
    "compression": ("formats.codecs*",),
    "py7zr": ("formats.archive*",),
    "pycdlib": ("formats.iso*",),
    "msgspec": ("formats.records*",),
    "numpy": ("formats.parity.sums",),
    "httpx": ("courier.channel*",),
    "starlette": ("courier.channel*", "courier.web*"),
    "uvicorn": ("courier.channel*", "courier.web.dashboard"),
    "anyio": ("courier.channel*", "courier.web*"),
    "jinja2": ("courier.planning*", "courier.web.render"),
    "markupsafe": ("courier.web.render",),
    "reportlab": ("courier.parcel*",),
    "segno": ("courier.parcel*",),
    "apprise": ("courier.care.notify_process",),
}
"""Library -> the only rooms that import it, so that its traps are translated in one place."""

PURE_LIBRARIES = {
    "__future__",
    "array",
    "bisect",
    "collections",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fnmatch",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "io",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "statistics",
    "string",
    "struct",
    "tomllib",
    "types",
    "typing",
    "unicodedata",
    "uuid",
    "xml",
    "zlib",
    "zoneinfo",
}
"""All that a pure room may import beside the rooms below it: what neither reads nor changes the world."""

SITE_LIBRARIES = {
    "alembic",
    "glob",
    "http",
    "pathlib",
    "platformdirs",
    "rich",
    "shutil",
    "socket",
    "sqlalchemy",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "typer",
    "urllib",
}
"""What `formats` may not import: it takes bytes and open files, and knows no path, network or site."""

CLOCK_CALLS = {"now", "utcnow", "today"}
TIME_CALLS = {"time", "time_ns"}
WORLD_CALLS = {"open", "print", "input"}


def place(name: str) -> tuple[int, str]:
    """Floor (index into `FLOORS`) and room of a module of ours; fails when it has no place, or more than one."""
    found = [(n, room) for n, floor in enumerate(FLOORS) for room in floor.rooms if fnmatchcase(name, room)]
    if not found:
        message = f"{name} has no floor: put it into FLOORS of tests/test_floors.py, on the floor its subject is of"
        pytest.fail(message, pytrace=False)
    if len(found) > 1:
        message = f"{name} stands in FLOORS more than once: {', '.join(room for _, room in found)}"
        pytest.fail(message, pytrace=False)
    return found[0]


def _top(name: str) -> str:
    return name.partition(".")[0]


def _ours(name: str) -> bool:
    return _top(name) in ("formats", "courier")


def upward(module: Module) -> Iterator[str]:
    """Each import of ``module`` that its place in the house does not allow, in words."""
    floor, room = place(module.name)
    for item in imports(module):
        if not _ours(item.name):
            continue
        other_floor, other_room = place(item.name)
        if other_floor > floor:
            why = f"is above it (floor {FLOORS[other_floor].name}, it is on {FLOORS[floor].name})"
        elif other_floor == floor and other_room != room and FLOORS[floor].apart:
            why = f"stands beside it: rooms of floor {FLOORS[floor].name} do not know each other"
        else:
            continue
        yield f"{module.name}:{item.line} imports {item.name}, which {why}"


def worldly(module: Module) -> Iterator[str]:
    """Each thing in a pure room that reads or changes the world, in words."""
    for item in imports(module):
        if not _ours(item.name) and _top(item.name) not in PURE_LIBRARIES:
            yield f"{module.name}:{item.line} imports {item.name}: a module of judgement is pure (see PURE_LIBRARIES)"
        if _top(item.name) == "courier" and item.name not in PURE:
            yield f"{module.name}:{item.line} imports {item.name}, which is not in PURE"
    yield from _calls(module, attributes=CLOCK_CALLS, names=WORLD_CALLS)


def sited(module: Module) -> Iterator[str]:
    """Each thing in `formats` that knows a path, a network, a site or the clock, in words."""
    for item in imports(module):
        if _top(item.name) in SITE_LIBRARIES:
            yield f"{module.name}:{item.line} imports {item.name}: formats takes bytes and open files"
    yield from _calls(module, attributes=CLOCK_CALLS, names=WORLD_CALLS)
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr=attribute)) if attribute in TIME_CALLS:
                yield f"{module.name}:{node.lineno} reads the clock"


def _calls(module: Module, *, attributes: set[str], names: set[str]) -> Iterator[str]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name)) if name in attributes:
                yield f"{module.name}:{node.lineno} reads the clock by {name}(): `now` is an argument"
            case ast.Call(func=ast.Name(id=name)) if name in names:
                yield f"{module.name}:{node.lineno} calls {name}()"


def circles() -> Iterator[str]:
    """Each circle of modules that import each other, as ``a -> b -> a``."""
    graph = {name: {i.name for i in imports(module)} & MODULES.keys() - {name} for name, module in MODULES.items()}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> Iterator[str]:
        if name in path:
            yield " -> ".join([*path[path.index(name) :], name])
        elif name not in done:
            for other in sorted(graph[name]):
                yield from walk(other, (*path, name))
            done.add(name)

    for name in sorted(graph):
        yield from walk(name, ())


def test_every_module_imports_only_what_is_below_it() -> None:
    assert [found for module in MODULES.values() for found in upward(module)] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert list(circles()) == []


def test_judgement_is_pure() -> None:
    assert [found for name in PURE for found in worldly(MODULES[name])] == []


def test_formats_knows_no_path_network_site_or_clock() -> None:
    # formats.restore is a script of its own, put on every volume as it is: nothing imports it.
    alone = [module for name, module in MODULES.items() if _top(name) == "formats" and name != "formats.restore"]
    assert [found for module in alone for found in sited(module)] == []


def test_no_module_is_longer_than_500_lines() -> None:
    # formats.restore has to be one file: it is copied to every volume.
    assert [name for name, module in MODULES.items() if module.lines > 500 and name != "formats.restore"] == []


@pytest.mark.parametrize(("library", "rooms"), DOORS.items())
def test_a_heavy_library_is_imported_by_its_rooms_alone(library: str, rooms: tuple[str, ...]) -> None:
    users = {name for name, module in MODULES.items() if any(_top(i.name) == library for i in imports(module))}
    assert {name for name in users if not any(fnmatchcase(name, room) for room in rooms)} == set()


def _example(name: str, source: str, *, is_package: bool = False) -> Module:
    return Module(name=name, is_package=is_package, text=source)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("formats.digest", "import formats.iso"),
        ("formats.digest", "from formats import iso"),
        ("formats.iso.reader", "from formats.tape import TapeReader"),
        ("formats.bag", "def f():\n    from courier.errors import CourierError"),
        ("formats.bag", "from .documents import packing"),
        ("courier.media.kinds", "from courier.parcel import states"),
        ("courier.sending.ship", "from courier.receiving import receive"),
        ("courier.receiving.spool", "import courier.sending.plan as s"),
        ("courier.site.catalog.schema", "from ...packages.add import add_package"),
        ("courier.channel.sync", "from courier.cli import app"),
    ],
)
def test_an_import_up_or_across_is_seen(name: str, source: str) -> None:
    assert list(upward(_example(name, source)))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("formats.iso.writer", "from formats.iso.layout import tree_of"),
        ("courier.site.keyring", "import os\nfrom courier.files import write_atomic\nfrom formats import digest"),
        ("courier.site.catalog.schema", "from . import packages"),
        ("courier.sending.build", "from courier.sending import plan\nfrom courier.site import store"),
        ("courier.channel.sync", "from courier.receiving import receive\nfrom courier.sending import ship"),
    ],
)
def test_an_import_down_or_within_a_package_is_allowed(name: str, source: str) -> None:
    assert not list(upward(_example(name, source)))


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "from pathlib import Path",
        "import sqlalchemy",
        "datetime.now(UTC)",
        "open('f')",
        "import random",
        "from courier.site.clock import now",
    ],
)
def test_what_touches_the_world_is_seen_in_judgement(source: str) -> None:
    assert list(worldly(_example("courier.parcel.archive_plan", source)))


@pytest.mark.parametrize("source", ["from pathlib import Path", "import time\ntime.time()", "open('f')"])
def test_what_knows_a_site_is_seen_in_formats(source: str) -> None:
    assert list(sited(_example("formats.bag", source)))
