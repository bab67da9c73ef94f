"""Trying a bucket before a site relies on it: each right is used once, and nobody else's store is taken."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from courier.error_codes import Code
from courier.errors import RefusedError, UnreachableError
from courier.site.objects.bucket import Bucket, BucketAddress

OWNER = "site.txt"
"""The object that says whose store it is: the site code and a line feed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What a trial showed: whether the key may delete, and whether a home of the site had the prefix before."""

    may_delete: bool
    had_before: bool

    def warnings(self, store: BucketAddress) -> Iterator[str]:
        """What an operator has to know of it."""
        if not self.may_delete:
            yield f"the key may not delete below {store}: what is removed takes room there until a key may"
        if self.had_before:
            yield (
                f"{store} was the store of a home of this site before. If that home is lost, courier doctor --mend "
                "takes in what lies there; if it is in use, remove this one at once: each would delete what it does "
                "not know of the other"
            )


def try_bucket(bucket: Bucket, code: str) -> Trial:
    """Write, read, list and delete an object below the prefix; `claim` has it afterwards.

    Raises `RefusedError` where the prefix is another site's or the key lacks another right, `NotFoundError` and
    `UnreachableError` as every use of a bucket does.
    """
    had_before = _owner(bucket) is not None
    check_owner(bucket, code)
    name, data = f"trial/{secrets.token_hex(8)}", secrets.token_bytes(1000)
    bucket.put_bytes(name, data)
    if bucket.read(name, 10, 100) != data[10:110] or not any(one.name == name for one in bucket.list("trial")):
        raise UnreachableError(
            f"store {bucket.address}: an object that was just written is not there, or has other bytes",
            hint="the store of a site wants an object store that shows at once what was written to it",
            code=Code.STORE,
        )
    try:
        bucket.delete([name])
    except RefusedError:
        return Trial(may_delete=False, had_before=had_before)
    return Trial(may_delete=True, had_before=had_before)


def check_owner(bucket: Bucket, code: str) -> None:
    """Raise `RefusedError` where the prefix is another site's: nothing may be mended or deleted there."""
    found = _owner(bucket)
    if found not in (None, code):
        raise RefusedError(
            f"{bucket.address} is the store of site {found}",
            hint=f"name another prefix: --store s3://{bucket.address.bucket}/{code}",
            code=Code.ANOTHER_SITE,
        )


def claim(bucket: Bucket, code: str) -> None:
    """Have the prefix from now on; raises `RefusedError` where another site has it."""
    # Looked at first, as an object store that knows no conditions may write whatever it is told.
    if _owner(bucket) is None:
        with contextlib.suppress(FileExistsError):
            bucket.put_new(OWNER, f"{code}\n".encode())
    check_owner(bucket, code)


def _owner(bucket: Bucket) -> str | None:
    try:
        # It is read, and not only looked for, as the answers to that do not say what is wrong.
        return bucket.read(OWNER, 0, 100).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
