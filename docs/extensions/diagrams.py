"""Pictures of the docs: what stands in a ``mermaid`` block becomes an SVG within the page, drawn by Graphviz' ``dot``.

Mermaid itself is a large script that draws in the reader's browser; the site works without scripts. Read is the part
of its language that the pages use: flow charts with groups, and diagrams of states, both drawn from the top down, as
the column of a page is narrow. Anything else is an error with its line. Where there is no ``dot``, the page shows the
text of the block.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_NODE = re.compile(r'(?P<id>\[\*\]|\w+)(?:(?P<shape>\[\("|\["|\{")(?P<label>[^"]*)"[\])}]+)?')
_ARROW = re.compile(r'\s*(?:--\s(?P<text>[^->]+?)\s)?(?P<line>-->|-\.\s"(?P<dotted>[^"]*)"\s\.->)\s*')
_SHAPES = {'["': "box", '[("': "cylinder", '{"': "diamond", None: "box"}
_START = "[*]"
_SVG = re.compile(r"<svg\b.*</svg>", re.DOTALL)


class DiagramError(ValueError):
    """A line of a diagram that cannot be read."""


@dataclass(kw_only=True)
class _Drawing:
    """A diagram in Graphviz' language, as it is gathered line by line."""

    lines: list[str] = field(default_factory=list)
    named: set[str] = field(default_factory=set)

    def node(self, found: re.Match[str]) -> str:
        """Add a node where it has a label or was not named before; return its name."""
        name, label = found["id"], found["label"]
        if name == _START:
            self.lines.append('"[*]" [label="" shape=circle width=0.15 style=filled fillcolor=black]')
        elif label is not None or name not in self.named:
            self.lines.append(f'"{name}" [label="{_text(label or name)}" shape={_SHAPES[found["shape"]]}]')
        self.named.add(name)
        return name

    def edge(self, source: str, target: str, label: str, *, dotted: bool) -> None:
        """Add an arrow."""
        style = " style=dashed" if dotted else ""
        self.lines.append(f'"{source}" -> "{target}" [label="{_text(label)}"{style}]')


def to_dot(text: str) -> str:
    """The diagram ``text`` in Graphviz' language. Raises `DiagramError` with the line that cannot be read."""
    head, *lines = (line.strip() for line in text.strip().splitlines())
    kind = head.partition(" ")[0]
    if kind not in ("flowchart", "stateDiagram-v2"):
        raise DiagramError(f"not a diagram that can be drawn: {head}")
    drawing = _Drawing()
    states = kind != "flowchart"
    for line in lines:
        if group := re.fullmatch(r'subgraph (\w+)\["([^"]*)"\]', line):
            drawing.lines.append(f'subgraph "cluster_{group[1]}" {{ label="{_text(group[2])}"')
        elif line == "end":
            drawing.lines.append("}")
        elif line:
            _read_line(drawing, line, states=states)
    return "\n".join(
        [
            "digraph {",
            "bgcolor=transparent ranksep=0.35 nodesep=0.25",
            f'node [fontname="sans-serif" fontsize=11 margin="0.12,0.07" style="{"rounded" if states else ""}"]',
            'edge [fontname="sans-serif" fontsize=10 arrowsize=0.7]',
            'graph [fontname="sans-serif" fontsize=11]',
            *drawing.lines,
            "}",
        ]
    )


def _read_line(drawing: _Drawing, line: str, *, states: bool) -> None:
    """Read one node, or a chain of nodes with arrows between them."""
    rest, label = line, ""
    if states:
        rest, _, label = line.partition(": ")
    found = _NODE.match(rest)
    if found is None:
        raise DiagramError(f"cannot read: {line}")
    source = drawing.node(found)
    rest = rest[found.end() :]
    while rest:
        arrow = _ARROW.match(rest)
        found = _NODE.match(rest, arrow.end()) if arrow else None
        if arrow is None or found is None:
            raise DiagramError(f"cannot read: {line}")
        target = drawing.node(found)
        dotted = arrow["dotted"]
        drawing.edge(source, target, label or dotted or arrow["text"] or "", dotted=dotted is not None)
        source, rest = target, rest[found.end() :]


def _text(label: str) -> str:
    return label.replace("<br>", "\\n").replace('"', '\\"')


def draw(text: str, *, dot: str) -> str:
    """The diagram ``text`` as an SVG in the colours of the page around it. Raises `DiagramError`."""
    ran = subprocess.run([dot, "-Tsvg"], input=to_dot(text), capture_output=True, text=True, check=False)
    svg = _SVG.search(ran.stdout)
    if ran.returncode or svg is None:
        raise DiagramError(ran.stderr.strip())
    drawn = svg[0].replace('"black"', '"currentColor"')
    # Graphviz leaves out the colour of texts, which is then black on whatever ground.
    drawn = drawn.replace("<text ", '<text fill="currentColor" ').replace("<svg ", '<svg role="img" ', 1)
    return re.sub(r"<title>.*?</title>\n?", "", drawn)


class Mermaid(SphinxDirective):
    """A block of Mermaid."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The picture, or the text of the block where it cannot be drawn."""
        text = "\n".join(self.content)
        shown = nodes.literal_block(text, text, language="text")
        dot = shutil.which("dot")
        if dot is None:
            return [shown]
        try:
            svg = draw(text, dot=dot)
        except DiagramError as error:
            return [self.state.document.reporter.warning(f"mermaid: {error}", line=self.lineno), shown]
        words = escape(", ".join(dict.fromkeys(re.findall(r'"([^"]+)"', text))) or "states and transitions", quote=True)
        svg = svg.replace("<svg ", f'<svg aria-label="Diagram: {words}" ', 1)
        return [nodes.raw("", f'<div class="diagram">{svg}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the block."""
    app.add_directive("mermaid", Mermaid)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
