"""What a user notices of paths, on the namespaces lab: black boxes, real coturn, real routers.

Each part brings up labs of its own. Times hold all that takes part on the machine of the moment:
both agents, both WireGuard, the simulated Keybase.
"""

from .. import upgrade
from . import failover, first_packet, idle, roaming

PARTS = {
    first_packet.TITLE: first_packet.comparisons,
    failover.TITLE: failover.comparisons,
    roaming.TITLE: roaming.comparisons,
    "upgrade": upgrade.comparisons,
    idle.TITLE: idle.comparisons,
}
