"""Hosts with ports, as operators write them."""


def parse_host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Split `host`, `host:port` or `[v6]:port`.

    Raises:
        ValueError: no host, no port where none is the default, or a port out of range.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("an IPv6 address with a port is written [address]:port")
        port_text = rest[1:]
    elif text.count(":") > 1:
        host, port_text = text, ""
    else:
        host, _, port_text = text.partition(":")
    if not host:
        raise ValueError("no host")
    if not port_text:
        if default_port is None:
            raise ValueError("no port")
        return host, default_port
    if not (port_text.isascii() and port_text.isdigit()) or not 0 < int(port_text) < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return host, int(port_text)
