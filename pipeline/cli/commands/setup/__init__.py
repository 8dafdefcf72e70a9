"""Commands about what is set up: settings, agents, and what patchyard needs of this machine."""
