"""The second half of ``courier demo --deploy``: a computer of the branch is replaced, from a point and from discs."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from courier.cli.demo_branch import Telling, check, make_point, silent
from courier.cli.demo_discs import DiscsDemo
from courier.cli.demo_disk import blank_disk, compare_disk
from courier.errors import NotFoundError
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.deployment.deployments import Judged
    from courier.site.catalog.deployments import Deployment
    from courier.site.home import Site

MIB = 1 << 20
SYSTEM_SIZE = 4 * MIB
"""Bytes of the image that is deployed, and of its partition."""
OLD, NEW = "OLD-PC", "NEW-PC"
_POINT, _STATE_POINT = "P1", "STATE1"
_PROGRAMS = ("debugfs", "mkfs.ext4")
_COMPUTERS = f"""\
NAME,SMBIOS-GUID,MAC
{NEW},4C4C4544-0044-3510-8052-B4C04F4A3732,00:1A:2B:3C:4D:5E
{OLD},,001a.2b00.0001
"""
_LETTER = b"Dear Bert, the new computer comes on Monday.\n"
_USER_FILES = {
    "home/ann/letter.txt": _LETTER,
    "home/ann/plans/2027.txt": b"To be done:\n" * 2000,
    "home/bert/empty": b"",
}
_OTHER_FILES = {"home/ann/.cache/page": b"nobody needs it", "etc/fstab": b"of the old system"}
_PARTITIONS = f"""
[[step]]
type = "partition"
name = "Lay out the disk"

[[step.part]]
label = "SYSTEM"
type = "linux"
size = "{SYSTEM_SIZE // MIB}MiB"
format = "none"

[[step.part]]
label = "HOME"
type = "linux"
size = "rest"
format = "ext4"

