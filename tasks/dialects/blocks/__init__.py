"""The blocks of a plan in Markdown: boxes, headings, sections and steps."""
