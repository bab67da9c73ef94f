"""How a bucket is reached: what the environment says of endpoint and key, looked at before anything is asked."""

from __future__ import annotations

import importlib.util
import os
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from courier.error_codes import Code
from courier.errors import UsageError

if TYPE_CHECKING:
    from obstore.store import S3Store

TRIES, FEW_TRIES = 20, 3
"""How often a request is tried again."""
REQUEST_MINUTES = 5
"""How long one request may take."""
_ENDPOINT = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
"""Where a key comes from. Without any, a server of Amazon's is asked what role it has, which no other place knows."""


def require_obstore() -> None:
    """Raise `UsageError` unless the extra that buckets need is installed."""
    try:
        is_there = importlib.util.find_spec("obstore") is not None
    except ImportError:
        is_there = False
    if not is_there:
        raise UsageError(
            "a store in a bucket needs an optional part",
            hint="pip install 'courier-parcels[s3]'",
            code=Code.EXTRA_MISSING,
        )


def open_bucket(bucket: str, prefix: str, *, shown: str, seconds: float, tries: int) -> S3Store:
    """A bucket as obstore has it; each request is tried again for ``seconds``, ``tries`` times at most.

    ``shown``: what messages call it. Raises `UsageError` where the environment does not say how to reach it.
    """
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    _check_endpoint(shown)
    if _endpoint() and not any(os.environ.get(name) for name in _KEYS):
        raise UsageError(
            f"store {shown}: there is no key for {_endpoint()}",
            hint="put it into $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY",
        )
    plain = _endpoint().startswith("http://")
    try:
        return S3Store(
            bucket,
            prefix=prefix or None,
            checksum_algorithm="SHA256",
            client_options={
                "allow_http": plain,
                "connect_timeout": timedelta(seconds=10),
                "timeout": timedelta(minutes=REQUEST_MINUTES),
            },
            retry_config={"max_retries": tries, "retry_timeout": timedelta(seconds=seconds)},
        )
    except (BaseError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise UsageError(f"store {shown}: {first}", hint="check the variables AWS_* of this command") from None


def _endpoint() -> str:
    return next((found for name in _ENDPOINT if (found := os.environ.get(name, ""))), "")


def _check_endpoint(shown: str) -> None:
    """Raise `UsageError` for an endpoint that is no address: the library would end the whole process."""
    found = _endpoint()
    if not found:
        return
    try:
        parts = urlsplit(found)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and found.isascii()
    except ValueError:
        is_good = False
    if not is_good or "@" in found or any(byte <= " " for byte in found):
        what = "it holds an @" if "@" in found else repr(found[:80])
        raise UsageError(
            f"store {shown}: the endpoint is no address of a server: {what}",
            hint="write it like AWS_ENDPOINT_URL=https://objects.example.org:9000",
        )


def at_endpoint() -> str:
    """Where the object store is, as messages end; empty for Amazon's."""
    found = _endpoint()
    return f" at {found}" if found else ""
