"""Two sites with a package, made once for a file of tests and copied for each test: a copy takes a moment."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from journey import Sites, add, make_sites, noise, write_files


def sites_with_package(root: Path) -> Sites:
    """HQ1, which has a package, and BR1: they trust each other, and nothing has gone between them yet."""
    made = make_sites(root / "template")
    same = noise(100_000, 1)
    add(made.hq, write_files(root / "files", a_bin=noise(3_000_000), b_bin=same, same_bin=same))
    return made


def copied_sites(template: Sites, to: Path) -> Sites:
    """A copy of them in ``to``. The folder that they share, which their addresses name, is emptied."""
    shutil.rmtree(template.root / "share")
    (template.root / "share").mkdir()
    for home in template.homes:
        shutil.copytree(home.path, to / home.code)
    homes = tuple(replace(home, path=to / home.code) for home in template.homes)
    return Sites(root=template.root, homes=homes)
