"""DEC, IDEC and DipDECK of ClustPy: what they see, and that their clusters are scored like ours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from tiny_jobs import make_images, make_spec, read_history, read_latent, read_weights, train, write

from vmm.benchmark.baselines.deep_clustering import _lengths
from vmm.benchmark.config import check_installed
from vmm.benchmark.evaluation.clustering import evaluate_clustering
from vmm.benchmark.methods.records import METHODS
from vmm.errors import InputError

NAMES = [name for name, method in METHODS["images"].items() if method.environment]
UNMET = METHODS["images"]["dec"].unmet
needs_clustpy = pytest.mark.skipif(UNMET is not None, reason=str(UNMET))
REMEDY = (
    "clustpy 0.0.3 or newer; it is not installed: "
    "`pip install --no-deps clustpy==0.0.3`, or run with --use-conda"
)


@needs_clustpy
@pytest.mark.parametrize("name", NAMES)
def test_clusters_that_are_there_are_found(name, tmp_path):
    """Three kinds of images: DEC and IDEC are told how many, DipDECK merges from 35."""
    images = make_images(600)
    data, split = write(images, tmp_path)
    options = {"options": {"vade_clusters": 3}} if METHODS["images"][name].n_clusters_key else {}
    spec = make_spec("images", name, max_epochs=60, batch_size=64, learning_rate=1e-3, **options)
    run = train(data, split, spec, tmp_path / name)
    latent, weights = read_latent(tmp_path / name), read_weights(tmp_path / name)
    rows = evaluate_clustering([tmp_path / name], data).set_index("metric")["value"]
    assert rows["NMI (unmerged)"] > 0.9 and rows["Accuracy"] > 0.9
    assert rows["Utilized clusters"] == run["utilized_clusters"] == 3
    nearest = cdist(latent["embedding"], weights["centres"]).argmin(1)
    np.testing.assert_array_equal(latent["cluster_probs"].argmax(1), nearest)
    epochs = [int(row["epoch"]) for row in read_history(tmp_path / name)]
    assert epochs == list(range(1, run["epochs"] + 1))
    assert run["epochs"] == 60 or (name == "dipdeck" and run["epochs"] > 60)


@needs_clustpy
@pytest.mark.parametrize("name", NAMES)
def test_only_training_rows_are_seen(name, tmp_path):
    """Other images in the validation rows: the same network."""
    images = make_images()
    data, split = write(images, tmp_path)
    spec = make_spec("images", name)
    train(data, split, spec, tmp_path / "own")
    images.x[np.load(split)["valid"]] = 7
    images.save(data)
    train(data, split, spec, tmp_path / "other")
    own, other = read_weights(tmp_path / "own"), read_weights(tmp_path / "other")
    assert all((own[key] == other[key]).all() for key in own)


@pytest.mark.parametrize(
    ("epochs", "most", "parts"),
    [(150, 10_000, (100, 150)), (150, 250, (100, 150)), (150, 25, (10, 15)), (50, 3, (2, 1)),
     (150, 1, (1, 1))],
)  # fmt: skip
def test_epochs_of_both_parts(epochs, most, parts):
    assert _lengths(epochs, most) == parts


def test_a_run_without_clustpy_is_refused_before_it_starts(tmp_path, monkeypatch):
    where = "vmm.benchmark.methods.records.unmet"
    monkeypatch.setattr(where, lambda package, least: "it is not installed")
    named = "my.yaml: experiments.image_clustering.methods names"
    for methods, told in (
        (["vmm", "dec"], f"{named} dec, which needs {REMEDY}"),
        (["dec", "vmm", "idec"], f"{named} dec, idec, each of which needs {REMEDY}"),
    ):
        with pytest.raises(InputError) as caught:
            check_installed({"experiments": {"image_clustering": {"methods": methods}}}, "my.yaml")
        assert str(caught.value) == told
    data, split = write(make_images(), tmp_path)
    with pytest.raises(InputError, match="the method dec needs clustpy"):
        train(data, split, make_spec("images", "dec"), tmp_path / "dec")
    assert not any((tmp_path / "dec").iterdir())


def test_what_the_lock_has_needs_no_check():
    check_installed({"experiments": {"image_clustering": {"methods": ["vade", "vmm"]}}})
