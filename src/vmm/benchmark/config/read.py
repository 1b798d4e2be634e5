"""Configurations read from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vmm.errors import InputError


class Loader(yaml.SafeLoader):
    """Safe YAML, in which no key stands twice (the last would win) or becomes another name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, or say which key stands twice and where."""
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in lines:
                raise InputError(
                    f"the key {key.value!r} stands twice in the same place (lines "
                    f"{lines[key.value]} and {line}); remove one"
                )
            lines[key.value] = line
            self._refuse_other_name(key, line)
        return super().construct_mapping(node, deep)

    def _refuse_other_name(self, key: yaml.ScalarNode, line: int) -> None:
        """Refuse a name that YAML reads as something that is written otherwise: 007 is 7."""
        merge = key.tag == "tag:yaml.org,2002:merge"
        value = key.value if merge else self.construct_object(key)
        if not isinstance(value, str) and str(value) != key.value:
            raise InputError(
                f"the name {key.value} (line {line}) is {value} in YAML; write '{key.value}', "
                "in quotes"
            )


def read(path: str | Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    InputError
        If the file is absent, is not YAML, has a key twice, or a name that YAML takes for another.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        where = f"byte {error.start} is not UTF-8"
        raise InputError(f"{path}: is not YAML: {where}; save it as text in UTF-8") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
