"""A journal says what was done, however it was cut; it is bound to one policy and one target."""

from __future__ import annotations

from pathlib import Path

import pytest

from courier.deployment.run.journal import CONTINUED, WHOLE, Journal, has_begun, open_journal
from courier.errors import DamagedError, RefusedError

POLICY, OTHER = "a" * 64, "b" * 64


def _open(path: Path, *, policy: str = POLICY, target: str = "/disk", anew: bool = False) -> Journal:
    return open_journal(path, policy=policy, target=target, anew=anew)


def test_a_journal_opened_again_has_all_that_was_added(tmp_path: Path) -> None:
    one = _open(tmp_path / "journal")
    one.add(1, "started")
    one.add(1, "done", message="m" * 5000, detail="complete")
    again = _open(tmp_path / "journal")
    assert (again.head, again.events) == (one.head, one.events)
    assert again.is_begun
    assert not again.is_finished
    again.add(WHOLE, "done")
    assert _open(tmp_path / "journal").is_finished


def test_a_line_that_was_being_written_when_the_client_was_cut_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    one = _open(path)
    one.add(1, "started")
    before = path.read_bytes()
    one.add(1, "done")
    whole = path.read_bytes()
    for cut in range(len(before), len(whole)):
        path.write_bytes(whole[:cut])
        found = _open(path)
        assert [event.state for event in found.events] == ["started"]
        found.add(2, "started")
        assert [event.step for event in _open(path).events] == [1, 2]


def test_a_step_is_over_when_it_is_done_skipped_or_failed_and_was_gone_on_from(tmp_path: Path) -> None:
    journal = _open(tmp_path / "journal")
    journal.add(1, "started")
    journal.add(2, "done")
    journal.add(3, "skipped")
    journal.add(4, "failed")
    journal.add(5, "failed", detail=CONTINUED)
    journal.add(2, "started")
    assert [journal.is_over(step) for step in range(1, 7)] == [False, False, True, False, True, False]


def test_a_journal_of_another_policy_or_target_is_kept_until_told_otherwise(tmp_path: Path) -> None:
    first = _open(tmp_path / "journal")
    first.add(1, "started")
    with pytest.raises(RefusedError, match="another deployment"):
        _open(tmp_path / "journal", policy=OTHER)
    with pytest.raises(RefusedError, match="/disk"):
        _open(tmp_path / "journal", target="/else")
    anew = _open(tmp_path / "journal", policy=OTHER, anew=True)
    assert anew.events == []
    assert anew.head.run != first.head.run


def test_a_journal_that_cannot_be_read_is_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    _open(path).add(1, "started")
    path.write_bytes(path.read_bytes().replace(b"started", b"begun.."))
    with pytest.raises(DamagedError):
        _open(path)
    path.write_bytes(b"")
    with pytest.raises(DamagedError):
        _open(path)


def test_a_journal_without_a_line_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"")
    with pytest.raises(DamagedError, match="no whole line"):
        has_begun(tmp_path / "journal")
