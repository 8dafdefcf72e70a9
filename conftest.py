"""Marks the root of the tests.

It is also the one Python file at the root, which Dagger's Python SDK looks for.
"""
