"""Paper keys, and the devices that log in with them (§7.1, §7.2). No I/O."""

from dataclasses import dataclass, field

from .world import Device, ServiceError, World, hex_id


@dataclass(frozen=True)
class Session:
    """What a service keeps of a login.

    Attributes:
        device: the acting device's label.
        secret: what the servers want to see of it again.
    """

    device: str
    secret: str


@dataclass
class Accounts:
    """Who may log in.

    Attributes:
        world: where the devices are.
        paper_keys: phrase to the paper key's own device.
    """

    world: World
    paper_keys: dict[str, Device] = field(default_factory=dict)

    def add_paper_key(self, username: str, phrase: str) -> Device:
        """Add a paper key; its device is named by the first two words of it."""
        words = phrase.split()
        if len(words) < 3:
            raise ServiceError(f"a paper key has more words than {len(words)}")
        device = self.world.add_device(f"{username}/{' '.join(words[:2])}", "backup")
        # No host runs as it until somebody logs in with it.
        device.service_up = device.logged_in = device.kbfs_up = False
        self.paper_keys[" ".join(words)] = device
        return device

    def oneshot(self, username: str, phrase: str) -> Session:
        """Log in as the paper key's own device.

        Raises:
            ServiceError: with the text that the CLI shows.
        """
        return self._session(self._paper_key(username, phrase))

    def provision(self, username: str, phrase: str, name: str) -> Session:
        """Make a new device, whose name can never be used again, and log in as it.

        Raises:
            ServiceError: with the text that the CLI shows.
        """
        self._paper_key(username, phrase)
        if (username, name) in self.world.devices:
            raise ServiceError("device name already in use")
        device = self.world.add_device(f"{username}/{name}")
        device.kbfs_up = False
        return self._session(device)

    def check(self, session: Session) -> Device:
        """Return the device of a session that is still good.

        Raises:
            ServiceError: it is not.
        """
        device = self.world.device(session.device)
        if session != self._session(device) or device.revoked_at is not None:
            raise ServiceError("Login required")
        return device

    def _paper_key(self, username: str, phrase: str) -> Device:
        mine = [d for d in self.paper_keys.values() if d.username == username]
        if not any(device.revoked_at is None for device in mine):
            raise ServiceError("No paper keys available")
        device = self.paper_keys.get(" ".join(phrase.split()))
        if device is None or device not in mine or device.revoked_at is not None:
            raise ServiceError(
                "paper key not found, most likely due to a typo in one of the words in the phrase"
            )
        return device

    def _session(self, device: Device) -> Session:
        return Session(device.label, hex_id("session", device.id))