[[step]]
type = "apply-image"
name = "Write the image"
package = "IMAGE"
part = "SYSTEM"
"""
_STATE = """
[[step]]
type = "restore-state"
name = "Bring back the users' files"
part = "HOME"
"""


class DeployDemo:
    """Deployment at the site ``branch``, in the folder ``root``."""

    def __init__(self, telling: Telling, root: Path, branch: Site) -> None:
        self._telling, self._step, self._detail = telling, telling.step, telling.detail
        self._root, self._branch = root, branch
        self._image, self._image_package, self._boot_package = b"", "", ""

    def prepare(self, sender: Site, inside: Path) -> tuple[str, ...]:
        """Make what headquarters deploys, and the branch's point; the IDs of the packages. It comes before the parcel.

        ``inside``: a file that the image has, so that it is not empty. Raises `FailedError` where it cannot be made.
        """
        from courier.files import make_folder, write_atomic

        self._image = self._make_image(inside)
        image = self._root / "system" / "system.img"
        make_folder(image.parent)
        write_atomic(image, self._image)
        self._step(
            f"Headquarters adds what its branch deploys: an image of a system's partition, {size_text(SYSTEM_SIZE)}, "
            "and a boot image."
        )
        self._image_package = _add(sender, image, "Image of a system")
        boot = _write_tree(
            self._root / "boot", dict.fromkeys(("vmlinuz", "initrd"), b"This demonstration starts no computer.\n")
        )
        self._boot_package = _add(sender, boot, "Boot image")
        self._detail(f"package {self._image_package}: {image.name}, ext4, with files of the system in it")
        self._detail(f"package {self._boot_package}: texts in place of a kernel and an initrd, as nothing is started")
        for site in (sender, self._branch):
            write_atomic(self._card(site.code), site.card_envelope)
        self._step(f"The branch has a distribution point, {_POINT}: all packages of {sender.code} go there by rule.")
        make_point(self._branch, _POINT, self._root / _POINT, sender.code)
        return self._image_package, self._boot_package

    def run(self, source: str) -> dict[str, Any]:
        """Show what follows the import of what site ``source`` sent; return what the JSON document says of it.

        Raises `DamagedError` where a check fails.
        """
        self._fill_point()
        self._import_computers()
        self._capture()
        deployment = self._deploy()
        disk = self._run_client(deployment, source)
        reported = self._take_statuses(deployment.deployment)
        self._compare(disk, dict(_USER_FILES))
        deleted = self._release()
        discs = self._from_discs()
        return {
            "deployment": deployment.deployment,
            "computer": NEW,
            "image": self._image_package,
            "refused": "repartition-erases-cache",
            "status_messages": reported,
            "state_deleted": deleted,
            "disk": str(disk),
            **discs,
        }

    def _card(self, site: str) -> Path:
        return self._root / f"{site}.card"

    def _make_image(self, inside: Path) -> bytes:
        """The image that headquarters took of a computer: an ext4 with the OS image of this demonstration in it."""
        from courier.deployment.run.file_systems import make_file_system
        from courier.deployment.run.work import work_folder

        tree = _write_tree(
            self._root / "reference", {"etc/os-release": b"NAME=Demo\n", "srv/boot.wim": inside.read_bytes()}
        )
        with work_folder(self._root / "making") as work, work.scratch("system.img") as made:
            make_file_system(
                work,
                "ext4",
                made,
                size=SYSTEM_SIZE,
                begin=MIB,
                label="SYSTEM",
                tree=tree,
                identity=uuid.uuid5(uuid.NAMESPACE_URL, "courier demo"),
            )
            return made.read_bytes()

    def _fill_point(self) -> None:
        from courier.distribution.by_rule import apply_rules

        self._step(f"The import told {_POINT} of the packages: courier point rule apply.")
        filled = 0
        for outcome in apply_rules(self._branch):
            if outcome.error is not None:
                raise outcome.error
            filled += outcome.done is not None
        check(filled >= 2, f"{_POINT} did not get the packages")
        self._detail(f"{plural(filled, 'package')} there, each file read back")

    def _import_computers(self) -> None:
        from courier.deployment.computer_csv import read_table
        from courier.deployment.computer_import import check_none_refused, import_table
        from courier.files import write_atomic

        self._step("The branch imports its computers from a table: courier computer import computers.csv.")
        path = self._root / "computers.csv"
        write_atomic(path, _COMPUTERS.encode())
        plan = import_table(self._branch, read_table(path.read_text("utf-8"), name=path.name))
        check_none_refused(plan)
        for one in plan.new:
            self._detail(f"line {one.line}: {one.computer.name}, {' '.join(one.computer.macs)}")

    def _capture(self) -> None:
        from courier.deployment.computers import associate
        from courier.deployment.state_capture import capture
        from courier.deployment.state_migrations import take_over, work_folder
        from courier.deployment.state_place import state_place_for
        from courier.deployment.state_points import NewStatePoint, add_point
        from courier.deployment.state_rules import make_rules

        self._step(f"The users' files of {OLD} go to a state migration point, encrypted for {NEW}: courier state.")
        folder = self._root / _STATE_POINT
        add_point(self._branch, NewStatePoint(name=_STATE_POINT, path=folder, max_clients=10, min_free="0"))
        associate(self._branch, OLD, NEW)
        old = _write_tree(self._root / "old", {**_USER_FILES, **_OTHER_FILES})
        place = state_place_for(self._branch, OLD, captures=True, restores=False)
        assert place is not None
        rules = make_rules(["home/*"], ["**/.cache"])
        done = capture(place, old, rules, work=work_folder(self._branch))
        take_over(self._branch)
        check(done.is_complete and done.files == len(_USER_FILES), "not all was captured")
        self._detail(f"{plural(done.files, 'file')} of home/*, {size_text(done.bytes)}; without **/.cache and the rest")
        kept = [path for path in folder.rglob("*") if path.is_file()]
        check(all(_LETTER not in path.read_bytes() for path in kept), "the point can be read")
        self._detail(f"{plural(len(kept), 'file')} at {_STATE_POINT}, which nobody there can read")

    def _deploy(self) -> Deployment:
        from courier.deployment.deployments import create_deployment, refusal

        self._step(f"To erase the disk of {NEW} after all was downloaded to it is refused: courier deploy check.")
        (self._root / "new.toml").write_text(self._sequence(_STATE), "utf-8")
        refused = self._judge("download-all")
        codes = [one.code for one in refused.refused]
        check(codes == ["repartition-erases-cache"], f"it was judged otherwise: {', '.join(codes) or 'nothing'}")
        for one in refused.refused:
            self._detail(f"{one.code}: {one.message}")
            self._detail(f"-> {one.remedy}")
        self._step("With --option run-from-point nothing is amiss, and it is made: courier deploy create.")
        judged = self._judge("run-from-point")
        if judged.refused:
            raise refusal(judged)
        new = create_deployment(self._branch, self._wanted("run-from-point"), judged)
        self._detail(f"{new.deployment}: {new.package}:{new.version} to {NEW}")
        return new

    def _sequence(self, more: str = "") -> str:
        head = f'name = "New computers of the branch"\nboot-image = "{self._boot_package}"\n'
        return head + _PARTITIONS.replace("IMAGE", self._image_package) + more

    def _wanted(self, option: Any) -> Any:
        from courier.deployment.facts import WantedDeployment

        return WantedDeployment(
            package=self._image_package, computers=[NEW], sequence=self._sequence(_STATE), option=option
        )

    def _judge(self, option: str) -> Judged:
        from courier.deployment.deployments import judge

        return judge(self._branch, self._wanted(option))

    def _run_client(self, deployment: Deployment, source: str) -> Path:
        from courier.deployment.deployments import policy_for, write_policy
        from courier.deployment.run.client import Wanted, run_deployment
        from courier.deployment.run.content import Supply
        from courier.deployment.run.policy import read_policy
        from courier.deployment.run.reporting import to_folder
        from courier.deployment.run.work import work_folder
        from courier.distribution.download_plan import read_cards
        from courier.distribution.folder_source import folder_source
        from courier.site.clock import now

        self._step(f"{NEW} runs its signed policy into a disk image, with no site at hand: courier deploy run.")
        path, disk = self._root / f"{NEW}.policy", blank_disk(self._root / f"{NEW}.img")
        write_policy(self._branch, policy_for(self._branch, deployment.deployment, NEW), path)
        cards = read_cards([self._card(self._branch.code), self._card(source)])
        read, stop = read_policy(path, cards[self._branch.code], now_ns=now()), threading.Event()
        supply = Supply(
            points=tuple(folder_source(one.address) for one in read.policy.points),
            cards=cards,
            stop=stop,
            progress=silent,
            retry_for=0,
        )
        wanted = Wanted(
            read=read,
            computer=NEW,
            into=disk,
            cache=self._root / "cache",
            supply=supply,
            recorders=[to_folder(self._root / "status", read.policy.status_key)],
        )
        with work_folder(self._root / "work") as work:
            run_deployment(wanted, work, now_ns=now(), stop=stop, progress=silent, say=self._detail, warn=self._detail)
        return disk

    def _take_statuses(self, name: str) -> int:
        from courier.deployment.reports import statuses, take_statuses

        self._step("The branch takes what the computer reported: courier deploy status --take.")
        taken = take_statuses(self._branch, self._root / "status")
        last = statuses(self._branch, name)[NEW][-1]
        check(not taken.refused and (last.step, last.outcome) == (0, "done"), f"{NEW} did not report that it is done")
        self._detail(f"{plural(taken.new, 'message')}, each with the key of {NEW}; the last: {last.outcome}")
        return taken.new

    def _compare(self, disk: Path, users: Mapping[str, bytes]) -> None:
        self._step("What is on the disk is compared.")
        compare_disk(disk, image=self._image, users=users, work=self._root / "making")
        files = plural(len(users), "file") if users else "no file"
        self._detail(f"{disk.name}: the image of headquarters bit for bit, and {files} of users")

    def _release(self) -> int:
        from courier.deployment.state_migrations import all_migrations, purge, release, take_over
        from courier.site.catalog import state

        self._step("All is well there: the captured state is released, and so deleted: courier state release.")
        take_over(self._branch)
        rows = all_migrations(self._branch, states=state.HELD)
        check([row.state for row in rows] == [state.RESTORED], "the site does not know that the state was restored")
        release(self._branch, rows)
        deleted = len(purge(self._branch).deleted)
        folder = self._root / _STATE_POINT
        left = [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]
        check(deleted == 1 and not left, "released state is still there")
        self._detail(f"{_STATE_POINT} holds no file of a user any more")
        return deleted

    def _from_discs(self) -> dict[str, Any]:
        discs = DiscsDemo(self._telling, self._root, self._branch, card=self._card(self._branch.code))
        made = discs.make(self._image_package, self._sequence())
        disk = discs.run(made, blank_disk(self._root / f"{NEW}-from-discs.img"))
        self._compare(disk, {})
        self._step("The same image came from the point and from discs. That discs start a computer was not shown here.")
        return {"discs": [str(image) for image in made], "disk_from_discs": str(disk)}


def require_programs() -> None:
    """Raise `NotFoundError` for programs that this demonstration runs and that are not here."""
    from courier.deployment.run.tools import DEBIAN_PACKAGES, missing_tools

    if missing := missing_tools(_PROGRAMS):
        packages = " ".join(sorted({DEBIAN_PACKAGES[name] for name in missing}))
        raise NotFoundError(
            f"this demonstration runs {' and '.join(missing)}, which this computer does not have; nothing was begun",
            hint=f"apt-get install {packages} (Debian), then: courier demo --deploy",
        )


def _add(site: Site, path: Path, name: str) -> str:
    from courier.packages.add import add_package, plan_addition

    with plan_addition(site, [path], name=name) as addition:
        return add_package(site, addition).package


def _write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    from courier.files import make_folder, write_atomic

    for name, data in files.items():
        path = folder / name
        make_folder(path.parent)
        write_atomic(path, data)
    return folder
