"""What plans say in prose: commands, files, commits, references and what waits for what."""
