"""How Sphinx makes a site and manual pages of docs/: ``sphinx-build -W --keep-going -b html docs OUT`` (or ``-b man``).

Nothing of the site is loaded from elsewhere: theme, fonts, search and pictures are files beside the pages, so that it
can be read from a disk or a stick. Only the search needs scripts.
"""

import re
import runpy
import sys
from pathlib import Path

from sphinx.application import Sphinx

from courier import __version__

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

project = "Courier parcels"
author = "the authors of Courier parcels"
version = release = __version__
language = "en"
nitpicky = True

extensions = ["myst_parser", "extensions.diagrams", "extensions.manual_pages"]
exclude_patterns = ["extensions"]
# The slugs of headings are those of a forge that shows the same files, so that links work in both.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
suppress_warnings = ["config.cache"]
highlight_language = "text"
# Two hyphens begin an option, and quotes are those that are typed.
smartquotes = False

html_theme = "furo"
html_title = f"Courier parcels {release}"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_copy_source = False
# A browser does not let a page that is read from a disk fetch others, of which the search would show a part.
html_show_search_summary = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}

_abouts = runpy.run_path(str(DOCS / "make_commands.py"))["abouts"]()
man_pages = [
    ("commands", "courier", "parcels of OS-image packages between sites whose network cannot carry them", "", 1),
    *(
        (f"commands/{name}", f"courier-{name}", re.sub(r"\.$", "", about[0].lower() + about[1:]), "", 1)
        for name, about in _abouts.items()
    ),
]


def setup(app: Sphinx) -> None:
    """Show tables in CSV as they are: Pygments has no colours for them."""
    from pygments.lexers.special import TextLexer

    app.add_lexer("csv", TextLexer)
