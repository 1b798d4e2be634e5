from __future__ import annotations

import pytest

from vmm.io import read_json
from vmm.lazy import resolve


def test_a_name_is_imported() -> None:
    assert resolve("vmm.io:read_json") is read_json


@pytest.mark.parametrize("name", ["vmm.io", "vmm.io:", ":read_json", "vmm.io:a.b", "vmm.io:a:b"])
def test_other_texts_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be a module and a name in it"):
        resolve(name)


def test_names_of_nothing() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"vmm\.nothing"):
        resolve("vmm.nothing:read")
    with pytest.raises(AttributeError, match="nothing"):
        resolve("vmm.io:nothing")
