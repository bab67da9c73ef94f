"""A command that is killed anywhere leaves a point that clients can use, and the same command goes on.

A child process runs the command and ends, as if killed, at its Nth call that changes a file; N goes over the whole
command.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from journey import Home, add, digests_of, make_home, noise, run, write_files
from point_client import from_folders, take_all

from formats.blocks import BLOCK

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="elsewhere: a process is copied as POSIX has it")

BIG = noise(BLOCK + 5)
KILLED = 137
STEPS = int(os.environ.get("COURIER_POINT_KILLS", "4"))
"""Moments of each command that are tried."""
CHANGES = ("rename", "replace", "unlink", "fsync", "mkdir")


@pytest.fixture(scope="module")
def made(quick: Path) -> Path:
    """A site whose point P1 has HQ100001:1 and HQ100002:1; the store has HQ100001:2 as well."""
    root = Path(os.path.realpath(quick)) / "made"
    root.mkdir()
    hq = make_home(root, "HQ1")
    add(hq, write_files(root / "one", a=BIG, b=b"b1"))
    add(hq, write_files(root / "two", a=BIG, b=b"b2", c=noise(BLOCK + 9, 2)), id="HQ100001")
    add(hq, write_files(root / "three", a=BIG, d=b"d"))
    hq("point", "add", "P1", root / "p1", "--reserve", "1MB")
    for package in ("HQ100001:1", "HQ100002"):
        hq("point", "distribute", package, "--point", "P1")
    return root


@pytest.fixture
def state(made: Path) -> Iterator[Callable[[], Home]]:
    """Puts everything back to how it was made, and gives the site."""
    kept = made.with_name("kept")
    if not kept.exists():
        shutil.copytree(made, kept)

    def fresh() -> Home:
        shutil.rmtree(made)
        shutil.copytree(kept, made)
        return Home(code="HQ1", path=made / "HQ1")

    yield fresh
    fresh()


def _killed_at(home: Home, step: int, arguments: tuple[str, ...]) -> bool:
    """Run a command in a child that ends at its call number ``step``; False when it came to its end before."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*values: Any, **more: Any) -> Any:
                nonlocal count
                count += 1
                if count == step:
                    os._exit(KILLED)
                return real(*values, **more)

            return call

        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))
        code = 1
        try:
            code = run(*arguments, "--home", home.path, "--json", "--yes", code=None).code
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED)
    return code == KILLED


COMMANDS = [
    (("distribute", "HQ100001:2"), {"HQ100001:1", "HQ100002:1"}, {"HQ100001:1", "HQ100001:2", "HQ100002:1"}),
    (("update", "HQ100001"), {"HQ100001:1", "HQ100002:1"}, {"HQ100001:2", "HQ100002:1"}),
    (("withdraw", "HQ100001"), {"HQ100001:1", "HQ100002:1"}, {"HQ100002:1"}),
]


@pytest.mark.parametrize(("words", "before", "after"), COMMANDS, ids=[words[0] for words, _, _ in COMMANDS])
def test_a_kill_leaves_the_state_before_or_the_state_after(
    state: Callable[[], Home], words: tuple[str, ...], before: set[str], after: set[str]
) -> None:
    arguments = ("point", *words, "--point", "P1")
    home = state()
    assert not _killed_at(home, 1 << 30, arguments)
    end = digests_of(home.path.parent / "p1")
    tried = killed = 0
    step, stride = 1, 3
    while True:
        home = state()
        was_killed = _killed_at(home, step, arguments)
        point, card = home.path.parent / "p1", home.path.parent / "HQ1.card"
        statement, held = take_all(from_folders(point), card)
        assert set(held) in (before, after)
        if not was_killed:
            break
        killed += 1
        # The same command goes on, and ends in the same state; another one would do so too.
        home("point", "distribute", "HQ100002", "--point", "P1")
        home(*arguments)
        _, held = take_all(from_folders(point), card, remembered=statement.serial)
        assert set(held) == after
        assert home("point", "validate", "--point", "P1")["points"][0]["damaged"] == []
        found = digests_of(point)
        assert set(found) == set(end)
        tried += 1
        if tried >= STEPS:
            stride += 5
        step += stride
    assert killed >= STEPS
