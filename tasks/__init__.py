"""What the work is: plans, tasks and their outcomes, as plain data.

Nothing here reads a file, starts a process or awaits.
"""
