"""The configuration: read, checked against its schema, completed with defaults, documented.

Every violation becomes one sentence that names the file, the key, the value, what is wrong and what
would be right. ``python -m vmm.benchmark.config --docs`` prints the reference
(``config/README.md``) and ``python -m vmm.benchmark.config FILE`` checks a file.
"""

from vmm.benchmark.config.complete import (
    check_files,
    check_installed,
    check_sizes,
    complete,
    load,
)
from vmm.benchmark.config.documentation import documentation
from vmm.benchmark.config.read import read
from vmm.benchmark.config.schema import schema

__all__ = [
    "check_files",
    "check_installed",
    "check_sizes",
    "complete",
    "documentation",
    "load",
    "read",
    "schema",
]
