"""What a worker does when packages are verified: it reads contents of the store again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.site.home import Site
from courier.site.workers.work_place import Failure, WorkPlace, at_work, this_computer


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspects:
    """Contents, by their SHA-256, that the worker at ``computer`` did not find good."""

    contents: tuple[str, ...]
    computer: str


def read_contents(
    place: WorkPlace, read: Sequence[tuple[str, int]], others: Sequence[tuple[str, int]]
) -> Suspects | Failure:
    """Read contents again, each its SHA-256 and bytes; of ``others`` it is only seen whether they are there."""

    def work(site: Site) -> Suspects:
        bad = {*site.store.problems(read), *site.store.lacking(others)}
        return Suspects(contents=tuple(sorted(bad)), computer=this_computer())

    return at_work(place, work)
