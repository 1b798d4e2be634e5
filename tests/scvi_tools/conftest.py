"""A model of each kind, shared by the tests of what they do."""

from __future__ import annotations

import pytest
from library_models import SIZES, TRAIN, cells, set_up

from vmm.scvi_tools.records import MODELS


@pytest.fixture(scope="package", params=list(MODELS))
def trained(request):
    """Return a model with a VampPrior mixture, trained for two epochs."""
    adata = cells(request.param)
    model = set_up(request.param, adata)(adata, **SIZES)
    model.train(**TRAIN)
    return model
