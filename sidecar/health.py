"""Health: a registry of conditions that an operator should know of.

A condition is raised and cleared by whoever sees it; it is shown once it has lasted, so that
what mends itself alarms nobody.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from .status import HealthEntry, Severity


class Condition(Enum):
    """Every condition: code, severity, seconds until it is shown."""

    KEYBASE_UNREACHABLE = ("keybase-unreachable", Severity.WARNING, 15.0)
    """Chat cannot be read or written; what is known stays in force."""

    KEYBASE_LOGGED_OUT = ("keybase-logged-out", Severity.ERROR, 5.0)
    """The service runs, and nobody is logged in; what is known stays in force."""

    KEYBASE_RATE_LIMITED = ("keybase-rate-limited", Severity.WARNING, 0.0)
    """Keybase allows no more calls for a while; what is known stays in force."""

    KEYBASE_DEAF = ("keybase-deaf", Severity.WARNING, 0.0)
    """Keybase pushes nothing of what it shows to who reads."""

    NOT_ANNOUNCED = ("not-announced", Severity.WARNING, 15.0)
    """What we announce cannot be posted: who does not know us cannot find us."""

    CLOCK_DIFFERS = ("clock-differs", Severity.WARNING, 0.0)
    """This host's clock and Keybase's are far apart."""

    KEYBASE_STALE = ("keybase-stale", Severity.ERROR, 0.0)
    """Keybase has been away for longer than `KBWG_MAX_STALE_SECONDS`: peers are dropped."""

    CHANNEL_EXPLODES = ("channel-explodes", Severity.ERROR, 0.0)
    """The channel's retention policy makes posts explode, which crashes predecessors: we post to the
    DEV topic of the same name, which they do not read."""

    MEMBERSHIP_UNREADABLE = ("membership-unreadable", Severity.WARNING, 60.0)
    """The team's members cannot be read; the last known ones stay in force."""

    PEERS_FILE_UNREADABLE = ("peers-file-unreadable", Severity.WARNING, 30.0)
    """KBFS gives no answer about `peers.json`; the last good copy stays in force."""

    PEERS_FILE_INVALID = ("peers-file-invalid", Severity.WARNING, 5.0)
    """`peers.json` is torn or invalid; the last good copy stays in force."""

    PEERS_FILE_CONFLICT = ("peers-file-conflict", Severity.WARNING, 0.0)
    """Two wrote `peers.json` at once: a copy with what one of them meant lies beside it."""

    PEERS_FILE_ENTRY = ("peers-file-entry", Severity.WARNING, 0.0)
    """An entry of `peers.json` is refused or has a field that does nothing yet."""

    TEAM_CONFIG_UNREADABLE = ("team-config-unreadable", Severity.WARNING, 30.0)
    """KBFS gives no answer about `kbwg.json`; what it said last stays in force."""

    TEAM_CONFIG_INVALID = ("team-config-invalid", Severity.WARNING, 5.0)
    """`kbwg.json` is torn or invalid; what it said last stays in force."""

    TEAM_CONFIG_FIELD = ("team-config-field", Severity.WARNING, 0.0)
    """`kbwg.json` has a field that this version does not know."""

    TEAM_CONFIG_DIFFERS = ("team-config-differs", Severity.ERROR, 0.0)
    """`kbwg.json` has changed what cannot be changed while the agent runs."""

    GUESTS_CAN_WRITE = ("guests-can-write", Severity.WARNING, 0.0)
    """A guest's role in the team lets it edit `peers.json`."""

    NOT_LISTED = ("not-listed", Severity.INFO, 0.0)
    """A `peers.json` exists and this device is not in it: it is a guest."""

    DUPLICATE_DEVICE = ("duplicate-device", Severity.ERROR, 5.0)
    """Another agent runs as this very device."""

    DUPLICATE_KEY = ("duplicate-key", Severity.WARNING, 0.0)
    """Two devices announce one WireGuard key."""

    ADDRESS_CONTESTED = ("address-contested", Severity.WARNING, 120.0)
    """A device claims an overlay address that another holds, and does not give way."""

    ADDRESSES_EXHAUSTED = ("addresses-exhausted", Severity.ERROR, 0.0)
    """No address of the subnet is free for this device."""

    NO_ADDRESS = ("no-address", Severity.WARNING, 15.0)
    """Our claim of an address has not been read back yet."""

    STUN_UNREACHABLE = ("stun-unreachable", Severity.WARNING, 10.0)
    """A STUN server does not answer."""

    UDP_BLOCKED = ("udp-blocked", Severity.ERROR, 15.0)
    """No STUN server answers at all, and no TURN server relays: UDP is probably blocked."""

    TURN_UNREACHABLE = ("turn-unreachable", Severity.WARNING, 20.0)
    """A TURN server does not answer, by any of the transports that were named."""

    TURN_CREDENTIALS = ("turn-credentials", Severity.ERROR, 3.0)
    """A TURN server refuses the credentials."""

    TURN_REFUSES = ("turn-refuses", Severity.WARNING, 20.0)
    """A TURN server does not relay for us, for a reason of its own."""

    NAT_VARIES = ("nat-varies", Severity.INFO, 0.0)
    """The NAT shows another endpoint to each destination, and no gateway maps our port: some peers
    can only be reached by a relay."""

    NO_CANDIDATES = ("no-candidates", Severity.ERROR, 5.0)
    """This host has no address that a peer could send to."""

    DEVICE_UNUSABLE = ("device-unusable", Severity.ERROR, 3.0)
    """WireGuard refuses a change or cannot be read."""

    ROUTES_REFUSED = ("routes-refused", Severity.WARNING, 5.0)
    """The kernel refuses the host routes that choose the uplink of a peer's data."""

    UPLINK_FILTERED = ("uplink-filtered", Severity.WARNING, 5.0)
    """An uplink's reverse-path filter drops what comes in by it."""

    SHARED_PORT_LIMITED = ("shared-port-limited", Severity.WARNING, 0.0)
    """One IP family, of which this host has addresses, has no socket on the shared port."""

    STATE_UNWRITABLE = ("state-unwritable", Severity.WARNING, 0.0)
    """The state directory cannot be written: a restart would begin anew."""

    USERSPACE_TWO_FAMILIES = ("userspace-two-families", Severity.WARNING, 10.0)
    """wireguard-go loses IPv6 datagrams on a host whose peers use both families."""

    def __init__(self, code: str, severity: Severity, visible_after: float) -> None:
        self.code = code
        self.severity = severity
        self.visible_after = timedelta(seconds=visible_after)


