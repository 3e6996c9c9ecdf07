"""Faults for tests and benchmarks: conversations that take memory without end or die at a chosen step, children that
leak, servers that go away, and what watches them from outside. Nothing of this is installed, and the program knows
nothing of it.
"""
