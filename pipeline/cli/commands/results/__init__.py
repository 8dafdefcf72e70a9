"""Commands that deal with what a run left: its patches, branches and pull requests."""
