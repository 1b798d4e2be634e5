"""A run on a disk that is read-only, then full, then free again."""

from __future__ import annotations

from pathlib import Path

import pytest
from disk import mounted
from working_copy import Done, Project

pytestmark = pytest.mark.faults

MODEL = "results/x/models/digits/vmm/b32-nmi/trial_0"


def test_a_project_on_a_disk_that_is_full_or_read_only(tmp_path):
    """Snakemake itself would end in a traceback."""
    with mounted(tmp_path / "disk", kib=20480) as disk:
        project = Project(disk.folder / "project")
        name = project.configure({"run": "x", "datasets": {"digits": None}})
        disk.fill()
        full = project.snakemake("--cores", "1", configfile=name)
        disk.free()
        disk.make("ro")
        read_only = project.snakemake("--cores", "1", configfile=name)
    reasons = {
        full: "No space left on device; free some space, then start again.",
        read_only: "Read-only file system; make its folder writable or use another, then start "
        "again.",
    }
    for done, reason in reasons.items():
        assert done.status != 0
        assert done.said[-1] == f"{project.folder} cannot be written: {reason}"
        assert "Traceback" not in done.text


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Start the same run on a disk in four states."""
    project = Project(tmp_path_factory.mktemp("disk") / "project")
    digits = {"n_subset": 200, "n_latent": 3, "hidden": [256, 256], "batch_size": 32}
    clustering = {"methods": ["vmm"], "max_epochs": 1}
    config = {"run": "x", "device": "cpu", "trials": 1, "n_components": 8}
    config |= {"datasets": {"digits": digits}, "experiments": {"image_clustering": clustering}}
    project.configure(config)

    def run() -> tuple[Done, list[str]]:
        target = f"{MODEL}/run.json"
        done = project.snakemake("--cores", "1", target, configfile="my.yaml")
        return done, project.results()

    told = {"folder": project.folder}
    with mounted(project.folder / "results", kib=4096) as disk:
        disk.make("ro")
        told["read-only"] = run()
        disk.make("rw")
        disk.fill()
        told["full"] = run()
        disk.free()
        disk.fill(leave=400)
        told["nearly full"] = run()
        disk.free()
        told["free"] = run()
    return told


def test_a_read_only_folder_is_told_before_anything_runs(story):
    done, results = story["read-only"]
    assert done.status != 0
    assert (
        f"{story['folder']}/results cannot be written, where the results go: make it writable, "
        "or start in another folder (snakemake --directory DIR)"
    ) in done.said
    assert "Traceback" not in done.text and "rule prepare" not in done.text
    assert results == []


@pytest.mark.parametrize(
    ("state", "file"),
    [("full", "results/x/data/digits.npz"), ("nearly full", f"{MODEL}/weights.pt")],
)
def test_no_space_is_told_in_a_sentence(story, state, file):
    """Even where the log has no space either."""
    done, results = story[state]
    assert done.status != 0
    sentence = f"{file} cannot be written: No space left on device; free some space, then start"
    assert any(line.startswith(sentence) for line in done.said), done.text
    assert "Traceback" not in done.text
    assert not any(Path(name).name.startswith(".") for name in results)
    assert f"{file.removeprefix('results/')}" not in results


def test_with_space_it_goes_on_to_its_end(story):
    done, results = story["free"]
    assert done.status == 0, done.text
    assert "rule prepare" not in done.text  # it was finished while there was space
    model = MODEL.removeprefix("results/")
    names = ("history.csv", "latent.npz", "run.json", "weights.pt")
    assert results == [
        "x/data/digits.json",
        "x/data/digits.npz",
        *(f"{model}/{name}" for name in names),
        "x/splits/digits/trial_0.npz",
    ]
