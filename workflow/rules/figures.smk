"""Figures, each as PDF, PNG and SVG."""


rule figure_batch_size:
    input:
        parts("clustering", grid.experiment_jobs(config, "batch_size")),
    output:
        shown("batch_size", "batch_size", "clusters and NMI by batch size"),
    log:
        f"{RUN}/logs/figure_batch_size.log",
    benchmark:
        f"{RUN}/benchmarks/figure_batch_size.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        jobs=sorted(
            {(j.dataset, str(j.setting)) for j in grid.experiment_jobs(config, "batch_size")}
        ),
        labels=labels_of(grid.experiment_jobs(config, "batch_size")),
        code=code("figure_batch_size.py"),
    script:
        "../scripts/figure_batch_size.py"


rule samples:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
        rows=lambda w: parts("clustering", image_jobs(w)),
        splits=lambda w: [
            f"{RUN}/splits/{job.dataset}/trial_{job.trial}.npz" for job in image_jobs(w)
        ],
        models=lambda w: files_of(image_jobs(w), ("weights.pt", *LATENT)),
    output:
        f"{RUN}/samples/{{dataset}}_{{method}}.npz",
    log:
        f"{RUN}/logs/samples/{{dataset}}_{{method}}.log",
    benchmark:
        f"{RUN}/benchmarks/samples/{{dataset}}_{{method}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(30),
        gpu=gpus(),
    params:
        code=code("samples.py", lambda w: METHODS["images"][w.method].depends_on),
    script:
        "../scripts/samples.py"


rule figure_samples:
    input:
        f"{RUN}/samples/{{dataset}}_{{method}}.npz",
    output:
        shown("samples_{dataset}_{method}", "samples", "samples", "{dataset}", "{method}"),
    log:
        f"{RUN}/logs/figure_samples/{{dataset}}_{{method}}.log",
    benchmark:
        f"{RUN}/benchmarks/figure_samples/{{dataset}}_{{method}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        title=lambda w: f"{dataset_label(w.dataset)}, {METHODS['images'][w.method].label}",
        code=code("figure_samples.py"),
    script:
        "../scripts/figure_samples.py"


rule figure_tuning:
    input:
        scores=f"{RUN}/tuning/{{dataset}}.csv",
        choice=f"{RUN}/tuning/{{dataset}}.json",
        description=f"{RUN}/data/{{dataset}}.json",
    output:
        shown("tuning_{dataset}", "tuning", "tuning", "{dataset}"),
    log:
        f"{RUN}/logs/figure_tuning/{{dataset}}.log",
    benchmark:
        f"{RUN}/benchmarks/figure_tuning/{{dataset}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        code=code("figure_tuning.py"),
    script:
        "../scripts/figure_tuning.py"


rule mde:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
        rows=lambda w: parts("integration", mde_jobs(w)),
        models=lambda w: files_of(mde_jobs(w), LATENT),
    output:
        f"{RUN}/mde/{{dataset}}.npz",
    log:
        f"{RUN}/logs/mde/{{dataset}}.log",
    benchmark:
        f"{RUN}/benchmarks/mde/{{dataset}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=memory("mde"),
        runtime=runtime("mde", of_images=240),
    params:
        methods=MDE_METHODS,
        cells=config["evaluation_cells"],
        seed=config["seed"],
        code=code("mde.py"),
    script:
        "../scripts/mde.py"


rule figure_mde:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
        layout=f"{RUN}/mde/{{dataset}}.npz",
    output:
        shown("mde_{dataset}", "mde", "embeddings", "{dataset}"),
    log:
        f"{RUN}/logs/figure_mde/{{dataset}}.log",
    benchmark:
        f"{RUN}/benchmarks/figure_mde/{{dataset}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=memory("figure_mde"),
        runtime=growing(30),
    params:
        labels={name: METHODS["cells"][name].label for name in MDE_METHODS},
        code=code("figure_mde.py"),
    script:
        "../scripts/figure_mde.py"


rule figure_controls:
    input:
        lambda w: parts("integration", grid.control_jobs(config, w.dataset)),
    output:
        shown("controls_{dataset}", "controls", "scores between controls", "{dataset}"),
        table=f"{RUN}/tables/controls_{{dataset}}.csv",
    log:
        f"{RUN}/logs/figure_controls/{{dataset}}.log",
    benchmark:
        f"{RUN}/benchmarks/figure_controls/{{dataset}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        labels=lambda w: labels_of(grid.control_jobs(config, w.dataset)),
        metrics=showing_of("integration", NEWER),
        code=code("figure_controls.py"),
    script:
        "../scripts/figure_controls.py"
