"""The second half of ``courier demo --branch``: points at the branch, one that fills itself, and three clients."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from courier.errors import CourierError, DamagedError
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.distribution.download_run import Outcome, Wish
    from courier.distribution.download_shared import Manner
    from courier.site.home import Site

_OUR_FAULT = "this is a fault of the toolkit: report it"
_SMALL = 100_000
"""Bytes of the cache that is too small."""
_START_SECONDS = 30.0
_POINTS = ("P1", "P2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """How the demonstration tells what it does: steps are numbered, details are below them."""

    step: Callable[[str], None]
    detail: Callable[[str], None]


class BranchDemo:
    """Points and clients of the site ``branch``, in the folder ``root``."""

    def __init__(self, telling: Telling, root: Path, branch: Site) -> None:
        """Raises `NotFoundError` where the extra that servers need is not installed."""
        from courier.channel.http_server import require_server

        require_server()
        self._step, self._detail = telling.step, telling.detail
        self._root, self._branch = root, branch

    def prepare(self, source: str) -> None:
        """Make the points, and the rules by which the packages of site ``source`` go there. It comes before they do."""
        self._step(f"The branch has two distribution points, and rules: what comes from {source} goes to both.")
        for name in _POINTS:
            make_point(self._branch, name, self._root / name, source)
            self._detail(f"{name}: {self._root / name}")

    def run(self, image: Path) -> dict[str, Any]:
        """Show what follows an import of ``image``; return what the JSON document says of it.

        Raises `DamagedError` where a check fails.
        """
        from courier.files import write_atomic

        package = self._fill_points()
        card = self._root / "BR1.card"
        write_atomic(card, self._branch.card_envelope)
        with ExitStack() as serving:
            mirrored, url = self._mirror(card, serving)
            wish = self._wish(package, card)
            fresh = self._fresh_cache(wish([url]))
            damaged = self._one_source_wrong(wish([serving.enter_context(self._damaged_point()), url]))
            small = self._small_cache(wish([url]))
        self._mend(package)
        self._compare(image, fresh, damaged)
        return {
            "package_id": package,
            "points": list(_POINTS),
            "branch_point": {"fetched_bytes": mirrored, "folder": str(self._root / "branch")},
            "clients": [_client("fresh cache", fresh), _client("one source wrong", damaged), _client("small", small)],
        }

    def _fill_points(self) -> str:
        from courier.distribution.by_rule import apply_rules

        self._step("The import told the points of it: the rules put the package on both, contents before statement.")
        package = ""
        for outcome in apply_rules(self._branch):
            if outcome.error is not None:
                raise outcome.error
            if outcome.done is not None:
                package = outcome.due.package
                filled = outcome.done.filled
                self._detail(f"{outcome.due.point}: {plural(filled.contents, 'content')}, {size_text(filled.bytes)}")
        check(package != "", "the rules sent nothing to the points")
        return package

    def _mirror(self, card: Path, serving: ExitStack) -> tuple[int, str]:
        """Keep a copy of P1 and serve it; the bytes fetched, and its URL."""
        from courier.distribution.download_plan import read_cards
        from courier.distribution.mirror import Mirroring, mirror

        self._step("P1 is served. A computer without a site, the branch point, copies, verifies and serves it in turn.")
        with _served(self._root / "P1") as url:
            wanted = Mirroring(
                folder=self._root / "branch",
                points=_sources([url]),
                cards=read_cards([card]),
                manner=_manner(),
                reserve="0%",
            )
            done = mirror(wanted, new=True, stop=threading.Event(), progress=silent)
        same = (self._root / "P1" / "point.json").read_bytes() == (self._root / "branch" / "point.json").read_bytes()
        check(same and done.counts.fetched > 0, "the branch point is no copy of P1")
        self._detail(f"{size_text(done.counts.fetched)} fetched; what it serves from now on does not need P1")
        return done.counts.fetched, serving.enter_context(_served(self._root / "branch"))

    def _wish(self, package: str, card: Path) -> Callable[[list[str]], Wish]:
        from courier.distribution.download_plan import read_cards
        from courier.distribution.download_run import Wish

        def wish(urls: list[str]) -> Wish:
            return Wish(
                package=package, version=None, points=_sources(urls), cards=read_cards([card]), manner=_manner()
            )

        return wish

    def _fresh_cache(self, wish: Wish) -> Outcome:
        from courier.distribution.download_run import download_to_cache

        self._step("The first client knows only the site's card. It downloads into a new cache, from the branch point.")
        outcome = download_to_cache(wish, self._root / "cache", stop=threading.Event(), progress=silent)
        check(outcome.placing is not None and outcome.placing.entry is not None, "the package is not in the cache")
        self._detail(f"{size_text(outcome.counts.fetched)} from {outcome.sources[0].name}")
        return outcome

    @contextlib.contextmanager
    def _damaged_point(self) -> Iterator[str]:
        """P2 served, after the disk damaged its largest content."""
        content = max((self._root / "P2" / "content").glob("*/*"), key=lambda path: path.stat().st_size)
        data = bytearray(content.read_bytes())
        data[len(data) // 2] ^= 1
        content.write_bytes(data)
        with _served(self._root / "P2") as url:
            yield url

    def _one_source_wrong(self, wish: Wish) -> Outcome:
        from courier.distribution.download_run import download_to_folder

        self._step("The disk of P2 changes a bit. The second client asks P2 first, and the branch point after it:")
        outcome = download_to_folder(wish, self._root / "client", stop=threading.Event(), progress=silent)
        bad, good = outcome.sources
        check(bad.refused > 0 and good.bytes > 0, "wrong bytes were not refused, or did not come from elsewhere")
        self._detail(f"{bad.name} (P2): {bad.faults[0][0]}: refused")
        self._detail(f"{good.name} (branch point): {size_text(good.bytes)}, right")
        return outcome

    def _small_cache(self, wish: Wish) -> Outcome:
        from courier.distribution.cache_folder import apply_settings, changing
        from courier.distribution.download_run import download_to_cache

        self._step(f"The third client has a cache of {size_text(_SMALL)}. It is told so before the first byte comes.")
        home = self._root / "small"
        with changing(home, make=True) as cache:
            apply_settings(cache, size=_SMALL)
        outcome = download_to_cache(wish, home, stop=threading.Event(), progress=silent)
        check(
            outcome.placing is not None and outcome.placing.verdict.too_large and outcome.counts.fetched == 0,
            "the package went into a cache that is too small for it",
        )
        needed = outcome.found.package.definition.listing.bytes
        self._detail(f"it needs {size_text(needed)}: exit code 5, cache-too-small; nothing came, nothing was deleted")
        return outcome

    def _mend(self, package: str) -> None:
        from courier.distribution.validate import validate
        from courier.distribution.versions import redistribute

        self._step("The site reads P2 back, which names the damage, and mends it from its store.")
        for damage in validate(self._branch, "P2").damage:
            self._detail(f"{damage.path}: {damage.problem}")
        redistribute(self._branch, "P2", package)
        for name in _POINTS:
            check(not validate(self._branch, name).damage, f"{name} is damaged")

    def _compare(self, image: Path, *outcomes: Outcome) -> None:
        """Compare what the clients have with the image. Raises `DamagedError`."""
        expected = {image.name: image.read_bytes()}
        for outcome in outcomes:
            there = {path.name: path.read_bytes() for path in outcome.where.rglob("*") if path.is_file()}
            check(there == expected, f"{outcome.where} does not hold the image")
        self._step("Compared: both clients have the image of headquarters byte for byte; both points read back whole.")


def make_point(site: Site, name: str, folder: Path, source: str) -> None:
    """Make a distribution point of ``site``, and the rule by which the packages of site ``source`` go there."""
    from courier.distribution.by_rule import add_rule
    from courier.distribution.registry import NewPoint, add_point

    new = NewPoint(
        name=name, folders=[folder], url="", branch=False, reserve="0%", max_connections=10, group="", peers=()
    )
    add_point(site, new)
    add_rule(site, source, name)


def check(right: bool, problem: str) -> None:
    """Raise `DamagedError` with ``problem`` unless all is ``right``."""
    if not right:
        raise DamagedError(problem, hint=_OUR_FAULT)


def _client(name: str, outcome: Outcome) -> dict[str, Any]:
    placing = outcome.placing
    return {
        "client": name,
        "whole": placing is None or placing.entry is not None,
        "too_large": placing is not None and placing.verdict.too_large,
        "fetched_bytes": outcome.counts.fetched,
        "sources": [{"bytes": one.bytes, "blocks_refused": one.refused} for one in outcome.sources],
    }


def _manner() -> Manner:
    from courier.distribution.download_pace import Unpaced
    from courier.distribution.download_shared import Manner

    return Manner(pace=Unpaced(), retry_for=_START_SECONDS)


def _sources(urls: list[str]) -> tuple[Any, ...]:
    from courier.cli.download_options import sources_of

    return sources_of(urls, None, None)


@contextlib.contextmanager
def silent(_title: str, _total: int) -> Iterator[Callable[[int], None]]:
    """Progress that shows nothing."""
    yield lambda _: None


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a point's folder from a thread while the block runs; yields the URL."""
    from courier.channel.http_server import Listening
    from courier.distribution.serve import Served, serve_folders

    stop, up = threading.Event(), threading.Event()
    urls, errors = list[str](), list[BaseException]()

    def ready(url: str) -> None:
        urls.append(url)
        up.set()

    def serve() -> None:
        served = Served(name=f"the point in {folder}", folders=[folder], limit=10)
        try:
            serve_folders(served, Listening(host="127.0.0.1", port=0), log=lambda _: None, ready=ready, stop=stop)
        except BaseException as error:
            errors.append(error)
        finally:
            up.set()

    thread = threading.Thread(target=serve, name=f"serve {folder.name}")
    thread.start()
    try:
        up.wait(_START_SECONDS)
        if errors:
            raise errors[0]
        if not urls:
            raise CourierError(f"the server of {folder} did not start", hint=_OUR_FAULT)
        yield urls[0]
    finally:
        stop.set()
        thread.join()
