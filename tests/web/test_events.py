"""The stream of events: what it says, and that it ends with its browser, with one that reads nothing, and when told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest.importorskip("starlette")

from courier.web import events
from courier.web.events import STREAMS, EventStreams
from courier.web.watch import Seen

Message = MutableMapping[str, Any]


@dataclass
class FakeWatch:
    """Stands for the watch of a site."""

    mark: str = "a"
    ended: bool = False

    def seen(self) -> Seen:
        return Seen(mark=self.mark, snapshot=None, problem=None)


@dataclass
class Browser:
    """The other end of a stream."""

    watch: FakeWatch = field(default_factory=FakeWatch)
    got: list[Message] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    reads: bool = True

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        while not self.reads:
            await asyncio.sleep(0.01)
        self.got.append(message)

    def events(self) -> list[tuple[str, dict[str, str]]]:
        """The events that came: name, and what they say."""
        found = []
        for message in self.got:
            if message.get("body"):
                name, data = message["body"].decode().strip().split("\n")
                found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return found


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LOOK_SECONDS", 0.01)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


def test_a_stream_says_that_something_changed_and_nothing_else() -> None:
    async def story() -> None:
        browser = Browser()
        streams = EventStreams(browser.watch)  # type: ignore[arg-type]
        task = asyncio.create_task(streams({}, browser.receive, browser.send))
        await until(lambda: len(browser.events()) == 1)
        await asyncio.sleep(0.1)
        assert len(browser.events()) == 1
        browser.watch.mark = "b"
        await until(lambda: len(browser.events()) == 2)
        assert [(name, data["mark"]) for name, data in browser.events()] == [("change", "a"), ("change", "b")]
        assert all(data.keys() == {"mark", "at"} for _, data in browser.events())
        assert browser.got[0]["status"] == 200
        assert (b"content-type", b"text/event-stream; charset=utf-8") in browser.got[0]["headers"]
        assert streams.open == 1
        browser.gone.set()
        await asyncio.wait_for(task, 10)
        assert streams.open == 0

    asyncio.run(story())


def test_a_stream_says_now_and_then_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BEAT_SECONDS", 0.05)

    async def story() -> None:
        browser = Browser()
        task = asyncio.create_task(EventStreams(browser.watch)({}, browser.receive, browser.send))  # type: ignore[arg-type]
        await until(lambda: len(browser.events()) >= 3)
        assert [name for name, _ in browser.events()][:3] == ["change", "beat", "beat"]
        browser.watch.ended = True
        await asyncio.wait_for(task, 10)
        assert browser.got[-1] == {"type": "http.response.body", "body": b""}

    asyncio.run(story())


def test_a_browser_that_takes_nothing_more_is_given_up() -> None:
    async def story() -> None:
        browser = Browser()
        streams = EventStreams(browser.watch, send_seconds=0.05)  # type: ignore[arg-type]
        task = asyncio.create_task(streams({}, browser.receive, browser.send))
        await until(lambda: len(browser.events()) == 1)
        browser.reads = False
        browser.watch.mark = "b"
        await asyncio.wait_for(task, 10)
        assert streams.open == 0

    asyncio.run(story())


def test_there_are_so_many_streams_and_no_more() -> None:
    async def story() -> None:
        watch = FakeWatch()
        streams = EventStreams(watch)  # type: ignore[arg-type]
        browsers = [Browser(watch=watch) for _ in range(STREAMS + 1)]
        tasks = [asyncio.create_task(streams({}, one.receive, one.send)) for one in browsers]
        await until(lambda: all(one.got for one in browsers))
        assert sorted(one.got[0]["status"] for one in browsers) == [200] * STREAMS + [503]
        watch.ended = True
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
        assert streams.open == 0

    asyncio.run(story())
