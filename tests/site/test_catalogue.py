"""The catalogue: one suite over SQLite and a real PostgreSQL server."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
from postgresql import new_database, raw
from sqlalchemy import BigInteger, Connection, inspect, select, text
from sqlalchemy.exc import OperationalError

from courier.error_codes import Code
from courier.errors import BusyError, CourierError, NoSpaceError, RefusedError, UsageError
from courier.site import known_names as known_names_module
from courier.site.catalog import (
    Catalogue,
    computers,
    custody,
    database,
    deployments,
    messages,
    open_catalogue,
    packages,
    parcels,
    schema,
    sites,
    state,
)
from courier.site.catalog.computers import Association, Computer, KnownComputer
from courier.site.catalog.custody import KeptEntry
from courier.site.catalog.database import sqlite_url
from courier.site.catalog.deployments import Deployment, Status, Target
from courier.site.catalog.guests import ROW
from courier.site.catalog.messages import Message
from courier.site.catalog.packages import StoredPackage
from courier.site.catalog.parcel_pages import log_page, newest_log, newest_parcels, parcel_page
from courier.site.catalog.parcels import (
    LogEntry,
    ReceivedParcel,
    ReceivedVolume,
    SentMedium,
    SentParcel,
    SentTo,
    SentVolume,
)
from courier.site.catalog.sites import Address, PinnedSite
from courier.site.catalog.snapshot import copy_tables, fill
from courier.site.catalog.state import Migration, StatePoint
from courier.site.known_names import known_names
from courier.site.outbox import transfer_piece
from formats.documents.listing import ListingSummary

LARGE = 2**63 - 1
BYTES = bytes(range(256))


# --- servers --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new, empty database."""
    if request.param == "sqlite":
        return str(sqlite_url(tmp_path / "catalogue.sqlite"))
    return new_database(request.getfixturevalue("postgresql"))


@pytest.fixture
def catalogue(url: str) -> Iterator[Catalogue]:
    opened = open_catalogue(url)
    yield opened
    opened.close()


# --- opening --------------------------------------------------------------------------------------------------------


def test_the_shell_is_offered_names_from_either_database(url: str, catalogue: Catalogue, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "site.json").write_text(json.dumps({"catalogue": url}))
    letter = Message(
        direction="in",
        sha256="0f3a" * 16,
        site="",
        type="",
        state="refused",
        reason="of an unknown sender",
        body=b"",
        created_ns=1,
        settled_ns=1,
        attempts=0,
    )
    with catalogue.writing() as connection:
        messages.put(connection, letter)
    assert known_names(home, "letter") == [("0f3a0f3a0f3a", "of an unknown sender")]
    for what in ("site", "package", "version", "parcel"):
        assert known_names(home, what) == []
        run_all(url, known_names_module._QUERIES[what])


def run_all(url: str, query: str) -> None:
    """Run a query as it is: `known_names` hides what a database says against it."""
    with raw(url) as connection:
        connection.exec_driver_sql(query.replace("?", "1"))


