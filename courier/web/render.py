"""From what a page shows to HTML: the templates, and how numbers and times are written in them.

Everything is escaped by the templates, whatever it is: names come from media, from messages, and from strangers.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from courier import __version__
from courier.text import listed, plural, size_text, volumes
from courier.web.charts import MAP_COLUMNS, grid_path
from formats.records import format_time

KNOWN_CHARACTERS = 16
"""Characters of the digest by which a page says what it shows already."""
_STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of writing around, and what is no character at all."""
STATIC_FILES = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files that pages load, and what they are."""


def static_file(name: str) -> bytes:
    """A file of `STATIC_FILES`."""
    return resources.files("courier.web").joinpath("static", name).read_bytes()


@functools.cache
def static_address(name: str) -> str:
    """The address of a file: another one when the file is another, so that a browser may keep it."""
    return f"/static/{name}?{hashlib.sha256(static_file(name)).hexdigest()[:12]}"


def moment(ns: int | None, missing: str = "-") -> Markup:
    """A time for people and programs, in UTC to the minute; ``missing`` where there is none."""
    if ns is None:
        return escape(missing)
    text = format_time(ns)
    shown = text[:16].replace("T", " ")
    return Markup('<time datetime="{}Z" title="{} UTC">{}Z</time>').format(
        text[:19], text[:19].replace("T", " "), shown
    )


def rate(bytes_per_second: int) -> str:
    """A rate for people."""
    return f"{size_text(bytes_per_second)}/s"


def shown(value: object) -> object:
    """What is written for a value: in a text, characters that steer how it is shown stand for themselves.

    A name could turn all that follows it around on the page, so that a command reads otherwise than it is copied.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], value)


@functools.cache
def templates() -> Environment:
    """The templates of this package."""
    environment = Environment(
        loader=PackageLoader("courier.web"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": moment,
        "size": size_text,
        "rate": rate,
        "volumes": volumes,
        "listed": listed,
        "slug": lambda text: "".join(c if c.isalnum() else "-" for c in str(text).lower()),
    }
    environment.globals |= {
        "static": static_address,
        "plural": plural,
        "grid": grid_path,
        "map_columns": MAP_COLUMNS,
        "program": f"courier {__version__}",
    }
    return environment


def digest_of(part: str) -> str:
    """The digest by which a page says which part it shows."""
    return hashlib.sha256(part.encode()).hexdigest()[:KNOWN_CHARACTERS]


def render(name: str, values: Mapping[str, Any]) -> str:
    """The text of a template."""
    return templates().get_template(name).render(values)


def live_part(name: str, values: Mapping[str, Any], *, address: str) -> tuple[Markup, str]:
    """(the part of a page that is renewed from ``address``, the digest of what it shows)."""
    part = render(f"part_{name}.html.j2", values)
    digest = digest_of(part)
    live = render("live.html.j2", {"part": Markup(part), "digest": digest, "address": address})
    return Markup(live), digest
