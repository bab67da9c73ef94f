"""The shared folder as what carries it treats it: sync tools, links, rights, shares that go, clocks that jump."""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx")

from channel_network import HOUR_NS, Pair, definition, make_pair, put, state, travels_as
from journey import Home

from courier.channel import handlers, incoming
from courier.channel.addresses import add_address
from courier.channel.connections import Run
from courier.channel.delivery import deliver
from courier.channel.folder_transport import LEFT_OVER_SECONDS, FolderTransport
from courier.channel.handlers import TakenMessage
from courier.channel.measurement import measure_address
from courier.channel.schedule import EXPIRY_NS
from courier.channel.sync import synchronise
from courier.channel.transport import MAX_MESSAGE, Outgoing, RejectedError
from courier.cli.messages import MESSAGE_HANDLERS
from courier.error_codes import Code
from courier.errors import CourierError, NoSpaceError, RefusedError, UnreachableError
from courier.files import TEMP, make_folder
from courier.site.catalog import messages
from courier.site.home import Site, create_site
from courier.site.peers import pin_card

pytestmark = pytest.mark.usefixtures("no_reports")

BODIES = [b"one", b"two", b"three"]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("homes")
    made = [create_site(root / code, code=code, name=code) for code in ("HQ1", "BR1")]
    for own, other in (made, made[::-1]):
        pin_card(own, other.card_envelope, fingerprint=other.card.fingerprint)
    for site in made:
        site.close()
    return root


@pytest.fixture
def pair(homes: Path) -> Iterator[Pair]:
    yield from make_pair("folder", homes)


@pytest.fixture
def share(tmp_path: Path) -> FolderTransport:
    folder = FolderTransport(make_folder(tmp_path / "share"))
    for body in BODIES:
        folder.deliver("BR1", Outgoing.of(body))
    return folder


def box(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "share" / "BR1").iterdir())


def bodies(folder: FolderTransport) -> list[bytes]:
    return sorted(body for _, body in folder.fetch("BR1"))


def only(pair: Pair) -> Path:
    (path,) = (pair.share / "BR1").glob("*.msg")
    return path


# --- what lies there --------------------------------------------------------------------------------------------------


def test_conflict_copies_and_other_strange_names_are_passed_over_and_left_alone(
    share: FolderTransport, tmp_path: Path
) -> None:
    first = box(tmp_path)[0]
    name, ending = first.stem, ".msg"
    strange = [
        f"{name} (conflict){ending}",
        f"{name} (1){ending}",
        f"{name}.sync-conflict-20260102-030405-ABCDEFG{ending}",
        f"{name} (case conflict 1){ending}",
        f".syncthing.{name}{ending}.tmp",
        f"~{name}{ending}.partial",
        f"{name.upper()}{ending}",
        "desktop.ini",
        ".DS_Store",
        *(f"{n}{ending}" for n in range(3000)),
    ]
    for other in strange:
        first.with_name(other).write_bytes(first.read_bytes())
    assert bodies(share) == sorted(BODIES)
    for sha256, _ in share.fetch("BR1"):
        share.done("BR1", sha256)
    assert sorted(path.name for path in box(tmp_path)) == sorted(strange)


