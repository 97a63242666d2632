"""Keybase, through its CLI: the only package that starts `keybase` processes."""
