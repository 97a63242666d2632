"""Members who exist in Keybase alone: what they announce. Nobody answers at their addresses."""

import base64
import hashlib
import json
import time


def public_key(device: str) -> str:
    """Return the WireGuard key that `user/device` announces, always the same one."""
    return base64.b64encode(hashlib.sha256(device.encode()).digest()).decode()


def announcement(device: str, ip: str) -> str:
    """Return a line by which `user/device` announces itself now and claims an overlay address."""
    tail = {
        "v": 2,
        "seq": int(time.time() * 1000),
        "ip": ip,
        "cand": ["1 1 udp 2130706431 192.168.99.10 7321 typ host"],
    }
    return f"ANNOUNCE 198.18.128.9:7321 {public_key(device)} {json.dumps(tail)}"
