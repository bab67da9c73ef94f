"""Progress: each phase of the work is named, and tells exactly the bytes that it said it would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from journey import Sites, add, create, make_sites, noise, write, write_files
from told_progress import Told

from courier.packages.add import add_package, plan_addition
from courier.packages.export import export_package
from courier.packages.export_archive import export_archive
from courier.packages.unpack import unpack_package
from courier.parcel.parity_plan import Redundancy
from courier.receiving.receive import receive_media
from courier.receiving.verify import verify_media, verify_received
from courier.sending.build import build_parcel
from courier.sending.outgoing_parcel import open_outgoing
from courier.sending.plan import ParcelRequest, plan_parcel
from courier.sending.repair_answer import queue_answer, write_answer
from courier.sending.repair_request import read_request_file
from courier.sending.verify_sent import verify_sent
from courier.sending.write import plan_writing, write_volumes
from courier.site.home import Site, open_site


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    sites = make_sites(tmp_path_factory.mktemp("progress"))
    texts = {f"a{n}_txt": b"many words " * (2000 + n) for n in range(20)}
    add(sites.hq, write_files(sites.root / "in", **texts, big_bin=noise(5_000_000)), name="Mixed")
    return sites


@pytest.fixture
def hq(sites: Sites) -> Iterator[Site]:
    with closing(open_site(sites.hq.path)) as site:
        yield site


@pytest.mark.parametrize("compress", ["none", "auto", "best"])
@pytest.mark.parametrize("redundancy", ["none", "5%"])
def test_building_tells_every_byte_of_every_phase(hq: Site, compress: str, redundancy: str) -> None:
    request = ParcelRequest(
        packages=("HQ100001",),
        destinations=("BR1",),
        media="drive",
        capacity=3_000_000,
        compress=compress,
        redundancy=Redundancy.parse(redundancy),
    )
    told = Told()
    parcel = build_parcel(hq, plan_parcel(hq, request), told)
    parity = ["Making parity", "Reading parity back"] if redundancy != "none" else []
    assert told.all_true() == ["Building", *parity]
    told = Told()
    assert verify_sent(hq, parcel.packing.parcel, told) is not None
    assert told.all_true() == [f"Verifying {parcel.packing.parcel}"]


def test_receiving_and_verifying_tell_every_byte_of_every_phase(sites: Sites) -> None:
    parcel = create(sites.hq, "HQ100001", capacity="3MB")
    volumes = write(sites.hq, parcel, "folder", sites.root / "out")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    with closing(open_site(sites.br.path)) as br:
        told = Told()
        verify_media(br.trust(), volumes, progress=told)
        assert told.all_true() == [f"Verifying volume {n} of {len(volumes)}" for n in range(1, len(volumes) + 1)]
        told = Told()
        receive_media(br, volumes[:1], progress=told)
        assert told.all_true() == ["Receiving volume 1"]
        told = Told()
        assert verify_received(br, parcel, told) is not None
        assert told.all_true() == [f"Verifying {parcel}"]
        told = Told()
        receive_media(br, volumes, progress=told)
        assert told.all_true() == [*(f"Receiving volume {n}" for n in range(2, len(volumes) + 1)), "Importing"]


def test_a_straight_import_tells_its_phases(tmp_path: Path) -> None:
    sites = make_sites(tmp_path)
    package = add(sites.hq, write_files(tmp_path / "in", big_bin=noise(3_000_000)))
    parcel = create(sites.hq, package, capacity="4MB")
    volumes = write(sites.hq, parcel, "folder", tmp_path / "out")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    with closing(open_site(sites.br.path)) as br:
        told = Told()
        receive_media(br, volumes, progress=told)
        assert told.all_true() == ["Reading parity", "Importing"]


def test_exports_tell_every_byte_of_every_phase(sites: Sites, hq: Site, tmp_path: Path) -> None:
    document = sites.hq("package", "add", sites.root / "in", "--pack", "--name", "Packed")
    packed = f"{document['package_id']}:{document['version']}"
    told = Told()
    export_package(hq, "HQ100001", tmp_path / "files", progress=told)
    assert told.all_true() == ["Exporting HQ100001:1"]
    told = Told()
    export_archive(hq, "HQ100001", tmp_path / "a.7z", level=None, progress=told)
    assert told.all_true() == ["Exporting HQ100001:1", "Reading back"]
    told = Told()
    unpack_package(hq, packed, tmp_path / "unpacked", told)
    assert told.all_true() == [f"Unpacking {packed}"]


def test_an_answer_to_a_repair_request_tells_every_byte_of_its_blocks(sites: Sites, hq: Site, tmp_path: Path) -> None:
    parcel = create(sites.hq, "HQ100001", capacity="2500KB")
    volumes = write(sites.hq, parcel, "folder", tmp_path / "out")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    sites.br("parcel", "receive", volumes[0])
    sites.br("parcel", "repair", parcel, "--request-out", tmp_path / "request")
    asked = read_request_file(hq, tmp_path / "request")
    told = Told()
    write_answer(hq, asked, tmp_path / "answer", told)
    assert told.all_true() == ["Answering BR1"]
    told = Told()
    queue_answer(hq, asked, told)
    assert told.all_true() == ["Answering BR1"]
    assert asked.bytes


def test_adding_and_writing_tell_every_byte_of_their_one_phase(hq: Site, sites: Sites, tmp_path: Path) -> None:
    with plan_addition(hq, [sites.root / "in"], name="Again") as addition:
        told = Told()
        added = add_package(hq, addition, told)
        assert told.all_true() == ["Adding"]
    parcel = create(sites.hq, f"{added.package}:{added.version}", capacity="3MB")
    told = Told()
    plan = plan_writing(hq, open_outgoing(hq, parcel), layout="folder", outs=[tmp_path])
    write_volumes(hq, plan, progress=told)
    assert told.all_true() == ["Writing"]
    assert plan.work
