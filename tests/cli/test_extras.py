"""Every optional part comes with ``all``, and each command whose part is missing names it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from imports import MODULES, imports
from journey import FIXTURES, ROOT, Home, Sites, add, create, make_home, make_sites

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
NOT_FOR_SITES = {"test", "dev", "docs", "demo", "all"}
LIBRARIES = {
    "postgresql": ("psycopg",),
    "channel": ("httpx", "starlette", "uvicorn", "anyio", "h11"),
    "dashboard": ("starlette", "uvicorn", "anyio", "h11"),
    "paper": ("reportlab", "segno"),
    "notify": ("apprise",),
    "s3": ("obstore",),
    "cluster": ("distributed", "dask"),
    "pkcs11": ("PyKCS11", "pkcs11"),
}
"""The modules that an extra brings and that are imported where they are used."""


class _Without(MetaPathFinder):
    """Makes modules as if they were not installed."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = set(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Take the extra of the test away, and what was loaded of it."""
    extra: str = request.param
    # securesystemslib looks for the library of tokens when it is loaded itself.
    names = (*LIBRARIES[extra], *(["securesystemslib"] if extra == "pkcs11" else []))
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Without(LIBRARIES[extra]), *sys.meta_path])
    return extra


def test_all_brings_every_part() -> None:
    (everything,) = EXTRAS["all"]
    parts = set(everything.partition("[")[2].removesuffix("]").split(","))
    assert parts == EXTRAS.keys() - NOT_FOR_SITES
    assert set(LIBRARIES) == parts


def test_every_library_that_is_imported_is_required_or_of_a_part() -> None:
    ours = {"courier", "formats"}
    required = {
        "alembic", "backports", "cryptography", "filelock", "jinja2", "markupsafe", "msgspec", "numpy", "platformdirs",
        "py7zr", "pycdlib", "pyfastcdc", "rich", "securesystemslib", "sqlalchemy", "typer", "multivolumefile",
    }  # fmt: skip
    parts = {name for names in LIBRARIES.values() for name in names}
    found = {item.name.partition(".")[0] for module in MODULES.values() for item in imports(module)}
    assert found - ours - required - parts - sys.stdlib_module_names - {"compression", "_typeshed"} == set()


def _hint(home: Home, *words: object, code: int) -> str:
    error = home.fails(*words, code=code)
    return str(error["hint"]) + str(error["message"])


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


@pytest.mark.parametrize("without", ["channel"], indirect=True)
def test_what_needs_the_network_names_its_part(sites: Sites, without: str) -> None:
    home = sites.hq
    part = f"pip install 'courier-parcels[{without}]'"
    assert part in _hint(home, "channel", "serve", "--behind-proxy", code=6)
    assert part in _hint(home, "channel", "address", "add", "BR1", "https://br.example.org:8423", code=6)
    home("point", "add", "P1", sites.root / "point")
    assert part in _hint(home, "point", "serve", "P1", code=6)


@pytest.mark.parametrize("without", ["dashboard"], indirect=True)
def test_the_dashboard_names_its_part(sites: Sites, without: str) -> None:
    assert f"pip install 'courier-parcels[{without}]'" in _hint(sites.hq, "dashboard", code=6)


@pytest.mark.parametrize("without", ["paper"], indirect=True)
def test_what_prints_names_its_part(sites: Sites, without: str, tmp_path: Path) -> None:
    parcel = create(sites.hq, add(sites.hq, FIXTURES / "boot.wim"))
    part = f"pip install 'courier-parcels[{without}]'"
    for word in ("labels", "waybill", "packing-note"):
        assert part in _hint(sites.hq, "parcel", word, parcel, "--out", tmp_path / "x.pdf", code=6)


@pytest.mark.parametrize("without", ["notify"], indirect=True)
def test_what_tells_services_names_its_part(tmp_path: Path, without: str) -> None:
    home = make_home(tmp_path, "BR1")
    address = tmp_path / "desk.url"
    address.write_text("json://127.0.0.1:9/")
    address.chmod(0o600)
    home("config", "set", "notify.desk", f"file:{address}")
    part = f"pip install 'courier-parcels[{without}]'"
    assert part in _hint(home, "notify", "test", code=6)
    remedies: list[Any] = home("doctor", code=None)["findings"]
    assert part in [one["remedy"] for one in remedies]
    # The watch itself goes on without it.
    assert home("channel", "watch", "--once")["ended"]


@pytest.mark.parametrize("without", ["postgresql"], indirect=True)
def test_a_catalogue_on_a_server_names_its_part(tmp_path: Path, without: str) -> None:
    home = Home(code="HQ1", path=tmp_path / "HQ1")
    url = "postgresql+psycopg://nobody@127.0.0.1:9/none"
    hint = _hint(home, "init", "--site", "HQ1", "--name", "HQ", "--catalogue", url, code=2)
    assert f"pip install 'courier-parcels[{without}]'" in hint


@pytest.mark.parametrize("without", ["s3"], indirect=True)
def test_a_store_in_a_bucket_names_its_part(tmp_path: Path, without: str) -> None:
    home = Home(code="HQ1", path=tmp_path / "HQ1")
    hint = _hint(home, "init", "--site", "HQ1", "--name", "HQ", "--store", "s3://images/hq1", code=2)
    assert f"pip install 'courier-parcels[{without}]'" in hint


@pytest.mark.parametrize("without", ["cluster"], indirect=True)
def test_workers_of_a_cluster_name_their_part(sites: Sites, without: str) -> None:
    part, package = f"pip install 'courier-parcels[{without}]'", add(sites.hq, FIXTURES / "boot.wim")
    assert part in _hint(sites.hq, "cluster", "run", code=2)
    many = ("--to", "BR1", "--capacity", "64MB", "--cluster", "tcp://127.0.0.1:9")
    assert part in _hint(sites.hq, "parcel", "create", package, *many, code=2)


@pytest.mark.parametrize("without", ["pkcs11"], indirect=True)
def test_a_key_on_a_token_names_its_part(tmp_path: Path, without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(code="HQ1", path=tmp_path / "HQ1")
    module = tmp_path / "module.so"
    module.write_bytes(b"")
    monkeypatch.setenv("PYKCS11LIB", str(module))
    monkeypatch.setenv("COURIER_PIN", "1234")
    hint = _hint(home, "init", "--site", "HQ1", "--name", "HQ", "--key", "pkcs11:id=2;token=courier", code=3)
    assert f"courier-parcels[{without}]" in hint
