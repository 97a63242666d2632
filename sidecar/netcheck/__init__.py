"""`kbwg netcheck`: what this host's network lets through, and what would improve it."""
