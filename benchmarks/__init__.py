"""Speed: `make bench` measures, and rewrites the tables of docs/benchmarks.md.

A contender is a function that takes `lap`; see :mod:`benchmarks.worker`. A benchmark is a set of
contenders that one run alternates, and the comparisons made of it; see
:mod:`benchmarks.harness`. Each module named in :data:`MODULES` has a list ``BENCHMARKS``.
"""

MODULES = ["scvi_epochs", "trials", "image_step", "density", "evaluation", "scale", "atlas"]
"""Add a module of benchmarks here."""
