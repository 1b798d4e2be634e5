"""What belongs on the page of a configuration."""

from __future__ import annotations

import pytest

from vmm.benchmark import grid
from vmm.paper.report import contents


def test_curves_are_those_of_clustering_where_a_data_set_has_several_experiments(config):
    jobs = contents.curve_jobs(config, "mnist")
    assert {(job.method, str(job.setting)) for job in jobs} == {
        ("vampprior", "b256-nmi"),
        ("vmm", "b256-nmi"),
    }
    assert len(jobs) == 6
    assert {job.method for job in contents.curve_jobs(config, "mine")} == {"normal", "vmm"}


def test_curves_of_a_run_on_batch_sizes_alone(config):
    sizes = {"datasets": ["mnist"], "batch_sizes": [128, 512], "max_epochs": 1, "patience": 1}
    config["experiments"] = {"batch_size": sizes}
    assert {str(job.setting) for job in contents.curve_jobs(config, "mnist")} == {"b128-nmi"}
    config["datasets"]["mnist"]["batch_size"] = 512
    assert {str(job.setting) for job in contents.curve_jobs(config, "mnist")} == {"b512-nmi"}


def test_every_model_of_a_figure_of_curves_is_trained(config):
    trained = set(grid.training_jobs(config))
    for name in config["datasets"]:
        assert set(contents.curve_jobs(config, name)) <= trained


def test_expected_files_follow_the_experiments(config, with_experiments):
    assert "tables/comparison.csv" in contents.expected_files(config)
    assert contents.expected_files(with_experiments(["cells", "tuning"])) == [
        "data/mine.json",
        "tables/table3.html",
        "tables/table4.html",
        "tables/recommendation.json",
        "tuning/mine.json",
        "figures/mde_mine.png",
        "figures/tuning_mine.png",
        "figures/training_mine.png",
    ]


def test_controls_have_a_figure(config):
    config["experiments"]["cells"]["controls"] = ["random"]
    assert "figures/controls_mine.png" in contents.expected_files(config)
    items = [item for item in contents.figures(config) if item.caption == "controls"]
    caption = contents.caption(items[0], config)
    assert "<code>mine</code>" in caption and caption.endswith(".") and "\n" not in caption


def test_every_caption_is_one_paragraph_with_its_data_set(config):
    items = contents.tables(config) + contents.figures(config) + contents.curves(config)
    for item in [*items, contents.tuning_figure("mine")]:
        caption = contents.caption(item, config)
        assert caption.endswith(".") and "\n" not in caption and "{" not in caption
        if "dataset" in item.wildcards:
            assert f"<code>{item.wildcards['dataset']}</code>" in caption
    assert "over 3 trials" in contents.caption(items[0], config)


@pytest.mark.parametrize("name", ["report", "workflow", "comparison"])
def test_captions_of_snakemakes_report_exist(name):
    assert (contents.CAPTIONS / f"{name}.rst").read_text().endswith(".\n")
