"""Short commands start fast: they load no library that they do not use. Told by the names of modules, never by time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from journey import ROOT, Sites, environment, make_sites, run

from courier.cli.plain_values import taken_plainly

HEAVY = (
    "alembic",
    "courier.receiving.complete",
    "courier.receiving.ship_notice",
    "courier.sending.network_send",
    "cryptography.hazmat.primitives.serialization",
    "filelock",
    "httpx",
    "numpy",
    "py7zr",
    "pycdlib",
    "pydantic",
    "rich.console",
    "rich.table",
    "securesystemslib",
    "starlette",
    "uvicorn",
)
"""What takes long to load, and what acts on messages and parcels, of which there are none here. SQLAlchemy, with which
the catalogue is read, itself loads asyncio, email and zipfile."""
PROGRAM = """
import json, sys
from courier.cli.app import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """Two sites that know each other, and have nothing to tell each other any more."""
    made = make_sites(tmp_path_factory.mktemp("sites"))
    for _ in range(3):
        made.sync()
    return made


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("package", "list"), "The store is empty"),
        (("parcel", "list"), "No parcel yet"),
        (("channel", "sync"), "Delivered 0 messages, received 0 messages."),
    ],
    ids=["package-list", "parcel-list", "channel-sync"],
)
def test_a_short_command_loads_no_heavy_library(sites: Sites, words: tuple[str, ...], printed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, "--home", sites.hq.path],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        env=environment(),
    )
    assert printed in done.stdout
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "courier.site.home" in loaded
    assert loaded & set(HEAVY) == set()


def test_a_process_that_ends_does_not_look_for_memory_to_give_back() -> None:
    program = (
        "import atexit, gc, sys; sys.argv = ['courier', '--version']\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > len(gc.get_objects())))\n"
        "from courier.cli import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.split()[-1] == "True"


app = typer.Typer()


@app.command()
def _every_kind(
    text: Annotated[str, typer.Argument()],
    path: Annotated[Path, typer.Option()] = Path("a"),
    paths: Annotated[list[Path] | None, typer.Option()] = None,
    texts: Annotated[list[str] | None, typer.Option()] = None,
    left_out: Annotated[str | None, typer.Option()] = None,
    number: Annotated[int, typer.Option(min=1, max=9)] = 3,
    there: Annotated[Path | None, typer.Option(exists=True)] = None,
    flag: Annotated[bool | None, typer.Option()] = None,
) -> None:
    """Has an argument or option of each kind."""


@pytest.mark.parametrize(
    "words",
    [
        ["x"],
        ["x", "--path", "b/../c", "--number", "9"],
        ["", "--paths", "1", "--paths", "b", "--texts", "2", "--texts", "", "--left-out", "no"],
        ["x", "--flag"],
        ["x", "--no-flag"],
        ["x", "--there", "/"],
        ["x", "--there", "/not/there"],
        ["x", "--number", "10"],
        ["x", "--number", "three"],
        [],
    ],
)
def test_values_taken_plainly_are_those_that_typer_takes(words: list[str]) -> None:
    def parsed(*, plainly: bool) -> Any:
        made: Any = typer.main.get_command(app)
        if plainly:
            made.params = [taken_plainly(one) for one in made.params]
        try:
            found = made.make_context("c", list(words)).params
        except typer.TyperException as error:
            return error.format_message()
        return {name: (type(value), value) for name, value in found.items()}

    assert parsed(plainly=True) == parsed(plainly=False)


def test_a_text_that_is_not_utf_8_is_refused_as_wrong_usage() -> None:
    assert "UTF-8" in run("package", "add", "x", "--name", "a\udcff", code=2).err
