"""Built-in data sets: a record each in :mod:`~vmm.data.sources.records`, and a file that reads it.

A reader is imported when its own data set is prepared: editing one leaves the others as they are.
"""
