"""The acceptance run's checks that are right or wrong, on the GPU: run by `make test-gpu`."""

from __future__ import annotations

import pytest
import torch

from benchmarks.gpu.runner import GOOD, Options, all_checks, perform_apart

MEASURED = ("machine", "scvi_tools", "mnist")
CHECKS = [
    check
    for check in all_checks().values()
    if check.budget == 10 and check.name not in MEASURED and not check.name.startswith("speed")
]


@pytest.mark.gpu
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_check(check, tmp_path):
    if not torch.cuda.is_available():
        pytest.fail("PyTorch sees no GPU here")
    result = perform_apart(check, Options("cuda", str(tmp_path)), 4 * check.seconds)
    wrong = [found for found in result["found"] if not found["ok"]]
    assert result["status"] in GOOD and not wrong, (result["reason"], wrong)
