"""Commands over a catalogue of many parcels: it is not asked once for each of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from journey import Home, make_sites
from sqlalchemy import event
from sqlalchemy.engine import Engine

from courier.parcel.states import SentState
from courier.site.catalog import parcels
from courier.site.catalog.parcels import SentParcel
from courier.site.home import open_site


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that are executed in the block."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def send(home: Home, numbers: range) -> None:
    """Record parcels as confirmed, in the catalogue alone."""
    with closing(open_site(home.path)) as site, site.catalogue.writing() as connection:
        for number in numbers:
            parcel = SentParcel(
                parcel=f"HQ1-{number:06d}",
                state=SentState.CONFIRMED,
                priority="medium",
                created_ns=time.time_ns(),
                build="1" * 64,
                packing_list="2" * 64,
                edition=0,
                spares=0,
                redundancy="none",
            )
            parcels.add_sent(connection, parcel, ["BR1", "BR2"])


@pytest.mark.parametrize("command", [("parcel", "list"), ("channel", "sync"), ("status",)])
def test_as_many_statements_for_three_parcels_as_for_forty(tmp_path: Path, command: tuple[str, ...]) -> None:
    home = make_sites(tmp_path).hq
    home("parcel", "limits", "--quota", "1GB")
    home("channel", "sync")
    send(home, range(1, 4))
    home(*command)
    with counted() as few:
        home(*command)
    send(home, range(4, 41))
    with counted() as many:
        document = home(*command)
    assert len(many) <= len(few) + 3
    if command == ("parcel", "list"):
        assert [one["to"] for one in document["sent"]] == [["BR1", "BR2"]] * 40
