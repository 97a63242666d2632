"""Endpoints as text, as WireGuard writes them."""

from ipaddress import ip_address

from nat.machine import Endpoint

from ..errors import BackendError


def parse_endpoint(text: str) -> Endpoint:
    """Read `1.2.3.4:5` or `[2001:db8::1]:5`.

    Raises:
        BackendError: it is neither.
    """
    host, _, port = text.rpartition(":")
    try:
        # A scope names one of this host's links and says nothing to a peer.
        ip = ip_address(host.strip("[]").partition("%")[0])
        return Endpoint(ip, int(port))
    except ValueError as error:
        raise BackendError(f"WireGuard's answer has a malformed endpoint: {text[:60]!r}") from error
