"""The tests of wordcount."""
