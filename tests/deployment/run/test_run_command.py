"""The command as a computer runs it: what it refuses, what it prints, and how it goes on after a real kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from deploy_client import DRIVERS, Computer, sequence, step
from download_points import Signing
from journey import Ran, environment, run

from courier.error_codes import RESTART
from courier.errors import RefusedError
from formats.documents import card as card_doc
from formats.envelope import sign

DRIVE = sequence(step("install-driver", package="HQ100002", to="inf"))
HOUR = 3600 * 10**9


def _words(computer: Computer, into: Path, *more: object, name: str = "pc-1") -> list[str]:
    return [
        "deploy", "run", "--computer", name, "--policy", str(computer.root / "PC-1.policy"),
        "--card", str(computer.point.card), "--into", str(into), "--cache", str(computer.cache),
        "--report", str(computer.reports), *map(str, more),
    ]  # fmt: skip


def _run(computer: Computer, into: Path, *more: object, code: int = 0, name: str = "pc-1") -> Ran:
    return run(*_words(computer, into, *more, name=name), "--json", code=code)


def test_it_says_what_became_of_each_step_and_leaves_its_work_beside_the_target(
    computer: Computer, tmp_path: Path
) -> None:
    computer.policy(sequence(step("install-driver", package="HQ100002", to="inf"), step("run", command=["true"])))
    document = _run(computer, tmp_path / "new").document
    assert document == {
        "computer": "pc-1",
        "into": str(tmp_path / "new"),
        "work": str(tmp_path / ".new.courier-deploy"),
        "state": "complete",
        "already": False,
        "steps": {"done": [1, 2], "skipped": [], "failed": []},
        "vouched_by": {f"{one.package}:{one.version}": "HQ1" for one in computer.point.refs},
    }
    assert (tmp_path / "new" / "inf" / "gpu.inf").read_bytes() == DRIVERS["gpu.inf"]
    assert computer.told()[-1].outcome == "done"
    assert _run(computer, tmp_path / "new").document["already"]
    assert "was run before" in run(*_words(computer, tmp_path / "new")).out


def test_it_says_for_which_packages_their_source_does_not_vouch(computer: Computer, tmp_path: Path) -> None:
    computer.point.put({"a": b"of another site"}, package="BR100001")
    computer.policy(DRIVE)
    vouched = _run(computer, tmp_path / "new").document["vouched_by"]
    assert vouched["BR100001:1"] == vouched["HQ100002:1"] == "HQ1"
    said = run(*_words(computer, tmp_path / "new"), "--anew", "--erase").out
    assert "BR100001:1: HQ1 alone vouches for it, as the card of BR1 was not given (--card)" in said
    assert said.count("alone vouches") == 1


def test_a_restart_ends_it_with_a_code_of_its_own(computer: Computer, tmp_path: Path) -> None:
    computer.policy(sequence(step("restart"), step("run", command=["true"])))
    assert _run(computer, tmp_path / "new", "--restart-is-end", code=RESTART).document["state"] == "restart"
    assert _run(computer, tmp_path / "new", "--restart-is-end").document["steps"]["done"] == [1, 2]


def test_a_step_that_fails_has_a_code_of_its_own(computer: Computer, tmp_path: Path) -> None:
    computer.policy(sequence(step("run", name="breaks", command=["sh", "-c", "echo why; exit 7"])))
    error = _run(computer, tmp_path / "new", code=12).error
    assert error["code"] == "step-failed"
    assert error["message"] == "step 1 of 1: breaks: sh ended with exit code 7: why"


def test_the_policy_of_another_computer_is_refused(computer: Computer, tmp_path: Path) -> None:
    computer.policy(DRIVE)
    ran = _run(computer, tmp_path / "new", name="PC-2", code=3)
    assert ran.error["code"] == "not-for-us"
    assert "courier deploy policy HQ1-D00001 PC-2" in ran.error["hint"]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("times", "says"),
    [
        ({"available_ns": HOUR}, "is available from"),
        ({"available_ns": -2 * HOUR, "expires_ns": -HOUR}, "expired at"),
        ({"available_ns": -HOUR, "expires_ns": HOUR, "deadline_ns": -HOUR // 2}, ""),
    ],
)
def test_it_begins_only_while_the_deployment_is_there_for_it(
    computer: Computer, times: dict[str, Any], says: str, tmp_path: Path
) -> None:
    computer.policy(DRIVE, **{name: time.time_ns() + value for name, value in times.items()})
    ran = _run(computer, tmp_path / "new", code=3 if says else 0)
    if says:
        assert says in ran.error["message"]
        assert not (tmp_path / "new").exists()


def test_a_run_that_was_begun_in_time_may_end_later(computer: Computer, tmp_path: Path) -> None:
    end = time.time_ns() + HOUR
    policy = computer.policy(sequence(step("restart"), step("run", command=["true"])), expires_ns=end)
    assert computer.run(policy, tmp_path / "new", restart_is_end=True).restart
    assert computer.run(policy, tmp_path / "new", now_ns=end + HOUR).done == (1, 2)
    with pytest.raises(RefusedError, match="expired"):
        computer.run(policy, tmp_path / "new", now_ns=end, anew=True)


def test_a_policy_that_the_site_did_not_sign_is_refused(computer: Computer, tmp_path: Path) -> None:
    path = computer.policy(DRIVE)
    other = Signing("HQ1", 9)
    stranger = tmp_path / "other.card"
    stranger.write_bytes(sign(other.card.payload(), card_doc.TYPE, [(other.key.keyid, other._signer)]).encode())
    words = _words(computer, tmp_path / "new")
    words[words.index("--card") + 1] = str(stranger)
    assert run(*words, "--json", code=3).error["code"] in ("bad-signature", "unknown-key")
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"payload":"', b'"payload":"A', 1))
    _refuse_altered(computer, tmp_path / "new")


def _refuse_altered(computer: Computer, into: Path) -> None:
    ran = run(*_words(computer, into), "--json", code=None)
    assert ran.code in (3, 4)
    assert not into.exists()


def test_a_sequence_that_cannot_be_read_is_refused_with_what_is_wrong(computer: Computer, tmp_path: Path) -> None:
    computer.policy('name = "x"\n[[step]]\ntype = "dance"\nname = "d"\n')
    ran = _run(computer, tmp_path / "new", code=3)
    assert ran.error["code"] == "sequence"
    assert "dance" in ran.error["message"]


def test_a_client_that_is_killed_leaves_its_programs_the_lock_and_goes_on_once_they_ended(
    computer: Computer, tmp_path: Path
) -> None:
    go, seen = tmp_path / "go", tmp_path / "seen"
    script = f"echo x >> {seen}; while ! test -e {go}; do sleep 0.02; done"
    computer.policy(
        sequence(
            step("install-driver", package="HQ100002", to="inf"),
            step("run", name="waits", command=["sh", "-c", script]),
            step("run", name="last", command=["sh", "-c", "echo end > $COURIER_TARGET/end"]),
        )
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "courier", *_words(computer, tmp_path / "new")],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 30
    while not seen.exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(20)
    ran = _run(computer, tmp_path / "new", code=9)
    assert "a program that it started" in ran.error["message"]
    go.touch()
    document: dict[str, Any] = {}
    while time.monotonic() < until and not document.get("steps"):
        ran = run(*_words(computer, tmp_path / "new"), "--json", code=None)
        document = ran.document
        assert ran.code in (0, 9), ran.err
        time.sleep(0.02)
    assert document["steps"] == {"done": [1, 2, 3], "skipped": [], "failed": []}
    assert (tmp_path / "new" / "end").read_text() == "end\n"
    assert seen.read_text() == "x\nx\n"
    told = [(one.step, one.outcome) for one in computer.told()]
    assert told.count((1, "done")) == 1
    assert told[-1] == (0, "done")
