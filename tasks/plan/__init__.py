"""Parser of plans in Markdown."""
