"""Verifying packages with workers: they read the contents, and what they do not find good is looked at here.

So the findings are those of this computer alone, in the same order and words, whoever did the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError
from courier.packages.verify_tasks import read_contents
from courier.progress import Progress
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from courier.site.store.content_store import BATCH, Finding
from courier.site.workers.spread import Task, spread
from courier.site.workers.work_place import WorkPlace, marked_home
from courier.text import plural
from formats.documents.listing import FileEntry

TASK_BYTES = 256 << 20
"""Bytes of contents that one task reads, at least where there are so many; a larger content is a task of its own."""

Chosen = Callable[[str], bool]
"""Whether a content is read, by its SHA-256."""
Judge = Callable[[StoredPackage, Chosen], list[Finding]]
"""What is wrong with a version, where the chosen contents of it are read."""


@dataclass(kw_only=True, slots=True)
class _Version:
    """A package version that is verified: how many of its tasks are not done, and what they did not find good."""

    number: int
    stored: StoredPackage
    tasks: int = 0
    is_given: bool = False
    suspects: dict[str, str] = field(default_factory=dict)
    is_listed: bool = True


def verify_with_workers(
    site: Site,
    chosen: Sequence[StoredPackage],
    executor: Executor,
    progress: Progress,
    is_read: Chosen,
    findings: Judge,
) -> Iterator[tuple[int, list[Finding]]]:
    """Verify package versions; yield the number of each in ``chosen`` and its findings, as they are done.

    ``findings`` gives those of a version, and reads the contents that it is told. Raises `RefusedError` where a worker
    finds bad what is good here, and what `spread` raises.
    """
    versions = [_Version(number=number, stored=stored) for number, stored in enumerate(chosen)]
    progress.begin("Verifying with workers", sum(stored.listing.bytes for stored in chosen))
    with marked_home(site) as place:
        for (version, count), found in spread(executor, _tasks(site, place, versions, is_read)):
            version.tasks -= 1
            version.suspects |= dict.fromkeys(found.contents, found.computer)
            progress(count)
            while (done := _next_done(versions)) is not None:
                yield done.number, _judged(done, findings)
        while (done := _next_done(versions)) is not None:
            yield done.number, _judged(done, findings)


def _next_done(versions: list[_Version]) -> _Version | None:
    """Take the first version from the list if all of it was read."""
    return versions.pop(0) if versions and versions[0].is_given and not versions[0].tasks else None


def _judged(version: _Version, findings: Judge) -> list[Finding]:
    suspects = version.suspects
    if version.is_listed and not suspects:
        return []
    found = findings(version.stored, suspects.__contains__)
    good = suspects.keys() - {finding.sha256 for finding in found}
    if good:
        at = ", ".join(sorted({suspects[sha256] for sha256 in good}))
        name = f"{version.stored.package}:{version.stored.version}"
        raise RefusedError(
            f"{name}: the worker at {at} finds {plural(len(good), 'content')} bad or missing that are good here",
            hint="every worker needs all of the home, also what is mounted in it; else check the memory of that "
            "computer, or give the same command without --cluster",
            code=Code.CLUSTER,
        )
    return found


def _tasks(
    site: Site, place: WorkPlace, versions: Sequence[_Version], is_read: Chosen
) -> Iterator[Task[tuple[_Version, int]]]:
    for version in list(versions):
        try:
            for read, others in _portions(site, version.stored, is_read):
                version.tasks += 1
                yield Task(
                    about=(version, sum(size for _, size in (*read, *others))),
                    function=read_contents,
                    arguments=(place, read, others),
                    items=len(read) + len(others),
                )
        except DamagedError:  # of the listing: whoever judges the version finds it again, and says it
            version.is_listed = False
        version.is_given = True


_Contents = list[tuple[str, int]]


def _portions(site: Site, stored: StoredPackage, is_read: Chosen) -> Iterator[tuple[_Contents, _Contents]]:
    """The contents of a version in portions for a task each: those to be read, and the others."""
    read: _Contents = []
    others: _Contents = []
    left = TASK_BYTES
    for entry in site.store.entries(stored.listing):
        if not isinstance(entry, FileEntry) or not entry.size:
            continue
        if is_read(entry.sha256):
            read.append((entry.sha256, entry.size))
            left -= entry.size
        else:
            others.append((entry.sha256, entry.size))
        if left <= 0 or len(read) + len(others) >= BATCH:
            yield read, others
            read, others, left = [], [], TASK_BYTES
    if read or others:
        yield read, others
