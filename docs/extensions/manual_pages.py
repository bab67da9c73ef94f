"""Manual pages have options as a list of definitions, where the same pages of the site have them in a table.

A table of two columns in a terminal of 80 characters leaves little room for the second. Nothing else differs.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx


def as_definitions(table: nodes.table) -> nodes.definition_list:
    """A table of two columns as a list: the first column defined by the second. Its head is left out."""
    listed = nodes.definition_list()
    for row in table.findall(nodes.row):
        if isinstance(row.parent, nodes.thead):
            continue
        name, meaning = row.children
        term = nodes.term("", "", *(part for paragraph in name.children for part in paragraph.children))
        listed += nodes.definition_list_item("", term, nodes.definition("", *meaning.children))
    return listed


def _adapt(app: Sphinx, document: nodes.document) -> None:
    if app.builder.name != "man":
        return
    for table in list(document.findall(nodes.table)):
        if len(list(table.findall(nodes.colspec))) == 2:
            table.replace_self(as_definitions(table))
    # A page of the manual is about one thing; the pages below it are pages of their own.
    for tree in list(document.findall(addnodes.toctree)):
        tree.parent.remove(tree)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what is done to each page once it is read, after Sphinx has noted which pages it leads to."""
    app.connect("doctree-read", _adapt, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
