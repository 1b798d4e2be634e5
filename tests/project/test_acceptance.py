"""The acceptance run at toy sizes on the CPU, and how it tells of what goes wrong."""

from __future__ import annotations

import json
import os
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.gpu import __main__ as acceptance
from benchmarks.gpu import runner
from benchmarks.gpu.models import _gradient_error
from benchmarks.gpu.results import nmi
from benchmarks.gpu.runner import Check, NotThere, Options, Run, all_checks, perform
from vmm.models.records import MODELS
from vmm.priors.records import priors_of

SIZES_ONLY = ("speed_images_30", "speed_pbmc", "fashion_to_the_end")
"""At toy sizes these are others again."""
CHECKS = [check for check in all_checks().values() if check.name not in SIZES_ONLY]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_check(check, tmp_path):
    """Each runs; what only CUDA can show says so."""
    result = perform(check, Options("cpu", str(tmp_path), toy=True), 600.0)
    assert (tmp_path / f"{check.name}.json").is_file()
    if check.cuda:
        assert (result["status"], result["reason"]) == ("not there", "needs CUDA")
    elif result["status"] == "not there":
        assert check.needs
    else:
        assert result["status"] == "passed", [f for f in result["found"] if not f["ok"]]
        assert result["found"]
    if check.name == "models":
        found = [found["what"] for found in result["found"]]
        for kind in MODELS:
            for prior in priors_of(kind):
                for form in (f"{prior}, variational step", f"{prior}, stacked, variational step"):
                    assert any(what.startswith(kind) and form in what for what in found)


# What goes wrong: stand-ins for checks, run in processes by their name


def passes(run: Run) -> None:
    run.bound("error", 1e-6, 1e-5)
    run.same("twice", True)
    run.number("speed", 12.3, "ms")
    run.table("A table", ["a"], [["1"]])


def fails(run: Run) -> None:
    run.bound("not a number", float("nan"), 1e-5)
    run.same("twice", False)


def raises(run: Run) -> None:
    run.number("seen before", 1)
    raise RuntimeError("CUDA error: an illegal memory access\nmore")


def is_absent(run: Run) -> None:
    raise NotThere("needs another card")


def goes_on(run: Run) -> None:
    warnings.warn("Training goes on without a CUDA graph", stacklevel=1)


def hangs(run: Run) -> None:
    run.number("seen before", 1)
    time.sleep(600)


def crashes(run: Run) -> None:
    run.number("seen before", 1)
    os._exit(3)


TOYS = {
    function.__name__: Check(function.__name__, "nothing", function)
    for function in (passes, fails, raises, goes_on, is_absent, hangs, crashes)
}


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("passes", "passed", "speed: 12.3 ms; 1 times the same to the bit; 1 within limits"),
        ("fails", "**failed**", "not a number: nan (≤ 1e-05); twice: not the same"),
        ("raises", "**failed**", "RuntimeError: CUDA error: an illegal memory access |"),
        ("goes_on", "**failed**", "UserWarning: Training goes on without a CUDA graph |"),
        ("is_absent", "not there", "needs another card"),
    ],
)
def test_a_check_is_a_row(name, status, said, tmp_path):
    result = perform(TOYS[name], Options("cpu", str(tmp_path)), 60.0)
    text = acceptance.report([result])
    assert f"| `{name}` | nothing | {status} |" in text
    assert said in text
    assert ("A table:\n\n| a |" in text) == (name == "passes")
    assert json.loads((tmp_path / f"{name}.json").read_text()) == result


@pytest.fixture
def toys(monkeypatch):
    """Let processes run the stand-ins: `python -c` instead of the runner's own module."""
    started = runner.subprocess.Popen
    script = (
        "import json, sys; sys.path.insert(0, 'tests/project'); import test_acceptance as t; "
        "t.perform(t.TOYS[sys.argv[1]], t.Options(**json.loads(sys.argv[2])), float(sys.argv[3]))"
    )

    def popen(command, **options):
        return started([command[0], "-c", script, *command[3:]], cwd=runner.ROOT, **options)

    monkeypatch.setattr(runner.subprocess, "Popen", popen)
    monkeypatch.setattr(acceptance, "all_checks", lambda: TOYS)


