"""What is committed works anywhere: no machine's paths, no registry's hosts, and a README whose commands exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path, PurePosixPath

from stock import stock_tool

ROOT = Path(__file__).resolve().parents[1]

# In two halves, so that this file does not hold what it looks for.
REGISTRY_HOSTS = [
    f"{domain}.{top}".encode()
    for domain, top in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("anaconda", "org"),
        ("golang", "org"),
        ("maven", "org"),
        ("maven.apache", "org"),
        ("deb.debian", "org"),
        ("snapshot.debian", "org"),
        ("archive.ubuntu", "com"),
        ("docker", "io"),
    )
]
# A path that begins at the root, not the end of a longer one such as `{home}/work/`.
MACHINE_PATHS = re.compile(rb"(?<![\w.~)}*>-])/(?:work|root|tmp/venv)(?=/|\b)")
LOCKS = re.compile(r"(?:.*\.lock|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml)")


def tracked() -> dict[str, bytes]:
    """Path -> content of every file git tracks, as it stands in the checkout."""
    # CI may run as another user than the one who cloned; only the list of files is asked for.
    listing = subprocess.run(
        [stock_tool("git"), "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True
    )
    paths = [name for name in listing.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_bytes() for name in paths}


def readme_commands() -> str:
    """All that stands in the README's shell blocks."""
    return "\n".join(re.findall(r"```(?:sh|bash|console)\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S))


def test_no_file_names_a_registry_host() -> None:
    found = [(name, host) for name, data in tracked().items() for host in REGISTRY_HOSTS if host in data]
    assert found == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    found = [(name, match[0]) for name, data in tracked().items() if (match := MACHINE_PATHS.search(data))]
    assert found == []


def test_no_lock_file_with_addresses_is_committed() -> None:
    locks = [name for name in tracked() if LOCKS.fullmatch(PurePosixPath(name).name)]
    assert [name for name in locks if b"://" in (ROOT / name).read_bytes()] == []


def test_the_readme_has_the_demo_and_the_tests_in_its_shell_blocks() -> None:
    commands = readme_commands()
    assert "python3 -m venv .venv && .venv/bin/pip install -e '.[test]'" in commands
    assert ".venv/bin/courier demo" in commands
    assert ".venv/bin/python -m pytest" in commands


def test_ci_runs_the_tests_as_the_readme_does() -> None:
    assert 'venv/python" -m pytest' in (ROOT / ".ci" / "run").read_text("utf-8")


def test_a_machine_path_is_told_from_a_relative_one() -> None:
    slash = b"/"
    assert MACHINE_PATHS.search(b"cd " + slash + b"work/main")
    assert MACHINE_PATHS.search(b'"' + slash + b'root"')
    assert MACHINE_PATHS.search(slash + b"tmp/venv/bin/python")
    for fine in (b"{home}/work/parcel", b"site/work/x", b"~/work/x", b"/workshop", b"/rooted"):
        assert not MACHINE_PATHS.search(fine)
