"""What the team side reads off the messages that pass through it."""

import asyncio
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sidecar.agent.team_side import TeamSide
from sidecar.directory.directory import Directory
from sidecar.health import Condition, Health
from sidecar.identity import NodeId, PrivateKey
from sidecar.keybase.client import KeybaseClient
from sidecar.keybase.models import ChatMessage
from sidecar.settings import Settings
from sidecar.store import Store

OWN = NodeId("alice", "a" * 32, "laptop")
OTHER = NodeId("bob", "b" * 32, "server")


def raised_after(tmp_path: Path, *batches: list[ChatMessage]) -> bool:
    """Whether posts are said to vanish, once these have come in."""

    async def scenario() -> bool:
        health = Health()
        settings = Settings(team="acme.vpn", subnet=IPv4Network("100.64.7.0/24"))
        directory = Directory(
            own=OWN, own_key=PrivateKey.generate().public_key, subnet=settings.subnet
        )
        started: Any = SimpleNamespace(node=OWN, settings=settings, membership=None)
        machines: Any = SimpleNamespace(
            directory=directory,
            mesh=SimpleNamespace(handle_messages=lambda *_, **__: None, usernames=()),
            restored=False,
        )
        side = TeamSide(
            started,
            machines,
            client=KeybaseClient(),
            store=Store(tmp_path),
            health=health,
            mutate=lambda change: change(0.0),
            on_team_config=lambda *_: None,
        )
        for batch in batches:
            side._channel.feeds[0].deliver(batch, False)
        for part in side.parts():
            part.close()
        codes = {entry.code for entry in health.entries(datetime.now(UTC))}
        return Condition.CHANNEL_EXPLODES.code in codes

    return asyncio.run(scenario())


def post(id_: int, *, exploding: bool, sender: NodeId = OWN) -> ChatMessage:
    return ChatMessage(id_, sender, 0.0, "ANNOUNCE …", exploding=exploding)


def test_our_newest_post_says_whether_posts_vanish(tmp_path: Path) -> None:
    assert raised_after(tmp_path, [post(5, exploding=True)])
    assert not raised_after(tmp_path, [post(5, exploding=True)], [post(6, exploding=False)])
    assert raised_after(tmp_path, [post(6, exploding=True)], [post(5, exploding=False)])


def test_what_others_post_says_nothing_of_ours(tmp_path: Path) -> None:
    assert not raised_after(tmp_path, [post(5, exploding=True, sender=OTHER)])
