from __future__ import annotations

import pytest

from vmm.io import read_json
from vmm.lazy import resolve


def test_a_name_is_imported() -> None:
    assert resolve("vmm.io:read_json") is read_json


@pytest.mark.parametrize("name", ["vmm.io", "vmm.io:", "vmm.io:nothing", "vmm.nothing:read"])
def test_names_of_nothing(name: str) -> None:
    with pytest.raises(LookupError, match=name):
        resolve(name)
