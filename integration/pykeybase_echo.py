"""A bot of the library pykeybasebot: answers `ping` with `pong` and prints what it sees as JSON.

`python -m integration.pykeybase_echo USER TEAM TOPIC`, by the Python that has the library, with the
paper key in PAPERKEY. The library is of 2020 and passes `loop=` to functions of asyncio that take
it no longer (Python 3.10): they are given back their old form here, and nothing else is changed.
"""

import asyncio
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import pykeybasebot.cli
from pykeybasebot import Bot
from pykeybasebot.types import chat1


def tell(what: str, **fields: Any) -> None:
    """Say what happened, a line each."""
    print(json.dumps({"what": what, **fields}), flush=True)


async def _handle(bot: Bot, event: Any) -> None:
    message = event.msg
    if message is None or message.content.type_name != "text":
        return
    body = message.content.text.body
    tell("heard", body=body, sender=message.sender.username, device=message.sender.device_name)
    if body == "ping":
        sent = await bot.chat.send(message.channel, "pong")
        tell("sent", id=sent.message_id)
    elif body == "look":
        read = await bot.chat.read(message.channel)
        texts = [m.content.text.body for m in read if m and m.content.type_name == "text"]
        conversations = await bot.chat.list()
        tell("read", texts=texts, topics=[c.channel.topic_name for c in conversations])
    elif body == "touch":
        await bot.chat.react(message.conv_id, message.id, ":eyes:")
        await bot.chat.edit(message.channel, 3, "edited")
        tell("touched")


async def _run(username: str, team: str, topic: str) -> None:
    bot = Bot(_handle, username=username, paperkey=os.environ["PAPERKEY"])
    await bot.ensure_initialized()
    channel = chat1.ChatChannel(name=team, members_type="team", topic_name=topic)
    sent = await bot.chat.send(channel, "here")
    tell("initialized", id=sent.message_id)
    await bot.start({"filter-channel": {"name": team, "members_type": "team", "topic_name": topic}})


async def _subprocess(*argv: str, loop: object = None, **more: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(*argv, **more)


async def _wait_for(awaitable: Any, seconds: float, loop: object = None) -> Any:
    return await asyncio.wait_for(awaitable, seconds)


if __name__ == "__main__":
    pykeybasebot.cli.asyncio = SimpleNamespace(
        create_subprocess_exec=_subprocess, wait_for=_wait_for, subprocess=asyncio.subprocess
    )
    asyncio.run(_run(*sys.argv[1:]))