def test_an_empty_database_is_given_the_schema_and_opened_again_as_it_is(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    for _ in range(2):
        open_catalogue(url).close()
        with raw(url) as connection:
            tables = set(inspect(connection).get_table_names())
            assert tables == {*schema.metadata.tables, "alembic_version"}
            changes = [
                change
                for found in compare_metadata(MigrationContext.configure(connection), schema.metadata)
                for change in (found if isinstance(found, list) else [found])
            ]
            # Comments are for readers of the module.
            assert [change for change in changes if change[0] != "modify_comment"] == []
            assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [(schema.HEAD,)]


def make_first_schema(url: str) -> None:
    """Make a catalogue as the first release did."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations").replace("%", "%%"))
    with raw(url) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")


def _filled(column: Any, row: int) -> Any:
    """A value that the type of a column allows."""
    kind = column["type"].python_type
    if kind is bytes:
        return BYTES + bytes([row])
    if kind is int:
        return LARGE - row if isinstance(column["type"], BigInteger) else row + 1
    length = getattr(column["type"], "length", None) or 400
    return f"{row}{'é' * 400}"[:length]


def _rows(connection: Connection, table: str, columns: list[str]) -> list[tuple[Any, ...]]:
    names = ", ".join(f'"{name}"' for name in columns)
    found = connection.execute(text(f'SELECT {names} FROM "{table}"')).all()
    return sorted((tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in found), key=repr)


def test_a_catalogue_of_the_first_schema_becomes_one_of_the_newest_and_loses_nothing(url: str) -> None:
    """Every table of the first schema has two rows, and two messages wait in the outbox, one of them handed over."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    make_first_schema(url)
    body = b'{"payload":"\x00"}'
    waiting = {"direction": "out", "site": "BR1", "type": "t", "reason": "", "body": body, "size": len(body)}
    waiting |= {"created_ns": 5, "settled_ns": None, "attempts": 0, "priority": "high", "begun_ns": None}
    before: dict[str, tuple[list[str], list[tuple[Any, ...]]]] = {}
    with raw(url) as connection:
        first = inspect(connection)
        for table in sorted(set(first.get_table_names()) - {"alembic_version"}):
            columns = first.get_columns(table)
            names = [column["name"] for column in columns]
            places = ", ".join(f":{name}" for name in names)
            quoted = ", ".join(f'"{name}"' for name in names)
            rows = [{column["name"]: _filled(column, row) for column in columns} for row in range(2)]
            if table == "message":
                rows += [waiting | {"sha256": "a" * 64, "state": "queued", "due_ns": None}]
                rows += [waiting | {"sha256": "b" * 64, "state": "delivered", "due_ns": 7}]
            connection.execute(text(f'INSERT INTO "{table}" ({quoted}) VALUES ({places})'), rows)
            before[table] = names, _rows(connection, table, names)
    later = {"guest", "point", "point_folder", "point_rule", "point_due", "cache_class"}
    later |= {"computer", "computer_mac", "computer_variable", "shared_mac", "association"}
    later |= {"deployment", "deployment_target", "deployment_status", "state_point", "state_migration"}
    later |= {"stored_object", "stored_content", "stored_listing", "damaged_content", "fence"}
    assert set(before) | later == set(schema.metadata.tables)

    catalogue = open_catalogue(url)
    try:
        with raw(url) as connection:
            assert {t: (names, _rows(connection, t, names)) for t, (names, _) in before.items()} == before
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == schema.HEAD
            changes = compare_metadata(MigrationContext.configure(connection), schema.metadata)
            flat = [one for found in changes for one in (found if isinstance(found, list) else [found])]
            # The defaults that rows of before needed stay; they are no difference to a statement that names all.
            assert [change for change in flat if change[0] not in ("modify_comment", "modify_default")] == []
        with catalogue.reading() as connection:
            found = messages.due(connection, 8, "BR1")
            assert [(one.sha256, one.name, one.recipient, one.seed) for one in found] == [
                (sha256, sha256, "", b"") for sha256 in ("a" * 64, "b" * 64)
            ]
            assert transfer_piece(connection, found[0], 0, 100) == body
            # Of each site: a definition, notice, retirement and letter, all with documents of the same size.
            assert connection.execute(select(schema.guest.c.bytes)).scalars().all() == [4 * (len(BYTES) + 1 + ROW)] * 2
        with catalogue.writing() as connection:
            assert messages.settle(connection, found[0], state="settled", now_ns=9)
            assert messages.put(connection, dataclasses.replace(found[1], sha256="c" * 64, body=b"new", name=""))
    finally:
        catalogue.close()


def test_the_tables_are_those_the_statements_are_written_for(catalogue: Catalogue) -> None:
    with catalogue.reading() as connection:
        for name, table in schema.metadata.tables.items():
            there = {column["name"]: column["nullable"] for column in inspect(connection).get_columns(name)}
            assert there == {column.name: bool(column.nullable) for column in table.columns}
            assert inspect(connection).get_pk_constraint(name)["constrained_columns"] == [
                column.name for column in table.primary_key.columns
            ]


@pytest.mark.parametrize("revision", [f"{int(schema.HEAD) + 1:04}", "9999", "abc"])
def test_a_newer_schema_is_refused_and_left_alone(url: str, revision: str) -> None:
    open_catalogue(url).close()
    with raw(url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :n"), {"n": revision})
    with pytest.raises(RefusedError) as caught:
        open_catalogue(url)
    assert caught.value.code == "newer-catalogue"
    with raw(url) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == revision


def test_a_first_schema_that_is_not_finished_leaves_nothing_and_is_made_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(schema.VERSION, "create", stop)
        with pytest.raises(KeyboardInterrupt):
            open_catalogue(url)
    with raw(url) as connection:
        assert inspect(connection).get_table_names() == []
    open_catalogue(url).close()
    with raw(url) as connection:
        assert set(inspect(connection).get_table_names()) == {*schema.metadata.tables, "alembic_version"}


def test_two_commands_that_make_a_schema_at_once_make_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second has seen that there is none, and gets its turn when the first has made it."""
    seen = database._revision

    def late(connection: Connection) -> str | None:
        found = seen(connection)
        if found is None:
            with monkeypatch.context() as patch:
                patch.setattr(database, "_revision", seen)
                open_catalogue(url).close()
        return found

    monkeypatch.setattr(database, "_revision", late)
    open_catalogue(url).close()
    with raw(url) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [(schema.HEAD,)]


def test_a_migration_that_fails_leaves_what_was_and_runs_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    made: list[str] = []
    real: Callable[..., Any] = op.create_table

    def create_table(name: str, *columns: Any) -> Any:
        made.append(name)
        if name == "point_rule":
            raise KeyboardInterrupt
        return real(name, *columns)

    make_first_schema(url)
    with raw(url) as connection:
        before = inspect(connection).get_table_names()
    with monkeypatch.context() as patch:
        patch.setattr(op, "create_table", create_table)
        with pytest.raises(KeyboardInterrupt):
            open_catalogue(url)
    assert len(made) > 2
    with raw(url) as connection:
        assert inspect(connection).get_table_names() == before
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0001"
    open_catalogue(url).close()
    with raw(url) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == schema.HEAD


def test_opening_does_not_wait_for_a_writer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are shown while another command is in the middle of its transaction."""
    catalogue = open_catalogue(url)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    with catalogue.writing() as connection:
        packages.raise_counter(connection, "parcel", 1)
        second = open_catalogue(url)
        with second.reading() as reader:
            assert packages.read_counter(reader, "parcel") == 0
        second.close()
    catalogue.close()


def test_a_second_writer_waits_and_is_refused_when_it_takes_too_long(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.3)
    first, second = open_catalogue(url), open_catalogue(url)
    with first.writing():
        begun = time.monotonic()
        with pytest.raises(BusyError) as caught, second.writing():
            pass
        assert time.monotonic() - begun >= 0.2
    assert caught.value.code == "busy"
    with second.writing() as connection:
        packages.raise_counter(connection, "parcel", 1)
    for catalogue in (first, second):
        catalogue.close()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError, RefusedError, "sql"])
def test_an_error_takes_back_the_whole_transaction(catalogue: Catalogue, kind: Any) -> None:
    expected: type[BaseException] = CourierError if kind == "sql" else kind
    with pytest.raises(expected), catalogue.writing() as connection:
        packages.raise_counter(connection, "parcel", 7)
        parcels.write_log(connection, LOG)
        if kind == "sql":
            connection.execute(text("SELECT nonsense"))
        raise kind("x", hint="y") if kind is RefusedError else kind
    with catalogue.reading() as connection:
        assert packages.read_counter(connection, "parcel") == 0
        assert parcels.read_log(connection, LOG.parcel) == []


def test_what_is_written_through_a_reading_connection_is_not_kept(catalogue: Catalogue) -> None:
    with contextlib.suppress(CourierError), catalogue.reading() as connection:
        packages.raise_counter(connection, "parcel", 7)
    with catalogue.reading() as connection:
        assert packages.read_counter(connection, "parcel") == 0


