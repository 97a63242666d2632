"""What an operator should know of the team: who is in whose way, and who could be more than meant."""

from collections.abc import Iterator, Mapping

from ..announcement import Announcement
from ..health import Condition
from ..identity import DeviceKey, NodeId, PublicKey
from ..keybase.models import TeamRole
from ..peers_file import MeshRole
from ..team_config import Policy
from .addressing import AddressBook
from .clones import Clones
from .key_holders import KeyHolding
from .records import Standing
from .team import Team
from .view import Finding


def key_conditions(
    holdings: Mapping[PublicKey, KeyHolding], own: DeviceKey, nodes: Mapping[DeviceKey, NodeId]
) -> Iterator[Finding]:
    """Say who announces another's key."""
    for public_key, holding in holdings.items():
        if holding.others:
            others = ", ".join(str(nodes[device]) for device in holding.others)
            whose = "our own" if holding.holder == own else f"{nodes[holding.holder]}'s"
            text = f"{others} announces {whose} WireGuard key and is ignored"
            yield Condition.DUPLICATE_KEY, str(public_key), text


def address_conditions(
    standings: Mapping[DeviceKey, Standing],
    book: AddressBook,
    team: Team,
    nodes: Mapping[DeviceKey, NodeId],
) -> Iterator[Finding]:
    """Say who claims what another holds; whoever is honest claims something else at once."""
    for key, standing in standings.items():
        line = None if standing.current is None else standing.current.line
        if not isinstance(line, Announcement) or team.entry(nodes[key]) is not None:
            continue
        lease = None if line.overlay_ip is None else book.leases.get(line.overlay_ip)
        if lease is not None and lease.device != key:
            text = (
                f"{nodes[key]} claims {line.overlay_ip}, which {nodes[lease.device]} "
                "holds, and does not give way: hosts that start anew may believe it; list the "
                "address in peers.json"
            )
            yield Condition.ADDRESS_CONTESTED, str(nodes[key]), text


def guest_conditions(standings: Mapping[DeviceKey, Standing], team: Team) -> Iterator[Finding]:
    """Say which guests could make themselves more: the file is anybody's who writes the team's."""
    if team.peers_file is None or team.policy is Policy.MESH:
        return
    entries = team.entries.values()
    guests = {username for username, _ in standings}
    guests |= {entry.username for entry in entries}
    guests -= {entry.username for entry in entries if entry.role is not MeshRole.GUEST}
    for username in guests:
        if team.roles.get(username) is TeamRole.WRITER:
            text = f"{username} is a guest, and may edit peers.json: make this user a reader of the team"
            yield Condition.GUESTS_CAN_WRITE, username, text


def own_conditions(own: NodeId, team: Team, clones: Clones) -> Iterator[Finding]:
    """Say what is wrong with `peers.json`, with our part in it, and with being us."""
    for warning in team.peers_file.warnings if team.peers_file else ():
        yield Condition.PEERS_FILE_ENTRY, warning, f"peers.json: {warning}"
    if team.peers_file is not None and team.entry(own) is None:
        text = f"peers.json does not list {own}: it is a guest and reaches servers only"
        yield Condition.NOT_LISTED, "", text
    if clones.exist:
        text = (
            f"another agent announces itself as {own}: a cloned disk or a home "
            "mounted twice; give each host a Keybase device of its own"
        )
        if clones.yields:
            text += "; this agent is the younger one: it keeps silent until it is started again"
        yield Condition.DUPLICATE_DEVICE, "", text
