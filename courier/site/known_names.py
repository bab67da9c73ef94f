"""The codes and IDs that a site knows, for the completion of a command line: read quickly, or not at all.

A shell asks at every press of the tab key. So the SQLite file is read as it is, without the library that the rest of
the catalogue uses; of a catalogue elsewhere, or one that cannot be read, nothing is offered.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

SHOWN = 500
"""Most names that are offered, the newest first."""
_WAIT_SECONDS = 0.2

_QUERIES = {
    "site": "SELECT code, name FROM site WHERE revoked = '' ORDER BY code LIMIT ?",
    "package": "SELECT package, max(name) FROM package GROUP BY package ORDER BY max(added_ns) DESC LIMIT ?",
    "version": "SELECT package || ':' || version, name FROM package ORDER BY added_ns DESC LIMIT ?",
    "parcel": "SELECT parcel, max(state) FROM (SELECT parcel, state FROM sent UNION ALL "
    "SELECT parcel, state FROM received) GROUP BY parcel ORDER BY parcel DESC LIMIT ?",
    "letter": "SELECT substr(sha256, 1, 12), reason FROM message WHERE state IN ('dead', 'refused') "
    "ORDER BY created_ns DESC LIMIT ?",
}


def known_names(home: Path, what: str) -> list[tuple[str, str]]:
    """(name, what it is) of each one that the site in ``home`` knows.

    ``what``: site, package, version, parcel or (a dead) letter.
    """
    try:
        settings = json.loads((home / "site.json").read_bytes())
        path = home / "catalogue.sqlite"
        if settings.get("catalogue") or not path.is_file():
            return []
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT_SECONDS)) as found:
            return [(str(name), str(text)) for name, text in found.execute(_QUERIES[what], (SHOWN,))]
    except (OSError, ValueError, AttributeError, sqlite3.Error):
        return []
