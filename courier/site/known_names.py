"""The codes and IDs that a site knows, for the completion of a command line: read quickly, or not at all.

A shell asks at every press of the tab key. So the database is read as it is, without the library that the rest of the
catalogue uses; of one that cannot be read, or does not answer soon, nothing is offered.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from courier.site.file_names import CATALOGUE, SETTINGS

SHOWN = 500
"""Most names that are offered, the newest first."""
_WAIT_SECONDS = 0.2
"""How long a database in a file is waited for."""
_CONNECT_SECONDS = 2
"""How long a server is waited for, the shortest time that PostgreSQL's library knows."""
_SERVER_OPTIONS = "-c default_transaction_read_only=on -c statement_timeout=1000"

_QUERIES = {
    "site": "SELECT code, name FROM site WHERE revoked = '' ORDER BY code LIMIT ?",
    "package": "SELECT package, max(name) FROM package GROUP BY package ORDER BY max(added_ns) DESC LIMIT ?",
    "version": "SELECT package || ':' || version, name FROM package ORDER BY added_ns DESC LIMIT ?",
    "parcel": "SELECT parcel, max(state) FROM (SELECT parcel, state FROM sent UNION ALL "
    "SELECT parcel, state FROM received) AS known GROUP BY parcel ORDER BY parcel DESC LIMIT ?",
    "letter": "SELECT substr(sha256, 1, 12), reason FROM message WHERE state IN ('dead', 'refused') "
    "ORDER BY created_ns DESC LIMIT ?",
}


def known_names(home: Path, what: str) -> list[tuple[str, str]]:
    """(name, what it is) of each one that the site in ``home`` knows.

    ``what``: site, package, version, parcel or (a dead) letter.
    """
    try:
        url = json.loads((home / SETTINGS).read_bytes()).get("catalogue") or ""
        kind, _, place = url.partition("://")
        if kind.startswith("postgresql"):
            return _from_server(f"postgresql://{place}", _QUERIES[what])
        return _from_file(Path(place[1:]) if url else home / CATALOGUE, _QUERIES[what])
    except (OSError, ValueError, AttributeError, sqlite3.Error):
        return []


def _from_file(path: Path, query: str) -> list[tuple[str, str]]:
    if not path.is_file():
        return []
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT_SECONDS)) as found:
        return [(str(name), str(text)) for name, text in found.execute(query, (SHOWN,))]


def _from_server(url: str, query: str) -> list[tuple[str, str]]:
    """What a PostgreSQL server answers; nothing where the library for it is not installed."""
    try:
        import psycopg
    except ImportError:
        return []
    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_SECONDS, options=_SERVER_OPTIONS) as connection:
            found = connection.execute(query.replace("?", "%s"), (SHOWN,))
            return [(str(name), str(text)) for name, text in found]
    except psycopg.Error:
        return []
