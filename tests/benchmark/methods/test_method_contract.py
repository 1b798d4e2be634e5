"""Every registered method keeps the contract, an outsider's do; and what breaks it is found."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from vmm.benchmark.methods.records import METHODS, Method
from vmm.benchmark.ours import train_ours
from vmm.testing.examples import make_cells, write
from vmm.testing.methods import MethodContract

ALL = [method for methods in METHODS.values() for method in methods.values()]


class TestRegistered(MethodContract):
    @pytest.fixture(params=ALL, ids=lambda method: f"{method.kind}-{method.name}")
    def method(self, request: pytest.FixtureRequest) -> Method:
        return request.param


# ------------------------------------------------------------------------- somebody else's


def library_sizes(components, data, seed=0):
    """Embed by the logarithm of the counts, less its mean in the batch."""
    log = np.log1p(np.asarray(data.counts.sum(1)))
    means = np.array([log[data.batch == batch].mean() for batch in range(data.n_batches)])
    return (log - means[data.batch, None]).astype(np.float32)


MINE = Method(
    "sizes",
    "cells",
    "Sizes",
    "none",
    "Sizes",
    "#123456",
    "Library sizes.",
    made_by=f"{__name__}:library_sizes",
    trains=False,
    needs_batches=True,
)


class TestOutsiders(MethodContract):
    @pytest.fixture
    def method(self) -> Method:
        return MINE


# ------------------------------------------------------------------------- what breaks it


def double(components, data, seed=0):
    return library_sizes(components, data).astype(np.float64)


def nothing(components, data, seed=0):
    return np.full((len(data), 2), np.nan, np.float32)


def constant(components, data, seed=0):
    return np.ones((len(data), 2), np.float32)


def too_few(components, data, seed=0):
    return components[:-1]


def corrects_nothing(components, data, seed=0):
    return components


def from_global_state(components, data, seed=0):
    return components * np.float32(np.random.uniform())


def between_batches(components, data, seed=0):
    """Scale by what differs between batches: nothing, where there is one."""
    means = [components[data.batch == batch].mean(0) for batch in range(data.n_batches)]
    return components / np.std(means, 0)


def without_clusters(*given):
    return [trained._replace(cluster_probs=None) for trained in train_ours(*given)]


def always_ok(*given):
    trained = train_ours(*given)
    return [one._replace(result=replace(one.result, status="ok")) for one in trained]


def with_seed_of_trial(data, splits, specs, *given):
    """Train each with a seed of its place among those at once."""
    specs = [replace(spec, seed=len(specs)) for spec in specs]
    return train_ours(data, splits, specs, *given)


FAULTS = [
    (double, "test_it_writes_a_complete_folder"),
    (nothing, "test_it_writes_a_complete_folder"),
    (constant, "test_it_writes_a_complete_folder"),
    (too_few, "test_it_writes_a_complete_folder"),
    (corrects_nothing, "test_it_writes_a_complete_folder"),
    (from_global_state, "test_it_repeats"),
    (between_batches, "test_data_of_one_batch"),
    (without_clusters, "test_it_writes_a_complete_folder"),
    (always_ok, "test_a_diverged_training_says_so"),
    (with_seed_of_trial, "test_trials_at_once_are_those_alone"),
]


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(("function", "test"), FAULTS, ids=lambda v: getattr(v, "__name__", v))
def test_faults_are_found(function, test, tmp_path, monkeypatch):
    trains = "given" in inspect.signature(function).parameters
    method = METHODS["cells"]["vmm"] if trains else MINE
    method = replace(method, made_by=f"{__name__}:{function.__name__}")
    if function is between_batches:
        method = replace(method, needs_batches=False)
    monkeypatch.setitem(METHODS["cells"], method.name, method)
    values = {"method": method, "tmp_path": tmp_path, "prepared": write(make_cells(), tmp_path)}
    contract = getattr(MethodContract(), test)
    with pytest.raises(AssertionError):
        contract(**{name: values[name] for name in inspect.signature(contract).parameters})


WRONG_RECORDS = {
    "test_the_record_is_complete": [
        {"name": "a b"}, {"label": ""}, {"colour": "blue"}, {"about": "No stop"},
    ],
    "test_it_can_be_told_from_others": [
        {"label": "PCA"}, {"colour": "#8a8f98"}, {"model": "PCA"},
    ],
    "test_what_it_depends_on_can_be_imported": [
        {"made_by": "no_such_module:f"}, {"made_by": f"{__name__}:no_such_function"},
        {"modules": ("no_such_module",)},
    ],
    "test_its_parts_fit": [{"kind": "images"}, {"clusters": True}, {"trains": True}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("test", "change"), [(test, c) for test, changes in WRONG_RECORDS.items() for c in changes]
)
def test_wrong_records_are_found(test, change, monkeypatch):
    monkeypatch.setitem(METHODS["cells"], MINE.name, MINE)
    check = getattr(MethodContract(), test)
    check(MINE)
    wrong = replace(MINE, **change)
    monkeypatch.setitem(METHODS["cells"], MINE.name, wrong)
    with pytest.raises((AssertionError, LookupError, ImportError)):
        check(wrong)


def test_the_name_of_another_is_found(monkeypatch):
    with pytest.raises(AssertionError, match="the name is another's"):
        MethodContract.registered.__wrapped__(
            MethodContract(), replace(MINE, name="pca"), monkeypatch
        )
