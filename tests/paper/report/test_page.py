"""The page as a reader meets it: parsed, section by section."""

from __future__ import annotations

import copy
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml

from vmm.benchmark.choice import AGREEMENT, ELBO
from vmm.benchmark.grid import Job
from vmm.benchmark.metrics.rows import read_rows, write_rows
from vmm.errors import InputError
from vmm.io import read_json, write_json
from vmm.paper.report.folder import RunFolder
from vmm.paper.report.page import build_report, write_report

VOID = {"meta", "img", "br", "col", "link", "input", "hr", "source"}
MARKUP = '<script>alert("1")</script>'


class Page(HTMLParser):
    """Elements of a page, and the text of each section; fails on tags that do not match."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[tuple[str, str]] = []
        self.sections: dict[str, str] = {}
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append((tag, attributes.get("id", "") if tag == "section" else ""))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, section in self.open:
            if section:
                self.sections[section] = f"{self.sections.get(section, '')} {data}"

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, section: str) -> str:
        return " ".join(self.sections[section].split())


def page_of(folder: Path, config: dict, **kwargs) -> Page:
    return Page(build_report(folder, config, {"snakemake": "9.27.1"}, **kwargs))


def test_every_section_is_there_in_its_order(small_run, config):
    assert list(page_of(small_run, config).sections) == [
        "summary", "recommendation", "tables", "figures", "comparison", "training", "tuning",
        "problems", "configuration", "resources", "versions",
    ]  # fmt: skip


def test_the_table_of_contents_leads_to_every_section(small_run, config):
    page = page_of(small_run, config)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [a["href"] for a in page.all("a") if a["href"].startswith("#")]
    assert {f"#{section}" for section in page.sections} <= set(links)
    assert {link[1:] for link in links} <= ids


def test_summary_gives_data_methods_and_trials(small_run, config):
    html = build_report(small_run, config)
    text = Page(html).text("summary")
    assert "70 000 images" in text and "28 × 28 pixels" in text and "10 classes" in text
    assert "1 234 cells" in text and "56 genes" in text
    assert "1 batch" in text and "7 cell types" in text
    assert "CC BY-SA 3.0" in text and "not given" in text and "Counted twice." in text
    assert '<a href="https://doi.org/10.1109/5.726791">' in html
    assert "2 data sets, 7 methods, 3 trials of each" in html
    assert "all 24 models made" in html


def test_controls_and_covariates_are_named_beside(write_run, tmp_path, config):
    """Controls are no methods; what the model corrects for stands with the data."""
    config["experiments"]["cells"]["controls"] = ["random", "perfect"]
    run = write_run(tmp_path / "results/small", config)
    path = run / "data/mine.json"
    covariates = {"sex": {"f": 600, "m": 634}, "age": {"least": -1.5, "largest": 2}}
    write_json(path, read_json(path) | {"covariates": covariates})
    html = build_report(run, config)
    assert "2 data sets, 7 methods and 2 controls, 3 trials of each" in html
    text = Page(html).text("summary")
    assert "Controls, which bound what a score can be: " in text
    assert "covariate sex : 2 categories" in text and "covariate age : −1.5 to 2" in text


def test_a_model_of_scvi_tools_tells_what_it_had(small_run, config):
    """Sizes that nobody gave stand with the data, once a model is there."""
    config["datasets"]["mine"]["model"] = "PEAKVI"
    about = small_run / "data/mine.json"
    write_json(about, read_json(about) | {"features": "peaks"})
    text = page_of(small_run, config).text("summary")
    assert "scvi-tools' PEAKVI Source" in text and "56 peaks" in text and "genes" not in text
    path = small_run / "models/mine/vmm/chosen/trial_1/run.json"
    write_json(path, read_json(path) | {"networks": {"n_latent": 6, "n_hidden": 42}})
    text = page_of(small_run, config).text("summary")
    assert "methods in scvi-tools' PEAKVI : n_latent 6, n_hidden 42" in text


def test_recommendation_names_the_best_method(small_run, config):
    text = page_of(small_run, config).text("recommendation")
    assert "To find clusters VMM" in text and "To embed cells VMM" in text
    judged = read_json(small_run / "tables/recommendation.json")["mine"]["clustering"]
    assert judged["sentence"] in text


@pytest.mark.parametrize(("batches", "purpose"), [(1, "To embed"), (2, "To integrate batches")])
def test_without_labels_the_page_says_what_was_to_be_chosen(small_run, config, batches, purpose):
    path = small_run / "tables/recommendation.json"
    result = read_json(path)
    result["mine"]["integration"] |= {"score": None, "best": None}
    write_json(path, result)
    about = small_run / "data/mine.json"
    write_json(about, read_json(about) | {"n_batches": batches})
    text = page_of(small_run, config).text("recommendation")
    assert purpose in text and "To find clusters VMM" in text


def test_tables_have_their_numbers_and_tests(small_run, config):
    text = page_of(small_run, config).text("tables")
    # Trials differ by 0.01, metrics by 0.001; see conftest.
    assert "VMM 0.71 ± 0.01 0.711 ± 0.01" in text
    assert "Leiden on N(0, I)" in text
    worse = "3 −0.2 −0.202 to −0.198 < 0.0001 < 0.0001 significantly worse"
    assert f"MNIST Accuracy VampPrior 0.511 {worse} MNIST Accuracy VMM 0.711 3 – – – – best" in text
    assert "Harmony – 0 – – – – not tested: no trial has a value" in text


def test_pictures_are_embedded_and_described(small_run, config):
    images = page_of(small_run, config).all("img")
    # Samples of two methods, embeddings, curves of two data sets, tuning.
    assert len(images) == 6
    for image in images:
        assert image["src"].startswith("data:image/png;base64,")
        assert len(image["alt"]) > 40


def test_scores_outside_their_controls_are_told(write_run, tmp_path, config):
    """Of a run with controls, below their figure; the file is linked."""
    config["experiments"]["cells"]["controls"] = ["random"]
    run = write_run(tmp_path / "results/small", config)
    row = {"dataset": "mine", "metric": "iLISI", "method": "VMM", "control": False, "n": 3}
    odd = row | {"mean": 0.9, "least": 0.1, "most": 0.5, "outside": "above"}
    table = pd.DataFrame([odd, row | {"mean": 0.4, "least": 0.1, "most": 0.5, "outside": ""}])
    table.to_csv(run / "tables/controls_mine.csv", index=False)
    page = page_of(run, config)
    text = page.text("figures")
    assert "VMM has 0.900 in iLISI, above all controls (0.100 to 0.500)." in text
    assert text.count("all controls (") == 1
    assert "tables/controls_mine.csv" in [a["href"] for a in page.all("a")]


def test_nothing_is_loaded_from_elsewhere(small_run, config):
    html = build_report(small_run, config)
    page = Page(html)
    assert not {"link", "script", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "poster"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style
    assert html.count("<style") == 1


def test_links_to_files_lead_to_files(small_run, config):
    links = [a["href"] for a in page_of(small_run, config).all("a")]
    local = [link for link in links if not link.startswith(("#", "https://", "http://"))]
    assert "figures/samples_mnist_vmm.pdf" in local and "tables/table4_tests.csv" in local
    assert all((small_run / link).is_file() for link in local)


def test_tables_have_headers_and_scrolling_parts_can_be_focused(small_run, config):
    page = page_of(small_run, config)
    assert all(cell.get("scope") for cell in page.all("th"))
    scrolling = [div for div in page.all("div") if div.get("class") == "vmm-scroll"]
    assert scrolling and all(div.get("tabindex") == "0" for div in scrolling)


def test_comparison_counts_what_the_paper_has_of_this_run(small_run, config):
    text = page_of(small_run, config).text("comparison")
    # Table 2 on MNIST: VampPrior and VMM, four metrics each; Table 1 is of another set.
    found = re.search(r"(\d+) published numbers", text)
    assert int(found[1]) >= 8
    assert "MNIST" in text and "Fashion-MNIST" not in text and "not run" not in text


def test_tuning_gives_the_choice_and_its_reason(small_run, config):
    text = page_of(small_run, config).text("tuning")
    reason = "best mean Bio conservation (0.7200) among the 2 of 2 settings"
    assert f"mine 64 5 by labels {reason}" in text
    assert "b64-r5 (chosen) 8 0.72 1" in text
    assert "by the known cell types: utilised clusters (the red line" in text


def test_a_choice_without_labels_says_so(small_run, config):
    config = copy.deepcopy(config) | {"tuning": "unsupervised"}
    known = {ELBO: -1234.567, AGREEMENT: 0.81, "Utilized clusters": 8.0, "trials": 2}
    barred = dict.fromkeys(known, None) | {"trials": 0}
    table = [
        {"setting": "b64-r1", **barred, "status": "diverged"},
        {"setting": "b64-r5", **known, "status": "chosen"},
    ]
    choice = read_json(small_run / "tuning/mine.json") | {
        "rule": "unsupervised",
        "criteria": [ELBO, AGREEMENT],
        "reason": "Because.",
        "table": table,
    }
    write_json(small_run / "tuning/mine.json", choice)
    text = page_of(small_run, config).text("tuning")
    assert "mine 64 5 without labels Because." in text
    assert "Setting Utilised clusters Validation ELBO ARI between trials Trials Result" in text
    assert "b64-r1 – – – 0 diverged b64-r5 (chosen) 8 −1234.57 0.81 2 chosen" in text
    assert "without labels: utilised clusters, validation ELBO, and how far" in text


def test_what_a_single_batch_leaves_undefined_and_no_more(small_run, config):
    """Models lack 7 metrics in 3 trials; Harmony, which has nothing to do, all 13."""
    text = page_of(small_run, config).text("problems")
    assert text.count("single batch") == 2
    before, _, of_harmony = text.rpartition("single batch")
    of_models = before.rpartition("single batch")[2]
    assert "Harmony" in of_harmony and of_harmony.endswith("39")
    assert "Bio conservation" in of_harmony and "VMM" not in of_harmony
    assert "Bio conservation" not in of_models and of_models.rstrip().endswith("iLISI 63")
    assert "None: every model was trained and scored" in text


def test_what_no_label_leaves_undefined_is_said_once_and_not_listed(small_run, config):
    """Where no cell has one; where some do, the reason is another and is listed."""
    path = small_run / "metrics/integration.csv"
    rows, about = read_rows(path), small_run / "data/mine.json"
    rows.loc[0, ["value", "status"]] = [float("nan"), "n/a: no labelled cells"]
    write_rows(rows, path)
    assert "no labelled cells" in page_of(small_run, config).text("problems")
    write_json(about, read_json(about) | {"n_labelled": 0, "n_types": 0})
    page = page_of(small_run, config)
    assert "no labelled cells" not in page.text("problems")
    assert "no cell with a label" in page.text("summary")
    assert "0 cell types" not in page.text("summary")


def test_a_diverged_training_is_named_once_with_its_epochs(small_run, config):
    path = small_run / "models/mine/vmm/chosen/trial_1/run.json"
    write_json(path, read_json(path) | {"status": "diverged"})
    rows = read_rows(small_run / "metrics/clustering.csv")
    mine = rows["dataset"].eq("mine") & rows["setting"].eq("chosen") & rows["trial"].eq(1)
    rows.loc[mine, ["value", "status"]] = [float("nan"), "diverged"]
    write_rows(rows, small_run / "metrics/clustering.csv")
    html = build_report(small_run, config)
    text = Page(html).text("problems")
    assert "diverged mine VMM 1 1 after 21 epochs" in text
    assert text.count("diverged") == 2
    assert "1 training diverged or failed." in html


def test_configuration_is_complete_yaml(small_run, config):
    html = build_report(small_run, config)
    shown = re.search(r"<pre[^>]*><code>(.*?)</code></pre>", html, re.DOTALL)[1]
    assert yaml.safe_load(shown.replace("&#39;", "'").replace("&gt;", ">")) == config


def test_time_and_memory_are_summed_by_kind(small_run, config):
    text = page_of(small_run, config).text("resources")
    assert "train 2 1 h 1 min 1 h 0 min 1.5 GB" in text
    assert "gather 1 2.5 s 2.5 s –" in text
    assert "All jobs 3 1 h 1 min 1 h 0 min 1.5 GB" in text
    assert text.index("train 2") < text.index("gather 1")
    assert "mine VMM 3 3 20–22 30 s 300 MB" in text
    assert "mine VMM tuning 2 2 20 20 s" in text
    assert "Harmony 3 0 – 30 s" in text


def test_versions_of_the_workflow_and_of_the_models(small_run, config):
    text = page_of(small_run, config).text("versions")
    assert "snakemake 9.27.1 –" in text and "torch – 2.13.0" in text


def test_the_same_files_give_the_same_bytes_and_the_newest_gives_the_date(
    small_run, config, tmp_path
):
    for path in small_run.rglob("*"):
        os.utime(path, (1700000000, 1700000000))
    os.utime(small_run / "metrics/clustering.csv", (1700003600, 1700003600))
    first = build_report(small_run, config)
    assert "14 November 2023, 23:13 UTC" in first
    write_report(first, small_run / "report.html")
    (small_run / "benchmarks/report.tsv").write_text("s\tmax_rss\n1\t1\n")
    assert build_report(small_run, copy.deepcopy(config)) == first
    assert (small_run / "report.html").read_bytes() == first.encode()


def test_hostile_names_are_text(small_run, config):
    about = read_json(small_run / "data/mine.json")
    about |= {
        "title": MARKUP,
        "licence": MARKUP,
        "citation": f"{MARKUP} doi:10.1/<b>",
        "homepage": "javascript:alert(1)",
        "notes": [MARKUP],
        "cell_types": {MARKUP: 3, "T": 1},
    }
    write_json(small_run / "data/mine.json", about)
    path = small_run / "models/mine/vmm/chosen/trial_1/run.json"
    hostile = {"device": MARKUP, "versions": {MARKUP: MARKUP}}
    write_json(path, read_json(path) | hostile)
    choice = read_json(small_run / "tuning/mine.json")
    write_json(small_run / "tuning/mine.json", choice | {"reason": MARKUP})
    result = read_json(small_run / "tables/recommendation.json")
    result["mine"]["clustering"] |= {"best": MARKUP, "sentence": MARKUP}
    write_json(small_run / "tables/recommendation.json", result)
    rows = read_rows(small_run / "metrics/integration.csv")
    rows.loc[0, ["value", "status"]] = [float("nan"), f"n/a: {MARKUP}"]
    write_rows(rows, small_run / "metrics/integration.csv")
    config["datasets"]["mine"]["path"] = MARKUP
    html = build_report(small_run, config, {MARKUP: MARKUP})
    page = Page(html)
    assert "<script" not in html
    assert not any(a["href"].startswith("javascript:") for a in page.all("a"))
    assert page.text("problems").count(MARKUP) == 1
    for section in ("summary", "recommendation", "tuning", "configuration", "versions"):
        assert MARKUP in page.text(section), section


@pytest.mark.parametrize(
    ("experiments", "present", "absent"),
    [
        (["cells", "tuning"], ["recommendation", "tables", "tuning"], ["comparison"]),
        (["image_clustering"], ["tables", "figures", "comparison"], ["recommendation", "tuning"]),
        (["tuning"], ["tuning", "problems"], ["tables", "figures", "training", "recommendation"]),
    ],
)
def test_what_a_run_does_not_do_is_not_on_its_page(
    tmp_path, with_experiments, write_run, experiments, present, absent
):
    chosen = with_experiments(experiments)
    page = page_of(write_run(tmp_path, chosen), chosen)
    assert set(present) <= set(page.sections)
    assert not set(absent) & set(page.sections)
    assert "missing" not in page.text("problems")


def test_a_complete_page_of_an_unfinished_run_is_refused(small_run, config):
    (small_run / "tables/table2.html").unlink()
    (small_run / "figures/mde_mine.png").unlink()
    with pytest.raises(InputError, match=r"lacks 2 of the files .*table2.html, figures/mde_mine"):
        build_report(small_run, config)


def test_a_partial_page_says_what_is_missing(small_run, config):
    (small_run / "tables/table2.html").unlink()
    (small_run / "data/mnist.json").unlink()
    (small_run / "figures/mde_mine.png").unlink()
    (small_run / "models/mnist/vmm/b256-nmi/trial_2/run.json").unlink()
    log = small_run / "logs/train/mnist/vmm/b256-nmi/trial_2.log"
    log.parent.mkdir(parents=True)
    log.write_text("starting\nmnist VAE: epoch 3\n\n")
    html = build_report(small_run, config, partial=True)
    page = Page(html)
    assert "3 files missing, 23 of 24 models made" in html
    problems = page.text("problems")
    assert "3 files missing data/mnist.json tables/table2.html figures/mde_mine.png" in problems
    assert "missing MNIST VMM b256-nmi 2 1 not finished; its log ends: mnist VAE: epoch 3" in (
        problems
    )
    assert "logs/train/mnist/vmm/b256-nmi/trial_2.log" in [a["href"] for a in page.all("a")]
    assert "this data set has not been prepared" in page.text("summary")
    assert "tables/table2.html has not been made" in page.text("tables")
    assert "figures/mde_mine.png has not been made" in page.text("figures")


@pytest.mark.parametrize(("at_once", "name"), [(False, "trial_2"), (True, "trials")])
def test_logs_of_trials_trained_at_once_are_one(at_once, name, tmp_path, config):
    run = RunFolder(tmp_path, config | {"trials_at_once": at_once})
    job = Job("images", "mnist", "vmm", "b256-nmi", 2)
    assert run.log(job) == f"logs/train/mnist/vmm/b256-nmi/{name}.log"


def test_the_page_of_a_run_that_has_not_begun(tmp_path, config):
    page = page_of(tmp_path, config, partial=True)
    text = page.text("problems")
    assert "has not run" in text and "clustering: " in text and "not scored" in text
    assert "missing mine tuning at batch size 64 0 1 not finished" in text
    assert "No job has left a benchmark." in page.text("resources")


def test_a_partial_table_stands_in_for_the_absent_one(small_run, config):
    (small_run / "partial").mkdir()
    for path in (small_run / "tables").glob("table2*"):
        path.rename(small_run / "partial" / path.name)
    page = page_of(small_run, config, partial=True)
    assert "VMM 0.71 ± 0.01 0.711 ± 0.01" in page.text("tables")
    assert "partial/table2.csv" in [a["href"] for a in page.all("a")]


def test_parts_are_read_where_metrics_are_not_gathered(small_run, config):
    parts = small_run / "metrics/parts/integration/mine"
    parts.mkdir(parents=True)
    (small_run / "metrics/integration.csv").rename(parts / "trial_0.csv")
    text = page_of(small_run, config, partial=True).text("problems")
    assert "Silhouette label, cLISI" in text and "integration: " in text


def test_a_name_that_is_a_number_is_shown_as_it_is(small_run, config):
    """Tests are read back from their file: 1e5 is no 100 000, 007 no 7, nan and None are there."""
    path = small_run / "tables" / "table3_tests.csv"
    text = path.read_text()
    for name in ("1e5", "007", "nan", "None"):
        path.write_text(text.replace("\nmine,", f"\n{name},"))
        tests = page_of(small_run, config).text("tables")
        assert f"{name} NMI (unmerged) VMM" in tests
