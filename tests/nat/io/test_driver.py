"""The asyncio driver, on a loop whose clock jumps to the next timer."""

import asyncio
from ipaddress import IPv4Address

from nat.io.driver import Driver
from nat.machine import Datagram, Endpoint
from tests.support.virtual_time import VirtualTimeLoop

A = Endpoint(IPv4Address("192.0.2.1"), 1)
B = Endpoint(IPv4Address("192.0.2.2"), 2)


class Ticker:
    """Sends a datagram and raises an event at 1, 2 and 3 seconds."""

    def __init__(self) -> None:
        self.due: float | None = 1.0
        self.outbox: list[Datagram] = []
        self.events: list[float] = []

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        self.events.append(-now)

    def handle_timeout(self, now: float) -> None:
        if self.due is not None and now >= self.due:
            self.outbox.append(Datagram(A, B, b""))
            self.events.append(now)
            self.due = self.due + 1.0 if self.due < 3.0 else None

    def next_timeout(self) -> float | None:
        return self.due

    def datagrams_to_send(self) -> list[Datagram]:
        outbox, self.outbox = self.outbox, []
        return outbox

    def next_event(self) -> float | None:
        return self.events.pop(0) if self.events else None


def test_drives_a_machine_to_its_end() -> None:
    async def scenario() -> tuple[list[float], list[float]]:
        sent: list[float] = []
        seen: list[float] = []
        loop = asyncio.get_running_loop()
        Driver[float](Ticker(), send=lambda _: sent.append(loop.time()), on_event=seen.append)
        await asyncio.sleep(10)
        return sent, seen

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        sent, seen = runner.run(scenario())

    assert sent == [1.0, 2.0, 3.0]
    assert seen == [1.0, 2.0, 3.0]


def test_a_machine_that_failed_once_is_asked_again_and_not_in_a_circle() -> None:
    class Faulty(Ticker):
        faults = 3

        def handle_timeout(self, now: float) -> None:
            if self.faults:
                self.faults -= 1
                raise ZeroDivisionError
            super().handle_timeout(now)

    async def scenario() -> tuple[list[float], list[float]]:
        loop = asyncio.get_running_loop()
        faults: list[float] = []
        seen: list[float] = []
        loop.set_exception_handler(lambda _, __: faults.append(loop.time()))
        Driver[float](Faulty(), send=lambda _: None, on_event=seen.append)
        await asyncio.sleep(10)
        return faults, seen

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        faults, seen = runner.run(scenario())

    assert faults == [1.0, 2.0, 3.0]
    assert seen == [4.0, 4.0, 4.0]


def test_an_event_handler_may_drain_again() -> None:
    async def scenario() -> list[float]:
        seen: list[float] = []

        def on_event(event: float) -> None:
            seen.append(event)
            driver.drain()

        driver = Driver[float](Ticker(), send=lambda _: None, on_event=on_event)
        driver.receive_datagram(Datagram(B, A, b"x"))
        await asyncio.sleep(1.5)
        return seen

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(scenario()) == [0.0, 1.0]


def test_a_closed_driver_is_silent() -> None:
    async def scenario() -> list[float]:
        seen: list[float] = []
        driver = Driver[float](Ticker(), send=lambda _: None, on_event=seen.append)
        driver.close()
        await asyncio.sleep(10)
        return seen

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(scenario()) == []


def test_a_mutation_gets_the_time_and_is_drained() -> None:
    async def scenario() -> list[float]:
        seen: list[float] = []
        ticker = Ticker()
        driver = Driver[float](ticker, send=lambda _: None, on_event=seen.append)
        await asyncio.sleep(0.5)
        driver.mutate(ticker.events.append)
        driver.close()
        driver.mutate(ticker.events.append)
        return seen

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(scenario()) == [0.5]


def test_a_driver_that_a_handler_closes_does_not_wake_up_again() -> None:
    async def scenario() -> tuple[list[float], float | None]:
        seen: list[float] = []

        def on_event(event: float) -> None:
            seen.append(event)
            driver.close()

        ticker = Ticker()
        driver = Driver[float](ticker, send=lambda _: None, on_event=on_event)
        await asyncio.sleep(10)
        return seen, ticker.due

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(scenario()) == ([1.0], 2.0)


def test_a_handler_that_fails_costs_its_event_but_not_the_timer() -> None:
    async def scenario() -> tuple[list[float], list[str]]:
        seen: list[float] = []
        errors: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(str(context["exception"])))

        def on_event(event: float) -> None:
            if event == 1.0:
                raise ValueError("the handler's own bug")
            seen.append(event)

        Driver[float](Ticker(), send=lambda _: None, on_event=on_event)
        await asyncio.sleep(10)
        return seen, errors

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(scenario()) == ([2.0, 3.0], ["the handler's own bug"])
