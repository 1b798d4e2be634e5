"""Contracts that any prior, model, method, metric or source must keep, as classes of tests."""
