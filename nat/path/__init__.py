"""Connectivity checks and path selection (RFC 8445), without an end (see `nat/README.md`)."""