@pytest.mark.parametrize("harm", ["cut", "longer", "swapped", "empty", "huge"])
def test_a_file_that_is_not_what_its_name_says_waits_until_it_is(
    share: FolderTransport, tmp_path: Path, harm: str
) -> None:
    first, second, _ = box(tmp_path)
    was = first.read_bytes()
    if harm == "huge":
        os.truncate(first, MAX_MESSAGE + 1)
    else:
        other = {"cut": was[:-1], "longer": was + b".", "swapped": second.read_bytes(), "empty": b""}[harm]
        first.write_bytes(other)
    assert bodies(share) == sorted(set(BODIES) - {was})
    assert len(box(tmp_path)) == 3
    first.write_bytes(was)
    assert bodies(share) == sorted(BODIES)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("raced", [False, True], ids=["lies there", "is put there between look and open"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_link_pipe_or_folder_in_a_files_place_is_not_read(
    share: FolderTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, raced: bool
) -> None:
    first = box(tmp_path)[0]
    was = first.read_bytes()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(was)  # what it points to would fit
    regular = os.lstat(first)
    first.unlink()
    if kind == "link":
        first.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(first)
    else:
        first.mkdir()
    if raced:
        real = Path.lstat
        monkeypatch.setattr(Path, "lstat", lambda path: regular if path == first else real(path))
    assert bodies(share) == sorted(set(BODIES) - {was})
    assert elsewhere.read_bytes() == was


def test_a_folder_in_a_messages_place_holds_back_that_message_alone(pair: Pair) -> None:
    pair.link()
    stuck, other = put(pair.hq, pair.br, definition(pair.hq), definition(pair.hq, 2))
    path = make_folder(pair.share / "BR1" / f"{travels_as(pair.hq, stuck)}.msg")
    (done,) = pair.sync(pair.hq)
    assert (state(pair.hq, stuck), state(pair.hq, other)) == ("queued", "delivered")
    assert f"{path} is a folder" in dict(done.unreachable)["BR1"]
    path.rmdir()
    pair.sync(pair.hq, pair.br, pair.hq)
    assert state(pair.hq, stuck) == "settled"


def test_a_file_in_the_mailboxs_place_is_named(tmp_path: Path) -> None:
    folder = FolderTransport(make_folder(tmp_path / "share"))
    (tmp_path / "share" / "BR1").write_bytes(b"")
    for act in (lambda: folder.deliver("BR1", Outgoing.of(b"x")), lambda: list(folder.fetch("BR1"))):
        with pytest.raises(UnreachableError, match="BR1"):
            act()
    assert not isinstance(RejectedError, UnreachableError)


def test_a_damaged_message_is_sent_again_and_arrives(pair: Pair) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq)
    only(pair).write_bytes(b"half")
    pair.sync(pair.br)
    assert state(pair.br, name, "in") is None
    pair.network.pass_time(2 * HOUR_NS)
    pair.sync(pair.hq, pair.br, pair.hq)
    assert state(pair.hq, name) == "settled"


def test_what_a_killed_sender_left_goes_after_a_week_and_not_before(share: FolderTransport, tmp_path: Path) -> None:
    old, young = (tmp_path / "share" / "BR1" / f"{TEMP}{name}" for name in ("old", "young"))
    for path, age in ((old, LEFT_OVER_SECONDS + 60), (young, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    assert bodies(share) == sorted(BODIES)
    assert (old.exists(), young.exists()) == (False, True)


# --- rights, and shares that go ---------------------------------------------------------------------------------------


def refusing(monkeypatch: pytest.MonkeyPatch, number: int, path: Path) -> None:
    """Opening ``path`` fails with an error number."""
    real = os.open

    def opened(name: Any, flags: int, *more: Any, **named: Any) -> int:
        if str(name) == str(path):
            raise OSError(number, os.strerror(number), str(name))
        return real(name, flags, *more, **named)

    monkeypatch.setattr(os, "open", opened)


@pytest.mark.parametrize(("number", "kind"), [(errno.EACCES, RefusedError), (errno.EIO, UnreachableError)])
def test_a_file_that_cannot_be_read_is_named_once_the_others_are_taken(
    share: FolderTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[CourierError]
) -> None:
    first = box(tmp_path)[0]
    was = first.read_bytes()
    refusing(monkeypatch, number, first)
    found = []
    with pytest.raises(kind, match=first.name):
        for _, body in share.fetch("BR1"):
            found.append(body)
    assert sorted(found) == sorted(set(BODIES) - {was})


def test_a_message_that_may_not_be_read_is_an_error_of_its_own_and_the_address_works(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.link()
    put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq)
    closed = only(pair)
    put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq)
    with monkeypatch.context() as patch:
        refusing(patch, errno.EACCES, closed)
        (done,) = pair.sync(pair.br)
    (error,) = done.failures
    assert (error.code, error.exit_code, str(closed) in error.message) == (Code.PERMISSION, 3, True)
    assert "let this user read" in error.hint
    assert (done.taken, done.unreachable, done.passed_over) == (1, (), ())
    # What was taken is acknowledged by the same address, in the same exchange.
    assert any((pair.share / "HQ1").glob("*.msg"))
    (done,) = pair.sync(pair.br)
    assert (done.taken, done.failures) == (1, ())


def test_a_share_that_is_read_only_is_told_by_a_name_the_operator_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mailbox = make_folder(tmp_path / "share"), make_folder(tmp_path / "share" / "BR1")

    def opened(name: Any, *_: Any, **__: Any) -> int:
        raise OSError(errno.EROFS, "Read-only file system", str(name))

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(UnreachableError) as caught:
        FolderTransport(folder).deliver("BR1", Outgoing.of(b"x"))
    assert caught.value.message == f"channel folder {folder}: Read-only file system ({mailbox})"


def test_a_share_that_goes_half_way_loses_nothing_and_what_was_taken_is_told(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.link()
    put(pair.hq, pair.br, *(definition(pair.hq, n) for n in range(4)))
    pair.sync(pair.hq)
    real, away = handlers.take_message, pair.share.with_name("away")
    taken: list[TakenMessage] = []

    def take(*args: Any) -> TakenMessage:
        taken.append(real(*args))
        if len(taken) == 1:
            pair.share.rename(away)
        return taken[-1]

    monkeypatch.setattr(incoming, "take_message", take)
    (done,) = pair.sync(pair.br)
    assert done.taken == 1
    assert "does not exist" in dict(done.unreachable)["HQ1"]
    away.rename(pair.share)
    (done,) = pair.sync(pair.br)
    assert (done.taken, done.unreachable) == (3, ())


def test_dead_letters_are_told_though_the_share_goes_after_them(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.link()
    bad = Outgoing.of(b"garbage")
    pair.transport(pair.hq, pair.br).deliver("BR1", bad)
    real = FolderTransport.fetch

    def fetch(self: FolderTransport, own: str) -> Iterator[tuple[str, bytes]]:
        yield from real(self, own)
        raise UnreachableError("gone", hint="mount it")

    monkeypatch.setattr(FolderTransport, "fetch", fetch)
    (done,) = pair.sync(pair.br)
    assert [name for name, _ in done.refused] == [bad.sha256]
    assert dict(done.unreachable)["HQ1"] == "gone"


def test_a_share_we_may_not_delete_on_does_not_fill_the_outbox(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round finds the message again and owes an acknowledgement again, which cannot be delivered."""
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq)

    def refused(self: FolderTransport, to: str, message: Outgoing) -> None:
        raise UnreachableError("Read-only file system", hint="mount it")

    with monkeypatch.context() as patch:
        patch.setattr(FolderTransport, "done", lambda *_: None)
        patch.setattr(FolderTransport, "deliver", refused)
        for _ in range(20):
            pair.sync(pair.br)
        with pair.br.catalogue.reading() as connection:
            assert len(messages.queued(connection)) <= 10
    pair.sync(pair.br, pair.hq)
    assert state(pair.hq, name) == "settled"


@pytest.mark.parametrize("refusals", [1, 2])
def test_the_log_names_a_dead_letter_only_where_what_came_with_it_did_not_let_it_in(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refusals: int
) -> None:
    """Custody entries may come before the notice that they need, in the same exchange."""
    pair.link()
    put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq)
    real, left = handlers.take_message, [refusals]

    def take(*args: Any) -> TakenMessage:
        if left[0]:
            left[0] -= 1
            raise RefusedError("not announced yet", hint="ship it", code=Code.NOT_ANNOUNCED)
        return real(*args)

    monkeypatch.setattr(incoming, "take_message", take)
    with caplog.at_level(logging.WARNING):
        (done,) = pair.sync(pair.br)
    told = [line for line in caplog.messages if line.startswith("dead letter")]
    assert (len(told), len(done.refused), done.taken) == ((0, 0, 1) if refusals == 1 else (1, 1, 0))
    assert [one.what for one in done.passed if not one.out] == ["taken in" if refusals == 1 else "refused"]


def test_much_garbage_is_not_held_in_memory(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.link()
    monkeypatch.setattr(incoming, "SECOND_LOOK_BYTES", 100)
    for n in range(10):
        pair.transport(pair.hq, pair.br).deliver("BR1", Outgoing.of(bytes([n]) * 40))
    looked: list[int] = []
    real = handlers.take_message

    def take(site: Any, body: bytes, table: Any) -> TakenMessage:
        looked.append(len(body))
        return real(site, body, table)

    monkeypatch.setattr(incoming, "take_message", take)
    (done,) = pair.sync(pair.br)
    assert (len(done.refused), len(looked)) == (10, 12)


def test_a_person_is_told_of_so_many_dead_letters_as_a_person_reads(pair: Pair) -> None:
    pair.link()
    for n in range(30):
        pair.transport(pair.hq, pair.br).deliver("BR1", Outgoing.of(bytes([n]) * 40))
    said = Home(code="BR1", path=pair.br.home).says("channel", "sync")
    assert said.count("Refused ") == 21
    assert "Refused 10 more messages: courier channel status --json" in said


def nobody_deletes_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """On this share a site may not delete in its own box."""
    real = Path.unlink

    def unlink(path: Path, **more: bool) -> None:
        if path.parent == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        real(path, **more)

    monkeypatch.setattr(Path, "unlink", unlink)


def test_where_the_receiver_may_not_delete_the_writer_takes_back_what_is_acknowledged(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.link()
    taken, waiting = put(pair.hq, pair.br, definition(pair.hq)), put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq)
    mailbox = pair.share / "BR1"
    stranger = mailbox / f"{'ab' * 32}.msg"
    stranger.write_bytes(b"of another site, on its way")
    with monkeypatch.context() as patch:
        nobody_deletes_in(patch, mailbox)
        pair.sync(pair.br)
    assert len(list(mailbox.glob("*.msg"))) == 3
    assert {state(pair.hq, name) for name in (*taken, *waiting)} == {"delivered"}
    pair.sync(pair.hq)
    assert {state(pair.hq, name) for name in (*taken, *waiting)} == {"settled"}
    assert list(mailbox.glob("*.msg")) == [stranger]


def test_the_writer_takes_back_its_own_old_acknowledgements_and_nothing_of_other_sites(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acknowledgement has none itself, so that its writer never hears that it was taken."""
    pair.link()
    put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq, pair.br)
    mailbox = pair.share / "HQ1"
    (ours,) = mailbox.glob("*.msg")
    others, half = mailbox / f"{'ab' * 32}.msg", mailbox / f"{TEMP}half"
    for path in others, half:
        path.write_bytes(b"of another site, on its way")
    # As a stick that travels, or a clock that was wrong, makes it look.
    os.utime(others, (1, 1))
    os.utime(half, (time.time() - LEFT_OVER_SECONDS - 60,) * 2)
    with monkeypatch.context() as patch:
        nobody_deletes_in(patch, mailbox)
        pair.sync(pair.hq)
    pair.clock.ns += EXPIRY_NS - HOUR_NS
    pair.sync(pair.br)
    assert sorted(mailbox.iterdir()) == sorted([ours, others])
    pair.clock.ns += 2 * HOUR_NS
    pair.sync(pair.br)
    assert list(mailbox.iterdir()) == [others]
    assert kept_names(pair.br) == []


def test_the_name_of_an_acknowledgement_is_kept_only_while_it_lies_there(pair: Pair) -> None:
    pair.link()
    put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq, pair.br)
    assert [f"{name}.msg" for name in kept_names(pair.br)] == [path.name for path in (pair.share / "HQ1").iterdir()]
    pair.sync(pair.br)
    assert len(kept_names(pair.br)) == 1
    pair.sync(pair.hq, pair.br)
    assert kept_names(pair.br) == []


def kept_names(site: Site) -> list[str]:
    """The names of acknowledgements that a site has handed over and still knows."""
    with site.catalogue.reading() as connection:
        return [one.name for one in messages.in_state(connection, "out", "handed")]


# --- clocks that jump -------------------------------------------------------------------------------------------------


def test_what_was_handed_over_while_the_clock_was_ahead_goes_again_once_it_is_right(pair: Pair) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    right = pair.clock.ns
    pair.clock.ns += EXPIRY_NS // 3
    deliver(pair.hq, Run(network=pair.network))
    only(pair).unlink()  # lost on the way
    pair.clock.ns = right
    deliver(pair.hq, Run(network=pair.network))
    assert only(pair).stem == travels_as(pair.hq, name)
    pair.sync(pair.br, pair.hq)
    assert state(pair.hq, name) == "settled"


def test_what_expired_while_the_clock_was_ahead_lives_again_once_it_is_right(pair: Pair) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    right = pair.clock.ns
    pair.clock.ns += 2 * EXPIRY_NS
    deliver(pair.hq, Run(network=pair.network))
    assert state(pair.hq, name) == "dead"
    pair.clock.ns = right
    pair.sync(pair.hq, pair.br, pair.hq)
    assert state(pair.hq, name) == "settled"


def test_an_address_that_failed_while_the_clock_was_ahead_is_tried_once_it_is_right(pair: Pair) -> None:
    add_address(pair.hq, "BR1", str(pair.share / "later"))
    right = pair.clock.ns
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    pair.clock.ns += 24 * HOUR_NS
    synchronise(pair.hq, handlers=MESSAGE_HANDLERS, network=pair.network, patient=True)
    pair.clock.ns = right
    (pair.share / "later").mkdir()
    synchronise(pair.hq, handlers=MESSAGE_HANDLERS, network=pair.network, patient=True)
    assert state(pair.hq, name) == "delivered"


# --- what an operator types -------------------------------------------------------------------------------------------


def test_slips_with_addresses_are_told_with_their_remedy(pair: Pair, tmp_path: Path) -> None:
    hq = Home(code="HQ1", path=pair.hq.home)
    assert hq.fails("channel", "address", "add", "HQ1", tmp_path, code=2)["message"] == "HQ1 is this site itself"
    assert "Note: that folder is not there now" in hq.says("channel", "address", "add", "BR1", tmp_path / "gone")
    assert "Note" not in hq.says("channel", "address", "add", "BR1", tmp_path)
    (tmp_path / "file").touch()
    for where, word in (
        (pair.hq.home, "is in the home of this site"),
        (pair.hq.home / "store", "is in the home of this site"),
        (tmp_path / "file", "is a file"),
        ("hq.example:8443", "is not an existing folder"),
        ("https:/hq.example", "is not an existing folder"),
        ("ftp://hq.example", "is not an address"),
        (" ", "the address is empty"),
    ):
        assert word in hq.fails("channel", "address", "add", "BR1", where, code=2)["message"]
    assert hq("channel", "address", "add", "BR1", "Poll")["address"] == "poll"
    error = hq.fails("channel", "address", "set", "BR1", tmp_path, "--priority", "1", code=2)
    assert f"courier channel address set BR1 {tmp_path / 'gone'} --priority N" in error["hint"]


def test_an_address_after_poll_by_which_nothing_goes_is_told(pair: Pair, tmp_path: Path) -> None:
    hq = Home(code="HQ1", path=pair.hq.home)
    (tmp_path / "stick").mkdir()
    hq("channel", "address", "add", "BR1", "poll")
    note = "BR1 fetches from our server first (poll, priority 1)"
    assert note in hq.says("channel", "address", "add", "BR1", tmp_path)
    hq("channel", "address", "set", "BR1", "poll", "--priority", "3")
    assert note not in hq.says("channel", "address", "add", "BR1", tmp_path / "stick", "--priority", "1")


def test_a_share_that_is_full_is_named_by_the_test_of_its_address(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.link()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("courier.channel.addresses.os.fsync", full)
    with pytest.raises(NoSpaceError, match=re.escape(str(pair.share))):
        measure_address(pair.hq, "BR1", None, budget=1000, network=pair.network)
    assert list(pair.share.iterdir()) == []
