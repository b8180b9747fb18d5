"""Answers that check themselves: reading them, testing them, and deciding whether to ask again."""
