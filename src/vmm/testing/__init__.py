"""Contracts: the tests that every prior, model, method, metric or data set must pass.

Our own tests run them over everything that is registered; whoever adds something outside of this
package inherits them. They need pytest.
"""

import pkgutil

import pytest

# So that a failed assertion shows its values, as in files of tests.
pytest.register_assert_rewrite(*(f"{__name__}.{m.name}" for m in pkgutil.iter_modules(__path__)))
