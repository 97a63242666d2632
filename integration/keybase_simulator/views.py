"""Messages, conversations and cursors as the CLI shows them (§1.3, §2, §3)."""

import base64
import hashlib
from typing import Any

from .cache import DeviceCache
from .chat import Conversation, Message
from .world import ServiceError


def channel(conversation: Conversation) -> dict[str, str]:
    """Return the channel object of replies."""
    return {
        "name": conversation.team,
        "members_type": "team",
        "topic_type": conversation.topic_type,
        "topic_name": conversation.topic,
    }


def message_entry(
    conversation: Conversation,
    message: Message,
    cache: DeviceCache,
    *,
    read_pointer: int,
    listening: bool = False,
) -> dict[str, Any]:
    """Return a message as an entry of `read`, or as `api-listen` shows it."""
    error = cache.unboxing_error(message)
    if error is not None:
        return {"error": error}
    sender = {"uid": message.sender.uid}
    if not message.omit_username:
        sender["username"] = message.sender.username
    sender["device_id"] = message.sender.id
    if not message.omit_device_name:
        # An edit shows its own device's name beside the original's device id.
        sender["device_name"] = (message.edited_by or message.sender).name
    foreign = message.sender.username != cache.device.username
    shown: dict[str, Any] = {
        "id": message.id,
        "conversation_id": conversation.id,
        "channel": channel(conversation),
        "sender": sender,
        "sent_at": message.sent_at_ms // 1000,
        "sent_at_ms": message.sent_at_ms,
        "content": message.content,
        "prev": None if listening else _prev(message),
        "unread": not listening and foreign and message.id > read_pointer,
    }
    if cache.is_revoked(conversation, message):
        shown["revoked_device"] = True
    if message.lifetime is not None:
        shown["is_ephemeral"] = True
        shown["e_time"] = message.sent_at_ms + int(message.lifetime * 1000)
        shown["has_pairwise_macs"] = True
    shown["channel_mention"] = "none"
    return {"msg": shown}


def conversation_summary(conversation: Conversation, username: str) -> dict[str, Any]:
    """Return a conversation as `list` shows it."""
    newest = conversation.messages[-1].sent_at_ms if conversation.messages else 0
    if username in conversation.joined:
        status = "active"
    else:
        status = "left" if username in conversation.left else "never_joined"
    return {
        "id": conversation.id,
        "channel": channel(conversation),
        "is_default_conv": conversation.topic == "general",
        "unread": conversation.max_id > conversation.read[username],
        "active_at": newest // 1000,
        "active_at_ms": newest,
        "member_status": status,
        "creator_info": {
            "ctime": conversation.created_ms,
            "username": conversation.creator.username,
        },
    }


def read_cursor(number: int) -> str:
    """Return the cursor of `read`: base64 of msgpack of the message's id."""
    return base64.b64encode(_packed(number)).decode()


def listen_cursor(number: int) -> str:
    """Return the cursor of `api-listen`: the same in hex."""
    return _packed(number).hex()


def cursor_number(cursor: str) -> int:
    """Return the message id in a cursor of `read`."""
    try:
        raw = base64.b64decode(cursor, validate=True)
    except ValueError:
        raise ServiceError("illegal base64 data at input byte 0") from None
    if len(raw) == 1 and raw[0] < 0x80:
        return raw[0]
    if len(raw) in (2, 3, 5, 9) and raw[0] == {2: 0xCC, 3: 0xCD, 5: 0xCE, 9: 0xCF}[len(raw)]:
        return int.from_bytes(raw[1:], "big")
    raise ServiceError("msgpack decode error: invalid pagination cursor")


def _packed(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    for prefix, size in ((b"\xcc", 1), (b"\xcd", 2), (b"\xce", 4), (b"\xcf", 8)):
        if number < 1 << 8 * size:
            return prefix + number.to_bytes(size, "big")
    raise ServiceError("message id out of range")


def _prev(message: Message) -> list[dict[str, Any]]:
    if message.id == 1:
        return []
    digest = hashlib.sha256(f"prev/{message.id - 1}".encode()).digest()
    return [{"id": message.id - 1, "hash": base64.b64encode(digest).decode()}]
