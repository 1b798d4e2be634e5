"""Figures made from tidy rows."""
