"""Manual pages have lists of definitions where the same pages of the site have tables, and no links.

A table in a terminal of 80 characters leaves little room for its last column. Nothing else differs.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx


def as_definitions(table: nodes.table) -> nodes.definition_list:
    """A table as a list: the first column defined by the others; from the third on each has its heading before it."""
    head, *rows = table.findall(nodes.row)
    headings = [entry.astext() for entry in head.children]
    listed = nodes.definition_list()
    for row in rows:
        name, *others = row.children
        said = nodes.paragraph()
        for heading, entry in zip(headings[1:], others, strict=True):
            if said.children:
                said += nodes.Text(f"; {heading}: ")
            said += [part for paragraph in entry.children for part in paragraph.children]
        term = nodes.term("", "", *(part for paragraph in name.children for part in paragraph.children))
        listed += nodes.definition_list_item("", term, nodes.definition("", said))
    return listed


def _adapt(app: Sphinx, document: nodes.document) -> None:
    if app.builder.name != "man":
        return
    for table in list(document.findall(nodes.table)):
        table.replace_self(as_definitions(table))
    # Links lead nowhere on paper or in a terminal: their text stays.
    for link in list(document.findall(addnodes.pending_xref)):
        link.replace_self(link.children)
    # A page of the manual is about one thing; the pages below it are pages of their own.
    for tree in list(document.findall(addnodes.toctree)):
        tree.parent.remove(tree)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what is done to each page once it is read, after Sphinx has noted which pages it leads to."""
    app.connect("doctree-read", _adapt, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
