"""A site's store in OpenStack Swift, which judges keys, regions and clocks itself and has no conditional writes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from journey import Home, exported, introduce, noise, run, sent, write_files
from swift_server import READER, clock_ahead, new_swift_bucket

from courier.errors import NotFoundError, RefusedError
from courier.site.objects.bucket import Bucket, BucketAddress
from courier.site.objects.trial import Trial, claim, try_bucket

LARGE = random.Random(1).randbytes(9 << 20)
"""So large that it goes up in two parts."""


def made(root: Path, code: str, bucket: Bucket) -> Home:
    home = Home(code=code, path=root / code)
    run("init", "--site", code, "--name", code, "--home", home.path, "--store", bucket.address)
    run("site", "card", "--out", root / f"{code}.card", "--home", home.path)
    return home


@pytest.mark.long
def test_a_parcel_goes_from_swift_to_swift(tmp_path: Path) -> None:
    hq, br = (made(tmp_path, code, new_swift_bucket()) for code in ("HQ1", "BR1"))
    introduce(tmp_path, hq, br)
    files = write_files(tmp_path / "files", a=b"small" * 100, b=LARGE, c=noise(200_000))
    hq("package", "add", files, "--name", "Image")
    _, media = sent(hq, "HQ100001", out=tmp_path / "media", capacity="30MB")
    hq("channel", "sync")
    br("channel", "sync")
    br("parcel", "receive", *media)
    assert exported(br, "HQ100001", tmp_path / "out") == exported(hq, "HQ100001", tmp_path / "again")
    assert br("package", "verify")["packages"][0]["problems"] == []
    assert br("package", "remove", "HQ100001")["freed"] > len(LARGE)
    for home in (hq, br):
        assert home("doctor")["findings"] == []


def test_a_prefix_belongs_to_the_site_that_claimed_it_first_without_conditional_writes() -> None:
    bucket = new_swift_bucket()
    assert try_bucket(bucket, "HQ1") == Trial(may_delete=True, had_before=False)
    assert try_bucket(bucket, "BR1") == Trial(may_delete=True, had_before=False)
    claim(bucket, "HQ1")
    for use in (try_bucket, claim):
        with pytest.raises(RefusedError, match="is the store of site HQ1"):
            use(bucket, "BR1")
    assert try_bucket(bucket, "HQ1") == Trial(may_delete=True, had_before=True)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_REGION", "us-west-1", "another region"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "may not read site.txt"),
        ("AWS_ACCESS_KEY_ID", "courier:nobody", "may not read site.txt"),
        ("AWS_ACCESS_KEY_ID", READER, "may not write trial"),
    ],
)
def test_a_wrong_variable_is_said(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str) -> None:
    bucket = new_swift_bucket(acl="public-read")
    monkeypatch.setenv(variable, value)
    with pytest.raises(RefusedError) as caught:
        try_bucket(bucket, "HQ1")
    assert said in caught.value.message


def test_a_clock_that_is_off_and_a_bucket_that_is_not_there_are_said() -> None:
    bucket = new_swift_bucket()
    with clock_ahead(3600), pytest.raises(RefusedError, match="clock is wrong"):
        try_bucket(bucket, "HQ1")
    with pytest.raises(NotFoundError, match="there is no bucket elsewhere"):
        try_bucket(Bucket(BucketAddress(bucket="elsewhere", prefix=""), retry_seconds=1), "HQ1")
    assert try_bucket(bucket, "HQ1").may_delete
