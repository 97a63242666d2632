"""A Keybase without Keybase: the CLI's wire behaviour over one small server."""
