"""Giving the work of a build to workers, and judging how it ended.

The build itself goes on as without workers afterwards, and finds finished what they finished. So the packing list is
the same to the byte, and whatever happens to a worker costs time only.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Executor
from dataclasses import dataclass

from courier.parcel.archive_plan import PlannedArchive
from courier.parcel.parity_repair import ParcelParity
from courier.progress import Progress
from courier.sending.workers.tasks import BuildPlace, build_archive, make_parity_group
from courier.site.workers.spread import Task, spread
from formats.documents.packing import PackingList


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """Workers, and where their builds take place."""

    executor: Executor
    place: BuildPlace

    def build(self, archives: Collection[PlannedArchive], progress: Progress) -> None:
        """Have archives made.

        Raises what a worker raised, and `UnreachableError` where the workers themselves were lost.
        """
        progress.begin("Building with workers", sum(m.length for archive in archives for m in archive.members))
        tasks = (
            Task(about=archive, function=build_archive, arguments=(self.place, archive), items=len(archive.members))
            for archive in archives
        )
        for archive, _ in spread(self.executor, tasks):
            progress(sum(member.length for member in archive.members))

    def make_parity(self, packing: PackingList, progress: Progress) -> None:
        """Have the parity files of a packing list made; those that read others' come after these."""
        left = list(enumerate(ParcelParity(packing).groups))
        progress.begin("Making parity with workers", sum(file.size for file in packing.parity))
        while left:
            to_come = {file for _, group in left for column in group.files[group.geometry.data :] for file in column}
            ready = [
                (number, group)
                for number, group in left
                if not to_come & {file for column in group.files[: group.geometry.data] for file in column}
            ]
            assert ready, "a group of parity reads only archives and the parity of earlier groups"
            tasks = (
                Task(about=group, function=make_parity_group, arguments=(self.place, packing, number))
                for number, group in ready
            )
            for group, _ in spread(self.executor, tasks):
                made = (file for column in group.files[group.geometry.data :] for file in column)
                progress(sum(packing.files()[file].size for file in made))
            left = [one for one in left if one not in ready]
