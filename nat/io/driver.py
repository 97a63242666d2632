"""Drives any `Machine` from an asyncio event loop."""

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from ..machine import Datagram, Machine

AFTER_FAULT: Final = 1.0
"""Seconds until a machine that failed is asked again: without its timer it would be silent for
ever, and its error is logged each time."""

EventT = TypeVar("EventT")

Mutate = Callable[[Callable[[float], None]], None]
"""`Driver.mutate`, for those who bring something in and need nothing else of the driver."""


class Driver(Generic[EventT]):
    """Feeds datagrams and time to a machine, and carries out what it asks for.

    Args:
        machine: the machine; whoever mutates it uses `mutate`, or calls `drain` afterwards.
        send: sends one datagram; must not raise.
        on_event: gets each event; may mutate the machine, which is drained to the end.
        flush: sends whatever else the machine has for the network; called between the two.
    """

    def __init__(
        self,
        machine: Machine[EventT],
        *,
        send: Callable[[Datagram], None],
        on_event: Callable[[EventT], None],
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        self._machine = machine
        self._send = send
        self._on_event = on_event
        self._flush = flush
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False
        self._closed = False
        self.drain()

    def receive_datagram(self, datagram: Datagram) -> None:
        """Hand a datagram to the machine."""
        self.mutate(lambda now: self._machine.receive_datagram(datagram, now))

    def mutate(self, change: Callable[[float], None]) -> None:
        """Call one method of the machine with the time, then drain; nothing once closed.

        `driver.mutate(lambda now: machine.network_changed(now))`
        """
        if not self._closed:
            change(self._loop.time())
            self.drain()

    def drain(self) -> None:
        """Send, dispatch and re-arm the timer; call after every mutation of the machine."""
        if self._draining or self._closed:
            return  # an event's handler mutated the machine: the loop below goes on
        self._draining = True
        try:
            while not self._closed:
                for datagram in self._machine.datagrams_to_send():
                    self._send(datagram)
                self._flush()
                event = self._machine.next_event()
                if event is None:
                    break
                self._on_event(event)
        finally:
            # Even if a handler fails: a machine without its timer would be silent for ever.
            self._draining = False
            self._arm(None if self._closed else self._machine.next_timeout())

    def close(self) -> None:
        """Stop the timer; the machine is not driven any more."""
        self._closed = True
        self._arm(None)

    def _arm(self, deadline: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = (
            None if deadline is None else self._loop.call_at(deadline, self._on_timer, deadline)
        )

    def _on_timer(self, deadline: float) -> None:
        # Whatever the machine makes of it, it is asked again, but never in a circle.
        self._arm(self._loop.time() + AFTER_FAULT)
        # The loop may fire a timer up to its clock resolution early.
        self._machine.handle_timeout(max(deadline, self._loop.time()))
        self.drain()
