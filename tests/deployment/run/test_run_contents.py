"""Content comes as the option says, is verified as it is read in each way, and the documented failure can be seen."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from deploy_client import DRIVERS, RAW, Computer, disk_of, sequence, step, wim_of
from faulty_server import faulty

from courier.distribution import source_list
from courier.distribution.folder_source import folder_source
from courier.distribution.http_source import http_source
from courier.distribution.source import Patience
from courier.errors import CourierError, DamagedError, NoSpaceError, RefusedError, UnreachableError
from formats.documents.point import Withdrawn

PATIENCE = Patience(connect=2, answer=0.5, stall=0.3, span=2, busy=0.2)
DRIVE = sequence(step("install-driver", package="HQ100002", to="inf"))
ON_DISK = sequence(
    step("partition", parts=[("A", "linux", "8MB", "none")]),
    step("apply-image", package="HQ100003", part="A"),
)
OPTIONS = ["download-all", "as-needed", "run-from-point"]


def _is_installed(folder: Path) -> bool:
    return {name: (folder / "inf" / name).read_bytes() for name in DRIVERS} == DRIVERS


@pytest.mark.parametrize("option", OPTIONS)
def test_the_option_decides_what_is_fetched_before_the_first_step(
    computer: Computer, option: Any, tmp_path: Path
) -> None:
    policy = computer.policy(
        sequence(
            step("run", command=["sh", "-c", f"ls {computer.cache} > {tmp_path}/seen; true"]),
            step("install-driver", package="HQ100002", to="inf"),
            step("install-driver", package="HQ100003", to="raw", when=[{"variable": "none", "exists": True}]),
        ),
        option=option,
    )
    computer.run(policy, tmp_path / "new")
    assert _is_installed(tmp_path / "new")
    # Of what no step here uses, nothing is fetched.
    entries = ["HQ100002-1"] if option != "run-from-point" else []
    seen = (tmp_path / "seen").read_text().split()
    assert [name for name in seen if name.startswith("HQ")] == (entries if option == "download-all" else [])
    held = sorted(path.name for path in computer.cache.glob("HQ*"))
    assert held == entries
    # Nobody uses it any more, so it may go.
    records = [path.read_bytes() for path in computer.cache.glob("*/entry.json")]
    assert not any(b"HQ1-D00001" in data for data in records)


@pytest.mark.parametrize("option", ["download-all", "as-needed"])
def test_what_was_altered_in_the_cache_is_found_as_it_is_read_and_fetched_again(
    computer: Computer, option: Any, tmp_path: Path
) -> None:
    computer.run(computer.policy(DRIVE, option=option), tmp_path / "one")
    spoiled = computer.cache / "HQ100002-1" / "files" / "gpu.inf"
    info = spoiled.stat()
    spoiled.write_bytes(b"GRAPHICS")

    os.utime(spoiled, ns=(info.st_mtime_ns, info.st_mtime_ns))
    computer.run(computer.policy(DRIVE, option=option), tmp_path / "two", anew=True)
    assert _is_installed(tmp_path / "two")
    assert any("gpu.inf in the cache differs" in text for text in computer.warned)
    assert spoiled.read_bytes() == DRIVERS["gpu.inf"]


def test_an_altered_image_in_the_cache_does_not_stay_on_the_disk(computer: Computer, tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.img", 32)
    computer.run(computer.policy(ON_DISK), disk)
    spoiled = computer.cache / "HQ100003-1" / "files" / "raw.img"
    info = spoiled.stat()
    spoiled.write_bytes(b"RAW" + RAW[3:])

    os.utime(spoiled, ns=(info.st_mtime_ns, info.st_mtime_ns))
    computer.run(computer.policy(ON_DISK), disk, anew=True, erase=True)
    with disk.open("rb") as source:
        source.seek(1 << 20)
        assert source.read(len(RAW)) == RAW


def test_what_is_in_the_cache_whole_is_used_though_no_point_answers(computer: Computer, tmp_path: Path) -> None:
    computer.run(computer.policy(DRIVE), tmp_path / "one")
    gone = [folder_source(str(tmp_path / "gone"))]
    computer.run(computer.policy(DRIVE), tmp_path / "two", anew=True, points=gone, retry_for=0)
    assert _is_installed(tmp_path / "two")
    assert any("is in the cache already" in text for text in computer.warned)
    with pytest.raises(UnreachableError):
        policy = computer.policy(DRIVE, option="run-from-point")
        computer.run(policy, tmp_path / "three", anew=True, points=gone, retry_for=0)


@pytest.mark.parametrize("option", OPTIONS[1:])
@pytest.mark.parametrize("fault", ["wrong bytes", "cut", "no parts", "500"])
def test_another_point_goes_on_where_one_fails(computer: Computer, option: Any, fault: str, tmp_path: Path) -> None:
    def choose(path: str) -> str:
        return fault if "content" in path else ""

    disk = disk_of(tmp_path / "disk.img", 32)
    with faulty(computer.point.folder, choose) as bad:
        points = [http_source(bad.url, patience=PATIENCE), folder_source(str(computer.point.folder))]
        computer.run(computer.policy(ON_DISK, option=option), disk, points=points)
    with disk.open("rb") as source:
        source.seek(1 << 20)
        assert source.read(len(RAW)) == RAW


def test_a_point_with_wrong_bytes_alone_is_refused(computer: Computer, tmp_path: Path) -> None:
    content = computer.point.content(DRIVERS["net/e1000.sys"])
    content.write_bytes(b"x" * content.stat().st_size)
    with pytest.raises(DamagedError, match="no source has the right bytes"):
        computer.run(computer.policy(DRIVE, option="run-from-point"), tmp_path / "new")


@pytest.mark.parametrize("fault", ["500", "cut"])
def test_a_point_that_always_comes_back_and_fails_is_given_up_after_the_time_for_it(
    computer: Computer, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(path: str) -> str:
        return fault if "content" in path else ""

    monkeypatch.setattr(source_list, "LAST_PAUSE", 0.2)  # by default, too, it is shorter than the time that is given
    began = time.monotonic()
    with faulty(computer.point.folder, choose) as bad:
        points = [http_source(bad.url, patience=PATIENCE)]
        with pytest.raises(UnreachableError, match="no point answers as it should"):
            computer.run(
                computer.policy(ON_DISK, option="run-from-point"),
                disk_of(tmp_path / "disk.img", 32),
                points=points,
                retry_for=1,
            )
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("option", ["download-all", "as-needed"])
def test_an_image_whose_head_was_altered_in_the_cache_is_not_judged_by_it(
    computer: Computer, option: Any, tmp_path: Path
) -> None:
    computer.point.put({"install.wim": wim_of(tmp_path, {"a.txt": b"a"})}, package="HQ100009")
    computer.point.publish()
    policy = computer.policy(sequence(step("apply-image", package="HQ100009")), option=option)
    computer.run(policy, tmp_path / "one")
    (cached,) = computer.cache.rglob("install.wim")
    times = cached.stat()
    with cached.open("r+b") as out:
        out.write(bytes(64))
    os.utime(cached, ns=(times.st_atime_ns, times.st_mtime_ns))  # as where the disk went bad
    computer.run(policy, tmp_path / "two", anew=True)
    assert (tmp_path / "two" / "a.txt").read_bytes() == b"a"


@pytest.mark.parametrize("option", OPTIONS)
def test_an_image_that_names_a_place_that_no_file_has_is_called_damaged(
    computer: Computer, option: Any, tmp_path: Path
) -> None:
    hostile = bytearray(wim_of(tmp_path, {"a.txt": b"a"}))
    hostile[80:88] = b"\xff" * 8
    computer.point.put({"install.wim": bytes(hostile)}, package="HQ100009")
    computer.point.publish()
    policy = computer.policy(sequence(step("apply-image", package="HQ100009")), option=option)
    with pytest.raises(DamagedError, match="ends before its description"):
        computer.run(policy, tmp_path / "one")


@pytest.mark.parametrize("option", OPTIONS)
def test_a_package_that_was_withdrawn_since_is_not_installed(computer: Computer, option: Any, tmp_path: Path) -> None:
    policy = computer.policy(DRIVE, option=option)
    kept = [ref for ref in computer.point.refs if ref.package != "HQ100002"]
    computer.point.publish(
        packages=tuple(kept), withdrawn=(Withdrawn(package="HQ100002", version=1, reason="it burns"),)
    )
    with pytest.raises(RefusedError, match="it burns"):
        computer.run(policy, tmp_path / "new")


def test_other_content_than_the_policy_names_is_not_used(computer: Computer, tmp_path: Path) -> None:
    policy = computer.policy(DRIVE)
    computer.point.refs = [ref for ref in computer.point.refs if ref.package != "HQ100002"]
    computer.point.put({"gpu.inf": b"other"}, package="HQ100002")
    with pytest.raises(RefusedError, match="other content"):
        computer.run(policy, tmp_path / "new")


def test_a_package_that_does_not_fit_in_the_cache_is_named_with_the_remedy(computer: Computer, tmp_path: Path) -> None:
    from courier.distribution.cache_download import making_cache
    from courier.distribution.cache_folder import apply_settings, changing

    making_cache(computer.cache)
    with changing(computer.cache) as cache:
        apply_settings(cache, size=1000)
    with pytest.raises(NoSpaceError) as caught:
        computer.run(computer.policy(DRIVE), tmp_path / "new")
    assert "courier cache config --cache" in caught.value.hint


WIPING = sequence(
    step("partition", parts=[("A", "data", "rest", "ext4")]),
    step("install-driver", package="HQ100002", part="A", to="inf"),
)


def test_downloading_all_before_the_disk_is_erased_is_refused(computer: Computer, tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.img", 64)
    with pytest.raises(RefusedError) as caught:
        computer.run(computer.policy(WIPING, option="download-all"), disk)
    assert caught.value.code == "repartition-erases-cache"
    assert "--option run-from-point" in caught.value.hint
    assert not disk.read_bytes().strip(b"\0")


def test_forced_it_shows_the_documented_failure(computer: Computer, tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.img", 64)
    policy = computer.policy(WIPING, option="download-all")
    for _ in range(2):  # also when it is tried again
        with pytest.raises(CourierError) as caught:
            computer.run(policy, disk, force_download=True)
        assert "was in the cache on the disk that this task sequence erased" in caught.value.message
    assert [(one.step, one.outcome) for one in computer.told()][:6] == [
        (0, "started"), (1, "started"), (1, "done"), (2, "started"), (2, "failed"), (0, "failed"),
    ]  # fmt: skip
    assert not computer.cache.exists()  # this computer's own one has no part in it
