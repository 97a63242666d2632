"""Executors: each runs a topology in its own way; `integration.lab.Lab` is the same over all."""
