"""Figures: pure functions from tidy rows and arrays to a matplotlib figure, and one saver."""
