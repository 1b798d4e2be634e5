"""The acceptance run: what a machine with a GPU must show before its numbers are believed.

``python -m benchmarks.gpu --budget 10 --out DIR`` answers in ten minutes; docs/gpu.md says how.
Each module named in :data:`MODULES` has a list ``CHECKS`` (:class:`benchmarks.gpu.runner.Check`).
PyTorch, numpy, scipy and the package are all that is needed; a check that wants more says that it
is not there.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("vmm") is None:  # a bare machine, on which the package is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

MODULES = ["machine", "operators", "models", "steps", "trainings", "precision", "speed", "results"]
"""In the order in which they run: what others rest on comes first."""
