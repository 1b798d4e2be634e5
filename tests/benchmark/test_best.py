"""The best of several trials."""

from __future__ import annotations

import pandas as pd
import pytest

from vmm.benchmark.best import best_model
from vmm.benchmark.metrics.rows import ROW_COLUMNS
from vmm.io import write_json

JOB = {"dataset": "m", "model": "scVI", "prior": "VampPriorMixture", "setting": "chosen"}


@pytest.fixture
def folders(tmp_path):
    """Return the folders of three trials."""
    for trial in range(3):
        run = {"status": "ok", "spec": JOB | {"trial": trial}}
        write_json(tmp_path / f"trial_{trial}" / "run.json", run)
    return [tmp_path / f"trial_{trial}" for trial in range(3)]


def rows(*values, metric="Total", **changes):
    """Return tidy rows of the trials' values; None has diverged."""
    found = [
        JOB
        | {"trial": trial, "metric": metric, "value": value}
        | {"status": "diverged" if value is None else "ok"}
        | changes
        for trial, value in enumerate(values)
    ]
    return pd.DataFrame(found, columns=ROW_COLUMNS).astype({"value": float})


def test_the_highest_value_of_the_model_itself(folders):
    others = [rows(9, 9, 9, model="scvi-tools"), rows(9, 1, 1, setting="b64-r1")]
    given = pd.concat([rows(0.3, 0.5, 0.4), *others])
    assert best_model(given, folders, ["Total"]) == folders[1]
    assert best_model(given, map(str, folders[::2]), ["Total"]) == folders[2]


def test_diverged_trials_are_passed_over(folders):
    assert best_model(rows(0.3, None, 0.2), folders, ["Total"]) == folders[0]


def test_the_second_metric_stands_in_where_the_first_is_absent(folders):
    given = pd.concat([rows(None, None, None), rows(0.1, 0.2, 0.3, metric="Bio conservation")])
    assert best_model(given, folders, ["Total", "Bio conservation"]) == folders[2]
    given = pd.concat([rows(None, 0.1, None), rows(0.1, 0.2, 0.3, metric="Bio conservation")])
    assert best_model(given, folders, ["Total", "Bio conservation"]) == folders[1]


def test_without_labels_no_trial_is_better_than_another(folders):
    """And the first one that did not diverge is shown."""
    without = rows(None, None, None, status="n/a: no labelled cells")
    write_json(folders[0] / "run.json", {"status": "diverged", "spec": JOB | {"trial": 0}})
    assert best_model(without, folders, ["Total", "Bio conservation"]) == folders[1]


def test_no_value_at_all(folders):
    for trial, folder in enumerate(folders):
        write_json(folder / "run.json", {"status": "diverged", "spec": JOB | {"trial": trial}})
    assert best_model(rows(None, None, None), folders, ["Total", "Bio conservation"]) is None
