"""Files of figures, and what they show."""

RUN_METHODS = EXPERIMENTS.get("cells", {}).get("methods", [])
MDE_METHODS = [
    name
    for name in names("cells", trains=True)
    if name in RUN_METHODS and METHODS["cells"][name].made_by != LIBRARY
] or RUN_METHODS
"""Rows of the figures of embeddings: our models, as in the paper, and rivals; if there are any."""


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
