"""What goes through an allocation, and who may: permissions, channels, and what waits for them.

Without a channel data goes as Send and Data indications (RFC 8656 §11), with one as ChannelData
(§12). What is wanted survives the allocation: the next one is asked for all of it again.
"""

from collections import Counter
from random import Random
from typing import Final

from ..machine import Endpoint, IPAddress
from ..stun.message import TRANSACTION_ID_SIZE
from ..stun.wire import Method
from .channels import Channels
from .framing import ChannelData
from .message import TurnError, TurnMessage, send_indication
from .permissions import Permissions
from .refusals import retry_after
from .requests import Bind, Permit

MAX_HELD: Final = 64
"""Datagrams that wait for their permission, one a peer address: as many checks are in flight."""


class Forwarding:
    """Part of an `Allocation`.

    Args:
        reliable: whether the transport is a stream, where frames are padded (RFC 8656 §12.5).
        rng: source of transaction ids.
        dropped: counts what came in or was to go out and was dropped, by reason.
    """

    def __init__(self, *, reliable: bool, rng: Random, dropped: Counter[str]) -> None:
        self._dropped = dropped
        self._reliable = reliable
        self._rng = rng
        self._permissions = Permissions()
        self._channels = Channels()
        self._held: dict[Endpoint, bytes] = {}
        self._outbox: list[bytes] = []

    # What is wanted ---------------------------------------------------------------------------

    def permit(self, ip: IPAddress, now: float) -> None:
        """Let an address through, for as long as it is not forbidden again."""
        self._permissions.want(ip, now)

    def forbid(self, ip: IPAddress) -> None:
        """Let the permission of an address lapse."""
        self._permissions.release(ip)

    def bind(self, remote: Endpoint, now: float) -> None:
        """Give a peer a channel, for as long as it is not unbound again."""
        self._channels.want(remote, now)

    def unbind(self, remote: Endpoint, now: float) -> None:
        """Let the channel of a peer lapse."""
        self._channels.release(remote, now)

    def channel(self, remote: Endpoint, now: float) -> int | None:
        """Return the number of a peer's channel; `None`: it is not bound."""
        return self._channels.number(remote, now)

    def send(self, remote: Endpoint, payload: bytes, now: float) -> None:
        """Have something relayed: at once, or as soon as the address is permitted."""
        channel = self._channels.number(remote, now)
        if channel is not None:
            self._outbox.append(ChannelData(channel, payload).encode(padded=self._reliable))
        elif self._permissions.allows(remote.ip, now):
            transaction_id = self._rng.randbytes(TRANSACTION_ID_SIZE)
            self._outbox.append(send_indication(transaction_id, remote, payload))
        elif remote.ip in self._permissions and (
            remote in self._held or len(self._held) < MAX_HELD
        ):
            self._held[remote] = payload  # the newest of a peer: it is what would be repeated
        else:
            self._dropped["not permitted"] += 1

    # What comes in ----------------------------------------------------------------------------

    def unpack_channel(self, data: ChannelData) -> tuple[Endpoint, bytes] | None:
        """Return whom data came from; `None`: nobody that we know."""
        remote = self._channels.remote(data.channel)
        if remote is None:
            self._dropped["data on an unknown channel"] += 1
            return None
        return remote, data.payload

    def unpack_indication(self, message: TurnMessage) -> tuple[Endpoint, bytes] | None:
        """Take a Data indication (RFC 8656 §11.6) apart; nothing else is indicated to a client."""
        if message.method is not Method.DATA or message.unknown_required or message.data is None:
            self._dropped["indication that says nothing"] += 1
        elif len(message.peers) != 1 or message.peers[0].ip not in self._permissions:
            # RFC 8656 §11.7: the client should check that it has installed such a permission.
            self._dropped["data from nobody that we permitted"] += 1
        else:
            return message.peers[0], message.data
        return None

    # What the server agreed to ----------------------------------------------------------------

    def succeeded(self, request: Permit | Bind, now: float) -> Bind | None:
        """Note that a request was granted; returns a channel that has become usable by it."""
        match request:
            case Permit(ips):
                self._permissions.granted(ips, now)
                fresh = None
            case Bind(remote) as bind:
                # RFC 8656 §12.2: a binding installs or refreshes the permission of its address.
                self._permissions.granted((remote.ip,), now)
                fresh = bind if self._channels.succeeded(bind, now) else None
        for remote in [r for r in self._held if self._permissions.allows(r.ip, now)]:
            self.send(remote, self._held.pop(remote), now)
        return fresh

    def refused(self, request: Permit | Bind, code: int, now: float) -> Endpoint | None:
        """Note that it was not; returns a peer that has lost its channel by that."""
        match request:
            case Permit(ips) as permit:
                self._permissions.refused(permit, now, retry_after(code))
                for remote in [r for r in self._held if ips == (r.ip,)]:
                    del self._held[remote]
                    self._dropped["not permitted"] += 1
                return None
            case Bind(remote) as bind:
                if code == TurnError.BAD_REQUEST:
                    was_bound = self._channels.renumber(bind, now)
                else:
                    was_bound = self._channels.refused(bind, now, retry_after(code))
                return remote if was_bound else None

    def renew(self, now: float) -> None:
        """Ask again for what was granted, as if it were time."""
        self._permissions.renew(now)
        self._channels.renew(now)

    def reset(self, now: float) -> list[Endpoint]:
        """Begin anew, for the allocation is gone; returns the peers that have lost a channel."""
        lost = self._channels.bound(now)
        self._permissions.reset(now)
        self._channels.reset(now)
        self._held.clear()
        return lost

    # Machine ----------------------------------------------------------------------------------

    def take_due(self, now: float) -> list[Permit | Bind]:
        """Return the requests that are due; they count as made."""
        return [*self._permissions.take_due(now), *self._channels.take_due(now)]

    def next_timeout(self) -> float:
        """When to call `take_due` next; infinity: nothing will be due as things are."""
        return min(self._permissions.next_timeout(), self._channels.next_timeout())

    def frames_to_send(self) -> list[bytes]:
        """Take the frames queued since the last call."""
        frames, self._outbox = self._outbox, []
        return frames
