"""``courier demo``: headquarters and a branch in two folders, a real WIM image, three layouts, the whole journey."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.console import Console
from courier.cli.demo_branch import BranchDemo, Telling
from courier.cli.demo_cluster import ClusterDemo, cluster_demo
from courier.cli.demo_deploy import DeployDemo, require_programs
from courier.cli.demo_services import Services, require_services
from courier.errors import DamagedError, NotFoundError, UsageError
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.sending.outgoing_parcel import OutgoingParcel
    from courier.site.home import Site

app = group("")

IMAGE = "boot.wim"
CAPACITY = 850_000
"""Bytes of each medium: so small that the image takes several."""
LARGER = 1_250_000
"""Bytes of each medium where there are more packages."""
_OUR_FAULT = "this is a fault of the toolkit: report it"


@command(
    app,
    "demo",
    examples=[
        "courier demo",
        "courier demo --branch",
        "courier demo --deploy --keep /tmp/demo",
        "courier demo --cluster",
    ],
)
def demo(
    context: typer.Context,
    *,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep everything in this folder, which must be new.")
    ] = None,
    branch: Annotated[
        bool, typer.Option("--branch", help="Then the branch's points, one that fills itself, and three clients.")
    ] = False,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Then a computer is replaced: from the branch's point, and from discs.")
    ] = False,
    cluster: Annotated[
        bool,
        typer.Option(
            "--cluster", help="Headquarters works with PostgreSQL, a bucket and two workers. Needs extra demo."
        ),
    ] = False,
) -> None:
    """Show the whole journey of a parcel on this machine.

    Two sites are made in a folder, and a real OS image goes from one to the other, step by step.
    """
    from courier.files import make_folder

    console = console_of(context)
    if branch + deploy + cluster > 1:
        raise UsageError("--branch, --deploy and --cluster go on differently", hint="give one of them, then another")
    if cluster:
        require_services()
    if deploy:
        require_programs()
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="courier-demo-") as folder:
            outcome = _Demo(console, Path(folder)).run(branch=branch, deploy=deploy, cluster=cluster)
    elif keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", hint="name a folder that does not exist yet")
    else:
        outcome = _Demo(console, make_folder(keep.absolute())).run(branch=branch, deploy=deploy, cluster=cluster)
    console.result(outcome)


def demo_image() -> Path:
    """The image of the demonstration: in the source folder, or where the distribution was installed."""
    from importlib import metadata

    here = Path(__file__).resolve().parents[2] / "fixtures" / IMAGE
    if here.exists():
        return here
    try:
        for file in metadata.files("courier-parcels") or ():
            if file.name == IMAGE:
                return Path(str(file.locate()))
    except metadata.PackageNotFoundError:
        pass
    raise NotFoundError(f"the image {IMAGE} of the demo is not installed", hint="run the demo in the source folder")


class _Demo:
    """One demonstration in the folder ``root``. Each step is told before it is done."""

    def __init__(self, console: Console, root: Path) -> None:
        self._console, self._root, self._steps, self._tells_commands = console, root, 0, False

    def run(self, *, branch: bool = False, deploy: bool = False, cluster: bool = False) -> dict[str, Any]:
        """Run the whole journey; return what the command's JSON document says.

        ``branch``, ``deploy``: what follows at the branch too. ``cluster``: headquarters works with servers. The
        document has a part of the same name.
        """
        more: dict[str, Any] = {}
        telling = Telling(step=self._step, detail=self._detail)
        with ExitStack() as stack:
            self._tells_commands = cluster
            servers = stack.enter_context(cluster_demo(telling)) if cluster else None
            sender, receiver = self._make_sites(stack, servers.services if servers else None)
            self._introduce(sender, receiver)
            points = BranchDemo(telling, self._root, receiver) if branch else None
            computers = DeployDemo(telling, self._root, receiver) if deploy else None
            if points is not None:
                points.prepare(sender.code)
            further = computers.prepare(sender, demo_image()) if computers is not None else ()
            parcel = self._build(sender, receiver.code, further, servers)
            name = parcel.packing.parcel
            self._write_and_ship(sender, parcel)
            self._receive(receiver, parcel.packing.volumes)
            state = self._agree_and_confirm(sender, receiver, name)
            self._compare(sender, receiver)
            if points is not None:
                more = {"branch": points.run(demo_image())}
            if computers is not None:
                more = {"deploy": computers.run(sender.code)}
            if servers is not None:
                more = {"cluster": servers.finish(sender)}
        volumes = parcel.packing.volumes
        return {"parcel_id": name, "state": state, "volumes": volumes, "same": True, "folder": str(self._root), **more}

    def _step(self, text: str) -> None:
        self._steps += 1
        self._console.say(f"{self._steps:>2}. {text}")
        self._console.event({"event": "step", "number": self._steps, "text": text})

    def _detail(self, text: str) -> None:
        self._console.say(f"     {text}")

    def _typed(self, command: str) -> None:
        """Tell what an operator types for the step, where the demonstration does."""
        if self._tells_commands:
            self._detail(f"$ courier {command}")

    def _make_sites(self, stack: ExitStack, servers: Services | None) -> tuple[Site, Site]:
        from courier.site.home import create_site

        self._step("Two sites are made, each with keys, a catalogue and a package store.")
        catalogue, store = (servers.catalogue, f"{servers.bucket}/hq1") if servers else ("", "")
        self._typed(f"init --site HQ1 --name Headquarters --catalogue '{catalogue}' --store {store}")
        sender = create_site(self._root / "HQ1", code="HQ1", name="Headquarters", catalogue=catalogue, store=store)
        stack.callback(sender.close)
        receiver = create_site(self._root / "BR1", code="BR1", name="Branch office")
        stack.callback(receiver.close)
        return sender, receiver

    def _introduce(self, sender: Site, receiver: Site) -> None:
        from courier.channel.addresses import add_address
        from courier.files import make_folder
        from courier.site.peers import pin_card

        self._step("Each pins the other's card. On the phone they compare the fingerprints:")
        for site, other in ((sender, receiver), (receiver, sender)):
            pin_card(site, other.card_envelope, fingerprint=other.card.fingerprint)
            self._detail(f"{other.code}  {other.card.fingerprint}")
        share = make_folder(self._root / "share")
        self._step(f"They agree on a network channel for small messages: the folder {share}")
        add_address(sender, receiver.code, str(share))
        add_address(receiver, sender.code, str(share))

    def _build(
        self, sender: Site, destination: str, further: tuple[str, ...], servers: ClusterDemo | None
    ) -> OutgoingParcel:
        from courier.packages.add import add_package, plan_addition
        from courier.sending.build import build_parcel
        from courier.sending.plan import ParcelRequest, plan_parcel

        image = demo_image()
        self._step(f"Headquarters adds a real OS image to its store: {image.name}, {size_text(image.stat().st_size)}.")
        self._typed(f"package add {image.name} --name 'Windows PE boot image'")
        with plan_addition(sender, [image], name="Windows PE boot image") as addition:
            stored = add_package(sender, addition)
        self._detail(f"package {stored.package}, version {stored.version}")
        capacity = LARGER if further else CAPACITY
        size = size_text(capacity)
        self._step(f"It builds a signed, encrypted parcel for media of {size} each (so small to make several).")
        request = ParcelRequest(
            packages=(stored.package, *further), destinations=(destination,), media="drive", capacity=capacity
        )
        plan = plan_parcel(sender, request)
        if servers is None:
            parcel = build_parcel(sender, plan)
        else:
            self._typed(f"parcel create {stored.package} --to {destination} --cluster {servers.services.workers}")
            with servers.workers() as executor:
                parcel = build_parcel(sender, plan, executor=executor)
        archives, volumes = len(parcel.packing.archives), parcel.packing.volumes
        self._detail(f"{parcel.packing.parcel}: {plural(archives, 'archive')} on {plural(volumes, 'volume')}")
        return parcel

    def _write_and_ship(self, sender: Site, parcel: OutgoingParcel) -> None:
        from courier.media.reading import LAYOUTS
        from courier.sending.outgoing_parcel import open_outgoing
        from courier.sending.ship import ship_parcel
        from courier.sending.write import plan_writing, write_volumes

        self._step("It writes the volumes in all three layouts and reads each back.")
        for layout in LAYOUTS:
            self._typed(f"parcel write {parcel.packing.parcel} --layout {layout} --out courier/{layout}")
            writing = plan_writing(sender, parcel, layout=layout, outs=[self._root / "courier" / layout])
            for one in write_volumes(sender, writing).volumes:
                self._detail(f"{one.path.relative_to(self._root)}  {size_text(one.bytes)}")
        self._step(
            "It marks the parcel as sent. The package definition and the ship notice go by network, the media by van."
        )
        self._typed(f"parcel ship {parcel.packing.parcel} --carrier 'Speedy Vans' --tracking SV-0042")
        again = open_outgoing(sender, parcel.packing.parcel)
        ship_parcel(sender, again, carrier="Speedy Vans", tracking="SV-0042")
        _sync(sender)

    def _receive(self, receiver: Site, volumes: int) -> None:
        from courier.media.reading import LAYOUTS
        from courier.receiving.receive import receive_media

        self._step("The media arrive at the branch in any order and of any kind: folders, a tape, a disc image.")
        media = sorted((self._root / "courier").glob("*/*"))
        mixed = [
            next(m for m in media if m.parent.name == LAYOUTS[n % 3] and f"V{n + 1:03d}" in m.name)
            for n in range(volumes)
        ]
        for medium in reversed(mixed):
            self._typed(f"parcel receive {medium.relative_to(self._root)}")
            got = receive_media(receiver, [medium])
            if got.failures:
                raise got.failures[0][1]
            (status,) = got.parcels
            missing = ", ".join(map(str, status.missing_volumes)) or "nothing"
            self._detail(f"{medium.relative_to(self._root)}: good; still missing: {missing}")
        self._step("All content is here and good, but it is held until the network has said the same:")
        for item in status.awaiting:
            self._detail(f"awaiting {item}")

    def _agree_and_confirm(self, sender: Site, receiver: Site, name: str) -> str:
        from courier.sending.outgoing_parcel import open_outgoing

        self._step(
            "The branch fetches its messages. Media and network agree, so it imports the parcel, all or nothing."
        )
        self._typed("channel sync")
        _sync(receiver)
        self._step("Headquarters fetches the signed receipt.")
        _sync(sender)
        self._typed("channel sync")
        state = open_outgoing(sender, name).sent.state
        self._detail(f"{name} is {state}")
        return str(state)

    def _compare(self, sender: Site, receiver: Site) -> None:
        """Compare what both sites hold, listing by listing and content by content. Raises `DamagedError`."""
        from courier.site.catalog import packages

        with sender.catalogue.reading() as connection:
            ours = packages.versions(connection)
        with receiver.catalogue.reading() as connection:
            theirs = packages.versions(connection)
        mine = [(p.package, p.version, p.name, p.listing) for p in ours]
        if mine != [(p.package, p.version, p.name, p.listing) for p in theirs]:
            raise DamagedError("the two stores hold different packages", hint=_OUR_FAULT)
        for stored in theirs:
            for finding in receiver.store.verify(stored.listing):
                raise DamagedError(f"{finding.path}: {finding.problem}", hint=_OUR_FAULT)
        files = plural(sum(stored.listing.files for stored in theirs), "file")
        self._step(f"Both stores compared: the same packages at both sites, {files}, every byte read again.")


def _sync(site: Site) -> None:
    """Exchange messages; raise the first thing that went wrong."""
    from courier.channel.sync import synchronise
    from courier.cli.messages import MESSAGE_HANDLERS

    done = synchronise(site, handlers=MESSAGE_HANDLERS)
    if done.failures:
        raise done.failures[0]
    if done.refused:
        raise DamagedError(f"a message was refused: {done.refused[0][1]}", hint=_OUR_FAULT)
