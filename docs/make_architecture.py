"""Renew what docs/architecture.md says from the imports in the source: ``python docs/make_architecture.py``.

The picture of packages, the number of modules in each and the deepest chain of imports stand between two marks in the
page; the rest of the page is written by hand. A test compares the page with what this makes. ``--figures`` prints the
same figures together with line counts, which the page leaves out because they change with every commit.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).with_name("architecture.md")
sys.path.insert(0, str(PAGE.parents[1] / "tests" / "support"))

from imports import MODULES, imports  # noqa: E402 (found through the path above)

BEGIN, END = "<!-- made from the source: {} -->", "<!-- end -->"

GROUND, BYTES = "courier", "formats"
"""Names of the packages' own modules, which are in no sub-package."""
OF_BYTES = ("formats.records", "formats.codecs")
"""Packages that every format stands on: they count as `formats` itself."""
LABELS = {GROUND: "ground: errors, files, text", BYTES: "formats: names, records, codecs, envelope, ..."}


def package_of(module: str) -> str:
    """Return the sub-package a module belongs to, such as ``courier.site``; `GROUND` or `BYTES` if to none."""
    if module == "courier.__main__":
        return "courier.cli"
    top, _, rest = module.partition(".")
    first = rest.partition(".")[0]
    inner = f"{top}.{first}"
    if inner in OF_BYTES:
        return BYTES
    return inner if first and inner in MODULES and MODULES[inner].is_package else top


def modules_of() -> dict[str, list[str]]:
    """Return the modules of each package, ``__init__`` left out."""
    found: dict[str, list[str]] = {}
    for name, module in MODULES.items():
        if not module.is_package:
            found.setdefault(package_of(name), []).append(name)
    return found


def arrows() -> dict[str, set[str]]:
    """Return, for each package, the other packages that it imports."""
    found: dict[str, set[str]] = {package_of(name): set() for name in MODULES}
    for name, module in MODULES.items():
        for item in imports(module):
            if item.name in MODULES:
                found[package_of(name)].add(package_of(item.name))
    for package, others in found.items():
        others.discard(package)
    return found


def longest_chain(graph: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Return the longest way down along the arrows, which form no circle; of several the first by name."""
    known: dict[str, tuple[str, ...]] = {}

    def chain(package: str) -> tuple[str, ...]:
        if package not in known:
            below = [chain(other) for other in sorted(graph[package])]
            known[package] = (package, *max(below, key=len, default=()))
        return known[package]

    return max((chain(package) for package in sorted(graph)), key=len)


def drawn(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows without those that a longer way goes along too."""
    reached: dict[str, set[str]] = {}

    def below(package: str) -> set[str]:
        if package not in reached:
            reached[package] = set(graph[package]).union(*(below(other) for other in graph[package]))
        return reached[package]

    return {
        package: {other for other in others if not any(other in below(between) for between in others - {other})}
        for package, others in graph.items()
    }


def picture() -> str:
    """Return the packages and their arrows in Mermaid's language."""
    graph = drawn(arrows())
    lines = ["```mermaid", "flowchart TD"]
    for top in ("courier", "formats"):
        lines.append(f'    subgraph {top}_["{top}"]')
        for package in sorted(name for name in graph if name.partition(".")[0] == top):
            label = LABELS.get(package, package.replace(".", "/"))
            lines.append(f'        {_node(package)}["{label}"]')
        lines.append("    end")
    lines += [
        f"    {_node(package)} --> {_node(other)}" for package in sorted(graph) for other in sorted(graph[package])
    ]
    return "\n".join([*lines, "```"])


def _node(package: str) -> str:
    return {GROUND: "ground", BYTES: "bytes"}.get(package, package.replace(".", "_"))


def figures(*, lines: bool = False) -> str:
    """Return the table of modules a package and the deepest chain; ``lines`` adds line counts."""
    rows = []
    for package, names in sorted(modules_of().items()):
        title = {GROUND: "`courier` itself", BYTES: "`formats` itself"}.get(package, f"`{package.replace('.', '/')}`")
        row = f"| {title} | {len(names)} |"
        if lines:
            largest = max(names, key=lambda name: MODULES[name].lines)
            row += f" {sum(MODULES[name].lines for name in names)} | {largest}, {MODULES[largest].lines} |"
        rows.append(row)
    head = "| package | modules |" + (" lines | largest module, lines |" if lines else "")
    rule = "|---|---|" + ("---|---|" if lines else "")
    chain = longest_chain(arrows())
    names = [{GROUND: "ground", BYTES: "formats itself"}.get(package, package.replace(".", "/")) for package in chain]
    deepest = f"The deepest chain of imports between packages has {len(chain)} steps: {' → '.join(names)}."
    return "\n".join([head, rule, *rows, "", deepest])


def make() -> str:
    """Return the page with its made parts renewed."""
    page = PAGE.read_text("utf-8")
    for name, text in (("picture", picture()), ("figures", figures())):
        before, begin, rest = page.partition(BEGIN.format(name))
        _, end, after = rest.partition(END)
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page


if __name__ == "__main__":
    if "--figures" in sys.argv[1:]:
        print(figures(lines=True))
    else:
        PAGE.write_text(make(), encoding="utf-8")
