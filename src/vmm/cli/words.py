"""Options as the shell takes them: what is shown can be pasted."""

from __future__ import annotations

import re
import shlex


def in_options(message: str) -> str:
    """Name options of the command line where a message names keys of a configuration.

    Values are quoted for the shell: what is told can be pasted.
    """

    def option(match: re.Match[str]) -> str:
        all_genes = match[1] == "n_top_genes" and match[2] == "null"
        return option_words(match[1], "0" if all_genes else match[2])

    return re.sub(r"`(\w+): ?([^`]*)`", option, message)


def option_words(key: str, value: str = "") -> str:
    """Return an option as the shell takes it, with its value if any."""
    # An option names one column, and is given again for another.
    name = f"--{re.sub('_keys$', '_key', key).replace('_', '-')}"
    if not value:
        return name
    return f"{name}{'=' if value.startswith('-') else ' '}{shlex.quote(value)}"
