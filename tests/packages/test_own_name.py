"""The name of a path that was given, which becomes a name in a package."""

from __future__ import annotations

from pathlib import Path

import pytest

from courier.packages.own_name import own_name


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file by the short name that Windows has for it."""
    (tmp_path / "Image of the year.wim").touch()
    (tmp_path / "IMAGEO~1.WIM").touch()
    real = Path.resolve

    def resolve(path: Path, strict: bool = False) -> Path:
        return tmp_path / "Image of the year.wim" if path.name == "IMAGEO~1.WIM" else real(path, strict)

    monkeypatch.setattr(Path, "resolve", resolve)
    return tmp_path / "IMAGEO~1.WIM"


def test_a_short_name_of_windows_becomes_the_whole_one(short: Path) -> None:
    assert own_name(short, windows=True) == "Image of the year.wim"
    assert own_name(short, windows=False) == "IMAGEO~1.WIM"


@pytest.mark.parametrize("windows", [True, False])
def test_a_link_and_any_other_path_keep_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: bool
) -> None:
    (tmp_path / "file~").touch()
    (tmp_path / "link~").symlink_to("file~")
    assert [own_name(tmp_path / name, windows=windows) for name in ("file~", "link~")] == ["file~", "link~"]
    monkeypatch.chdir(tmp_path)
    assert own_name(Path(), windows=windows) == tmp_path.name
    assert own_name(Path("/"), windows=windows) == ""
