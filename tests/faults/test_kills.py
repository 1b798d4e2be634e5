"""Twenty times ``kill -9`` at a random moment of download, training, evaluation and rendering.

After a plain rerun there is what an undisturbed run makes: the same bytes, and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from killing import MODES, TIMED, Killer, same_as, seconds, temporary, visible
from web import serving
from working_copy import Project

pytestmark = pytest.mark.faults

SEED = 20260207
COMPILED = Path(".snakemake", "jax")
LENGTH = {"max_epochs": 40, "patience": 40}
IMAGES = [
    # how often, script, what it makes, its benchmark
    (5, "prepare", "data/shapes.npz", "prepare/shapes"),
    (5, "train", "models/shapes/vmm/b32-nmi/trial_0/run.json", "train/shapes/vmm/b32-nmi/trial_0"),
    (
        2,
        "evaluate_clustering",
        "metrics/parts/clustering/shapes/trial_0.csv",
        "evaluate_clustering/shapes/trial_0",
    ),
    (
        1,
        "evaluate_elbo_surgery",
        "metrics/parts/elbo_surgery/shapes/vmm/b32-elbo/trial_0.csv",
        "evaluate_elbo_surgery/shapes/vmm/b32-elbo/trial_0",
    ),
    (2, "table", "tables/table2_tests.csv", "table/2"),
    (2, "figure_samples", "figures/samples_shapes_vmm.svg", "figure_samples/shapes_vmm"),
    (1, "report", "report.html", "report"),
]
CELLS = [
    (
        2,
        "evaluate_integration",
        "metrics/parts/integration/cells/trial_0.csv",
        "evaluate_integration/cells/trial_0",
    ),
]
CELL_TARGETS = ["metrics/integration.csv", "tables/table4_tests.csv"]


def images(server) -> dict:
    """Return a configuration whose images come from a slow server."""
    random = np.random.default_rng(0)
    y = np.arange(3600) % 3
    x = (40 * y[:, None, None] + random.integers(0, 120, (3600, 30, 30))).astype(np.uint8)
    return {
        "trials": 1,
        "datasets": {
            "shapes": {
                "kind": "images",
                "url": f"{server.url}/shapes.npz",
                "sha256": serve(server, x_train=x, y_train=y),
                "n_subset": 200,
                "n_latent": 3,
                "hidden": [16],
                "learning_rate": 1e-3,
                "batch_size": 32,
                "prior_learning_ratio": 1,
            }
        },
        "experiments": {
            "image_clustering": LENGTH | {"methods": ["vmm"]},
            "elbo_surgery": LENGTH | {"methods": ["vmm"], "n_samples": 5},
        },
    }


def serve(server, **arrays: np.ndarray) -> str:
    """Put a file on the server, slow whenever it is asked for; return its checksum."""
    import io

    content = io.BytesIO()
    np.savez(content, **arrays)
    server.files["/shapes.npz"] = content.getvalue()
    server.faults["/shapes.npz"] = ["slow"] * 100
    return hashlib.sha256(content.getvalue()).hexdigest()


def cells(project: Project) -> dict:
    """Return a configuration with cells in a file of the project."""
    random = np.random.default_rng(0)
    kind, batch = np.arange(150) % 3, np.arange(150) // 3 % 2
    rates = 4 * np.exp(random.normal(size=(3, 30)) + 0.4 * random.normal(size=(2, 1, 30)))
    obs = {"donor": pd.Categorical.from_codes(batch, ["first", "second"])}
    obs["cell_type"] = pd.Categorical.from_codes(kind, ["T", "B", "NK"])
    index = [f"cell{i}" for i in range(150)]
    counts = random.poisson(rates[batch, kind]).astype(np.float32)
    data = anndata.AnnData(counts, obs=pd.DataFrame(obs, index=index))
    data.write_h5ad(project.folder / "cells.h5ad")
    own = {"path": "cells.h5ad", "batch_key": "donor", "label_key": "cell_type", "n_hidden": 8}
    own |= {"n_latent": 3, "batch_size": 32, "prior_learning_ratio": 5, "learning_rate": 1e-3}
    chosen = LENGTH | {"methods": ["vmm"], "baselines": ["pca"]}
    return {"trials": 1, "datasets": {"cells": own}, "experiments": {"cells": chosen}}


class Story:
    """An undisturbed run, and one that is killed again and again before it is left in peace."""

    def __init__(self, folder: Path, rounds: list, configure, targets: list[str]):
        self.whole, self.killed = (Project(folder / name) for name in ("whole", "killed"))
        for project in (self.whole, self.killed):
            project.checkpoint_every_epoch()
            config = {"run": "x", "device": "cpu", "n_components": 8} | configure(project)
            project.configure(config, "my.yaml")
        self.rounds = rounds
        self.targets = [f"results/x/{name}" for name in targets]
        self.undisturbed = self.whole.snakemake("--cores", "1", *self.targets, configfile="my.yaml")
        assert self.undisturbed.status == 0, self.undisturbed.text
        self.expected = visible(self.results(self.whole))
        self.differences: dict[str, list[str]] = {}
        killer = Killer(self.killed, "my.yaml", SEED)
        for times, script, target, benchmark in rounds:
            lasts = seconds(self.results(self.whole), benchmark)
            for _ in range(times):
                killer.kill(script, f"results/x/{target}", lasts)
                wrong = same_as(self.expected, self.results(self.killed))
                self.differences[str(killer.kills[-1])] = wrong
        self.kills = killer.kills
        # Those of the run that was not killed, for a kill may come before any was compiled.
        if (compiled := self.whole.folder / COMPILED).exists():
            shutil.copytree(compiled, self.killed.folder / COMPILED, dirs_exist_ok=True)
        self.torn = tear_compiled_programs(self.killed)
        self.end = self.killed.snakemake("--cores", "2", *self.targets, configfile="my.yaml")
        killer.wait_for_orphans()

    @staticmethod
    def results(project: Project) -> Path:
        return project.folder / "results" / "x"


def tear_compiled_programs(project: Project) -> int:
    """Cut the files in which jax keeps compiled programs, as a kill may; return how many."""
    files = list((project.folder / COMPILED).rglob("*-cache"))
    for file in files:
        os.truncate(file, file.stat().st_size // 2)
    return len(files)


@pytest.fixture(scope="module", params=["images", "cells"])
def story(request, tmp_path_factory) -> Story:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "cells":
        return Story(folder, CELLS, cells, CELL_TARGETS)
    with serving() as server:
        return Story(folder, IMAGES, lambda project: images(server), [])


def test_there_were_twenty_kills_of_every_kind(story):
    assert sum(times for times, *_ in IMAGES + CELLS) == 20
    assert Counter(kill.script for kill in story.kills) == {
        script: times for times, script, *_ in story.rounds
    }
    assert {kill.mode for kill in story.kills} == set(MODES[: len(story.kills)])


def test_what_a_kill_leaves_under_its_final_name_is_whole(story):
    assert {kill: wrong for kill, wrong in story.differences.items() if wrong} == {}


def test_a_plain_rerun_ends_well(story):
    assert story.end.status == 0, story.end.text
    assert "Traceback" not in story.end.text


def test_results_are_those_of_an_undisturbed_run(story):
    """Byte for byte, with other numbers of cores too; but for files that hold times."""
    found = visible(story.results(story.killed))
    assert found.keys() == story.expected.keys()
    aside = (*TIMED, ".json")
    compared = [name for name in found if not name.endswith(aside)]
    assert {Path(name).parts[0] for name in compared} >= {"metrics", "tables", "models", "data"}
    assert [name for name in compared if found[name] != story.expected[name]] == []
    tables = [name for name in found if name.startswith(("metrics/", "tables/"))]
    assert [name for name in tables if found[name] != story.expected[name]] == []


def test_torn_compiled_programs_do_no_harm(story):
    """The results are compared above."""
    assert bool(story.torn) == (story.rounds is CELLS)


def test_nothing_temporary_is_left(story):
    folder = story.killed.folder
    assert temporary(folder / "results", folder / "downloads") == []


def test_there_is_nothing_more_to_do(story):
    done = story.killed.snakemake("--dry-run", *story.targets, configfile="my.yaml")
    assert done.status == 0 and "Nothing to be done" in done.text
