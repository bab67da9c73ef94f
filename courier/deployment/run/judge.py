"""The judgement of a client before its first write: would every step find what it needs, and would it fit? Pure.

The partitions are followed through the steps that will run, as each will leave them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from courier.deployment.findings import Finding
from courier.deployment.run.facts import ImageFacts, TargetFacts, VolumeFacts
from courier.deployment.run.file_system_kinds import ADDERS, MAKERS, NAMES, READERS
from courier.deployment.run.partitions import lay_out
from courier.deployment.sequence import (
    LEAST,
    AnyStep,
    ApplyImageStep,
    CaptureStateStep,
    InstallDriverStep,
    PartitionStep,
    RestoreStateStep,
    overwrites,
)
from courier.errors import NoSpaceError
from formats.disk.gpt import SECTOR


class Judgement:
    """Follows the steps; ``findings`` gathers what is amiss, ``tools`` the programs that will be called.

    ``images``: by the number of the step. ``capture_first``: the computer's state has to be captured before it is
    erased.
    """

    def __init__(self, target: TargetFacts, images: Mapping[int, ImageFacts], *, capture_first: bool) -> None:
        self.findings: list[Finding] = []
        self.tools: set[str] = set()
        self._target, self._images = target, images
        self._volumes = {label.casefold(): one for label, one in target.volumes.items()}
        self._capture_first = capture_first
        self._captured: CaptureStateStep | None = None

    def judge(self, steps: Sequence[AnyStep]) -> None:
        """Judge the steps that will run, in order."""
        for step in steps:
            if self._capture_first and overwrites(step):
                self._find(
                    step,
                    "capture-missing",
                    "it would erase a computer whose state has to be captured before",
                    "put a capture-state step before it",
                )
                self._capture_first = False
            match step:
                case PartitionStep():
                    self._partition(step)
                case ApplyImageStep():
                    self._apply(step)
                case CaptureStateStep():
                    self._capture(step)
                case RestoreStateStep() | InstallDriverStep():
                    self._add(step, step.part)
        if self._target.is_disk:
            for volume in self._volumes.values():
                if volume.made:
                    self.tools |= set(MAKERS[volume.file_system])

    def _find(self, step: AnyStep, code: str, message: str, remedy: str) -> None:
        text = f"step {step.number} ({step.name}): {message}"
        self.findings.append(Finding(code=code, step=step.number, message=text, remedy=remedy))

    def _partition(self, step: PartitionStep) -> None:
        if not self._target.is_disk or self._target.size is None:
            folder = VolumeFacts(size=None, file_system="none", made=True)
            self._volumes = {"": replace(folder, filled=True)} | {part.label.casefold(): folder for part in step.parts}
            return
        try:
            spans = lay_out(step.parts, self._target.size)
        except NoSpaceError as error:
            self._find(step, "disk-too-small", error.message, error.hint)
            return
        self._volumes = {}
        for part, span in zip(step.parts, spans, strict=True):
            self._volumes[part.label.casefold()] = VolumeFacts(size=span.size, file_system=part.file_system, made=True)
            if span.size < (least := LEAST[part.file_system]):
                self._find(
                    step,
                    "partition-too-small",
                    f"{part.label} has {span.size:,} bytes; {NAMES[part.file_system]} needs {least:,}",
                    "make it larger",
                )

    def _apply(self, step: ApplyImageStep) -> None:
        image = self._images[step.number]
        if image.images is not None:
            self._apply_wim(step, image)
        elif step.whole_disk:
            self._apply_disk(step, image)
        elif not self._target.is_disk:
            self._find(step, "raw-in-folder", f"{image.name} is a raw image, which goes into no folder", _TO_DISK)
        elif not step.part:
            self._find(step, "no-partition", f"{image.name} is a raw image", "name its part, or set whole-disk = true")
        elif (volume := self._volume(step, step.part)) is not None:
            if volume.size is not None and image.size > volume.size:
                self._too_large(step, image.name, image.size, f"the partition {step.part}", volume.size)
            self._volumes[step.part.casefold()] = VolumeFacts(
                size=volume.size, file_system=image.file_system, made=False
            )

    def _apply_wim(self, step: ApplyImageStep, image: ImageFacts) -> None:
        self.tools.add("wimapply")
        if step.whole_disk:
            self._find(
                step, "wim-on-disk", f"{image.name} is a WIM, which is of one partition", "name its part instead"
            )
            return
        found = next((one for one in image.images or () if one.index == step.index), None)
        if found is None:
            self._find(
                step,
                "no-image",
                f"{image.name} has {len(image.images or ())} images, and none with index {step.index}",
                "wimlib-imagex info FILE tells which there are",
            )
            return
        volume = self._volume(step, step.part)
        if volume is None:
            return
        if self._target.is_disk and not volume.made:
            self._find(
                step,
                "not-empty",
                f"the partition {step.part} has a file system already, onto which no WIM is applied",
                "let a partition step make it before",
            )
        elif volume.file_system == "none" and self._target.is_disk:
            self._find(step, "no-file-system", f"the partition {step.part} has no file system", "give it a format")
        elif volume.size is not None and found.bytes > volume.size:
            self._too_large(step, image.name, found.bytes, f"the partition {step.part}", volume.size)
        elif volume.filled:
            self._find(
                step,
                "not-empty",
                f"{step.part or 'the folder'} holds files by then, and an image goes onto an empty partition",
                "let a partition step make it empty, and put those that add files behind this one",
            )
        self._volumes[step.part.casefold()] = replace(volume, filled=True)

    def _apply_disk(self, step: ApplyImageStep, image: ImageFacts) -> None:
        if not self._target.is_disk or self._target.size is None:
            self._find(step, "raw-in-folder", f"{image.name} is the image of a disk", _TO_DISK)
            return
        if image.size > self._target.size:
            self._too_large(step, image.name, image.size, "the disk", self._target.size)
        if image.sector not in (None, SECTOR):
            self._find(
                step,
                "sector-size",
                f"{image.name} was made for sectors of {image.sector:,} bytes; this disk has {SECTOR}",
                f"make an image of a disk with sectors of {SECTOR} bytes",
            )
        self._volumes = {
            label.casefold(): VolumeFacts(size=one.size, file_system=one.file_system, made=False)
            for label, one in (image.volumes or {}).items()
        }

    def _capture(self, step: CaptureStateStep) -> None:
        if self._captured is not None:
            self._find(
                step,
                "capture-twice",
                f"step {self._captured.number} ({self._captured.name}) captures before, and only the newest capture is "
                "restored",
                "put the patterns of both into one capture-state step; where they are on two partitions, capture from "
                "within the old system: courier state capture",
            )
        self._captured = self._captured or step
        volume = self._volume(step, step.part)
        if volume is not None and self._target.is_disk and not volume.made:
            if volume.file_system == "none":
                self._find(
                    step,
                    "unreadable",
                    f"the partition {step.part} has a file system that is not read without mounting it",
                    "ext4, FAT32 and NTFS are; else capture from within the old system: courier state capture",
                )
            self.tools |= set(READERS[volume.file_system])
        self._capture_first = False

    def _add(self, step: AnyStep, part: str) -> None:
        volume = self._volume(step, part)
        if volume is None:
            return
        self._volumes[part.casefold()] = replace(volume, filled=True)
        if not self._target.is_disk:
            return
        if volume.made and volume.file_system == "none":
            self._find(step, "no-file-system", f"the partition {part} has no file system", "give it a format")
        elif not volume.made:
            if not ADDERS[volume.file_system]:
                self._find(
                    step,
                    "takes-no-files",
                    f"{part} holds a raw image ({NAMES[volume.file_system]}), to which no files are added without "
                    "mounting it",
                    "apply a WIM to that partition instead",
                )
            self.tools |= set(ADDERS[volume.file_system])

    def _volume(self, step: AnyStep, label: str) -> VolumeFacts | None:
        found = self._volumes.get(label.casefold())
        if found is None:
            known = ", ".join(name for name in self._volumes if name)
            what = f"there is no partition {label}" if label else "a disk has no files outside of its partitions"
            self._find(step, "no-partition", what, f"name one: {known}" if known else "let a partition step make one")
        return found

    def _too_large(self, step: AnyStep, name: str, size: int, what: str, room: int) -> None:
        self._find(
            step,
            "image-too-large",
            f"{name} needs {size:,} bytes; {what} has {room:,}",
            "use a larger disk or partition",
        )


_TO_DISK = "deploy into a disk image: --into FILE"
