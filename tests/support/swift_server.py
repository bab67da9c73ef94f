"""OpenStack Swift with its S3 interface on loopback, one for each process of the tests, and buckets in it.

It is the real server among the stores that are tested: Debian's package, which keeps objects on a disk, judges keys,
regions and clocks, and has no conditional writes. The key `READER` may only do what a
bucket allows to everybody.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from stock import stock_file

from courier.site.objects.bucket import Bucket, BucketAddress

REGION = "eu-central-1"
KEY = {"AWS_ACCESS_KEY_ID": "courier:hq", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": REGION}
READER = "courier:reader"
_PYTHON = "/usr/bin/python3"
"""Debian's own, for which Debian's package is."""


@functools.cache
def _folder() -> Path:
    """Where Swift keeps everything; it goes with this process. What it knows of an object is in extended attributes."""
    tried = []
    for place in (tempfile.gettempdir(), os.environ["COURIER_TEST_DISK"]):
        folder = Path(tempfile.mkdtemp(prefix="swift-", dir=place))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        try:
            os.setxattr(folder, "user.courier", b"tried")
        except OSError as error:
            tried.append(f"{place}: {error.strerror}")
        else:
            return folder
    pytest.skip(f"Swift needs a folder with extended attributes ({'; '.join(tried)})")


@functools.cache
def swift_endpoint() -> str:
    """The address of the server, which is started when it is first asked for, and ends with this process."""
    stock_file("/usr/lib/python3/dist-packages/swift/proxy/server.py")
    folder = _folder()
    program = [_PYTHON, str(Path(__file__).with_name("swift_program.py")), str(folder)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env={})
    assert server.stdout is not None
    port = server.stdout.readline().decode().strip()
    assert port, (folder / "log").read_text()
    atexit.register(server.kill)
    return f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def clock_ahead(seconds: int) -> Iterator[None]:
    """Let the clock of the server be ahead for the block."""
    file = _folder() / "ahead"
    file.write_text(str(seconds))
    try:
        yield
    finally:
        file.unlink()


def new_swift_bucket(*, retry_seconds: float = 5, acl: str = "private") -> Bucket:
    """An empty bucket in Swift, with a prefix; the environment of this process is set for it."""
    import boto3

    os.environ |= {**KEY, "AWS_ENDPOINT_URL": swift_endpoint()}
    name = f"test-{secrets.token_hex(6)}"
    key = {"aws_access_key_id": KEY["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": KEY["AWS_SECRET_ACCESS_KEY"]}
    client = boto3.client("s3", region_name=REGION, **key)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}, ACL=acl)
    return Bucket(BucketAddress(bucket=name, prefix="a site/store"), retry_seconds=retry_seconds)
