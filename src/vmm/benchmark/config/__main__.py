"""``python -m vmm.benchmark.config``: check a configuration, or print the reference of its keys."""

from __future__ import annotations

import argparse
import sys

from vmm.benchmark.config.complete import check_files, check_sizes, load
from vmm.benchmark.config.documentation import documentation
from vmm.benchmark.config.editors import editor_schema
from vmm.benchmark.config.schema import schema
from vmm.benchmark.consistency import check_records
from vmm.data.sources.records import SOURCES
from vmm.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    """Check a configuration file, or print the reference or the schema for editors."""
    parser = argparse.ArgumentParser(
        prog="python -m vmm.benchmark.config", description=main.__doc__
    )
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--docs", action="store_true", help="print the reference of all keys")
    group.add_argument("--schema", action="store_true", help="print config/schema.json")
    group.add_argument("file", nargs="?", help="configuration file to check")
    options = parser.parse_args(arguments)
    if options.docs:
        print(documentation(), end="")
        return 0
    if options.schema:
        kinds = {name: source.kind for name, source in SOURCES.items()}
        print(editor_schema(schema(), kinds), end="")
        return 0
    try:
        check_records()
        config = load(options.file)
        check_files(config, options.file)
        check_sizes(config, options.file)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.file}: good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
