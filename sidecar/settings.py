"""Configuration, read once from the environment at start. Nothing else reads it."""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from zlib import crc32

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    SettingsConfigDict,
)

from nat.candidate import is_reachable_address
from nat.turn.server import TurnServer

from .errors import SettingsError
from .host_port import parse_host_port
from .team_config import FILE, SHARED, TeamConfig
from .turn_servers import parse_turn_uri, turn_servers

ENV_PREFIX = "KBWG_"


def _split_commas(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(item.strip() for item in value.split(",") if item.strip())


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]

TeamName = Annotated[
    str, StringConstraints(pattern=r"^[a-zA-Z0-9_]{2,16}(\.[a-zA-Z0-9_]{2,16})*$", to_lower=True)
]
InterfaceName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,15}$")]
Username = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_]{2,16}$", to_lower=True)]
DeviceName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][ _'a-zA-Z0-9+-]{2,63}$")]
TopicName = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z_-]{1,20}$")]


UNKNOWN_SUBNET: Final = IPv4Network("0.0.0.0/32")
"""Stands for: this host does not say; the team has to."""


FIRST_MARK: Final = 0x6B62
"""Mark of kbwg0: "kb", so that whoever lists rules recognises it."""

_NUMBERED: Final = re.compile(r"kbwg([0-9]{1,4})")


def default_mark(interface: str) -> int:
    """Return the mark of an interface that was given none: another for each."""
    numbered = _NUMBERED.fullmatch(interface)
    if numbered is not None:
        return FIRST_MARK + int(numbered[1])
    return FIRST_MARK << 16 | crc32(interface.encode()) & 0xFFFF


