"""A folder as the target: each partition is a folder in it, named by its label."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from courier.deployment.run.facts import TargetFacts, VolumeFacts
from courier.deployment.run.file_systems import apply_to_folder
from courier.deployment.run.target import folder_is_empty
from courier.deployment.run.work import Work
from courier.deployment.sequence import PartitionStep
from courier.errors import NotFoundError, RefusedError
from courier.files import make_folder, remove_tree, sync_folder


class DirectoryTarget:
    """See `courier.deployment.run.target.Target`."""

    def __init__(self, folder: Path, work: Work) -> None:
        self.root, self._work = folder, work

    def facts(self) -> TargetFacts:
        """See `Target.facts`. A folder in it counts as a partition."""
        found = {"": self.root} | (
            {path.name: path for path in self.root.iterdir() if path.is_dir()} if self.root.is_dir() else {}
        )
        volumes = {
            label: VolumeFacts(size=None, file_system="none", made=True, filled=not folder_is_empty(path))
            for label, path in found.items()
        }
        return TargetFacts(is_disk=False, size=None, empty=not volumes[""].filled, volumes=volumes)

    def is_as_left(self) -> bool:
        """See `Target.is_as_left`."""
        return not folder_is_empty(self.root)

    def erase(self, step: PartitionStep) -> None:
        """See `Target.erase`. Raises `RefusedError` where a disk is mounted somewhere in the folder."""
        make_folder(self.root)
        for above, folders, _ in os.walk(self.root):
            for name in folders:
                if os.path.ismount(Path(above, name)):
                    raise RefusedError(
                        f"a disk is mounted at {Path(above, name)}, and would be erased", hint="unmount it first"
                    )
        for path in self.root.iterdir():
            remove_tree(path)
        for part in step.parts:
            (self.root / part.label).mkdir()
        sync_folder(self.root)

    def folder(self, label: str) -> Path:
        """See `Target.folder`."""
        if not label:
            return make_folder(self.root)
        names = [path.name for path in self.root.iterdir()] if self.root.is_dir() else []
        # As in a partition table, case does not tell one label from another.
        label = next((name for name in sorted(names) if name.casefold() == label.casefold()), label)
        folder = self.root / label
        if not folder.is_dir() or folder.is_symlink():
            raise no_partition(label)
        return folder

    @contextlib.contextmanager
    def reading(self, label: str) -> Iterator[Path]:
        """See `Target.reading`."""
        yield self.folder(label)

    def apply_wim(self, label: str, wim: Path, index: int, *, step: int) -> None:
        """See `Target.apply_wim`."""
        apply_to_folder(self._work, wim, index, self.folder(label), step=step, unix=True)

    def write_raw(self, label: str, size: int, pieces: Iterable[bytes | memoryview]) -> None:
        """A folder takes no raw image."""
        raise RefusedError("a raw image does not go into a folder", hint="deploy into a disk image: --into FILE")

    def finish(self) -> None:
        """See `Target.finish`."""
        sync_folder(make_folder(self.root))


def no_partition(label: str) -> NotFoundError:
    """The error for a partition that the target does not have."""
    return NotFoundError(
        f"there is no partition {label}", hint="a partition step before this one has to make it, in the task sequence"
    )
