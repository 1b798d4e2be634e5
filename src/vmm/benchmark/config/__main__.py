"""``python -m vmm.benchmark.config``: check a configuration, or print the reference of its keys."""

from __future__ import annotations

import argparse
import sys

from vmm.benchmark.config.complete import check_files, load
from vmm.benchmark.config.documentation import documentation
from vmm.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Check a configuration file, or print the reference."""
    parser = argparse.ArgumentParser(
        prog="python -m vmm.benchmark.config", description=main.__doc__
    )
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--docs", action="store_true", help="print the reference of all keys")
    group.add_argument("file", nargs="?", help="configuration file to check")
    options = parser.parse_args(arguments)
    if options.docs:
        print(documentation(), end="")
        return 0
    try:
        check_files(load(options.file), options.file)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.file}: good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
