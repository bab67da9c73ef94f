"""Whether images are what their steps take them for, and fit the partitions that the sequence makes. Pure.

The size of a disk is known to the client alone, which judges that itself before its first write.
"""

from __future__ import annotations

from collections.abc import Sequence

from courier.deployment.deployment_facts import ComputerFacts, DeploymentFacts, ImageFile, PackageFacts
from courier.deployment.finding_list import FindingList
from courier.deployment.sequence import (
    LEAST,
    MOST_ON_FAT32,
    REST,
    AnyStep,
    ApplyImageStep,
    InstallDriverStep,
    Part,
    PartitionStep,
    RestoreStateStep,
)
from courier.deployment.variables import package_of


def check_images(facts: DeploymentFacts, steps: Sequence[AnyStep], found: FindingList) -> None:
    """Add what is amiss with images and partitions, followed on each computer by the steps that run there."""
    for step in steps:
        if isinstance(step, PartitionStep) and any(one.runs(step) for one in facts.computers):
            _check_parts(step, found)
    for computer in facts.computers:
        _Followed(facts, computer, found).follow(steps)


def _check_parts(step: PartitionStep, found: FindingList) -> None:
    for part in step.parts:
        if part.size != REST and part.size < LEAST[part.file_system]:
            found.add(
                "partition-too-small",
                f"{part.label} has {part.size:,} bytes; {part.file_system} needs {LEAST[part.file_system]:,}",
                "make it larger",
                step=step,
            )


class _Followed:
    """The partitions of one computer, as the steps leave them; None where it is not known which there are."""

    def __init__(self, facts: DeploymentFacts, computer: ComputerFacts, found: FindingList) -> None:
        self._facts, self._computer, self._found = facts, computer, found
        self._parts: dict[str, Part] | None = None

    def follow(self, steps: Sequence[AnyStep]) -> None:
        """Go through the steps that run."""
        for step in steps:
            if not self._computer.runs(step):
                continue
            match step:
                case PartitionStep():
                    self._parts = {part.label.casefold(): part for part in step.parts}
                case ApplyImageStep():
                    self._apply(step)
                    if step.whole_disk:
                        self._parts = None
                case InstallDriverStep():
                    self._drivers(step)
                case RestoreStateStep():
                    self._part(step, step.part)

    def _part(self, step: AnyStep, label: str) -> Part | None:
        if self._parts is None:
            return None
        found = self._parts.get(label.casefold())
        if found is None:
            labels = ", ".join(part.label for part in self._parts.values())
            what = f"there is no partition {label}" if label else "it does not say which partition it means"
            self._found.add("no-partition", what, f"part = one of: {labels}", step=step)
        return found

    def _apply(self, step: ApplyImageStep) -> None:
        part = None if step.whole_disk else self._part(step, step.part)
        image = self._facts.images.get((step.number, package_of(step.use, self._computer.variables)))
        if image is None:
            return  # its package is missing, which is said by itself
        if image.problem:
            self._found.add("image-unusable", image.problem, image.remedy, step=step)
        elif image.wim is None:
            self._raw(step, image, part)
        else:
            self._wim(step, image, part)

    def _raw(self, step: ApplyImageStep, image: ImageFile, part: Part | None) -> None:
        if not step.whole_disk and not step.part:
            self._found.add(
                "no-partition",
                f"{image.name} is a raw image, and it does not say where that goes",
                "part = LABEL, or whole-disk = true",
                step=step,
            )
        if step.index != 1:
            self._found.add("no-index", f"{image.name} is no WIM, and has no index", "leave index out", step=step)
        if part is not None and part.size != REST and image.bytes > part.size:
            self._too_large(step, image.name, image.bytes, part)

    def _wim(self, step: ApplyImageStep, image: ImageFile, part: Part | None) -> None:
        if step.whole_disk:
            self._found.add(
                "wim-on-disk",
                f"{image.name} is a WIM, which is of one partition and not of a disk",
                "part = LABEL in place of whole-disk",
                step=step,
            )
            return
        one = next((one for one in image.wim or () if one.index == step.index), None)
        if one is None:
            there = ", ".join(str(each.index) for each in image.wim or ())
            self._found.add(
                "no-index",
                f"{image.name} has no image {step.index}; it has {there or 'none'}",
                "index = one of those",
                step=step,
            )
        elif part is not None and part.file_system == "none":
            self._found.add(
                "no-file-system",
                f"a WIM goes onto {part.label}, which has no file system",
                "give it a format",
                step=step,
            )
        elif part is not None and part.size != REST and one.bytes > part.size:
            self._too_large(step, image.name, one.bytes, part)

    def _too_large(self, step: AnyStep, name: str, size: int, part: Part) -> None:
        self._found.add(
            "image-too-large",
            f"{name} needs {size:,} bytes; the partition {part.label} has {part.size:,}",
            f"make {part.label} larger",
            step=step,
        )

    def _drivers(self, step: InstallDriverStep) -> None:
        part = self._part(step, step.part)
        package: PackageFacts | None = self._facts.used(step.use, self._computer)
        if part is None or package is None:
            return
        if part.file_system == "none":
            self._found.add(
                "no-file-system",
                f"files go onto {part.label}, which has no file system",
                "give it a format",
                step=step,
            )
        elif part.file_system == "fat32" and package.largest > MOST_ON_FAT32:
            self._found.add(
                "too-large-for-fat32",
                f"{package.name} has a file of {package.largest:,} bytes; FAT32 holds {MOST_ON_FAT32:,} at most",
                f"format {part.label} as ntfs or ext4",
                step=step,
            )
        elif part.size != REST and package.bytes > part.size:
            self._too_large(step, package.name, package.bytes, part)
