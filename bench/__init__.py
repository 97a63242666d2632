"""Benchmarks that print medians, spreads and ratios; none of them is a test."""
