"""Which edit runs which jobs again, on a run that Snakemake takes for finished: dry runs alone.

No job runs: the outputs are made by hand, and ``snakemake --touch`` records how they were made.
"""

from __future__ import annotations

import os
import re
import time

import pytest
from working_copy import ROOT, Project

RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("reruns") / "project")
    project.configure((ROOT / "tests" / "workflow" / "tiny.yaml").read_text())
    listed = project.snakemake("--summary", configfile="my.yaml")
    assert listed.status == 0, listed.text
    outputs = re.findall(r"^(results/\S+)\t", listed.text, re.MULTILINE)
    assert len(outputs) > 100
    for output in outputs:
        path = project.folder / output
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(output)
    touched = project.snakemake("--cores", "1", "--touch", "--forceall", configfile="my.yaml")
    assert touched.status == 0, touched.text
    return project


@pytest.fixture
def rerun(finished):
    """Return a function that edits a file and returns the jobs that would run again, by rule."""
    before = {}

    def jobs(file: str, old: str = "", new: str = "") -> dict[str, int]:
        path = finished.folder / file
        before[path] = text = path.read_text()
        assert old in text, f"{file} does not say {old!r}"
        path.write_text(text.replace(old, new, 1) if old else text + new)
        done = finished.snakemake("--dry-run", configfile="my.yaml")
        assert done.status == 0, done.text
        assert "missing provenance" not in done.text
        return {name: n for name, n in done.job_counts.items() if name != "all"}

    yield jobs
    for path, text in before.items():
        path.write_text(text)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("README", "", ""),
        ("workflow/scripts/train.py", "", "# A comment.\n"),
        ("workflow/scripts/_script.py", '"""What every', '"""All that every'),
        ("workflow/rules/train.smk", "mem_mb=growing(6000)", "mem_mb=growing(7000)"),
        ("src/vmm/data/download.py", "could not be had", "cannot be had"),
        ("src/vmm/training.py", "checkpoint not used", "checkpoint is not used"),
        ("src/vmm/progress.py", "", "\nBAR = 1\n"),
        ("src/vmm/api/model.py", "", "\nMORE = 1\n"),
        ("src/vmm/cli/fit.py", "", "\nMORE = 1\n"),
        ("src/vmm/config.py", "", "\nMORE = 1\n"),
    ],
)
def test_what_changes_no_result_runs_nothing_again(finished, rerun, file, old, new):
    """Nor do scripts that are newer than the results, as after a git checkout."""
    (finished.folder / "README").write_text("")
    for script in (finished.folder / "workflow" / "scripts").iterdir():
        os.utime(script, (time.time(), time.time()))
    assert rerun(file, old, new) == {}


@pytest.mark.parametrize(
    ("file", "rules"),
    [
        ("workflow/scripts/figure_mde.py", {"figure_mde", "report"}),
        ("src/vmm/report/costs.py", {"report"}),
        ("src/vmm/figures/batch_size.py", {"figure_batch_size", "report"}),
        ("src/vmm/figures/mde.py", {"mde", "figure_mde", "report"}),
        ("src/vmm/tables/recommendation.py", {"recommendation", "report"}),
    ],
)
def test_code_runs_again_what_it_makes_and_what_depends_on_it(rerun, file, rules):
    assert set(rerun(file, "", "\nMORE = 1\n")) == rules


def test_a_style_sheet_is_part_of_the_page(rerun):
    assert rerun("src/vmm/report/report.css", "", "\n/* more */\n") == {"report": 1}


def test_a_rule_that_makes_files_hashes_the_script_that_it_runs():
    text = "\n".join(path.read_text() for path in RULES)
    blocks = re.split(r"^rule ", text, flags=re.MULTILINE)[1:]
    makes_files = [block for block in blocks if "    output:" in block]
    assert len(makes_files) > 20
    for block in makes_files:
        script = re.search(r'"\.\./scripts/(\w+\.py)"', block)[1]
        assert f'code("{script}"' in block, script
