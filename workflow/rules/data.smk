"""Data sets and their splits."""


rule prepare:
    input:
        own=own_files,
    output:
        data=f"{RUN}/data/{{dataset}}.npz",
        description=f"{RUN}/data/{{dataset}}.json",
    log:
        f"{RUN}/logs/prepare/{{dataset}}.log",
    benchmark:
        f"{RUN}/benchmarks/prepare/{{dataset}}.tsv"
    priority: 100
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=memory("prepare"),
        runtime=runtime("prepare", of_images=120),
    params:
        settings=lambda w: grid.data_settings(config["datasets"][w.dataset]),
        source=lambda w: source(w).prepared_from(),
        contents=contents_of,
        code=code("prepare.py", readers),
    script:
        "../scripts/prepare.py"


rule split:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
    output:
        f"{RUN}/splits/{{dataset}}/trial_{{trial}}.npz",
    log:
        f"{RUN}/logs/split/{{dataset}}/trial_{{trial}}.log",
    benchmark:
        f"{RUN}/benchmarks/split/{{dataset}}/trial_{{trial}}.tsv"
    priority: 90
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=memory("split"),
        runtime=growing(10),
    params:
        seed=config["seed"],
        # Snakemake compares no parameter that takes the input, and a further method is no other split.
        starts=lambda w, input: grid.starts(config, w.dataset),
        code=code("split.py"),
    script:
        "../scripts/split.py"
