"""The Pusher for asyncio: the same, and nothing of it holds up the loop."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time

import pytest

from kqworker.errors import BrokerError, ConfigError
from kqworker.kafka.devbroker import PARTITIONS, DevBroker, create_topics
from kqworker.kq import (
    AsyncPusher,
    RoundRobin,
    new_async_pusher,
    with_balancer,
    with_buffer,
    with_flush_interval,
    with_sync_push,
)
from kqworker.kq.push import pushing
from kqworker.kq.trace import handling
from tests.kq.test_pushing import TRACE, Sink, fail

TIMEOUT = 20.0


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Sink:
    opened = Sink()
    monkeypatch.setattr(pushing, "_open", lambda addrs, kafka: opened)
    return opened


@pytest.fixture
def topic(broker: DevBroker, request: pytest.FixtureRequest) -> str:
    create_topics(broker.address, [request.node.name])
    return str(request.node.name)


def test_a_push_is_awaited_and_its_delivery_too(broker: DevBroker, topic: str) -> None:
    async def main() -> None:
        async with new_async_pusher([broker.address], topic) as pusher:
            assert pusher.name == topic
            first = await pusher.push("1")
            second = await pusher.push_with_key("k", b"2")
            third = await pusher.kpush("k", "3")
            assert (await first.wait(TIMEOUT)) is first
            await asyncio.gather(second.wait(), third.wait())
            assert second.done and second.partition == third.partition
            assert {second.offset, third.offset} >= {second.offset}

    asyncio.run(main())


def test_a_synchronous_push_returns_what_is_delivered(broker: DevBroker, topic: str) -> None:
    async def main() -> None:
        async with AsyncPusher(broker.address, topic, with_sync_push()) as pusher:
            assert (await pusher.push("1")).done

    asyncio.run(main())


def test_partitions_are_counted_beside_the_loop(broker: DevBroker, topic: str) -> None:
    async def main() -> None:
        async with AsyncPusher(broker.address, topic, with_balancer(RoundRobin())) as pusher:
            pushed = [await pusher.push("1") for _ in range(PARTITIONS)]
        assert [delivery.partition for delivery in pushed] == [*range(PARTITIONS)]

    asyncio.run(main())


def test_a_full_buffer_holds_up_the_push_and_not_the_loop(broker: DevBroker, topic: str) -> None:
    options = (with_buffer(messages=5, timeout=0.3), with_flush_interval(600))

    async def main() -> None:
        async with AsyncPusher(broker.address, topic, *options) as pusher:
            for _ in range(5):
                await pusher.push("1")
            ticks = 0
            late = asyncio.ensure_future(pusher.push("6"))
            # As often as it can: where it is held up, there is none before the push has ended.
            while not late.done():
                await asyncio.sleep(0)
                ticks += 1
            with pytest.raises(BrokerError, match="has been full for"):
                await late
            assert ticks > 5

    asyncio.run(main())


def test_a_cancelled_push_sends_nothing_and_keeps_nobody(broker: DevBroker, topic: str) -> None:
    options = (with_buffer(messages=5, timeout=600), with_flush_interval(600))
    for balanced in ((), (with_balancer(RoundRobin()),)):
        pusher = AsyncPusher("127.0.0.1:1", topic, *options, *balanced)

        async def main(pusher: AsyncPusher = pusher, count: int = 0 if balanced else 5) -> None:
            for _ in range(count):
                await pusher.push("1")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pusher.push("2"), 0.2)

        began = time.monotonic()
        asyncio.run(main())  # ends its threads too
        assert time.monotonic() - began < 5
        if balanced:
            pusher._channel.close(0)
        else:
            with pytest.raises(BrokerError, match=r"^5 messages"):
                pusher._channel.close(0)


def test_a_wait_that_is_over_or_cancelled_takes_note_of_nothing(sink: Sink) -> None:
    async def main() -> None:
        pusher = AsyncPusher("a", "t")
        delivery = await pusher.push("1")
        with pytest.raises(TimeoutError, match=r"not delivered within 0\.01 s"):
            await delivery.wait(0.01)
        task = asyncio.ensure_future(delivery.wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        fail(sink.deliveries[0], "late")
        with pytest.raises(BrokerError, match=r"1 message .* the first: late"):
            await pusher.close()

    asyncio.run(main())


def test_who_is_cancelled_while_being_told_is_not_told(sink: Sink) -> None:
    async def main() -> None:
        pusher = AsyncPusher("a", "t")
        task = asyncio.ensure_future((await pusher.push("1")).wait())
        await asyncio.sleep(0)
        fail(sink.deliveries[0], "late")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(BrokerError, match=r"1 message .* the first: late"):
            await pusher.close()

    asyncio.run(main())


def test_what_may_block_is_done_beside_the_loop(sink: Sink) -> None:
    sink.counts = [1]

    async def main() -> None:
        pusher = AsyncPusher("a", "t")
        await pusher.push("1")
        assert not sink.calls.pop()[0]  # the first one connects
        await pusher.push("2")
        assert sink.calls.pop() == (True, 0)
        sink.full = True
        with pytest.raises(BrokerError, match="has been full"):
            await pusher.push("3")
        assert sink.calls == [(True, 0), (False, 60.0)]
        sink.full, sink.calls = False, []
        await pusher.close()
        sink.closed = False
        counting = AsyncPusher("a", "t", with_balancer(RoundRobin()))
        for _ in range(3):
            await counting.push("4")
        assert not any(in_the_loop for in_the_loop, _ in sink.calls)
        await counting.close()

    asyncio.run(main())


def test_thousands_may_wait_for_one_delivery(sink: Sink) -> None:
    async def main() -> None:
        pusher = AsyncPusher("a", "t")
        delivery = await pusher.push("1")
        for _ in range(100):
            with pytest.raises(TimeoutError):
                await delivery.wait(0)
        pushed = sink.deliveries[0]
        assert isinstance(pushed, pushing.PushDelivery)
        assert not pushed._waiters  # who gave up is not kept
        waiting = [asyncio.ensure_future(delivery.wait(TIMEOUT)) for _ in range(3000)]
        await asyncio.sleep(0)
        await asyncio.to_thread(pushed._resolve, 0, 7)
        assert {found.offset for found in await asyncio.gather(*waiting)} == {7}
        await pusher.close()

    asyncio.run(main())


def test_all_but_kpush_are_in_the_trace_of_the_message(sink: Sink) -> None:
    async def main() -> None:
        async with AsyncPusher("a", "t") as pusher:
            with handling(TRACE):
                await pusher.push("1")
                await pusher.push_with_key("k", "2")
                await pusher.kpush("k", "3")

    asyncio.run(main())
    assert [output.headers for output in sink.sent] == [TRACE, TRACE, ()]


def test_a_failure_reaches_who_waits(sink: Sink) -> None:
    async def main() -> None:
        async with AsyncPusher("a", "t") as pusher:
            delivery = await pusher.push("1")
            waiting = [asyncio.ensure_future(delivery.wait()) for _ in range(2)]
            await asyncio.sleep(0)
            await asyncio.to_thread(fail, sink.deliveries[0], "no")
            for task in waiting:
                with pytest.raises(BrokerError, match="no"):
                    await task
            with pytest.raises(BrokerError, match="no"):
                await delivery.wait()

    asyncio.run(main())


def test_a_block_that_raises_keeps_its_own_error(sink: Sink) -> None:
    async def main() -> None:
        with pytest.raises(KeyError) as raised:
            async with AsyncPusher("a", "t") as pusher:
                await pusher.push("1")
                fail(sink.deliveries[0], "disk full")
                raise KeyError("mine")
        assert "disk full" in raised.value.__notes__[0]

    asyncio.run(main())


def test_a_close_that_is_cancelled_loses_nothing_in_silence(
    sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    begun, going_on = threading.Event(), threading.Event()

    def at_close() -> None:
        begun.set()
        going_on.wait(TIMEOUT)
        fail(sink.deliveries[0], "purged")

    async def main() -> None:
        pusher = AsyncPusher("a", "t")
        await pusher.push("1")
        sink.at_close = at_close
        task = asyncio.ensure_future(pusher.close())
        await asyncio.to_thread(begun.wait, TIMEOUT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        going_on.set()

    asyncio.run(main())
    assert "1 message to topic 't' could not be delivered" in caplog.text


def test_a_loop_that_has_ended_is_not_woken(sink: Sink) -> None:
    async def main() -> None:
        delivery = await pusher.push("1")
        with pytest.raises(TimeoutError):
            await delivery.wait(0)

    pusher = AsyncPusher("a", "t")
    asyncio.run(main())
    sink.deliveries[0]._resolve(0, 0)
    asyncio.run(pusher.close())


def test_it_travels_and_checks_as_the_pusher_does() -> None:
    pusher = AsyncPusher("a", "t", with_sync_push())
    assert (
        repr(pickle.loads(pickle.dumps(pusher))) == repr(pusher) == "<AsyncPusher to 't' at a:9092>"
    )
    with pytest.raises(ConfigError):
        AsyncPusher("a", "")