def test_through_a_catalogue_that_is_opened_to_read_nothing_is_written(url: str, catalogue: Catalogue) -> None:
    reader = open_catalogue(url, read_only=True)
    try:
        with pytest.raises(RefusedError), reader.writing():
            pass
        with contextlib.suppress(CourierError), reader.reading() as connection:
            packages.raise_counter(connection, "parcel", 7)
            connection.commit()
        with catalogue.writing() as connection:
            packages.raise_counter(connection, "parcel", 3)
        with reader.reading() as connection:
            assert packages.read_counter(connection, "parcel") == 3
    finally:
        reader.close()


def test_one_of_an_older_release_is_not_changed_by_whoever_only_reads(url: str) -> None:
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        with pytest.raises(RefusedError):
            open_catalogue(url, read_only=True)
        assert not file.exists()
        file.touch()
    with pytest.raises(RefusedError) as caught:
        open_catalogue(url, read_only=True)
    assert caught.value.code == "older-catalogue"
    with raw(url) as connection:
        assert inspect(connection).get_table_names() == []


def test_what_others_write_is_noticed_and_nothing_else_is(url: str, catalogue: Catalogue) -> None:
    reader = open_catalogue(url, read_only=True)
    try:
        with reader.watching() as state:
            first = state()
            with reader.reading() as connection:
                packages.read_counter(connection, "parcel")
            if url.startswith("sqlite"):  # a server also counts what it does by itself
                assert state() == first
            for value in (1, 2):
                before = state()
                with catalogue.writing() as connection:
                    packages.raise_counter(connection, "parcel", value)
                assert state() != before
    finally:
        reader.close()


def test_one_reading_sees_one_state(catalogue: Catalogue) -> None:
    with catalogue.reading() as reader:
        assert packages.read_counter(reader, "parcel") == 0
        with catalogue.writing() as connection:
            packages.raise_counter(connection, "parcel", 7)
        assert packages.read_counter(reader, "parcel") == 0
    with catalogue.reading() as reader:
        assert packages.read_counter(reader, "parcel") == 7


ALLOT = """
import sys
from courier.site.catalog import open_catalogue, packages
catalogue = open_catalogue(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with catalogue.writing() as connection:
        number = packages.read_counter(connection, "parcel") + 1
        packages.raise_counter(connection, "parcel", number)
    print(number)
"""


def test_processes_that_open_and_write_at_once_never_allot_a_number_twice(url: str) -> None:
    """They open the new catalogue together: one of them makes the schema, and the others wait for it."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", ALLOT, url, "15"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    numbers: list[int] = []
    for process in running:
        out, err = process.communicate()
        assert process.returncode == 0, err
        numbers += map(int, out.split())
    assert sorted(numbers) == list(range(1, 61))


def test_threads_that_write_at_once_never_allot_a_number_twice(catalogue: Catalogue) -> None:
    together = threading.Barrier(6)

    def allot(_: int) -> list[int]:
        together.wait()
        numbers = []
        for _ in range(5):
            with catalogue.writing() as connection:
                numbers.append(packages.read_counter(connection, "parcel") + 1)
                packages.raise_counter(connection, "parcel", numbers[-1])
        return numbers

    with ThreadPoolExecutor(6) as pool:
        numbers = [number for found in pool.map(allot, range(6)) for number in found]
    assert sorted(numbers) == list(range(1, 31))


KILLED = """
import os, sys
from courier.site.catalog import open_catalogue, packages
with open_catalogue(sys.argv[1]).writing() as connection:
    packages.raise_counter(connection, "parcel", 5)
    os._exit(9)