def test_without_a_device_nothing_else_is_tried(tmp_path, monkeypatch):
    """Where the first check, of the machine itself, fails."""
    monkeypatch.setattr(acceptance, "perform_apart", perform)
    checks = [replace(TOYS["fails"], name="machine"), TOYS["passes"]]
    results = acceptance.run_all(checks, Options("cpu", str(tmp_path)), 60.0)
    assert [result["status"] for result in results] == ["failed", "not run"]
    assert results[1]["reason"] == "the machine failed"


def test_a_crash_is_told_with_what_was_found_before(toys, tmp_path, capsys):
    """The others are run all the same, and the exit status says that one did not pass."""
    options = ["--device", "cpu", "--out", str(tmp_path)]
    assert acceptance.main([*options, "--only", "crashes", "passes"]) == 1
    crashed = json.loads((tmp_path / "crashes.json").read_text())
    assert crashed["status"] == "died" and crashed["reason"].startswith("exit status 3")
    assert [found["what"] for found in crashed["found"]] == ["seen before"]
    table = (tmp_path / "table.md").read_text()
    assert "| **died** |" in table and "| passed |" in table
    assert table in capsys.readouterr().out


def test_what_hangs_is_ended(toys, tmp_path, monkeypatch):
    """The limit is told to the check, and what it found until then is kept."""
    waited = []
    process_wait = runner.subprocess.Popen

    def popen(*args, **options):
        process = process_wait(*args, **options)
        wait = process.wait

        def once_it_has_begun(seconds=None):
            if seconds is None:
                return wait()
            waited.append(seconds)
            while not (tmp_path / "hangs.json").is_file():
                time.sleep(0.05)
            raise runner.subprocess.TimeoutExpired("hangs", seconds)

        process.wait = once_it_has_begun
        return process

    monkeypatch.setattr(runner.subprocess, "Popen", popen)
    result = runner.perform_apart(TOYS["hangs"], Options("cpu", str(tmp_path)), 60.0)
    assert waited == [60.0]
    assert (result["status"], result["reason"]) == ("out of time", "ended after 60 s")
    assert [found["what"] for found in result["found"]] == ["seen before"]


def test_no_time_left_is_no_pass(tmp_path):
    checks = [TOYS["passes"]]
    (result,) = acceptance.run_all(checks, Options("cpu", str(tmp_path)), 0.0)
    assert result["status"] == "not run" and result["status"] not in runner.GOOD


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--out", "x", "--only", "nothing"], "no check is called 'nothing'; there are machine"),
        ([], "--out DIR is needed"),
    ],
)
def test_bad_arguments(wrong, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        acceptance.main(wrong)
    assert message in capsys.readouterr().err


def test_list(capsys):
    assert acceptance.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(all_checks())


# What checks compare by


def test_a_gradient_that_is_zero_is_compared_with_the_whole():
    exact = {"a": torch.ones(4).double(), "zero": torch.full((4,), 1e-17).double()}
    own = {"a": torch.ones(4) + 1e-3, "zero": torch.full((4,), 1e-6)}
    assert _gradient_error(own, exact) == pytest.approx(1e-3, rel=1e-3)
    own = {"a": torch.ones(4), "zero": torch.full((4,), 1e-6)}
    assert _gradient_error(own, exact) == pytest.approx(1e-6, rel=1e-3)


def test_nmi_is_that_of_scikit_learn():
    from sklearn.metrics import normalized_mutual_info_score

    random = np.random.default_rng(0)
    labels, clusters = random.integers(5, size=200), random.integers(7, size=200)
    clusters = np.where(random.random(200) < 0.6, labels, clusters)
    expected = normalized_mutual_info_score(labels, clusters)
    assert nmi(labels, clusters) == pytest.approx(expected, abs=1e-12)
    assert nmi(labels, labels) == pytest.approx(1.0)


def test_a_missing_folder_of_data_is_said(tmp_path):
    run = Run(replace(TOYS["passes"]), Options("cpu", str(tmp_path), data=None), 60.0)
    with pytest.raises(NotThere, match="--data FOLDER with mnist"):
        run.needs(run.data, "mnist")
    with pytest.raises(NotThere, match="file: images"):
        run.needs(tmp_path / "file", "images")
