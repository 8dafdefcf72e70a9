"""What is counted, and what is not."""
# ruff: noqa: PT009 - the example needs no more than the standard library

import unittest

from wordcount import words


class WordsTest(unittest.TestCase):
    """Words are separated by spaces."""

    def test_words(self) -> None:
        """Spaces around and between words count for nothing."""
        self.assertEqual(words("  to be  or\nnot "), 4)

    def test_nothing(self) -> None:
        """An empty text has no words."""
        self.assertEqual(words(""), 0)