class Settings(BaseSettings):
    """Every environment variable of the agent: `KBWG_` and the field's name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
    )

    team: TeamName
    """Keybase team whose members form the mesh, for example `acme.vpn`."""

    subnet: IPv4Network = UNKNOWN_SUBNET
    """Overlay network of the whole team, for example `100.64.7.0/24`. Needed, unless the team's
    `kbwg.json` names it; every host must name the same one. It must not overlap a network that
    this host already reaches."""

    interface: InterfaceName = "kbwg0"
    """Name of the WireGuard interface. Several teams on one host need one each."""

    listen_port: int | None = Field(default=None, ge=1, le=65535)
    """UDP port of WireGuard and STUN. Without it a random one is picked at the first start and
    kept: two hosts with the same port behind one NAT hinder each other."""

    stun_servers: CommaSeparated = ("stun.l.google.com:19302", "stun.cloudflare.com:3478")
    """STUN servers as `host[:port]`, separated by commas; `none` for no server at all. Two or
    more let the agent see whether its NAT's mapping depends on the destination."""

    turn_servers: CommaSeparated = ()
    """TURN servers that relay for peers without a direct path, as URIs of RFC 7065, separated by
    commas: `turn:host[:port][?transport=udp]`, `turn:host?transport=tcp`, `turns:host[:port]` for
    TLS. Name all transports that a server has: the best that gets through is used, of several
    servers the nearest."""

    turn_username: str = ""
    """Username at the TURN servers."""

    turn_password: SecretStr | None = None
    """Password of `KBWG_TURN_USERNAME`."""

    turn_password_file: Path | None = None
    """File that holds `KBWG_TURN_PASSWORD`."""

    turn_secret: SecretStr | None = None
    """Secret that the TURN servers share with us for time-limited credentials (coturn's
    `use-auth-secret`); instead of a password."""

    turn_secret_file: Path | None = None
    """File that holds `KBWG_TURN_SECRET`."""

    turn_ca_file: Path | None = None
    """Certificates, in PEM, of a further authority that may vouch for TURN servers behind TLS."""

    advertise: CommaSeparated = ()
    """Further endpoints `ip:port` or `[ip]:port` at which this host is reachable, for example behind
    a static port forward, separated by commas. Announced as they are, never measured."""

    port_mapping: Literal["on", "off"] = "on"
    """Whether gateways are asked, by PCP, NAT-PMP or UPnP, to let peers in on WireGuard's port.
    The mapping is deleted at the end."""

    backend: Literal["auto", "kernel", "userspace"] = "auto"
    """WireGuard implementation; `auto` takes the kernel's where there is one."""

    port_prediction: bool = True
    """`on`: where our NAT or a peer's maps each destination to another port and ordinary checks
    fail, try many ports at once (politely, see SECURITY.md). `off`: leave such peers to relays."""

    mtu: int = Field(default=1420, ge=1280, le=65455)
    """Bytes of the largest packet in the tunnel, at most: what paths really carry is measured, and
    narrower ones get less. 1420 fits IPv6 and IPv4 over 1500."""

    fwmark: int = Field(default=FIRST_MARK, ge=0, le=0xFFFFFFFF)
    """Mark of everything that the tunnel itself sends, so that policy routes can keep it out of
    the tunnel; decimal or hexadecimal (0x…). 0 for none. Without it each interface has one of its
    own: 0x6b62 for kbwg0, 0x6b63 for kbwg1 and so on, so that teams on one host stay apart."""

    firewall: bool = True
    """Filter what comes out of the tunnel: peers reach this host's overlay address and nothing
    behind it. `off` only where a firewall of your own does the same; what is left of ours then
    only tells TCP that passes through the tunnel how wide it is, and needs no `nft` to run."""

    route_priority: int = Field(default=90, ge=1, le=32765)
    """Priority of the rule that leads WireGuard's datagrams to its own routing table on a host
    with several uplinks. It must come before rules that select by source address."""

    topic: TopicName = "announce"
    """Chat channel of the team in which hosts announce themselves. Whole team alike."""

    topic_type: Literal["chat", "dev"] = "chat"
    """Where this host announces itself: in the channel `KBWG_TOPIC`, which people see and
    kb-wireguard reads, or in the DEV topic of that name, which neither do. Both are always read."""

    negotiation: bool = True
    """Whether hosts that do not reach each other ask one another, in the team's DEV topic `kbwg`,
    to check at once. `off`: each tries by itself, every half minute."""

    keybase: str = "keybase"
    """Program that talks to Keybase: a name looked up in PATH, or a path."""

    keybase_home: Path | None = None
    """Home of the Keybase service, passed as `--home`; without it the CLI's own default. As root,
    Keybase's programs are run as its owner: they refuse to serve root."""

    keybase_service: Literal["own", "existing"] = "own"
    """Whose Keybase service `kbwg supervise` relies on: `own` starts and logs in one, `existing`
    uses the one whose home is mounted at `KBWG_KEYBASE_HOME`."""

    supervised: bool = False
    """Set by `kbwg supervise` for its agent: should Keybase's service end, it is started again."""

    keybase_username: Username | None = None
    """User to log in as. Without it the login in the state volume must do."""

    keybase_paperkey: SecretStr | None = None
    """Paper key of that user. Whoever may inspect the container reads it: prefer the file."""

    keybase_paperkey_file: Path | None = None
    """File that holds the paper key, for example a secret of Docker or Kubernetes."""

    keybase_device: DeviceName | None = None
    """Name of the Keybase device to make at the first start; its keys live in the state volume.
    **A name can never be used again**: if the volume is lost, so is the name. Without it each start
    of the service logs in as the paper key's own device (oneshot), named by its first two words."""

    key: Literal["persistent", "ephemeral"] = "persistent"
    """`persistent` keeps the WireGuard key across restarts, so that peers recognise us while
    chat is down; `ephemeral` makes a new one at each start."""

    keep_on_stop: bool = False
    """On SIGTERM leave the tunnel up and announce no LEAVE, for the next start to adopt."""

    state_dir: Path = Path("/var/lib/kbwg")
    """Directory for the key, the port and the cached directory, one file tree per interface."""

    runtime_dir: Path = Path("/run/kbwg")
    """Directory of the control socket `INTERFACE.sock`."""

    max_stale_seconds: float = Field(default=0.0, ge=0.0)
    """Seconds without Keybase after which peers are dropped; 0 warns only. At least twice
    `KBWG_MEMBERSHIP_INTERVAL_SECONDS`."""

    announce_interval_seconds: float = Field(default=1500.0, ge=60.0, le=1800.0)
    """Seconds between announcements when nothing changes. 25 minutes: the predecessor forgets
    a host after 60, and a lease lasts 90."""

    membership_interval_seconds: float = Field(default=30.0, ge=5.0, le=60.0)
    """Seconds between looks at the team's members and at its files. A removed member is gone
    everywhere within 60 seconds, so half of that."""

    editor: str = Field(default="vi", validation_alias=AliasChoices("VISUAL", "EDITOR"))
    """Program that `kbwg peers edit` opens the file with; from `VISUAL` or `EDITOR`."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is logged."""

    log_format: Literal["text", "json"] = "text"
    """One line for people, or one JSON object a line for collectors."""

    @property
    def has_subnet(self) -> bool:
        """Whether this host, or the team, says what the overlay network is."""
        return self.subnet != UNKNOWN_SUBNET

    def with_team(self, config: TeamConfig) -> Self:
        """Return the settings with the team's defaults where this host's environment says nothing.

        Raises:
            SettingsError: what the team says makes no sense here.
        """
        defaults = {
            name: value
            for name, value in config.defaults().items()
            if name in type(self).model_fields and name not in self.model_fields_set
        }
        own = {name: getattr(self, name) for name in self.model_fields_set}
        try:
            return self.model_validate({**defaults, **own})
        except ValidationError as error:
            raise SettingsError(f"the team's {FILE} makes no sense:\n{_explain(error)}") from None

    def differences(self, config: TeamConfig) -> list[str]:
        """Say where this host and its team differ in what must be alike."""
        return [
            f"{ENV_PREFIX}{name.upper()}: is {getattr(self, name)} here and {said} in the team's "
            f"{FILE}: all hosts must have the same, so leave it out here or change it there"
            for name in sorted(SHARED)
            if (said := getattr(config, name)) is not None and said != getattr(self, name)
        ]

    @model_validator(mode="before")
    @classmethod
    def _each_interface_has_its_mark(cls, given: object) -> object:
        if isinstance(given, dict) and "fwmark" not in given and given.get("interface"):
            return {**given, "fwmark": default_mark(str(given["interface"]))}
        return given

    @model_validator(mode="after")
    def _stale_is_longer_than_a_look(self) -> Self:
        least = 2 * self.membership_interval_seconds
        if 0 < self.max_stale_seconds < least:
            raise ValueError(
                f"{ENV_PREFIX}MAX_STALE_SECONDS must be 0, or {least:g} and more: the members are "
                f"looked at every {self.membership_interval_seconds:g} s"
            )
        return self

    @field_validator("subnet")
    @classmethod
    def _subnet_holds_hosts(cls, subnet: IPv4Network) -> IPv4Network:
        if subnet == UNKNOWN_SUBNET:
            return subnet
        if not 8 <= subnet.prefixlen <= 30:
            raise ValueError("the prefix must be /8 to /30")
        if subnet.is_multicast or subnet.is_loopback or subnet.is_link_local:
            raise ValueError("not a unicast network")
        return subnet

    @field_validator("fwmark", mode="before")
    @classmethod
    def _mark_may_be_hexadecimal(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return int(value, 0)
        except ValueError:
            raise ValueError("a number, decimal or hexadecimal (0x…)") from None

    @field_validator("stun_servers")
    @classmethod
    def _servers_have_ports(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        if servers == ("none",):
            return ()
        for server in servers:
            parse_host_port(server, default_port=STUN_PORT)
        return servers

    @field_validator("turn_servers")
    @classmethod
    def _turn_servers_are_uris(cls, uris: tuple[str, ...]) -> tuple[str, ...]:
        if uris == ("none",):
            return ()
        for uri in uris:
            parse_turn_uri(uri)
        return uris

    @field_validator("turn_password_file", "turn_secret_file", "turn_ca_file")
    @classmethod
    def _files_are_readable(cls, path: Path | None) -> Path | None:
        if path is not None:
            _read(path)
        return path

    def turn(self, wall: Callable[[], float]) -> tuple[TurnServer, ...]:
        """Return the TURN servers with their credentials; `wall` tells the time since 1970."""
        return turn_servers(
            self.turn_servers,
            username=self.turn_username,
            password=_secret(self.turn_password, self.turn_password_file),
            secret=_secret(self.turn_secret, self.turn_secret_file),
            wall=wall,
        )

    @field_validator("advertise")
    @classmethod
    def _advertised_are_endpoints(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        for endpoint in endpoints:
            if not is_reachable_address(ip_address(parse_host_port(endpoint)[0])):
                raise ValueError("an address that no peer can send to")
        return endpoints

    def paper_key(self) -> str | None:
        """Return the paper key, from the variable or from the file.

        Raises:
            SettingsError: both are given, or the file cannot be read.
        """
        if self.keybase_paperkey_file is None:
            given = self.keybase_paperkey
            return None if given is None else " ".join(given.get_secret_value().split())
        if self.keybase_paperkey is not None:
            raise SettingsError("KBWG_KEYBASE_PAPERKEY and KBWG_KEYBASE_PAPERKEY_FILE: give one")
        try:
            text = self.keybase_paperkey_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"KBWG_KEYBASE_PAPERKEY_FILE cannot be read: {error}") from error
        return " ".join(text.split()) or None

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment.

        Raises:
            SettingsError: names every variable at fault and why, never its value.
        """
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None


STUN_PORT = 3478
"""Default port of STUN over UDP (RFC 8489 §8.1)."""


def _secret(value: SecretStr | None, path: Path | None) -> str | None:
    """Return a secret that is given as it is, or as a file."""
    if value is not None:
        return value.get_secret_value()
    return None if path is None else _read(path).strip()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("the file cannot be read") from error


def _explain(error: ValidationError) -> str:
    lines = []
    for detail in error.errors(include_input=False, include_url=False):
        if not detail["loc"]:
            lines.append(detail["msg"].removeprefix("Value error, "))
            continue
        name = ENV_PREFIX + "_".join(str(part) for part in detail["loc"][:1]).upper()
        missing = detail["type"] == "missing"
        lines.append(f"{name}: {'is not set' if missing else detail['msg']}")
    return "\n".join(lines)
