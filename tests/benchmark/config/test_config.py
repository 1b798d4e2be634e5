"""The configuration: defaults, and one sentence for each mistake."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path

import anndata
import numpy as np
import pytest
import yaml

from vmm.benchmark.config import check_files, check_sizes, complete, load, schema
from vmm.benchmark.config.__main__ import main
from vmm.benchmark.config.schema import resolve
from vmm.benchmark.methods.records import names
from vmm.data.sources.records import SOURCES
from vmm.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
OWN = {"path": "x.h5ad", "label_key": "cell_type"}


def minimal(**changes) -> dict:
    return {"run": "x", "datasets": {"digits": None}} | changes


def of(dataset: dict, name: str = "m", **experiments) -> dict:
    """Return a configuration of one data set."""
    given = {"run": "x", "datasets": {name: dataset}}
    return given | ({"experiments": experiments} if experiments else {})


def complaint(config) -> str:
    """Return what is said about a wrong configuration: exactly one sentence."""
    with pytest.raises(InputError) as caught:
        complete(config, "my.yaml")
    text = str(caught.value)
    assert text.count("\n") == 0, text
    assert text.startswith("my.yaml: ")
    return text.removeprefix("my.yaml: ")


# ------------------------------------------------------------------------------ good ones


@pytest.mark.parametrize(
    "path", ["config/config.yaml", "config/demo.yaml", "config/published_code.yaml"]
)
def test_shipped_configurations_are_good(path):
    checked = load(ROOT / path)
    check_files(checked)
    assert set(checked["experiments"]) == {
        "batch_size",
        "elbo_surgery",
        "image_clustering",
        "tuning",
        "cells",
    }


def test_a_truth_value_may_come_as_text():
    """As Snakemake gives it in ``--config 'inference={responsibility_gradient: false}'``."""
    given = complete(minimal(inference={"responsibility_gradient": "false"}))
    assert given["inference"]["responsibility_gradient"] is False


def test_the_papers_settings():
    """Number for number."""
    config = load(ROOT / "config/config.yaml")
    assert (config["trials"], config["n_components"], config["device"]) == (10, 100, "auto")
    sets = config["datasets"]
    for name, latent in (("mnist", 10), ("fashion_mnist", 30)):
        images = sets[name]
        assert images["hidden"] == [500, 500, 2000] and images["n_latent"] == latent
        assert (images["learning_rate"], images["batch_size"]) == (1e-4, 256)
        assert (images["prior_learning_ratio"], images["vade_clusters"]) == (1, 10)
        assert images["n_subset"] is None
    for name, likelihood, layers, latent, rate in (
        ("cortex", "zinb", 1, 10, 4e-4),
        ("pbmc", "zinb", 1, 10, 4e-4),
        ("lung_atlas", "nb", 2, 30, 1e-3),
        ("split_seq", "zinb", 2, 30, 1e-3),
    ):
        cells = sets[name]
        assert (cells["likelihood"], cells["n_layers"], cells["n_hidden"]) == (
            likelihood,
            layers,
            128,
        )
        assert (cells["n_latent"], cells["learning_rate"]) == (latent, rate)
        assert cells["batch_size"] is None and cells["prior_learning_ratio"] is None
    experiments = config["experiments"]
    lengths = {k: (e["max_epochs"], e["patience"]) for k, e in experiments.items()}
    assert lengths.pop("elbo_surgery") == (500, 20)
    assert set(lengths.values()) == {(10_000, 100)}
    assert experiments["elbo_surgery"]["n_samples"] == 100
    assert experiments["tuning"]["trials"] == 5
    assert experiments["tuning"]["batch_sizes"] == [128, 256, 512]
    assert experiments["tuning"]["prior_learning_ratios"] == [1, 2.5, 5, 10]
    assert experiments["tuning"]["slow_ratios"] == [0.1, 0.25, 0.5]


def test_defaults_are_the_papers():
    """What a configuration need not say is what config.yaml says, but for what is newer."""
    paper = load(ROOT / "config/config.yaml")
    short = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    for name in ("device", "trials", "seed", "n_components"):
        del short[name]
    assert complete(short) == paper
    short["experiments"] = dict.fromkeys(short["experiments"])
    short["experiments"]["elbo_surgery"] = {"datasets": ["fashion_mnist"]}
    short["experiments"]["cells"] = {"controls": [], "newer_metrics": False}
    assert complete(short) == paper


def test_the_published_code_is_the_papers_grid_with_other_switches():
    """Each is named there, and nothing else differs."""
    paper = load(ROOT / "config/config.yaml")
    given = yaml.safe_load((ROOT / "config/published_code.yaml").read_text())
    assert sorted(given["inference"]) == sorted(paper["inference"])
    published = load(ROOT / "config/published_code.yaml")
    switches = published.pop("inference")
    defaults = paper.pop("inference")
    assert (published.pop("run"), paper.pop("run")) == ("published_code", "paper")
    assert published == paper
    assert {key: value for key, value in switches.items() if value != defaults[key]} == {
        "concentration_prior": "gamma",
        "wishart_scale": "published_code",
        "train_pseudo_inputs": False,
        "log_counts": False,
        "deeply_inject_covariates": False,
    }


def test_completing_changes_nothing_that_is_complete_or_given():
    given = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    before = copy.deepcopy(given)
    once = complete(given)
    assert given == before
    assert complete(once) == once


def test_numbers_in_scientific_notation():
    """YAML reads 1e-4 (without a point) as text."""
    digits = complete(yaml.safe_load("{run: x, datasets: {digits: {learning_rate: 1e-4}}}"))
    assert digits["datasets"]["digits"]["learning_rate"] == 1e-4
    whole = complete(minimal(trials=3.0))["trials"]
    assert whole == 3 and isinstance(whole, int)


def test_experiments_follow_from_the_data():
    """Own data alone: tuned, integrated, clustered; settings that are given are not tuned."""
    cells = complete(of(OWN))
    assert set(cells["experiments"]) == {"tuning", "cells"}
    assert cells["experiments"]["cells"]["datasets"] == ["m"]
    assert cells["datasets"]["m"]["kind"] == "cells"
    assert set(complete(minimal())["experiments"]) == {"image_clustering"}
    both = {"run": "x", "datasets": {"digits": None, "m": OWN, "pbmc68k": None}}
    experiments = complete(both)["experiments"]
    assert experiments["image_clustering"]["datasets"] == ["digits"]
    assert experiments["cells"]["datasets"] == ["m", "pbmc68k"]


def test_lengths_are_shared_where_models_are():
    experiments = {"batch_size": {}, "image_clustering": {"max_epochs": 7}, "tuning": {}}
    both = {"run": "x", "datasets": {"digits": None, "pbmc68k": None}, "experiments": experiments}
    experiments["cells"] = {"patience": 3}
    filled = complete(both)["experiments"]
    assert (filled["batch_size"]["max_epochs"], filled["batch_size"]["patience"]) == (7, 100)
    assert (filled["tuning"]["max_epochs"], filled["tuning"]["patience"]) == (10_000, 3)
    del experiments["image_clustering"], experiments["cells"]
    filled = complete(both)["experiments"]
    assert filled["batch_size"]["max_epochs"] == 10_000
    assert filled["tuning"]["patience"] == 100


def test_a_source_under_two_names():
    sets = {"a": {"source": "digits", "n_latent": 2}, "b": {"source": "digits"}, "2024": OWN}
    filled = complete({"run": "x", "datasets": sets})["datasets"]
    assert filled["a"]["kind"] == filled["b"]["kind"] == "images"
    assert filled["2024"]["source"] is None


def test_a_number_as_the_name_of_a_data_set():
    assert list(complete({"run": "x", "datasets": {2024: OWN}})["datasets"]) == ["2024"]


def test_the_users_copy_of_a_built_in_data_set():
    split_seq = complete(of({"path": "data/split_seq"}, "split_seq"))["datasets"]["split_seq"]
    assert split_seq["source"] == "split_seq"
    files = complete(of({"matrix": "a.mtx", "cells": "b.csv"}, "split_seq"))
    assert files["datasets"]["split_seq"]["matrix"] == "a.mtx"


# --------------------------------------------------------------------------------- wrong ones


MISTAKES = {
    "unknown key": (minimal(trial=3), "unknown key 'trial'; did you mean 'trials'?"),
    "unknown key like none": (
        minimal(queue=3),
        "unknown key 'queue'; known keys are run, device, precision, cuda_graph, sleep_below, "
        "trials, trials_at_once, seed, mirror, n_components, silhouette_batch, tuning, "
        "evaluation_cells, inference, datasets, experiments",
    ),
    "unknown key of a data set": (
        of({"n_lat": 3}, "digits"),
        "unknown key 'n_lat' in datasets.digits; did you mean 'n_latent'?",
    ),
    "a key of the other kind": (
        of({"likelihood": "nb"}, "digits"),
        "unknown key 'likelihood' in datasets.digits; known keys are kind, source, path, url, "
        "sha256, n_subset, n_latent, hidden, learning_rate, batch_size, prior_learning_ratio, "
        "vade_clusters",
    ),
    "a key a level too high": (
        minimal(batch_key="donor"),
        "unknown key 'batch_key'; it belongs in datasets.<name>",
    ),
    "a key a level too deep": (
        of({}, "digits", image_clustering={"trials": 3}),
        "unknown key 'trials' in experiments.image_clustering; it belongs at the top",
    ),
    "a key of several experiments": (
        of({"patience": 3}, "digits"),
        "unknown key 'patience' in datasets.digits; it belongs in experiments.batch_size or "
        "experiments.elbo_surgery or experiments.image_clustering or experiments.tuning or "
        "experiments.cells",
    ),
    "unknown key of an experiment": (
        of({}, "digits", image_clustering={"epochs": 3}),
        "unknown key 'epochs' in experiments.image_clustering; did you mean 'max_epochs'?",
    ),
    "unknown experiment": (
        of({}, "digits", image_clustring={}),
        "unknown key 'image_clustring' in experiments; did you mean 'image_clustering'?",
    ),
    "unknown switch": (
        minimal(inference={"responsibility_gradients": True}),
        "unknown key 'responsibility_gradients' in inference; "
        "did you mean 'responsibility_gradient'?",
    ),
    "a key that is a number": (minimal() | {1: 2}, "unknown key '1'; known keys are …"),
    "not a mapping": ([1], "must be a mapping of keys to values, such as 'run: demo'"),
    "empty": (None, "must be a mapping of keys to values, such as 'run: demo'"),
    "no run": (
        {"datasets": {"digits": None}},
        "lacks the key 'run': Name of the run; its results go to `results/<run>/`.",
    ),
    "no data sets": ({"run": "x"}, "lacks the key 'datasets': The data sets by name…"),
    "empty data sets": ({"run": "x", "datasets": {}}, "datasets is {}, but must not be empty"),
    "data sets as a list": (
        {"run": "x", "datasets": ["digits"]},
        "datasets is [digits], but must be a mapping of keys to values",
    ),
    "a data set that is a number": (
        {"run": "x", "datasets": {"m": 5}},
        "datasets.m is 5, but must be a mapping of keys to values",
    ),
    "a run that is no name": (
        minimal(run="../y"),
        "run is '../y', but must consist of letters, digits, '_', '-' and '.', a letter or digit "
        "first",
    ),
    "a data set's name": (
        {"run": "x", "datasets": {"my-cells": OWN}},
        "'my-cells' in datasets must consist of letters, digits and '_', a letter or digit first",
    ),
    "text for a number": (minimal(trials="many"), "trials is 'many', but must be a whole number"),
    "true for a number": (minimal(trials=True), "trials is true, but must be a whole number"),
    "a fraction": (minimal(trials=2.5), "trials is 2.5, but must be a whole number"),
    "too small": (minimal(trials=0), "trials is 0, but must be at least 1"),
    "not positive": (
        of({"learning_rate": 0}, "digits"),
        "datasets.digits.learning_rate is 0, but must be greater than 0",
    ),
    "not a number": (
        of({"learning_rate": float("nan")}, "digits"),
        "datasets.digits.learning_rate is .nan, but must be a number",
    ),
    "infinite": (
        of({"learning_rate": float("inf")}, "digits"),
        "datasets.digits.learning_rate is .inf, but must be a number",
    ),
    "a word for another": (
        minimal(device="gpu"),
        "device is 'gpu', but must be one of auto, cpu, cuda; did you mean 'cuda'?",
    ),
    "what is like no word": (
        minimal(device="mps"),
        "device is 'mps', but must be one of auto, cpu, cuda",
    ),
    "less precise than there is": (
        minimal(precision="fp16"),
        "precision is 'fp16', but must be one of float32, tf32, bf16",
    ),
    "a whole point": (
        minimal(sleep_below=1),
        "sleep_below is 1, but must be less than 1",
    ),
    "unknown method": (
        of({}, "digits", image_clustering={"methods": ["vnm"]}),
        "experiments.image_clustering.methods[0] is 'vnm', but must be one of "
        + ", ".join(names("images", clusters=True)),
    ),
    "a method twice": (
        of({}, "digits", image_clustering={"methods": ["vmm", "vmm"]}),
        "experiments.image_clustering.methods is [vmm, vmm], but must not name anything twice",
    ),
    "no methods": (
        of({}, "digits", image_clustering={"methods": []}),
        "experiments.image_clustering.methods is [], but must not be empty",
    ),
    "one name instead of a list": (
        of({}, "digits", image_clustering={"datasets": "digits"}),
        "experiments.image_clustering.datasets is 'digits', but must be a list or null",
    ),
    "no experiments": (
        minimal(experiments=None),
        "experiments is {}, but must not be empty",
    ),
    "wrong kind": (
        of({**OWN, "kind": "cell"}),
        "datasets.m.kind is 'cell', but must be one of cells, images",
    ),
    "the other kind of a built-in data set": (
        of({"kind": "images"}, "pbmc68k"),
        "datasets.pbmc68k.kind is 'images', but pbmc68k is a set of cells; leave the key out",
    ),
    "misspelt data set": (
        of({"hidden": [20]}, "mnsit"),
        "datasets.mnsit has neither path nor url, and 'mnsit' is not built in; "
        "did you mean 'mnist'?",
    ),
    "a data set from nowhere": (
        of({"label_key": "cell_type"}, "my_cells"),
        "datasets.my_cells has neither path nor url, and 'my_cells' is not built in; built in are "
        + ", ".join(SOURCES),
    ),
    "misspelt source": (
        of({"source": "mnsit"}),
        "datasets.m.source is 'mnsit', which is not built in; did you mean 'mnist'?",
    ),
    "two origins": (
        of({**OWN, "url": "https://example.org/x.h5ad"}),
        "datasets.m has path and url; give only one of them",
    ),
    "a source and a path": (
        of({"source": "pbmc68k", "path": "x.h5ad"}),
        "datasets.m has source and path; give only one of them",
    ),
    "no checksum": (
        of({"url": "https://example.org/x.h5ad", "label_key": "t"}),
        "datasets.m has a url but lacks sha256, the checksum of the file",
    ),
    "no sum": (
        of({"url": "https://example.org/x.h5ad", "sha256": "abc", "label_key": "t"}),
        "datasets.m.sha256 is 'abc', but must consist of 64 hexadecimal digits",
    ),
    "no label_key": (
        of({"path": "x.h5ad"}),
        "datasets.m lacks label_key, the column of obs with the cell type; without one give "
        "`tuning: unsupervised`, also where nothing is left to tune",
    ),
    "another data set's keys": (
        of({**OWN, "matrix": "x.mtx"}),
        "datasets.m.matrix is for split_seq only; your own data go by path or url",
    ),
    "misspelt data set of an experiment": (
        of({}, "digits", image_clustering={"datasets": ["digit"]}),
        "experiments.image_clustering.datasets names 'digit', which is not under datasets; "
        "did you mean 'digits'?",
    ),
    "images for cells": (
        {
            "run": "x",
            "datasets": {"digits": {}, "pbmc68k": {}},
            "experiments": {"tuning": {}, "cells": {"datasets": ["digits"]}},
        },
        "experiments.cells.datasets names 'digits', a set of images; it needs cells",
    ),
    "no images": (
        of({}, "pbmc68k", elbo_surgery={}),
        "experiments.elbo_surgery needs images, but datasets has none; leave it out",
    ),
    "labels that are not there": (
        of({"path": "x.h5ad"}, cells={"methods": ["scanvi"]}, tuning={})
        | {"tuning": "unsupervised"},
        "experiments.cells.methods names scanvi, which learns from labels, but datasets.m has no "
        "label_key",
    ),
    "neither settings nor tuning": (
        of({"batch_size": 128}, "pbmc68k", cells={}),
        "datasets.pbmc68k lacks prior_learning_ratio, and experiments has no 'tuning' to find "
        "what fits; give one or the other",
    ),
    "nothing to tune": (
        of({"batch_size": 128, "prior_learning_ratio": 5}, "pbmc68k", tuning={}),
        "experiments.tuning has nothing to do: no cell data set leaves batch_size or "
        "prior_learning_ratio to it; leave one of them out, or add another experiment",
    ),
    "nothing to choose from": (
        of({"batch_size": 64}, "pbmc68k", tuning={"prior_learning_ratios": [5]})
        | {"tuning": "unsupervised"},
        "experiments.tuning leaves datasets.pbmc68k one setting, so there is nothing to choose; "
        "give it prior_learning_ratio, or more values to try",
    ),
    "two lengths of one training": (
        of({}, "digits", image_clustering={"patience": 5}, batch_size={"patience": 6}),
        "experiments.batch_size.patience is 6, but image_clustering has 5 and shares models with "
        "it; give it in image_clustering only",
    ),
}


@pytest.mark.parametrize(("config", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_one_sentence_for_each_mistake(config, sentence):
    said = complaint(config)
    if sentence.endswith("…"):
        said = said[: len(sentence) - 1] + "…"
    assert said == sentence


def test_each_of_several_mistakes_is_named():
    with pytest.raises(InputError) as caught:
        complete(minimal(trial=3, device="gpu"), "my.yaml")
    lines = str(caught.value).split("\n")
    assert len(lines) == 2 and all(line.startswith("my.yaml: ") for line in lines)
    assert "'trial'" in lines[0] + lines[1] and "'gpu'" in lines[0] + lines[1]


def test_long_values_are_shortened():
    said = complaint(minimal(device="x" * 500))
    assert len(said) < 150


# ---------------------------------------------------------------------------------------- files


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = complete(of(OWN))
    with pytest.raises(InputError) as caught:
        check_files(config, "my.yaml")
    here = f"(relative paths start at {tmp_path})"
    assert str(caught.value) == (
        f"my.yaml: datasets.m.path is 'x.h5ad', which does not exist {here}"
    )
    Path("x.h5ad").mkdir()
    with pytest.raises(InputError, match="which is not a file"):
        check_files(config)
    Path("x.h5ad").rmdir()
    Path("x.h5ad").touch()
    check_files(config)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (5, "m (x.h5ad, 5 cells) has only 4 training rows to start the components from; use at mo"),
        (1, "m (x.h5ad, 1 cell) has only 0 training rows to start the components from; give more"),
        (22, "m (x.h5ad, 22 cells) has only 20 training rows to start the components from; use at"),
        (23, ""),
    ],
)
def test_too_few_cells_are_known_before_they_are_read(cells, said, tmp_path, monkeypatch):
    """A tenth validates; what is no HDF5 file, or starts from no cells, is left to others."""
    monkeypatch.chdir(tmp_path)
    anndata.AnnData(np.ones((cells, 3), dtype=np.float32)).write_h5ad("x.h5ad")
    given = OWN | {"batch_size": 8, "prior_learning_ratio": 1}
    config = complete(of(given, cells={"methods": ["vmm"]}) | {"n_components": 21})
    with pytest.raises(InputError) if said else nullcontext() as caught:
        check_sizes(config, "my.yaml")
    if said:
        assert str(caught.value).startswith(f"my.yaml: n_components is 21, but {said}")
    check_sizes(complete(of(given, cells={"methods": ["normal"]})))
    Path("x.h5ad").write_bytes(b"no HDF5")
    check_sizes(config)


def test_a_path_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = complete(of({**OWN, "path": "~/x.h5ad"}) | {"mirror": "~"})
    with pytest.raises(InputError, match=r"'~/x\.h5ad', which does not exist"):
        check_files(config)
    (tmp_path / "x.h5ad").touch()
    check_files(config)


def test_a_mirror_is_a_folder_or_an_address(tmp_path):
    with pytest.raises(InputError, match=r"^c: mirror is '/nowhere/at/all', which is no folder"):
        check_files(complete(minimal(mirror="/nowhere/at/all")), "c")
    check_files(complete(minimal(mirror=str(tmp_path))))
    check_files(complete(minimal(mirror="https://example.org/mirror")))


def test_files_that_the_user_supplies_later_stop_only_their_own_preparation():
    check_files(complete(of({"path": "data/not/there"}, "split_seq")))


def test_reading_a_configuration(tmp_path):
    with pytest.raises(InputError, match=r"absent\.yaml: cannot be read \(No such file"):
        load(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("run: [x\n")
    with pytest.raises(InputError, match=r"broken\.yaml: is not YAML: .* line 2") as caught:
        load(broken)
    assert "\n" not in str(caught.value)


def test_the_command(tmp_path, capsys):
    path = tmp_path / "my.yaml"
    path.write_text("run: x\ndatasets: {digits: }\n")
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: good\n"
    path.write_text("run: x\ndatasets: {digits: }\ntrails: 3\n")
    assert main([str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err == f"{path}: unknown key 'trails'; did you mean 'trials'?\n"


# ------------------------------------------------------------------------------- documentation


def test_the_reference_is_that_of_the_schema(capsys):
    """When this fails: python -m vmm.benchmark.config --docs > config/README.md."""
    assert main(["--docs"]) == 0
    assert capsys.readouterr().out == (ROOT / "config" / "README.md").read_text()


def nodes(node: dict, path: str = ""):
    """Yield every key of the schema with its node."""
    for key, child in node.get("properties", {}).items():
        child = resolve(child)
        yield f"{path}{key}", child
        yield from nodes(child, f"{path}{key}.")


def test_every_key_is_described_typed_and_in_the_reference():
    reference = (ROOT / "config" / "README.md").read_text()
    top = schema()
    found = dict(nodes(top)) | dict(nodes(top["$defs"]["cells"], "cells."))
    found |= dict(nodes(top["$defs"]["images"], "images."))
    assert len(found) > 60
    for path, node in found.items():
        assert node["description"].endswith("."), path
        assert "type" in node or "enum" in node, path
        key = path.rpartition(".")[2]
        assert f"`{key}`" in reference or f".{key}`" in reference, path
        if node.get("type") == "object" and "properties" in node:
            assert node["additionalProperties"] is False, path


def test_a_method_that_needs_a_newer_library(monkeypatch):
    where = "vmm.benchmark.methods.records.unmet"
    monkeypatch.setattr(where, lambda package, least: "1.4.2 is installed")
    config = minimal(
        datasets={"pbmc68k": {"batch_size": 64, "prior_learning_ratio": 5}},
        experiments={"cells": {"methods": ["drvi"]}},
    )
    assert complaint(config) == (
        "experiments.cells.methods names drvi, which needs scvi-tools 1.5 or newer; 1.4.2 is "
        "installed"
    )


def test_ratios_of_slow_rates_are_something_to_choose_from():
    """A rate that is slow has further ones; with those, one ratio of its own is no mistake."""
    tuning = {"batch_sizes": [64], "prior_learning_ratios": [5], "slow_ratios": [0.5]}
    slow = of({"learning_rate": 1e-3}, "pbmc68k", tuning=tuning) | {"tuning": "unsupervised"}
    complete(slow)
    with pytest.raises(InputError, match=r"leaves datasets\.pbmc68k one setting"):
        complete(of({}, "pbmc68k", tuning=tuning) | {"tuning": "unsupervised"})
