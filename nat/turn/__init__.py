"""TURN (RFC 8656): relayed addresses at servers that the owner names."""