@dataclass(frozen=True, slots=True)
class _Raised:
    text: str
    since: datetime


class Health:
    """What is wrong at present. `subject` tells apart several cases of one condition."""

    def __init__(self) -> None:
        self._raised: dict[tuple[Condition, str], _Raised] = {}

    def set(self, condition: Condition, text: str, *, now: datetime, subject: str = "") -> None:
        """Raise a condition, or change its text; the time of its beginning stays."""
        key = (condition, subject)
        since = self._raised[key].since if key in self._raised else now
        self._raised[key] = _Raised(text, since)

    def clear(self, condition: Condition, subject: str = "") -> None:
        """End a condition; harmless if it was not raised."""
        self._raised.pop((condition, subject), None)

    def replace(
        self, condition: Condition, texts: Iterable[tuple[str, str]], *, now: datetime
    ) -> None:
        """Make (subject, text) pairs all the cases of one condition."""
        wanted = dict(texts)
        for known, subject in list(self._raised):
            if known is condition and subject not in wanted:
                self.clear(condition, subject)
        for subject, text in wanted.items():
            self.set(condition, text, now=now, subject=subject)

    def entries(self, now: datetime) -> tuple[HealthEntry, ...]:
        """Return what has lasted long enough to be shown, gravest and oldest first."""
        visible = [
            HealthEntry(
                code=condition.code,
                severity=condition.severity,
                text=raised.text,
                since=raised.since,
            )
            for (condition, _), raised in self._raised.items()
            if now - raised.since >= condition.visible_after
        ]
        return tuple(sorted(visible, key=lambda e: (_GRAVITY[e.severity], e.since, e.text)))


_GRAVITY = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
