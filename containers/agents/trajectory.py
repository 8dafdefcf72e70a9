"""The command that reads the trajectory of mini-swe-agent."""

READ_TRAJECTORY = (
    r"""awk 'BEGIN { printf "{\"trajectory\": [" } """
    r"""function bare(line) { sub(/^ +/, "", line); sub(/,$/, "", line); return line } """
    r"""/^ +"(instance_cost|exit_status|exception_str|(prompt|completion|cached)_tokens)": [^\[{]/ """
    r"""{ printf "{%s}, ", bare($0) } """
    r"""/^    \{/ { text = ""; own = 0 } """
    r"""/^      "content": "..*",?$/ { text = bare($0) } """
    r"""/^      "role": "assistant"/ { own = 1 } """
    r"""/^    \}/ { if (own && text != "") said = text } """
    r"""END { if (said != "") printf "{%s}, ", said; print "{}]}" }'"""
)
"""It prints, as one line of JSON, what `containers.agents.reports.mini` takes."""