"""


def test_a_writer_that_is_killed_changes_nothing_and_blocks_nobody(catalogue: Catalogue, url: str) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, url], check=False).returncode == 9
    with catalogue.writing() as connection:
        assert packages.read_counter(connection, "parcel") == 0
        packages.raise_counter(connection, "parcel", 1)


# --- statements -----------------------------------------------------------------------------------------------------

PINNED = PinnedSite(code="BR1", name="Zweig \u2028\U0001f4bf'\"%", card=BYTES, serial=LARGE, revoked="", pinned_ns=-1)
PACKAGE = StoredPackage(
    package="HQ100001",
    version=3,
    name="Büro",
    listing=ListingSummary(sha256="0" * 64, entries=LARGE, files=5, bytes=LARGE, holes=LARGE - 1),
    created_ns=-LARGE,
    added_ns=LARGE,
    origin="added",
)


def filled(kind: type[Any], **given: Any) -> Any:
    """A record with these fields; those that do not matter to the test are filled by their type."""
    plain = {"int": 5, "str": "x", "bytes": b"x"}
    others = {field.name: plain.get(str(field.type)) for field in dataclasses.fields(kind)}
    return kind(**{**others, **given})


SENT: SentParcel = filled(SentParcel, parcel="HQ1-000042", state="Built", build="1" * 64, packing_list="2" * 64)
SENT_VOLUME = SentVolume(
    parcel="HQ1-000042",
    edition=1,
    number=9_999,
    state="Written",
    layout="folder",
    path="/media/x",
    bytes=18_000_000_000_000,
    written_ns=None,
)
RECEIVED = ReceivedParcel(
    parcel="HQ1-000042",
    build="1" * 64,
    source="HQ1",
    state="Arriving",
    packing_list="2" * 64,
    hold=0,
    first_ns=1,
    imported_ns=None,
    receipt=None,
)
RECEIVED_VOLUME = ReceivedVolume(
    parcel="HQ1-000042", build="1" * 64, edition=1, number=2, state="Damaged", damaged_blocks=7, seen_ns=5
)
LOG = LogEntry(parcel="HQ1-000042", at_ns=1, operator="op", event="built", text="two volumes")
MESSAGE = Message(
    direction="out",
    sha256="3" * 64,
    site="BR1",
    type="application/x",
    state="queued",
    reason="",
    body=BYTES,
    created_ns=1,
    settled_ns=None,
    attempts=0,
)


def test_sites_are_pinned_replaced_and_revoked(catalogue: Catalogue) -> None:
    with catalogue.writing() as connection:
        sites.pin(connection, PINNED)
        sites.pin(connection, dataclasses.replace(PINNED, code="AA1"))
        sites.pin(connection, dataclasses.replace(PINNED, serial=2, card=b""))
    with catalogue.writing() as connection:
        newer = dataclasses.replace(PINNED, serial=2, card=b"")
        assert sites.find(connection, "BR1") == newer
        assert sites.find(connection, "XX1") is None
        assert [site.code for site in sites.everyone(connection)] == ["AA1", "BR1"]
        assert sites.revoke(connection, "BR1", "lost")
        assert not sites.revoke(connection, "XX1", "lost")
        assert sites.find(connection, "BR1") == dataclasses.replace(newer, revoked="lost")


def test_addresses_are_tried_in_order_and_priorities_are_unique(catalogue: Catalogue) -> None:
    low, high = (Address(site="BR1", priority=p, address=f"/{p}") for p in (10, 1))
    other = Address(site="AA1", priority=5, address="/1")
    with catalogue.writing() as connection:
        for address in (low, high, other):
            sites.add_address(connection, address)
        assert sites.addresses(connection, "BR1") == [high, low]
        assert sites.addresses(connection) == [other, high, low]
    for again in (dataclasses.replace(low, priority=2), dataclasses.replace(low, address="/x")):
        with pytest.raises(CourierError), catalogue.writing() as connection:
            sites.add_address(connection, again)
    with catalogue.writing() as connection:
        assert sites.remove_address(connection, "BR1", "/10")
        assert not sites.remove_address(connection, "BR1", "/10")
        assert sites.addresses(connection) == [other, high]


def test_package_versions_come_out_as_they_went_in(catalogue: Catalogue) -> None:
    others = [dataclasses.replace(PACKAGE, version=v) for v in (10, 1)]
    with catalogue.writing() as connection:
        for stored in (PACKAGE, *others, dataclasses.replace(PACKAGE, package="AA100001")):
            packages.add(connection, stored)
        assert packages.find(connection, "HQ100001", 3) == PACKAGE
        assert packages.find(connection, "HQ100001", 4) is None
        assert [stored.version for stored in packages.versions(connection, "HQ100001")] == [1, 3, 10]
        assert packages.versions(connection)[0].package == "AA100001"
    with pytest.raises(CourierError), catalogue.writing() as connection:
        packages.add(connection, PACKAGE)
    with catalogue.writing() as connection:
        assert packages.remove(connection, "HQ100001", 3)
        assert not packages.remove(connection, "HQ100001", 3)


def test_versions_and_numbers_only_grow(catalogue: Catalogue) -> None:
    with catalogue.writing() as connection:
        assert packages.next_version(connection, "HQ100001") == 1
        packages.add(connection, PACKAGE)
        assert packages.next_version(connection, "HQ100001") == 4
        packages.keep_definition(connection, "HQ100001", 6, "HQ1", listing="0" * 64, envelope=b"x", received_ns=1)
        assert packages.next_version(connection, "HQ100001") == 7
        packages.keep_definition(connection, "HQ100001", LARGE, "BR1", listing="0" * 64, envelope=b"x", received_ns=1)
        assert packages.next_version(connection, "HQ100001") == 7
        packages.raise_counter(connection, "HQ100001", 9)
        packages.raise_counter(connection, "HQ100001", 8)
        assert packages.read_counter(connection, "HQ100001") == 9
        packages.remove(connection, "HQ100001", 3)
        assert packages.next_version(connection, "HQ100001") == 10
        assert packages.next_version(connection, "HQ100002") == 1


def test_a_definition_is_kept_for_each_site_that_signs_it(catalogue: Catalogue) -> None:
    with catalogue.writing() as connection:
        other = "1" * 64
        for site, listing, envelope in (
            ("HQ1", "0" * 64, b"old"),
            ("BR1", "0" * 64, BYTES),
            ("HQ1", "0" * 64, b"new"),
            ("HQ1", other, b"other content"),
        ):
            packages.keep_definition(connection, "HQ100001", 1, site, listing=listing, envelope=envelope, received_ns=1)
        found = packages.find_definitions(connection, "HQ100001", 1, "HQ1")
        assert found == {"0" * 64: (b"new", 1), other: (b"other content", 1)}
        assert packages.find_definitions(connection, "HQ100001", 1, "BR1") == {"0" * 64: (BYTES, 1)}
        assert packages.find_definitions(connection, "HQ100001", 2, "BR1") == {}


def test_sent_parcels_their_destinations_packages_and_volumes(catalogue: Catalogue) -> None:
    with catalogue.writing() as connection:
        parcels.add_sent(connection, SENT, ["BR2", "BR1"])
        parcels.add_sent(connection, dataclasses.replace(SENT, parcel="HQ1-000007"), ["BR1"])
        parcels.add_sent_package(connection, SENT.parcel, "HQ100001", 3, listing="0" * 64, definition=BYTES)
        for volume in (SENT_VOLUME, dataclasses.replace(SENT_VOLUME, number=2), SENT_VOLUME):
            parcels.put_sent_volume(connection, volume)
        parcels.put_sent_volume(connection, dataclasses.replace(SENT_VOLUME, edition=2))
        parcels.change_sent(connection, SENT.parcel, state="Sent", priority="low")
    with catalogue.writing() as connection:
        assert parcels.find_sent(connection, SENT.parcel) == dataclasses.replace(SENT, state="Sent", priority="low")
        assert parcels.find_sent(connection, "HQ1-000001") is None
        assert [sent.parcel for sent in parcels.all_sent(connection)] == ["HQ1-000007", "HQ1-000042"]
        assert parcels.sent_packages(connection, SENT.parcel) == [("HQ100001", 3, "0" * 64, BYTES)]
        found = parcels.sent_volumes(connection, SENT.parcel, 1)
        assert found == [dataclasses.replace(SENT_VOLUME, number=2), SENT_VOLUME]
        assert parcels.keep_receipt(connection, SENT.parcel, "BR2", receipt=BYTES, confirmed_ns=5)
        assert not parcels.keep_receipt(connection, SENT.parcel, "XX1", receipt=BYTES, confirmed_ns=5)
        assert parcels.destinations(connection, SENT.parcel) == [
            SentTo(parcel=SENT.parcel, site="BR1"),
            SentTo(parcel=SENT.parcel, site="BR2", receipt=BYTES, confirmed_ns=5),
        ]


def test_received_parcels_their_volumes_and_notices(catalogue: Catalogue) -> None:
    second = dataclasses.replace(RECEIVED, build="5" * 64, first_ns=0)
    with catalogue.writing() as connection:
        for received in (RECEIVED, second, RECEIVED):
            parcels.put_received(connection, received)
        for volume in (RECEIVED_VOLUME, dataclasses.replace(RECEIVED_VOLUME, number=1), RECEIVED_VOLUME):
            parcels.put_received_volume(connection, volume)
        parcels.change_received(connection, RECEIVED.parcel, RECEIVED.build, state="Imported", receipt=BYTES)
        for packing_list, envelope, at in (("1" * 64, b"old", 2), ("2" * 64, b"other", 1), ("1" * 64, b"new", 3)):
            parcels.keep_notice(
                connection, RECEIVED.parcel, packing_list, build="1" * 64, envelope=envelope, received_ns=at
            )
    with catalogue.writing() as connection:
        imported = dataclasses.replace(RECEIVED, state="Imported", receipt=BYTES)
        assert parcels.find_received(connection, RECEIVED.parcel) == [second, imported]
        assert parcels.find_received(connection, RECEIVED.parcel, RECEIVED.build) == [imported]
        assert parcels.all_received(connection) == [second, imported]
        volumes = parcels.received_volumes(connection, RECEIVED.parcel, RECEIVED.build)
        assert volumes == [dataclasses.replace(RECEIVED_VOLUME, number=1), RECEIVED_VOLUME]
        assert (
            parcels.notices(connection) == parcels.notices(connection, RECEIVED.parcel) == [(b"other", 1), (b"new", 3)]
        )
        assert parcels.notices(connection, "HQ1-000001") == []
        parcels.forget_received(connection, RECEIVED.parcel, RECEIVED.build)
        assert parcels.all_received(connection) == [second]
        assert parcels.received_volumes(connection, RECEIVED.parcel, RECEIVED.build) == []


def test_parcels_of_both_sides_are_shown_page_by_page_and_found(catalogue: Catalogue) -> None:
    with catalogue.writing() as connection:
        for number in range(1, 6):
            made = dataclasses.replace(SENT, parcel=f"HQ1-{number:06d}", created_ns=10 * number, state="Confirmed")
            parcels.add_sent(connection, made, ["BR2", "BR1"] if number < 5 else ["BR3"])
        parcels.change_destination(connection, "HQ1-000002", "BR1", shipped_ns=33, confirmed_ns=50)
        parcels.change_destination(connection, "HQ1-000002", "BR2", shipped_ns=30, confirmed_ns=40)
        parcels.change_sent(connection, "HQ1-000001", state="Sent")
        came = dataclasses.replace(
            RECEIVED, parcel="BR3-000009", source="BR3", first_ns=25, imported_ns=60, state="Imported"
        )
        parcels.put_received(connection, came)
    with catalogue.reading() as connection:
        rows, count = parcel_page(connection, offset=0, limit=4)
        assert count == 6
        assert [one.parcel for one in rows] == ["HQ1-000005", "HQ1-000004", "HQ1-000003", "BR3-000009"]
        assert (rows[3].side, rows[3].sites, rows[3].shipped_ns, rows[3].ended_ns) == ("received", ("BR3",), 25, 60)
        rows, _ = parcel_page(connection, offset=4, limit=4)
        assert [one.parcel for one in rows] == ["HQ1-000002", "HQ1-000001"]
        assert (rows[0].sites, rows[0].shipped_ns, rows[0].ended_ns) == (("BR1", "BR2"), 30, 50)
        assert (rows[1].shipped_ns, rows[1].ended_ns) == (None, None)
        for found, wanted in (
            ({"text": "br3"}, {"HQ1-000005", "BR3-000009"}),
            ({"text": "br3", "side": "sent"}, {"HQ1-000005"}),
            ({"text": "-00000", "state": "Sent"}, {"HQ1-000001"}),
            ({"text": "%"}, set()),
            ({"side": "received", "state": "Imported"}, {"BR3-000009"}),
        ):
            rows, count = parcel_page(connection, offset=0, limit=9, **found)
            assert {one.parcel for one in rows} == wanted
            assert count == len(wanted)
        newest = newest_parcels(connection, [("sent", "Sent")], 3)
        assert [one.parcel for one in newest] == ["HQ1-000001", "HQ1-000005", "HQ1-000004"]


def test_state_migration_points_and_migrations(catalogue: Catalogue) -> None:
    small = StatePoint(
        name="S1", path="/s1", max_clients=2, min_free="10%", restore_only=0, delete_after=LARGE, added_ns=LARGE
    )
    other = dataclasses.replace(small, name="A2", restore_only=1, min_free=str(LARGE))
    begun = Migration(
        migration="a" * 32, point="S1", source="OLD", destination="NEW", state=state.BEGUN, begun_ns=LARGE - 1
    )
    later = dataclasses.replace(begun, migration="b" * 32, source="NEW", begun_ns=LARGE)
    with catalogue.writing() as connection:
        state.add_point(connection, small)
        state.add_point(connection, other)
        state.begin(connection, later)
        state.begin(connection, begun)
    with catalogue.reading() as connection:
        assert state.all_points(connection) == [other, small]
        assert state.find_point(connection, "S1") == small and state.find_point(connection, "s1") is None
        assert state.migrations(connection) == [begun, later]
        assert state.migrations(connection, source="NEW") == [later]
        assert state.migrations(connection, destination="NEW", point="S1", states=state.HELD) == [begun, later]
        assert state.places_taken(connection, "S1") == 2 and state.places_taken(connection, "A2") == 0
    done = dataclasses.replace(
        begun,
        state=state.RELEASED,
        files=LARGE,
        bytes=LARGE,
        skipped=LARGE,
        captured_ns=1,
        restored_ns=2,
        released_ns=3,
        deleted_ns=LARGE,
    )
    with catalogue.writing() as connection:
        state.change(connection, done)
        state.remove_point(connection, "A2")
    with catalogue.reading() as connection:
        assert state.find(connection, "a" * 32) == done and state.find(connection, "c" * 32) is None
        assert state.migrations(connection, states=[state.RELEASED]) == [done]
        assert state.places_taken(connection, "S1") == 1
        assert state.all_points(connection) == [small]


def test_the_log_keeps_the_order_things_happened_in(catalogue: Catalogue) -> None:
    entries = [dataclasses.replace(LOG, event=f"e{n}", at_ns=100 - n) for n in range(12)]
    for entry in entries:
        with catalogue.writing() as connection:
            parcels.write_log(connection, entry)
            parcels.write_log(connection, dataclasses.replace(LOG, parcel="HQ1-000001"))
    with catalogue.reading() as connection:
        assert parcels.read_log(connection, LOG.parcel) == entries
        assert log_page(connection, LOG.parcel, offset=2, limit=3) == (entries[9:6:-1], 12)
        assert log_page(connection, LOG.parcel, offset=12, limit=3) == ([], 12)
        assert [one.parcel for one in newest_log(connection, 2)] == ["HQ1-000001", LOG.parcel]


def test_of_a_custody_chain_the_newest_entries_are_read(catalogue: Catalogue) -> None:
    kept = [KeptEntry(parcel="HQ1-000001", entry=f"{n:064x}", envelope=BYTES, received_ns=n // 2) for n in range(6)]
    with catalogue.writing() as connection:
        for one in reversed(kept):
            custody.keep(connection, one)
        custody.keep(connection, dataclasses.replace(kept[0], parcel="HQ1-000002"))
    with catalogue.reading() as connection:
        assert custody.newest_of_parcel(connection, "HQ1-000001", 3) == kept[3:]
        assert custody.newest_of_parcel(connection, "HQ1-000003", 3) == []
        assert custody.count_of_parcel(connection, "HQ1-000001") == 6


def test_messages_wait_are_counted_and_settle(catalogue: Catalogue) -> None:
    later = dataclasses.replace(MESSAGE, sha256="4" * 64, created_ns=2)
    other = dataclasses.replace(MESSAGE, site="BR2", created_ns=0)
    inbound = dataclasses.replace(MESSAGE, direction="in", site="", state="refused")

    def head(message: Message) -> Message:
        return dataclasses.replace(message, body=b"", size=len(message.body), name=message.sha256)

    with catalogue.writing() as connection:
        for message in (later, MESSAGE, other, inbound):
            assert messages.put(connection, message)
            assert not messages.put(connection, dataclasses.replace(message, state="delivered"))
        assert messages.queued(connection) == [head(other), head(MESSAGE), head(later)]
        assert messages.read(connection, MESSAGE.sha256, "BR1", 2, 9) == MESSAGE.body[2:11]
        assert messages.queued(connection, "BR1") == [head(MESSAGE), head(later)]
        messages.attempted(connection, MESSAGE, reason="no route")
        messages.attempted(connection, MESSAGE, reason="still none")
        assert messages.find(connection, "out", MESSAGE.sha256, "BR1") == dataclasses.replace(
            head(MESSAGE), attempts=2, reason="still none"
        )
        messages.settle(connection, MESSAGE, state="delivered", now_ns=9)
        assert messages.queued(connection, "BR1") == [head(later)]
        assert messages.find(connection, "in", MESSAGE.sha256) == head(inbound)
        assert messages.find(connection, "in", "5" * 64) is None
        assert messages.in_state(connection, "in", "refused") == [head(inbound)]
        states = [("out", "queued"), ("in", "refused")]
        assert messages.page(connection, states, offset=0, limit=9) == ([head(later), head(inbound), head(other)], 3)
        assert messages.page(connection, states, offset=1, limit=1) == ([head(inbound)], 3)
        assert messages.last_from_each(connection) == {"": inbound.created_ns}
        assert sorted(messages.counts(connection)) == [
            ("in", "", "refused", 1),
            ("out", "BR1", "delivered", 1),
            ("out", "BR1", "queued", 1),
            ("out", "BR2", "queued", 1),
        ]


def test_every_state_and_event_the_journeys_write_fits_its_column() -> None:
    """PostgreSQL limits the length of texts, SQLite does not."""
    from courier.deployment import status
    from courier.parcel.states import ReceivedState, SentState, VolumeState
    from formats.documents import deployment as policy
    from formats.documents.packing import PRIORITIES

    widths = {
        (table.name, column.name): column.type.length  # type: ignore[attr-defined]
        for table in schema.metadata.tables.values()
        for column in table.columns
        if getattr(column.type, "length", None)
    }
    for names, column in (
        (SentState, ("sent", "state")),
        (ReceivedState, ("received", "state")),
        (VolumeState, ("sent_volume", "state")),
        (VolumeState, ("received_volume", "state")),
        (PRIORITIES, ("sent", "priority")),
        (("folder", "iso", "tape"), ("sent_volume", "layout")),
        (("queued", "delivered", "dead", "taken", "refused"), ("message", "state")),
        (("parcel", "package", "deployment", "HQ100001"), ("counter", "name")),
        (("HQ1-D9999999",), ("deployment", "deployment")),
        (get_args(policy.Option), ("deployment", "option")),
        (get_args(status.Outcome), ("deployment_status", "outcome")),
    ):
        assert max(map(len, names)) <= widths[column]


# --- computers and deployments --------------------------------------------------------------------------------------

PC = Computer(name="PC-1", guid="4C4C", client_class="", group_name="", protected=0, identity="", added_ns=5)


def pc(name: str, *macs: str, guid: str = "", **variables: str) -> KnownComputer:
    return KnownComputer(row=dataclasses.replace(PC, name=name, guid=guid), macs=macs, variables=variables)


def test_computers_are_found_by_name_guid_and_mac(catalogue: Catalogue) -> None:
    one, other = pc("PC-1", "M1", "M2", guid="G1", Model="X"), pc("pc-2", "M2", guid="G2")
    with catalogue.writing() as connection:
        computers.add(connection, [other, one])
        computers.add(connection, [])
    with catalogue.reading() as connection:
        assert computers.everyone(connection) == [one, other]
        assert computers.find(connection, "pC-1") == one
        assert computers.names(connection) == ["PC-1", "pc-2"]
        assert computers.names(connection, "north") == []
        assert computers.find(connection, "PC-3") is None
        assert computers.with_guid(connection, "G2", "G3") == [other]
        assert computers.with_guid(connection, "") == []
        assert computers.with_mac(connection, "M2") == [one, other]
    changed = pc("PC-1", "M3", Other="Y")
    with catalogue.writing() as connection:
        computers.put(connection, [changed])
        computers.keep_identity(connection, "pc-2", "secret")
        computers.remove(connection, "PC-9")
    with catalogue.reading() as connection:
        assert computers.find(connection, "PC-1") == changed
        found = computers.find(connection, "PC-2")
        assert found is not None
        assert found.row.identity == "secret"
        assert "secret" not in repr(found)
    with catalogue.writing() as connection:
        computers.remove(connection, "PC-1")
        computers.add(connection, [one])
        assert computers.find(connection, "PC-1") == one


def test_an_import_is_all_or_nothing(catalogue: Catalogue) -> None:
    with catalogue.writing() as connection:
        computers.add(connection, [pc("PC-1", "M1")])
    with pytest.raises(CourierError), catalogue.writing() as connection:
        computers.add(connection, [pc(f"N{n}", f"M{n}") for n in range(300)] + [pc("PC-1", "M9")])
    with catalogue.reading() as connection:
        assert [found.name for found in computers.everyone(connection)] == ["PC-1"]


def test_shared_macs_and_associations(catalogue: Catalogue) -> None:
    with catalogue.writing() as connection:
        computers.share_mac(connection, "M1", "dock")
        computers.share_mac(connection, "M1", "dock of room 12")
        assert computers.shared_macs(connection) == {"M1": "dock of room 12"}
        assert computers.unshare_mac(connection, "M1")
        assert not computers.unshare_mac(connection, "M1")
        first = Association(source="A", destination="B", made_ns=1)
        second = Association(source="C", destination="A", made_ns=2)
        for one in (dataclasses.replace(first, destination="X"), first, second):
            computers.associate(connection, one)
        assert computers.associations(connection) == [first, second]
        assert computers.associations(connection, "B") == [first]
        assert computers.associations(connection, "A") == [first, second]
        assert computers.dissociate(connection, "A")
        assert not computers.dissociate(connection, "A")
        assert computers.held_migrations(connection, "A") == []


def test_deployments_their_computers_and_what_these_report(catalogue: Catalogue) -> None:
    with catalogue.writing() as connection:
        names = [deployments.next_id(connection, "HQ1") for _ in range(2)]
        assert names == ["HQ1-D00001", "HQ1-D00002"]
        new = Deployment(
            deployment=names[0],
            package="HQ100001",
            version=LARGE,
            sequence="s" * 100_000,
            pinned="HQ100001:1 x\n",
            option="run-from-point",
            available_ns=None,
            deadline_ns=5,
            expires_ns=LARGE,
            created_ns=7,
        )
        targets = [Target(deployment=names[0], computer=name, status_key=BYTES) for name in ("pc-2", "PC-1")]
        deployments.add(connection, new, targets)
    with catalogue.writing() as connection:
        assert deployments.find(connection, names[0]) == new
        assert deployments.find(connection, names[1]) is None
        assert deployments.everyone(connection) == [(new, 2)]
        assert deployments.targets(connection, names[0]) == ["PC-1", "pc-2"]
        assert deployments.target(connection, names[0], "PC-2") == targets[0]
        assert deployments.target(connection, names[0], "PC-3") is None
        assert computers.deployments_to(connection, "PC-1") == [names[0]]
        early, late = (
            Status(
                deployment=names[0],
                computer="PC-1",
                run=run,
                number=1,
                at_ns=at,
                step=0,
                outcome="started",
                message="x",
            )
            for run, at in (("b" * 32, 10), ("a" * 32, 20))
        )
        again = dataclasses.replace(early, number=2, at_ns=5)
        for row in (late, again, early):
            assert deployments.record_status(connection, row) is None
        assert deployments.record_status(connection, early) == early
        assert deployments.record_status(connection, dataclasses.replace(early, outcome="failed")) == early
        assert deployments.statuses(connection, names[0]) == {"PC-1": [early, again, late]}
        deployments.remove(connection, names[0], 9)
        assert computers.deployments_to(connection, "PC-1") == []
        assert deployments.find(connection, names[0]) == dataclasses.replace(new, removed_ns=9)


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_drive_holds_one_reel_after_another_and_another_path_one_medium(catalogue: Catalogue) -> None:
    written = [
        SentMedium(parcel="HQ1-000001", edition=1, number=1, path=path, layout="tape", written_ns=at)
        for path in ("/dev/nst0", "/srv/reels/1")
        for at in (1, 2, 2)
    ]
    with catalogue.writing() as connection:
        for medium in written:
            parcels.put_medium(connection, medium)
        found = parcels.written_media(connection, "HQ1-000001")
    assert [(medium.path, medium.written_ns) for medium in found] == [
        ("/dev/nst0", 1),
        ("/dev/nst0", 2),
        ("/srv/reels/1", 2),
    ]


def test_errors_of_the_database_are_errors_for_people(catalogue: Catalogue) -> None:
    with pytest.raises(CourierError) as caught, catalogue.writing() as connection:
        connection.execute(text("SELECT * FROM nothing"))
    assert caught.value.code == "catalogue"
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"no database at all " * 1000)
    with pytest.raises(CourierError, match="not a database"):
        open_catalogue(sqlite_url(tmp_path / "c"))
    with pytest.raises(CourierError):
        open_catalogue(sqlite_url(tmp_path / "not there/c"))


def test_a_full_disk_is_said_to_be_full(tmp_path: Path) -> None:
    path = tmp_path / "c"
    open_catalogue(sqlite_url(path)).close()
    catalogue = open_catalogue(sqlite_url(path))
    with pytest.raises(NoSpaceError), catalogue.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        for n in range(100):
            parcels.write_log(connection, dataclasses.replace(LOG, text="x" * 10_000, at_ns=n))
    catalogue.close()


@pytest.mark.parametrize(("free", "code"), [(4096, 5), (1 << 30, 1)])
def test_an_input_output_error_of_a_full_disk_is_told_from_one_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, code: int
) -> None:
    catalogue = open_catalogue(sqlite_url(tmp_path / "c"))
    monkeypatch.setattr("courier.site.catalog.database_errors.free_space", lambda _: free)
    with pytest.raises(CourierError, match="disk I/O error") as caught, catalogue.writing():
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("disk I/O error"))
    assert caught.value.exit_code == code
    catalogue.close()


@pytest.mark.parametrize("wrong", ["", "nonsense", "mysql+nothing://x/y", "sqlite+nothing:///x", "http://host/x"])
def test_a_wrong_url_is_a_usage_error(wrong: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_catalogue(wrong)
    assert caught.value.hint


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UsageError) as caught:
        open_catalogue("postgresql://nobody@/x?host=/nowhere")
    assert "psycopg" in caught.value.message
    assert "courier-parcels[postgresql]" in caught.value.hint


def test_a_server_that_does_not_answer_is_an_error_for_people_without_its_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(CourierError) as caught:
        open_catalogue("postgresql://nobody:secret@/x?host=/nowhere")
    assert "secret" not in caught.value.message + caught.value.hint
    assert "\n" not in caught.value.message


def test_an_installation_below_an_odd_path_migrates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In alembic's settings ``%`` has a meaning."""
    odd = tmp_path / "50% of (all) [disks]"
    shutil.copytree(Path(database.__file__).parent / "migrations", odd / "migrations")
    monkeypatch.setattr(database, "__file__", str(odd / "database.py"))
    url = f"sqlite:///{tmp_path / 'c'}"
    make_first_schema(url)
    open_catalogue(url).close()
    with raw(url) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == schema.HEAD


