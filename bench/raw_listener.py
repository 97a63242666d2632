"""Holds the agent's raw sockets on a port, and drops what they get: `… raw_listener PORT`."""

import asyncio
import sys

import uvloop

from nat.io.shared_port import SharedPort


async def main(port: int) -> None:
    shared = SharedPort(port, mark=0, on_datagram=lambda _: None)
    shared.open()
    print("open", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
