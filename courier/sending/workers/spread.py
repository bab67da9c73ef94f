"""Giving the work of a build to workers, and judging how it ended.

The build itself goes on as without workers afterwards, and finds finished what they finished. So the packing list is
the same to the byte, and whatever happens to a worker costs time only.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from concurrent.futures import CancelledError, Executor, Future, as_completed
from dataclasses import dataclass
from typing import Any

from courier.error_codes import Code
from courier.errors import UnreachableError
from courier.files import write_atomic
from courier.parcel.archive_plan import PlannedArchive
from courier.parcel.parity_repair import ParcelParity
from courier.progress import Progress
from courier.sending.workers.tasks import (
    MARK,
    BuildPlace,
    Failure,
    build_archive,
    make_parity_group,
)
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
        write_atomic(self.place.folder / MARK, self.place.mark.encode())
        progress.begin("Building with workers", sum(m.length for archive in archives for m in archive.members))
        made: dict[Future[Any], int] = {
            self.executor.submit(build_archive, self.place, archive): sum(m.length for m in archive.members)
            for archive in archives
        }
        self._await(made, progress)

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
            made = {
                self.executor.submit(make_parity_group, self.place, packing, number): sum(
                    packing.files()[file].size for column in group.files[group.geometry.data :] for file in column
                )
                for number, group in ready
            }
            self._await(made, progress)
            left = [one for one in left if one not in ready]

    def _await(self, futures: Mapping[Future[Any], int], progress: Progress) -> None:
        try:
            for future in as_completed(futures):
                outcome = future.result()
                if isinstance(outcome, Failure):
                    raise outcome.error()
                progress(futures[future])
        except BaseException as error:
            for future in futures:
                future.cancel()
            if _is_loss(error):
                raise UnreachableError(
                    f"the workers were lost: {type(error).__name__}",
                    hint="start them again and give the same command: what is finished stays; or give it without "
                    "--cluster",
                    code=Code.CLUSTER,
                ) from None
            raise


def _is_loss(error: BaseException) -> bool:
    """Whether an error is one of the executor: a worker that was killed, or a scheduler that is gone."""
    if isinstance(error, CancelledError):
        return True
    kinds = {"BrokenProcessPool", "KilledWorker", "FutureCancelledError", "CommClosedError", "FuturesCancelledError"}
    return type(error).__name__ in kinds


def new_mark() -> str:
    """What a worker has to find in the folder of a parcel."""
    return secrets.token_hex(16)