def test_sqlite_survives_a_power_cut_and_checks_itself(tmp_path: Path) -> None:
    catalogue = open_catalogue(sqlite_url(tmp_path / "c"))
    with catalogue.reading() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        assert pragmas == ["wal", 2]
    catalogue.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "c")) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# --- copies for a backup ----------------------------------------------------------------------------------------------


def test_a_copy_fills_another_catalogue_whose_log_goes_on_after_it(url: str, tmp_path: Path) -> None:
    def entry(text: str) -> LogEntry:
        return LogEntry(parcel="HQ1-000001", at_ns=1, operator="anna", event="x", text=text)

    with contextlib.closing(open_catalogue(sqlite_url(tmp_path / "first"))) as first:
        with first.writing() as connection:
            for text_ in ("one", "two"):
                parcels.write_log(connection, entry(text_))
            packages.raise_counter(connection, "parcel", 7)
        copy_tables(first, tmp_path / "copy")
    fill(url, tmp_path / "copy")
    with contextlib.closing(open_catalogue(url)) as filled:
        with filled.writing() as connection:
            parcels.write_log(connection, entry("three"))
            assert packages.read_counter(connection, "parcel") == 7
        copy_tables(filled, tmp_path / "back")
    with contextlib.closing(open_catalogue(sqlite_url(tmp_path / "back"))) as back, back.reading() as connection:
        assert [one.text for one in parcels.read_log(connection, "HQ1-000001")] == ["one", "two", "three"]
    with pytest.raises(RefusedError, match="not empty"):
        fill(url, tmp_path / "copy")


