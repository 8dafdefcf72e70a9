"""Counts the words of a text."""

from wordcount.count import words

__all__ = ["words"]
