"""What rules take as input and give as output: functions of wildcards and the configuration."""

from snakemake import __version__ as snakemake_version
from vmm.data import origin
from vmm.paper.labels import dataset_label
from vmm.paper.report import contents

PAGE = ROOT / "src" / "vmm" / "paper" / "report"

# Data --------------------------------------------------------------------------------------------


def own_files(wildcards):
    """Return the user's own files of a data set, so that another content is read anew."""
    dataset = config["datasets"][wildcards.dataset]
    named = [dataset.get(key) for key in ("path", "matrix", "cells")]
    paths = [Path(name).expanduser() for name in named if name]
    files = [file for path in paths for file in (path.iterdir() if path.is_dir() else [path])]
    return sorted(str(file) for file in files if file.is_file())


def source(wildcards):
    """Return the record of where a data set comes from."""
    settings = grid.data_settings(config["datasets"][wildcards.dataset])
    return origin.find(wildcards.dataset, settings)


def readers(wildcards):
    """Return the modules that read a data set, its own and no other's."""
    return [step.partition(":")[0] for step in source(wildcards).steps]


# Training ---------------------------------------------------------------------------------------

PLACE = model_folder("{dataset}", "{method}", "{setting}", "{trial}")
MODEL = f"{RUN}/{PLACE}"
BASELINE = MODEL.replace("{setting}", str(CHOSEN))
BASELINES = EXPERIMENTS.get("cells", {}).get("baselines", names("cells", trains=False))

AT_ONCE = config["trials_at_once"]
TRIAL = "trials" if AT_ONCE else "trial_{trial}"  # in names of logs


def of_job(pattern, trials=TRIALS):
    """Return the paths of the trials that one job trains: `pattern`, or one for each trial."""
    return [pattern.replace("{trial}", str(t)) for t in trials] if AT_ONCE else [pattern]


def trials_of_job(wildcards, trials=TRIALS):
    """Return the trials that one job trains."""
    return list(trials) if AT_ONCE else [int(wildcards.trial)]


def specs(wildcards):
    """Return what a training job needs to know, for each of its trials."""
    return [grid.spec(job(wildcards, trial), config).plain() for trial in trials_of_job(wildcards)]


def made_by(methods):
    """Return the modules that make methods of cells that do not train."""
    return [module for name in methods for module in METHODS["cells"][name].depends_on]


def choice(wildcards):
    """Return the file with the tuned settings, if the data set's were tuned."""
    chosen = getattr(wildcards, "setting", str(CHOSEN)) == str(CHOSEN)
    tuned = chosen and wildcards.dataset in TUNED
    return f"{RUN}/tuning/{wildcards.dataset}.json" if tuned else []


# Tuning -----------------------------------------------------------------------------------------

LADDER = f"{RUN}/tuning/{{dataset}}/b{{batch}}_trial_{{trial}}"


TUNING_TRIALS = range(EXPERIMENTS.get("tuning", {}).get("trials", 0))


def tuned_models(dataset):
    """Return the folders of the models of tuning, by setting and trial."""
    return f"{RUN}/{model_folder(dataset, grid.TUNED_METHOD, '{setting}', '{trial}')}"


def ladders_of_job(wildcards):
    """Return the ladders that one job climbs, which differ in nothing but the trial."""
    return [
        ladder
        for ladder in grid.ladders(config, wildcards.dataset)
        if ladder.batch_size == int(wildcards.batch)
        if ladder.trial in trials_of_job(wildcards, TUNING_TRIALS)
    ]


def ladders(wildcards):
    """Return the ladders of one data set and trial, a file for each batch size."""
    return [
        LADDER.format(dataset=step.dataset, batch=step.batch_size, trial=step.trial) + ".json"
        for step in grid.ladders(config, wildcards.dataset)
        if step.trial == int(wildcards.trial)
    ]


# Metrics ----------------------------------------------------------------------------------------

PARTS = f"{RUN}/metrics/parts"


METRICS_JOBS = {
    "clustering": grid.clustering_jobs(config) + grid.leiden_jobs(config),
    "integration": grid.experiment_jobs(config, "cells"),
    "elbo_surgery": grid.experiment_jobs(config, "elbo_surgery"),
}


def parted(metrics, jobs=None):
    """Return the jobs in each file of rows; by default, of all jobs that have these metrics."""
    files = {}
    for job in METRICS_JOBS[metrics] if jobs is None else jobs:
        name = f"{job.dataset}/trial_{job.trial}"
        if metrics == "elbo_surgery":
            name = job.folder.removeprefix("models/")
        files.setdefault(f"{PARTS}/{metrics}/{name}.csv", []).append(job)
    return files


