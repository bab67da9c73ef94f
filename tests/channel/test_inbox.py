"""The inbox of the server: uploads and waiting messages are bounded, and nothing is taken that is not whole."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from channel_network import Pair, came

from courier.channel.inbox import MAX_WAITING, FullError, Inbox, OutOfStepError, WrongDigestError
from courier.channel.transport import MAX_MESSAGE, Outgoing
from courier.errors import UnreachableError
from courier.site.outbox import PART

ROOT = Path(__file__).resolve().parents[2]
NAME = hashlib.sha256(b"message").hexdigest()


def test_uploads_count_for_what_a_site_may_put_here_in_all(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, room={"HQ1": 3 * PART, "BR2": 0}.__getitem__)
    names = [hashlib.sha256(bytes([n])).hexdigest() for n in range(2)]
    assert inbox.store("HQ1", names[0], start=0, total=2 * PART, data=b"beginning") == 9
    with pytest.raises(FullError, match="as much here as one site may"):
        inbox.store("HQ1", names[1], start=0, total=2 * PART, data=b"beginning")
    small = b"an acknowledgement"  # is taken all the same, and dealt with soon
    inbox.store("BR2", hashlib.sha256(small).hexdigest(), start=0, total=len(small), data=small)


def test_uploads_that_are_not_whole_are_bounded_and_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox(tmp_path)
    names = [hashlib.sha256(bytes([n])).hexdigest() for n in range(5)]
    for name in names[:4]:
        assert inbox.store("HQ1", name, start=0, total=MAX_MESSAGE, data=b"beginning") == 9
    with pytest.raises(FullError):
        inbox.store("HQ1", names[4], start=0, total=MAX_MESSAGE, data=b"beginning")
    assert inbox.store("BR2", names[4], start=0, total=MAX_MESSAGE, data=b"beginning") == 9
    with pytest.raises(OutOfStepError) as error:
        inbox.store("HQ1", names[0], start=5, total=MAX_MESSAGE, data=b"x")
    assert error.value.offset == inbox.offset("HQ1", names[0])[0] == 9
    monkeypatch.setattr("courier.channel.inbox.PART_LIFE_SECONDS", -10)
    inbox.sweep()
    assert not list(tmp_path.rglob("*.part"))


def test_an_upload_that_is_not_what_its_name_says_is_given_up(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    assert inbox.store("HQ1", NAME, start=0, total=7, data=b"mass") == 4
    with pytest.raises(WrongDigestError):
        inbox.store("HQ1", NAME, start=4, total=7, data=b"age")
    assert inbox.offset("HQ1", NAME) == (0, False)
    assert inbox.store("HQ1", NAME, start=0, total=7, data=b"mess") == 4
    assert inbox.store("HQ1", NAME, start=4, total=7, data=b"age") == 7
    assert [body for _, _, body in inbox.fetch()] == [b"message"]


@pytest.mark.parametrize("start", [0, 2])
def test_an_upload_that_came_whole_but_was_not_taken_is_taken_with_the_next_part(tmp_path: Path, start: int) -> None:
    inbox = Inbox(tmp_path)
    part = tmp_path / "part" / "HQ1" / f"{NAME}-7.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"message")  # the server was killed before it was in its place
    assert inbox.store("HQ1", NAME, start=start, total=7, data=b"message"[start:5]) == 7
    assert [body for _, _, body in inbox.fetch()] == [b"message"]
    assert not part.exists()


def test_an_upload_for_which_there_was_no_room_is_taken_once_there_is(
    http: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = Outgoing.of(bytes(2 * PART + 1))
    transport = http.transport(http.hq, http.br)
    with monkeypatch.context() as full:
        full.setattr("courier.channel.inbox.MAX_WAITING", 0)
        with pytest.raises(UnreachableError, match="507"):
            transport.deliver("BR1", message)
    transport.deliver("BR1", message)
    assert [name for name, _ in came(http.br)] == [message.sha256]


def test_messages_that_wait_are_bounded_for_each_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_WAITING > 1000
    monkeypatch.setattr("courier.channel.inbox.MAX_WAITING", 2)
    inbox = Inbox(tmp_path)
    bodies = [b"%d" % n for n in range(3)]
    names = [hashlib.sha256(body).hexdigest() for body in bodies]
    for name, body in zip(names[:2], bodies, strict=False):
        inbox.store("HQ1", name, start=0, total=1, data=body)
    with pytest.raises(FullError):
        inbox.store("HQ1", names[2], start=0, total=1, data=bodies[2])
    (tmp_path / "in" / "HQ1" / f"{names[0]}.msg").unlink()  # another process took it
    inbox.store("HQ1", names[2], start=0, total=1, data=bodies[2])