def test_what_was_begun_with_one_catalogue_is_not_gone_on_with_in_another(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    with contextlib.closing(open_catalogue(sqlite_url(path))) as catalogue:
        path.rename(tmp_path / "gone")
        with pytest.raises(RefusedError) as gone, catalogue.writing():
            pass
        assert gone.value.code == Code.NO_CATALOGUE
        open_catalogue(sqlite_url(path)).close()
        for connecting in (catalogue.reading, catalogue.writing):
            with pytest.raises(RefusedError) as replaced, connecting():
                pass
            assert replaced.value.code == Code.CATALOGUE_REPLACED


# --- transactions within transactions -------------------------------------------------------------------------------


def test_what_is_written_within_a_transaction_is_a_part_of_it(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[int, str]] = []
    monkeypatch.setattr(database, "log_notes", logged.extend)
    with catalogue.writing() as connection:
        with catalogue.writing() as inner:
            sites.pin(inner, PINNED)
        with pytest.raises(BusyError), catalogue.writing() as inner:
            sites.pin(inner, dataclasses.replace(PINNED, code="AA1"))
            raise BusyError("this part alone", hint="is undone")
        with catalogue.reading() as reader:  # sees what is not committed yet
            assert [one.code for one in sites.everyone(reader)] == [PINNED.code]
        with ThreadPoolExecutor(1) as pool:  # another thread does not
            assert pool.submit(codes, catalogue).result() == []
        assert not logged
        sites.pin(connection, dataclasses.replace(PINNED, code="AA2"))
    assert codes(catalogue) == ["AA2", PINNED.code]
    assert [text.split()[3] for _, text in logged] == [PINNED.code, "AA2"]


def test_an_error_undoes_all_that_was_written_within_a_transaction(catalogue: Catalogue) -> None:
    with pytest.raises(BusyError), catalogue.writing():
        with catalogue.writing() as inner:
            sites.pin(inner, PINNED)
        raise BusyError("all of it", hint="is undone")
    assert codes(catalogue) == []
    with catalogue.writing() as connection:  # and the next one is by itself again
        sites.pin(connection, PINNED)
    assert codes(catalogue) == [PINNED.code]


def codes(catalogue: Catalogue) -> list[str]:
    with catalogue.reading() as connection:
        return [one.code for one in sites.everyone(connection)]
