"""Declarations that cost little until they are used: a command imports many more than it uses."""
