"""Plans, tasks and their outcomes as plain data.

The modules of this package do not read files, start processes or await anything.
"""
