"""A bucket whose server answers wrongly, slowly, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_s3 import Answer, FaultyServer, faulty_s3
from s3_server import new_bucket

from courier.errors import CourierError, NotFoundError, RefusedError, UnreachableError, UsageError
from courier.site.home import create_site
from courier.site.objects.bucket import Bucket, BucketAddress, parse_bucket
from courier.site.objects.trial import Trial, claim, try_bucket


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    new_bucket()
    with faulty_s3() as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        yield running


@pytest.fixture
def bucket(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    address = new_bucket().address
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    return Bucket(address, retry_seconds=5)


def test_faults_that_pass_are_not_seen(server: FaultyServer, bucket: Bucket, tmp_path: Path) -> None:
    kinds = [Answer(status=500), Answer(status=503, code="SlowDown"), Answer(status=500, code="InternalError")]

    def some(method: str, path: str) -> Answer | None:
        return kinds.pop() if kinds and len(server.asked) % 2 else None

    server.fault = some
    large = tmp_path / "large"
    large.write_bytes(os.urandom(20 << 20))
    bucket.put_bytes("small", b"0123456789")
    bucket.put_file("large", large)
    assert bucket.read("small", 3, 4) == b"3456"
    assert b"".join(bucket.pieces("large")) == large.read_bytes()
    assert not kinds


def test_an_answer_that_ends_too_early_is_asked_for_again(server: FaultyServer, bucket: Bucket, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    bucket.put_bytes("a", data)
    cuts = [1_000_000, 0]
    server.fault = lambda method, _path: Answer(cut=cuts.pop()) if method == "GET" and cuts else None
    assert bucket.read("a", 0, len(data)) == data
    assert b"".join(bucket.pieces("a")) == data
    assert not cuts


def test_each_part_of_a_large_upload_has_its_sha256(server: FaultyServer, bucket: Bucket, tmp_path: Path) -> None:
    seen: list[str] = []
    path = tmp_path / "large"
    path.write_bytes(os.urandom(17 << 20))
    bucket.put_file("large", path)
    seen = [asked for method, asked in server.asked if method == "PUT" and "partNumber=" in asked]
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(status=403, code="AccessDenied"), RefusedError, "may not write a (AccessDenied)"),
        (Answer(status=403, code="SignatureDoesNotMatch"), RefusedError, "may not write a"),
        (Answer(status=403, code="RequestTimeTooSkewed"), RefusedError, "clock is wrong"),
        (Answer(status=400, code="AuthorizationHeaderMalformed"), RefusedError, "another region"),
        (Answer(status=301, code="PermanentRedirect"), RefusedError, "another region"),
        (Answer(status=404, code="NoSuchBucket"), NotFoundError, "there is no bucket"),
        (Answer(status=400, code="EntityTooLarge"), UnreachableError, "EntityTooLarge"),
    ],
)
def test_what_does_not_pass_is_said(
    server: FaultyServer, bucket: Bucket, answer: Answer, kind: type[CourierError], said: str
) -> None:
    server.fault = lambda _method, _path: answer
    with pytest.raises(kind) as caught:
        bucket.put_bytes("a", b"data")
    assert said in caught.value.message
    assert caught.value.hint
    assert not any(word in str(caught.value) for word in ("secret", "RetryError"))


def test_a_server_that_is_down_is_unreachable(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match=r"could not read .* at http://127.0.0.1:9"):
        Bucket(bucket.address, retry_seconds=0.1).read("a", 0, 1)


def test_a_bucket_is_tried_by_every_right(server: FaultyServer, bucket: Bucket) -> None:
    assert try_bucket(bucket, "HQ1") == Trial(may_delete=True, had_before=False)
    claim(bucket, "HQ1")
    assert try_bucket(bucket, "HQ1") == Trial(may_delete=True, had_before=True)
    with pytest.raises(RefusedError, match="is the store of site HQ1"):
        try_bucket(bucket, "BR1")
    denied = Answer(status=403, code="AccessDenied")
    for verb, refused in (
        ("write", lambda method, path: method == "PUT" and "trial" in path),
        ("read", lambda method, path: method == "GET" and "trial" in path and "list-type" not in path),
        ("list", lambda method, path: method == "GET" and "list-type" in path),
    ):
        server.fault = lambda method, path, refused=refused: denied if refused(method, path) else None  # type: ignore[misc]
        with pytest.raises(RefusedError, match=f"may not {verb}"):
            try_bucket(bucket, "HQ1")
    server.fault = lambda method, path: denied if method in ("DELETE", "POST") else None
    assert not try_bucket(bucket, "HQ1").may_delete


def test_a_site_that_could_not_be_made_has_no_prefix(bucket: Bucket, tmp_path: Path) -> None:
    for code in ("HQ1", "BR1"):
        with pytest.raises(UnreachableError, match="catalogue"):
            catalogue, store = "postgresql://a@127.0.0.1:9/a", str(bucket.address)
            create_site(tmp_path / code, code=code, name="x", catalogue=catalogue, store=store)
    assert list(bucket.list("")) == []


@pytest.mark.parametrize(
    "text", ["images", "s3://", "s3://a", "http://images/x", "s3://key:secret@images/x", "s3://b?x=1"]
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_bucket(text)
    assert "secret" not in caught.value.message


def test_an_address_has_bucket_and_prefix() -> None:
    assert parse_bucket("s3://images") == BucketAddress(bucket="images", prefix="")
    assert parse_bucket("s3://images/hq1/store/") == BucketAddress(bucket="images", prefix="hq1/store")
    assert str(parse_bucket("s3://images/hq1/")) == "s3://images/hq1"


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:9000", "http://127.0.0.1:99999", "http://key:secret@127.0.0.1:9", "http://a b:9", "ftp://a"]
)
def test_an_endpoint_that_is_none_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    address = new_bucket().address
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UsageError, match="the endpoint is no address") as caught:
        Bucket(address).size("a")
    assert "secret" not in caught.value.message


def test_without_a_key_nothing_is_asked(server: FaultyServer, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    server.asked.clear()
    with pytest.raises(UsageError, match="there is no key"):
        bucket.size("a")
    assert server.asked == []
