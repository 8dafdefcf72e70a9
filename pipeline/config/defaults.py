"""Defaults of settings that need a reason."""

TIMEOUT = 3600.0
"""Seconds that a task may take when no source says otherwise: an unattended run has to end."""
MAX_PATCH = 100_000_000
"""Bytes that a patch may have: GitHub takes no file of more than 100 MiB
(https://docs.github.com/repositories/working-with-files/managing-large-files)."""
MAX_LOG = 100_000_000
"""Bytes that the log of a task may have: a task that prints without end must not fill the disk."""
PORT_BASE = 20000
"""Above the ports of well-known services, below those that systems give to outgoing connections."""
PORT_WIDTH = 10
"""Ports of each worktree."""
WAIT_FOR_LIMITS = 6 * 3600.0
"""Seconds that a task may wait for its agent's provider: usage limits of five hours are usual."""
