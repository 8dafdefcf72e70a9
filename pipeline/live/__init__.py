"""The live table of a run on a terminal: of this process, or of a run of another one."""
