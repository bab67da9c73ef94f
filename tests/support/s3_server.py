"""A server for S3 on loopback (moto's), one for each process of the tests, and buckets in it."""

from __future__ import annotations

import functools
import os
import secrets

from courier.site.objects.bucket import Bucket, BucketAddress

REGION = "eu-central-1"
KEY = {"AWS_ACCESS_KEY_ID": "courier", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": REGION}


@functools.cache
def s3_endpoint() -> str:
    """The address of the server, which is started when it is first asked for."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def new_bucket(*, retry_seconds: float = 5) -> Bucket:
    """An empty bucket, with a prefix; the environment of this process is set for it."""
    import boto3

    os.environ |= {**KEY, "AWS_ENDPOINT_URL": s3_endpoint()}
    name = f"test-{secrets.token_hex(6)}"
    key = {"aws_access_key_id": KEY["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": KEY["AWS_SECRET_ACCESS_KEY"]}
    client = boto3.client("s3", region_name=REGION, **key)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Bucket(BucketAddress(bucket=name, prefix="a site/store"), retry_seconds=retry_seconds)
