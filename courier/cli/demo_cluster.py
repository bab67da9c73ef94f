"""What is different in ``courier demo --cluster``: where headquarters keeps its things, and who builds."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from courier.cli.demo_branch import Telling, check
from courier.cli.demo_services import WORKERS, Services, running_services
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.site.home import Site


class ClusterDemo:
    """Headquarters with its catalogue in PostgreSQL, its content in a bucket, and workers."""

    def __init__(self, telling: Telling, services: Services) -> None:
        self._step, self._detail = telling.step, telling.detail
        self.services = services

    @contextmanager
    def workers(self) -> Iterator[Executor]:
        """The workers."""
        from courier.cli.cluster import workers_of

        with workers_of(self.services.workers) as executor:
            assert executor is not None
            yield executor

    def finish(self, sender: Site) -> dict[str, Any]:
        """Read the content of headquarters again; return what the JSON document says of the cluster.

        Raises `DamagedError` where anything is wrong.
        """
        from courier.packages.verify import verify_packages
        from courier.site.objects.bucket import Bucket, parse_bucket

        self._step("Headquarters reads what lies in the bucket again.")
        self._detail("$ courier package verify")
        for stored, findings in verify_packages(sender, None):
            check(not findings, "the bucket holds something else")
            self._detail(f"{stored.package}:{stored.version} good, {size_text(stored.listing.bytes)}")
        bucket = Bucket(parse_bucket(sender.settings.store))
        objects = [one for folder in ("content", "listings", "packs") for one in bucket.list(folder)]
        self._detail(f"{plural(len(objects), 'object')} in {bucket.address}; the servers end with this demonstration")
        services = self.services
        return {
            "catalogue": services.catalogue,
            "store": sender.settings.store,
            "workers": services.workers,
            "objects": len(objects),
        }


@contextmanager
def cluster_demo(telling: Telling) -> Iterator[ClusterDemo]:
    """Start the servers for the block. Raises `NotFoundError` for what they need and is not here."""
    telling.step(f"Servers are started on this computer: PostgreSQL, an object store, and {WORKERS} workers of Dask.")
    with running_services() as services:
        telling.detail(f"$ courier cluster run --workers {WORKERS}")
        telling.detail(f"Workers are ready at {services.workers}")
        telling.detail(f"$ export AWS_ENDPOINT_URL={services.endpoint}")
        yield ClusterDemo(telling, services)
