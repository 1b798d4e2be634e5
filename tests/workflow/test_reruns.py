"""Which edit runs which jobs again, on a run that Snakemake takes for finished: dry runs alone."""

from __future__ import annotations

import re

import pytest
from finished_run import FinishedRun, rules, tiny, trainings
from working_copy import ROOT

RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> FinishedRun:
    config = tiny(image_clustering={"methods": ["vampprior", "vade", "vmm"]})
    return FinishedRun(tmp_path_factory.mktemp("reruns") / "project", config)


# What changes no result ---------------------------------------------------------------------------

WORDS = [
    ("Snakefile", "", "# A comment.\n"),
    ("workflow/scripts/train.py", "", "# A comment.\n"),
    ("workflow/scripts/_script.py", '"""What every', '"""All that every'),
    ("src/vmm/priors/mixture.py", '"""The two approximate', '"""Both approximate'),
    ("src/vmm/data/download.py", "could not be had", "cannot be had"),
    ("src/vmm/training/checkpoint.py", "checkpoint not used", "checkpoint is not used"),
    ("src/vmm/benchmark/evaluation/folders.py", ") -> pd.DataFrame", ") -> DataFrame"),
    ("src/vmm/paper/tables/build.py", "    raise InputError(", "    raise InputError(  # why\n"),
]
"""Comments, docstrings, annotations and messages of files that jobs run."""
ELSEWHERE = [
    ("workflow/rules/train.smk", "of_images=1440", "of_images=2880"),
    ("src/vmm/progress.py", "", "\nBAR = 1\n"),
    ("src/vmm/scvi/model.py", "", "\nMORE = 1\n"),
    ("src/vmm/cli/fit.py", "", "\nMORE = 1\n"),
    ("src/vmm/testing/metrics.py", "", "\nMORE = 1\n"),
    ("src/vmm/benchmark/config/complete.py", "", "\nMORE = 1\n"),
    ("src/vmm/priors/records.py", "", "\nMORE = 1\n"),
    ("src/vmm/data/sources/mnist.py", "", "\nMORE = 1\n"),
    ("src/vmm/benchmark/baselines/__init__.py", "", "\nMORE = 1\n"),
]
"""Files that no job of the run imports, and records."""


@pytest.mark.parametrize("edits", [WORDS, ELSEWHERE], ids=["words", "elsewhere"])
def test_what_changes_no_result_runs_nothing_again(finished, edits):
    """Nor do scripts that are newer than the results, as after a git checkout."""
    finished.touch_scripts()
    files = {}
    for edit in edits:
        files |= finished.edited(*edit)
    assert rules(finished.rerun_with(files)) == set()


# Code ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("workflow/scripts/figure_mde.py", {"figure_mde", "report"}),
        ("src/vmm/paper/report/costs.py", {"report"}),
        ("src/vmm/page.css", {"report"}),
        ("src/vmm/paper/figures/batch_size.py", {"figure_batch_size", "report"}),
        ("src/vmm/plots/mde.py", {"mde", "figure_mde", "report"}),
        ("src/vmm/plots/mde_figure.py", {"figure_mde", "report"}),
        ("src/vmm/plots/ranges.py", {"figure_controls", "report"}),
        ("src/vmm/benchmark/evaluation/stability.py", {"stability", "recommendation", "report"}),
        ("src/vmm/paper/recommendation.py", {"recommendation", "report"}),
        (
            "src/vmm/benchmark/metrics/leiden.py",
            {"evaluate_clustering", "gather", "table", "recommendation", "report"}
            | {"figure_batch_size", "samples", "figure_samples"},  # of the same files of rows
        ),
        (
            "src/vmm/benchmark/metrics/elbo_surgery.py",
            {"evaluate_elbo_surgery", "gather", "table", "report"},
        ),
        (
            "src/vmm/benchmark/choice.py",  # no step of tuning is trained again
            {"choose", "figure_tuning"}
            | {"train_cells", "evaluate_integration", "evaluate_clustering", "gather", "table"}
            | {"mde", "figure_mde", "figure_controls", "stability"}
            | {"training_curves", "recommendation", "report"},
        ),
        (
            "src/vmm/benchmark/tuning.py",
            {"tune", "evaluate_tuning", "choose", "figure_tuning"}
            | {"train_cells", "evaluate_integration", "evaluate_clustering", "gather", "table"}
            | {"mde", "figure_mde", "figure_controls", "stability"}
            | {"training_curves", "recommendation", "report"},
        ),
    ],
)
def test_code_runs_again_what_it_makes_and_what_depends_on_it(finished, file, expected):
    more = "\n/* more */\n" if file.endswith(".css") else "\nMORE = 1\n"
    assert rules(finished.rerun_with(finished.edited(file, "", more))) == expected


