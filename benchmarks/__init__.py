"""Benchmarks: `make bench`. Every figure in the docs comes from here; compare figures of one run only."""