def parts(metrics, jobs=None):
    """Return the files with the rows of some jobs; by default, of all that have these metrics."""
    return list(parted(metrics, jobs))


def rows_of_parts(metrics):
    """Return the jobs that must have rows in each file of `parts`, as rows name them."""

    def scored(job):
        return metrics != "clustering" or job.setting == LEIDEN or job.record.clusters

    return [[job.row for job in jobs if scored(job)] for jobs in parted(metrics).values()]


def leiden_inputs(wildcards):
    """Return the files of the embeddings that Leiden clusters."""
    jobs = grid.experiment_jobs(config, "cells") if grid.leiden_jobs(config) else []
    return files_of(trial_of(jobs, wildcards), LATENT)


# Figures ----------------------------------------------------------------------------------------

RUN_METHODS = EXPERIMENTS.get("cells", {}).get("methods", [])
MDE_METHODS = [name for name in names("cells", is_ours=True) if name in RUN_METHODS] or RUN_METHODS
"""Rows of the figures of embeddings: our models, as in the paper, if there are any."""


def figure(name):
    """Return the files of a figure."""
    return [f"{RUN}/figures/{name}.{suffix}" for suffix in FORMATS]


def shown(name, caption, what, dataset=None, method=None):
    """Return the files of a figure, its picture marked for `snakemake --report`."""
    labels = {"figure": what, "data set": dataset, "method": method}
    pdf, png, svg = figure(name)
    marked = report(
        png,
        caption=PAGE / "captions" / f"{caption}.rst",
        category="Figures",
        labels={key: value or "–" for key, value in labels.items()},
    )
    return [pdf, marked, svg]


def image_jobs(wildcards):
    """Return the jobs of one image data set and method in image clustering, all trials."""
    return [
        job
        for job in grid.experiment_jobs(config, "image_clustering")
        if (job.dataset, job.method) == (wildcards.dataset, wildcards.method)
    ]


def mde_jobs(wildcards):
    """Return the jobs whose embeddings can be laid out, all trials."""
    return [
        job
        for job in grid.experiment_jobs(config, "cells")
        if job.dataset == wildcards.dataset and job.method in MDE_METHODS
    ]


# Tables -----------------------------------------------------------------------------------------

METRICS_OF_TABLE = {1: "elbo_surgery", 2: "clustering", 3: "clustering", 4: "integration"}
TABLE_JOBS = {number: grid.table_jobs(config, number) for number in METRICS_OF_TABLE}
TABLES = [number for number, jobs in TABLE_JOBS.items() if jobs]
CELL_TABLES = [number for number in TABLES if number in (3, 4)]


def table(name):
    """Return the files of a table."""
    return [f"{RUN}/tables/{name}.{suffix}" for suffix in ("csv", "tex", "html")]


def shown_table(name, caption, what):
    """Return the files of a table, its page marked for `snakemake --report`."""
    csv, tex, html = table(name)
    page = report(
        html,
        caption=PAGE / "captions" / f"{caption}.rst",
        category="Tables",
        labels={"table": what},
    )
    return [csv, tex, page]


def parts_of(tables):
    """Return the files with the rows of tables."""
    files = [file for n in tables for file in parts(METRICS_OF_TABLE[n], TABLE_JOBS[n])]
    return list(dict.fromkeys(files))


def descriptions_of(tables):
    """Return the descriptions of the data sets in tables."""
    names = dict.fromkeys(job.dataset for n in tables for job in TABLE_JOBS[n])
    return [f"{RUN}/data/{name}.json" for name in names]


def labels_of(jobs):
    """Return what people read for the data sets and methods of jobs.

    A parameter of what shows them, for labels stand in records, which count as no code.
    """
    datasets = {dataset_label(job.dataset) for job in jobs}
    return sorted(datasets | {job.record.label for job in jobs})


def labels_of_tables(tables):
    """Return the labels in tables."""
    return labels_of([job for n in tables for job in TABLE_JOBS[n]])


def grids_of(tables):
    """Return the jobs of tables as rows name them, and the metrics that they need."""
    return {
        n: {"metrics": METRICS_OF_TABLE[n], "jobs": [job.row for job in TABLE_JOBS[n]]}
        for n in tables
    }


# The report -------------------------------------------------------------------------------------


CAPTIONS = sorted((PAGE / "captions").glob("*.rst"))


def curve_jobs(wildcards):
    """Return the models whose training curves one figure shows."""
    return contents.curve_jobs(config, wildcards.dataset)
