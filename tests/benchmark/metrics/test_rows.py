"""Tidy rows: made, checked, written, read and gathered."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from metric_names import CLUSTERING_METRICS

from vmm.benchmark.metrics.rows import (
    ROW_COLUMNS,
    check_jobs,
    concatenate_rows,
    diverged_rows,
    gather_rows,
    read_rows,
    rows_from_scores,
    validate_rows,
    write_rows,
)
from vmm.errors import InputError

JOB = {
    "dataset": "pbmc",
    "model": "scVI",
    "prior": "VampPriorMixture",
    "setting": "chosen",
    "trial": 3,
    "device": "cpu",
}


def test_rows_from_scores_keep_values_and_statuses():
    rows = rows_from_scores(
        JOB, {"Accuracy": 0.5, "Total": (None, "n/a: single batch"), "cLISI": np.float32(1)}
    )
    assert list(rows.columns) == ROW_COLUMNS
    assert rows["metric"].tolist() == ["Accuracy", "Total", "cLISI"]
    assert rows["status"].tolist() == ["ok", "n/a: single batch", "ok"]
    assert rows["value"].tolist()[::2] == [0.5, 1.0]
    assert math.isnan(rows["value"][1])
    assert set(rows["trial"]) == {3}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_not_ok(value):
    rows = rows_from_scores(JOB, {"log p(x)": value})
    assert rows["status"].item() == "n/a: not a finite number"
    assert rows["value"].isna().item()


def test_diverged_rows_have_no_value():
    rows = diverged_rows(JOB, ["Accuracy", "NMI (merged)"])
    assert rows["status"].tolist() == ["diverged"] * 2
    assert rows["value"].isna().all()


def test_writing_and_reading_is_exact_and_reproducible(tmp_path):
    scores = {"Accuracy": 0.1 + 0.2, "log p(x)": -1e-300, "KBET": 1 / 3, "iLISI": (None, "failed")}
    rows = rows_from_scores({**JOB, "dataset": 'a "set", mine'}, scores)
    write_rows(rows, tmp_path / "a.csv")
    write_rows(read_rows(tmp_path / "a.csv"), tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    pd.testing.assert_frame_equal(read_rows(tmp_path / "a.csv"), rows)
    assert "0.30000000000000004" in (tmp_path / "a.csv").read_text()
    assert (tmp_path / "a.csv").read_text().splitlines()[0] == ",".join(ROW_COLUMNS)


def test_a_model_called_na_survives(tmp_path):
    rows = rows_from_scores({**JOB, "prior": "none", "model": "NA"}, {"Accuracy": 1.0})
    write_rows(rows, tmp_path / "rows.csv")
    assert read_rows(tmp_path / "rows.csv")["model"].item() == "NA"


@pytest.mark.filterwarnings("error")
def test_gathering_does_not_depend_on_the_order_of_the_parts(tmp_path):
    for trial in (10, 2):
        scores = {"NMI (merged)": 0.1, "Accuracy": (None, "diverged")}
        write_rows(rows_from_scores({**JOB, "trial": trial}, scores), tmp_path / f"{trial}.csv")
    write_rows(diverged_rows({**JOB, "trial": 1}, ["Accuracy"]), tmp_path / "1.csv")
    paths = [tmp_path / "10.csv", tmp_path / "1.csv", tmp_path / "2.csv"]
    rows = gather_rows(paths)
    pd.testing.assert_frame_equal(rows, gather_rows(paths[::-1]))
    assert rows["trial"].tolist() == [1, 2, 2, 10, 10]
    assert rows["metric"].tolist()[1:3] == ["Accuracy", "NMI (merged)"]


def test_nothing_to_gather_is_an_empty_table():
    rows = concatenate_rows([])
    assert rows.empty
    assert list(rows.columns) == ROW_COLUMNS


def _row(**changes) -> pd.DataFrame:
    return rows_from_scores(JOB, {"Accuracy": 0.5}).assign(**changes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (_row().drop(columns="status"), "have the columns"),
        (_row(extra=1), "have the columns"),
        (_row(trial="two"), "not a number"),
        (_row(status="fine"), "an unknown status"),
        (_row(status="n/a: "), "an unknown status"),
        (_row(value=np.nan), "status ok without a value"),
        (_row(status="diverged"), "a value that is not ok"),
        (_row(value=np.inf), "an infinite value"),
        (pd.concat([_row(), _row(value=0.7)]), "the same metric twice: dataset pbmc, model scVI"),
    ],
)
def test_invalid_rows_are_named(rows, message):
    with pytest.raises(InputError, match=message):
        validate_rows(rows, "metrics/clustering.csv")


def test_files_are_named_in_errors(tmp_path):
    with pytest.raises(InputError, match=r"absent\.csv does not exist"):
        read_rows(tmp_path / "absent.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match=r"empty\.csv is damaged"):
        read_rows(tmp_path / "empty.csv")


def test_a_file_that_was_cut_is_named(tmp_path):
    """At any byte: within a line when it is read, between two when its jobs are looked for."""
    path = tmp_path / "trial_0.csv"
    jobs = [{**JOB, "trial": trial} for trial in (0, 1)]
    scores = {metric: 1 / 7 for metric in CLUSTERING_METRICS}
    scores["Accuracy"] = (None, "n/a: no labels")
    write_rows(pd.concat([rows_from_scores(job, scores) for job in jobs]), path)
    check_jobs(read_rows(path), jobs, "clustering", str(path))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=re.escape(str(path))):
            check_jobs(read_rows(path), jobs, "clustering", str(path))


def test_a_job_without_a_trial_is_refused():
    with pytest.raises(InputError, match="lacks trial"):
        rows_from_scores({k: v for k, v in JOB.items() if k != "trial"}, {"Accuracy": 1.0})