@pytest.mark.parametrize(
    ("file", "digits", "cells"),
    [
        ("src/vmm/priors/standard.py", {"normal"}, {"normal"}),
        ("src/vmm/priors/vampprior.py", {"vampprior"}, set()),
        ("src/vmm/priors/vade.py", {"vade"}, set()),
        ("src/vmm/priors/mixture.py", {"vade", "vmm"}, {"vmm"}),  # VaDE's is a Gaussian mixture
        ("src/vmm/models/image_vae.py", {"normal", "vampprior", "vade", "vmm"}, set()),
        ("src/vmm/models/count_vae.py", set(), {"normal", "vmm"}),
        ("src/vmm/benchmark/baselines/scvi_tools.py", set(), {"scvi_tools"}),
        ("src/vmm/benchmark/baselines/harmony.py", set(), set()),
    ],
)
def test_a_model_is_trained_again_if_its_own_files_change(finished, file, digits, cells):
    """Of a data set that is tuned, by the VMM, all are where that changes."""
    trained = trainings(finished.rerun_with(finished.edited(file, "", "\nMORE = 1\n")))
    assert {method for dataset, method in trained if dataset == "digits"} == digits
    assert {method for dataset, method in trained if dataset == "pbmc68k"} == cells
    everything = {"scvi_tools", "normal", "vmm"}
    tuned = {method for dataset, method in trained if dataset == "pbmc68k_replicates"}
    assert tuned == (everything if "vmm" in cells else cells)


# Labels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "expected"),
    [
        (
            "src/vmm/priors/records.py",
            'label="VMM"',
            {"figure_batch_size": 1, "figure_samples": 1, "figure_mde": 2, "training_curves": 3}
            | {"figure_controls": 2}
            | {"table": 4, "recommendation": 1, "report": 1},
        ),
        (
            "src/vmm/priors/records.py",
            'label="VaDE"',
            {"table": 1, "training_curves": 1, "report": 1},
        ),
        (
            "src/vmm/data/sources/records.py",
            'label="Digits"',
            {"figure_batch_size": 1, "figure_samples": 2, "training_curves": 1}
            | {"table": 2, "report": 1},
        ),
        (
            "src/vmm/data/sources/records.py",
            'label="pbmc68k_replicates"',
            {"table": 2, "training_curves": 1, "recommendation": 1, "report": 1}
            | {"figure_controls": 1},
        ),
        ("src/vmm/priors/records.py", 'label="GMM"', {}),  # not in this run
        ("src/vmm/data/sources/records.py", 'label="MNIST"', {}),
    ],
)
def test_a_label_makes_again_what_shows_it(finished, file, old, expected):
    done = finished.rerun_with(finished.edited(file, old, f'{old[:-1]} II"'))
    assert {rule: n for rule, n in done.job_counts.items() if rule != "all"} == expected


def test_how_a_metric_is_printed_scores_nothing_again(finished):
    """Digits of a mean make the table again."""
    old = "bounds=(1.0, math.inf),\n        decimals=None,\n        most=1,"
    edited = finished.edited(
        "src/vmm/benchmark/metrics/records.py", old, old.replace("most=1", "most=2")
    )
    assert rules(finished.rerun_with(edited)) == {"table", "report"}


# Rules --------------------------------------------------------------------------------------------


def test_a_rule_that_makes_files_hashes_the_script_that_it_runs():
    text = "\n".join(path.read_text() for path in RULES)
    blocks = re.split(r"^rule ", text, flags=re.MULTILINE)[1:]
    makes_files = [block for block in blocks if "    output:" in block]
    assert len(makes_files) > 20
    for block in makes_files:
        script = re.search(r'"\.\./scripts/(\w+\.py)"', block)[1]
        assert re.search(rf'code\(\s*"{re.escape(script)}"', block), script
