"""Figures of arrays: style, colours, legends, scatter, curves."""
