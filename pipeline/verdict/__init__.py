"""How a run went: the one place that makes its verdict, counts, words and figures."""
