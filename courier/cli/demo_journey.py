"""The demonstration: headquarters and a branch in two folders, a real WIM image, three layouts, one journey."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

from courier.channel.addresses import add_address
from courier.channel.sync import synchronise
from courier.cli.console import Console, size_text
from courier.errors import CourierError, DamagedError, NotFoundError, UsageError
from courier.files import make_folder
from courier.media.reading import LAYOUTS
from courier.packages.add import add_package, plan_addition
from courier.receiving.receive import receive_media
from courier.sending.build import build_parcel
from courier.sending.outgoing_parcel import open_outgoing
from courier.sending.plan import plan_parcel
from courier.sending.ship import ship_parcel
from courier.sending.write import write_volumes
from courier.site.catalog import packages
from courier.site.home import Site, create_site
from courier.site.peers import pin_card
from courier.text import plural

IMAGE = "boot.wim"
CAPACITY = 850_000


def demo_image() -> Path:
    """The real image of the demonstration: in the checkout, or where the distribution installed it."""
    here = Path(__file__).resolve().parents[2] / "fixtures" / IMAGE
    if here.exists():
        return here
    try:
        for file in metadata.files("courier-parcels") or ():
            if file.name == IMAGE:
                return Path(str(file.locate()))
    except metadata.PackageNotFoundError:
        pass
    raise NotFoundError(f"the demonstration's image {IMAGE} is not installed", hint="run the demo in a checkout")


def run_demo(console: Console, keep: Path | None) -> dict[str, Any]:
    """Run the whole journey and compare both stores at its end. Raises `DamagedError` should they differ."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise UsageError(f"{keep} is not empty", hint="name a folder that does not exist yet")
        return _journey(console, make_folder(keep.absolute()))
    with tempfile.TemporaryDirectory(prefix="courier-demo-") as folder:
        return _journey(console, Path(folder))


def _journey(console: Console, root: Path) -> dict[str, Any]:
    with ExitStack() as stack:
        step = _Steps(console)
        step("Two sites are made, each with keys, a catalogue and a package store.")
        sender = create_site(root / "HQ1", code="HQ1", name="Headquarters")
        stack.callback(sender.close)
        receiver = create_site(root / "BR1", code="BR1", name="Branch office")
        stack.callback(receiver.close)
        step("Each pins the other's card. On the phone they compare the fingerprints:")
        for site, other in ((sender, receiver), (receiver, sender)):
            pin_card(site, other.card_envelope, fingerprint=other.card.fingerprint)
            console.say(f"     {other.code}  {other.card.fingerprint}")
        share = make_folder(root / "share")
        step(f"They agree on a network channel for small messages: the folder {share}")
        add_address(sender, "BR1", str(share), None)
        add_address(receiver, "HQ1", str(share), None)
        image = demo_image()
        step(f"Headquarters takes a real OS image into its store: {image.name}, {size_text(image.stat().st_size)}.")
        with plan_addition(sender, [image], name="Windows PE boot image") as addition:
            stored = add_package(sender, addition)
        console.say(f"     package {stored.package}, version {stored.version}")
        step(f"It builds a signed, encrypted parcel for media of {size_text(CAPACITY)} each (small, to make several).")
        plan = plan_parcel(
            sender, [stored.package], ["BR1"], media="drive", capacity=CAPACITY, compress="auto", encrypt=None
        )
        parcel = build_parcel(sender, plan)
        name, volumes = parcel.packing.parcel, parcel.packing.volumes
        console.say(f"     {name}: {plural(len(parcel.packing.archives), 'archive')} on {plural(volumes, 'volume')}")
        step("It writes the volumes in all three layouts and reads each back.")
        for layout in LAYOUTS:
            for one in write_volumes(sender, parcel, layout=layout, outs=[root / "courier" / layout]):
                console.say(f"     {one.path.relative_to(root)}  {size_text(one.bytes)}")
        step("It marks the parcel sent. The package definition and the ship notice go by network, the media by van.")
        ship_parcel(sender, open_outgoing(sender, name), carrier="Speedy Vans", tracking="SV-0042")
        _sync(sender)
        step("The media arrive at the branch in any order and of any kind: folders, a tape, a disc image.")
        media = sorted((root / "courier").glob("*/*"))
        mixed = [
            next(m for m in media if m.parent.name == LAYOUTS[n % 3] and f"V{n + 1:03d}" in m.name)
            for n in range(volumes)
        ]
        for medium in reversed(mixed):
            got = receive_media(receiver, [medium])
            _raise_first(got.failures)
            (status,) = got.parcels
            missing = ", ".join(map(str, status.missing_volumes)) or "nothing"
            console.say(f"     {medium.relative_to(root)}: good; still missing: {missing}")
        step("All content is here and good, but it is held until the network has told the same:")
        for item in status.awaiting:
            console.say(f"     awaiting {item}")
        step("The branch fetches its messages. Media and network agree, so the parcel is imported, all or nothing.")
        _sync(receiver)
        step("Headquarters fetches the signed receipt.")
        _sync(sender)
        state = open_outgoing(sender, name).sent.state
        console.say(f"     {name} is {state}")
        same = _compare(sender, receiver)
        step(f"Both stores compared: the same packages at both sites, {plural(same, 'file')}, every byte read again.")
        return {"parcel_id": name, "state": state, "volumes": volumes, "same": True, "folder": str(root)}


class _Steps:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = 0

    def __call__(self, text: str) -> None:
        self._count += 1
        self._console.say(f"{self._count:>2}. {text}")


def _sync(site: Site) -> None:
    done = synchronise(site)
    if done.failures:
        raise done.failures[0]
    if done.refused:
        raise DamagedError(
            f"a message was refused: {done.refused[0][1]}", hint="this is a fault of the toolkit: report it"
        )


def _raise_first(failures: tuple[tuple[str, CourierError], ...]) -> None:
    if failures:
        raise failures[0][1]


def _compare(sender: Site, receiver: Site) -> int:
    """Compare what both sites hold, listing by listing and content by content; return the number of files."""
    with sender.catalogue.reading() as connection:
        ours = packages.versions(connection)
    with receiver.catalogue.reading() as connection:
        theirs = packages.versions(connection)
    mine = [(p.package, p.version, p.name, p.listing) for p in ours]
    if mine != [(p.package, p.version, p.name, p.listing) for p in theirs]:
        raise DamagedError("the two stores hold different packages", hint="this is a fault of the toolkit: report it")
    for stored in theirs:
        for finding in receiver.store.verify(stored.listing):
            raise DamagedError(f"{finding.path}: {finding.problem}", hint="this is a fault of the toolkit: report it")
    return sum(stored.listing.files for stored in theirs)
