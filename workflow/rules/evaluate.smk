"""Metrics: a part for each data set and trial (ELBO surgery: for each model), then gathered."""


rule evaluate_clustering:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
        models=lambda w: files_of(trial_of(grid.clustering_jobs(config), w), LATENT),
        embeddings=leiden_inputs,
    output:
        f"{PARTS}/clustering/{{dataset}}/trial_{{trial}}.csv",
    log:
        f"{RUN}/logs/evaluate_clustering/{{dataset}}/trial_{{trial}}.log",
    benchmark:
        f"{RUN}/benchmarks/evaluate_clustering/{{dataset}}/trial_{{trial}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate_clustering"),
        runtime=runtime("evaluate_clustering", of_images=60),
    params:
        resolution=EXPERIMENTS.get("cells", {}).get("leiden_resolution"),
        cells=config["evaluation_cells"],
        newer=newer,
        metrics=lambda w: scoring_of("clustering", newer(w)),
        code=code("evaluate_clustering.py", lambda w: modules_of("clustering", newer(w))),
    script:
        "../scripts/evaluate_clustering.py"


rule evaluate_integration:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
        models=lambda w: files_of(trial_of(grid.experiment_jobs(config, "cells"), w), LATENT),
    output:
        f"{PARTS}/integration/{{dataset}}/trial_{{trial}}.csv",
    log:
        f"{RUN}/logs/evaluate_integration/{{dataset}}/trial_{{trial}}.log",
    benchmark:
        f"{RUN}/benchmarks/evaluate_integration/{{dataset}}/trial_{{trial}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate_integration"),
        runtime=runtime("evaluate_integration", of_images=720),
    params:
        bras=config["silhouette_batch"] == "bras",
        cells=config["evaluation_cells"],
        newer=newer,
        metrics=lambda w: scoring_of("integration", newer(w)),
        code=code("evaluate_integration.py", lambda w: modules_of("integration", newer(w))),
    script:
        "../scripts/evaluate_integration.py"


rule evaluate_elbo_surgery:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
        split=f"{RUN}/splits/{{dataset}}/trial_{{trial}}.npz",
        weights=f"{MODEL}/weights.pt",
        run=f"{MODEL}/run.json",
    output:
        f"{PARTS}/elbo_surgery/{{dataset}}/{{method}}/{{setting}}/trial_{{trial}}.csv",
    log:
        f"{RUN}/logs/evaluate_elbo_surgery/{{dataset}}/{{method}}/{{setting}}/trial_{{trial}}.log",
    benchmark:
        f"{RUN}/benchmarks/evaluate_elbo_surgery/{{dataset}}/{{method}}/{{setting}}/trial_{{trial}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(240),
        gpu=gpus(),
    params:
        n_samples=EXPERIMENTS.get("elbo_surgery", {}).get("n_samples"),
        metrics=scoring_of("elbo_surgery"),
        code=code(
            "evaluate_elbo_surgery.py",
            lambda w: [*modules_of("elbo_surgery"), *METHODS["images"][w.method].depends_on],
        ),
    script:
        "../scripts/evaluate_elbo_surgery.py"


rule gather:
    input:
        lambda w: parts(w.metrics),
    output:
        f"{RUN}/metrics/{{metrics}}.csv",
    log:
        f"{RUN}/logs/gather/{{metrics}}.log",
    benchmark:
        f"{RUN}/benchmarks/gather/{{metrics}}.tsv"
    wildcard_constraints:
        metrics="clustering|integration|elbo_surgery",
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        jobs=lambda w: rows_of_parts(w.metrics),
        code=code("gather.py"),
    script:
        "../scripts/gather.py"
