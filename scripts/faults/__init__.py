"""Faults of memory for tests and benchmarks: conversations that take memory without end, children that leak, and
what watches them from outside. Nothing of this is installed, and the program knows nothing of it.
"""
