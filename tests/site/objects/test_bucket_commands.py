"""What operators see when the bucket of their site is not what it should be: each fault by a command of theirs.

After each the home is as it was before, and the same command again ends the job once the fault is gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_s3 import Answer, FaultyServer, faulty_s3
from journey import Home, Ran, noise, run, write_files
from s3_server import new_bucket

from courier.site.objects.bucket import Bucket, ObjectInfo, parse_bucket
from courier.site.objects.trial import OWNER
from courier.site.settings import Settings

SMALL, LARGE = b"small" * 100, random.Random(1).randbytes(3 << 20)
GOOD: Callable[[str, str], Answer | None] = lambda *_: None  # noqa: E731
DENIED = Answer(status=403, code="AccessDenied")
VERBS: dict[str, Callable[[str, str], bool]] = {
    "write": lambda method, path: method == "PUT" or (method == "POST" and "delete" not in path),
    "read": lambda method, path: method in ("GET", "HEAD") and "list-type" not in path,
    "list": lambda method, path: method == "GET" and "list-type" in path,
    "delete": lambda method, path: method == "DELETE" or (method == "POST" and "delete" in path),
}


def only(verb: str, answer: Answer = DENIED) -> Callable[[str, str], Answer | None]:
    """Give that answer to every request of a verb."""
    return lambda method, path: answer if VERBS[verb](method, path) else None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    new_bucket()
    monkeypatch.setitem(Bucket.__init__.__kwdefaults__ or {}, "retry_seconds", 0.5)
    with faulty_s3() as running:
        yield running


@pytest.fixture
def address(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> str:
    found = str(new_bucket().address)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    return found


@pytest.fixture
def hq(address: str, tmp_path: Path) -> Home:
    run("init", "--site", "HQ1", "--name", "Headquarters", "--home", tmp_path / "HQ1", "--store", address)
    return Home(code="HQ1", path=tmp_path / "HQ1")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "files", a=SMALL, b=LARGE, c=noise(200_000))


def init(address: str, home: Path) -> Ran:
    return run("init", "--site", "HQ1", "--name", "Headquarters", "--home", home, "--store", address)


def bucket_of(home: Home) -> Bucket:
    return Bucket(parse_bucket(Settings.load(home.path).store))


def rows_of(home: Home) -> object:
    return home.state()["catalogue"]


def init_fails(address: str, home: Path, code: int) -> dict[str, Any]:
    error = run(
        "init", "--site", "HQ1", "--name", "Headquarters", "--home", home, "--store", address, "--json", code=code
    ).error
    assert not home.exists()
    return error


@pytest.mark.parametrize("verb", ["write", "read", "list"])
def test_a_site_is_not_made_where_the_key_lacks_a_right(
    server: FaultyServer, address: str, tmp_path: Path, verb: str
) -> None:
    server.fault = only(verb)
    error = init_fails(address, tmp_path / "HQ1", 3)
    assert f"the key may not {verb}" in error["message"]
    server.fault = GOOD
    init(address, tmp_path / "HQ1")


def test_a_site_is_made_without_the_right_to_delete_and_says_what_comes_of_it(
    server: FaultyServer, address: str, files: Path, tmp_path: Path
) -> None:
    server.fault = only("delete")
    assert "may not delete" in init(address, tmp_path / "HQ1").err
    hq = Home(code="HQ1", path=tmp_path / "HQ1")
    hq("package", "add", files, "--name", "Image")
    removed = hq("package", "remove", "HQ100001")
    assert removed["freed"] == 0
    assert removed["pending"] > len(LARGE)
    server.fault = GOOD
    hq("package", "add", files / "a", "--name", "Other")
    assert hq("package", "remove", "HQ100002")["freed"] > removed["pending"]
    assert hq("doctor")["findings"] == []


def test_a_second_home_on_one_store_is_warned_and_a_lost_one_has_its_content_again(
    hq: Home, address: str, files: Path, tmp_path: Path
) -> None:
    hq("package", "add", files, "--name", "Image")
    said = init(address, tmp_path / "again").err
    assert "if it is in use, remove this one" in said
    again = Home(code="HQ1", path=tmp_path / "again")
    assert again("doctor", "--mend")["findings"][0]["mended"]
    large = [one for one in bucket_of(hq).list("content") if one.size >= len(LARGE)]
    again("package", "add", files, "--name", "Image")
    assert [one for one in bucket_of(hq).list("content") if one.size >= len(LARGE)] == large


def test_a_site_is_not_made_in_a_bucket_that_is_elsewhere(
    server: FaultyServer, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = init_fails("s3://no-such-bucket/x", tmp_path / "HQ1", 6)
    assert "there is no bucket no-such-bucket" in error["message"]
    server.fault = lambda *_: Answer(status=301, code="PermanentRedirect")
    assert "another region" in init_fails(address, tmp_path / "HQ1", 3)["message"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "127.0.0.1:9" in init_fails(address, tmp_path / "HQ1", 7)["message"]


COMMANDS = {
    "write": ("package", "add", "FILES", "--name", "Image", "--id", "HQ100001"),
    "read": ("package", "verify"),
    "list": ("doctor", "--mend"),
}


CLOCK, NO_BUCKET = Answer(status=403, code="RequestTimeTooSkewed"), Answer(status=404, code="NoSuchBucket")


@pytest.mark.parametrize(
    ("verb", "answer", "code", "said"),
    [
        ("write", DENIED, 3, "the key may not write"),
        ("read", DENIED, 3, "the key may not read"),
        ("list", DENIED, 3, "the key may not list"),
        ("write", CLOCK, 3, "clock is wrong"),
        ("read", NO_BUCKET, 6, "there is no bucket"),
        ("write", NO_BUCKET, 6, "there is no bucket"),
        ("write", Answer(status=500), 7, "InternalError"),
        ("list", Answer(status=500), 7, "InternalError"),
        ("read", Answer(status=503, code="SlowDown"), 7, "SlowDown"),
        ("read", Answer(cut=0), 7, "could not read"),
    ],
)
def test_a_command_that_the_bucket_fails_ends_the_job_when_it_is_given_again(
    server: FaultyServer, hq: Home, files: Path, verb: str, answer: Answer, code: int, said: str
) -> None:
    hq("package", "add", files, "--name", "Image")
    more = write_files(files.parent / "more", d=noise(300_000, 1))
    command = [more if word == "FILES" else word for word in COMMANDS[verb]]
    before = rows_of(hq)
    server.fault = only(verb, answer)
    if verb == "list":  # A doctor goes on with the rest, and names this among what it found.
        (finding,) = hq("doctor", "--mend", code=10)["findings"]
        assert finding["area"] == "store"
        assert said in finding["what"]
    else:
        assert said in hq.fails(*command, code=code)["message"]
    assert rows_of(hq) == before
    server.fault = GOOD
    hq(*command)
    hq("doctor", "--mend", code=None)
    assert hq("doctor")["findings"] == []
    assert all(not one["problems"] for one in hq("package", "verify")["packages"])


@pytest.mark.parametrize("answer", [DENIED, Answer(status=500)], ids=["denied", "error"])
@pytest.mark.parametrize("verb", ["read", "delete"])
def test_a_removal_is_done_though_nothing_can_be_freed_now(
    server: FaultyServer, hq: Home, files: Path, verb: str, answer: Answer
) -> None:
    hq("package", "add", files, "--name", "Image")
    hq("package", "add", files / "a", "--name", "Other")
    server.fault = only(verb, answer)
    removed = hq("package", "remove", "HQ100001")
    assert removed["freed"] == 0
    assert removed["unfreed"] if verb == "read" else removed["pending"] > len(LARGE)
    server.fault = GOOD
    assert hq("package", "remove", "HQ100002")["freed"] > len(LARGE)
    assert hq("doctor")["findings"] == []


def test_a_list_that_is_older_than_the_store_mends_nothing_wrongly(
    server: FaultyServer, hq: Home, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hq("package", "add", files, "--name", "Image")
    listed = Bucket.list
    full = {folder: list(listed(bucket_of(hq), folder)) for folder in ("content", "listings", "packs")}
    empty: dict[str, list[ObjectInfo]] = {folder: [] for folder in full}

    def changes_nothing(told: dict[str, list[ObjectInfo]]) -> None:
        before = rows_of(hq)
        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "list", lambda _bucket, folder: iter(told[folder]))
            assert hq("doctor", "--mend")["findings"] == []
        assert rows_of(hq) == before

    changes_nothing(empty)
    assert hq("package", "verify")["packages"][0]["problems"] == []
    hq("package", "remove", "HQ100001")
    changes_nothing(full)


def test_nothing_is_mended_below_the_prefix_of_another_site(hq: Home, files: Path) -> None:
    hq("package", "add", files, "--name", "Image")
    bucket = bucket_of(hq)
    bucket.delete([OWNER])
    bucket.put_bytes(OWNER, b"BR1\n")
    (finding,) = hq("doctor", "--mend", code=10)["findings"]
    assert "is the store of site BR1" in finding["what"]
