"""UDP sockets in a node under remote control: `python -m integration.udp_probe PORT…`.

Each line of standard input is `{"port": ours, "to": "ip:port", "text": …}` and is sent; each
datagram that arrives is printed as `{"port": ours, "from": "ip:port", "text": …}`. Prints
`ready` when all ports are bound.
"""

import json
import os
import selectors
import socket
import sys


def main() -> None:
    """Send and print until standard input ends."""
    ports = [int(text) for text in sys.argv[1:]]
    with selectors.DefaultSelector() as selector:
        sockets = {}
        for port in ports:
            sockets[port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sockets[port].bind(("0.0.0.0", port))
            selector.register(sockets[port], selectors.EVENT_READ, port)
        selector.register(sys.stdin, selectors.EVENT_READ, None)
        print("ready", flush=True)
        pending = b""
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    _print(key.data, sockets[key.data])
                    continue
                read = os.read(sys.stdin.fileno(), 65536)
                if not read:
                    return
                *lines, pending = (pending + read).split(b"\n")
                for line in lines:
                    _send(json.loads(line), sockets)


def _send(order: dict[str, str], sockets: dict[int, socket.socket]) -> None:
    host, _, port = order["to"].rpartition(":")
    try:
        sockets[int(order["port"])].sendto(order["text"].encode(), (host, int(port)))
    except OSError as error:
        print(json.dumps({"port": order["port"], "from": "", "text": f"{error}"}), flush=True)


def _print(port: int, sock: socket.socket) -> None:
    try:
        data, (host, source) = sock.recvfrom(2048)
    except OSError:
        # An ICMP error of an earlier datagram is no datagram.
        return
    text = data.decode(errors="replace")
    print(json.dumps({"port": port, "from": f"{host}:{source}", "text": text}), flush=True)


if __name__ == "__main__":
    main()
