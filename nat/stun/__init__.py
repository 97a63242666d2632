"""STUN (RFC 8489): the only package that imports aioice's STUN codec."""
