"""Transfers at one time: the limit holds, and a client that has much waits for those that have little."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from courier.distribution.slots import Slots


def test_the_limit_holds_and_whoever_waits_too_long_is_told_to_come_again() -> None:
    async def check() -> None:
        slots = Slots(limit=4, wait_seconds=0.01)
        assert [await slots.enter("a"), await slots.enter("a")] == [200, 200]
        assert await slots.enter("a") == 429  # its share is half
        assert [await slots.enter("b"), await slots.enter("c")] == [200, 200]
        assert await slots.enter("d") == 503
        slots.leave("a")
        assert await slots.enter("d") == 200
        for client in "abcd":
            slots.leave(client)
        assert [await slots.enter("a"), await slots.enter("a")] == [200, 200]

    asyncio.run(check())


def test_one_transfer_is_for_one_client_after_the_other() -> None:
    async def check() -> None:
        slots = Slots(limit=1, wait_seconds=5)
        assert await slots.enter("a") == 200
        waiting = asyncio.create_task(slots.enter("b"))
        await asyncio.sleep(0)
        assert not waiting.done()
        slots.leave("a")
        assert await waiting == 200

    asyncio.run(check())


def test_the_client_with_the_fewest_transfers_is_next() -> None:
    async def check() -> None:
        slots = Slots(limit=4, wait_seconds=5)
        for client in "aabb":
            await slots.enter(client)
        order: list[str] = []

        async def want(client: str) -> None:
            assert await slots.enter(client) == 200
            order.append(client)

        tasks = [asyncio.create_task(want(client)) for client in ("a", "b", "c")]
        await asyncio.sleep(0)
        slots.leave("a")
        await asyncio.sleep(0.01)
        assert order == ["c"]
        slots.leave("b")
        slots.leave("b")
        await asyncio.sleep(0.01)
        assert sorted(order) == ["a", "b", "c"]
        await asyncio.gather(*tasks)

    asyncio.run(check())


def test_a_request_that_is_given_up_while_it_waits_leaves_nothing_behind() -> None:
    async def check() -> None:
        slots = Slots(limit=1, wait_seconds=5)
        await slots.enter("a")
        waiting = asyncio.create_task(slots.enter("b"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        slots.leave("a")
        assert await slots.enter("c") == 200

    asyncio.run(check())


def test_many_clients_are_served_alike() -> None:
    async def check() -> None:
        slots = Slots(limit=6, wait_seconds=30)
        got: Counter[str] = Counter()
        active = most = 0

        async def client(name: str, streams: int) -> None:
            async def stream() -> None:
                nonlocal active, most
                while got.total() < 600:
                    assert await slots.enter(name) == 200
                    active += 1
                    most = max(most, active)
                    await asyncio.sleep(0)
                    got[name] += 1
                    active -= 1
                    slots.leave(name)

            await asyncio.gather(*(stream() for _ in range(streams)))

        await asyncio.gather(client("greedy", 12), client("one", 2), client("two", 2))
        assert most <= 6
        assert min(got.values()) * 3 > max(got.values())

    asyncio.run(check())
