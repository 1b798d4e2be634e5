"""Tables, the comparison with the paper, the recommendation; what there is of an unfinished run."""


rule table:
    input:
        rows=lambda w: parts_of([int(w.number)]),
        descriptions=lambda w: descriptions_of([int(w.number)]),
    output:
        shown_table("table{number}", "table", "Table {number}"),
        f"{RUN}/tables/table{{number}}_tests.csv",
    log:
        f"{RUN}/logs/table/{{number}}.log",
    benchmark:
        f"{RUN}/benchmarks/table/{{number}}.tsv"
    wildcard_constraints:
        number="[1-4]",
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        grids=lambda w: grids_of([int(w.number)]),
        labels=lambda w: labels_of_tables([int(w.number)]),
        newer=lambda w: NEWER and int(w.number) in CELL_TABLES,
        metrics=lambda w: showing_of(
            METRICS_OF_TABLE[int(w.number)], NEWER and int(w.number) in CELL_TABLES
        ),
        cells=config["evaluation_cells"],
        code=code("table.py"),
    script:
        "../scripts/table.py"


rule comparison:
    input:
        rows=parts_of(TABLES),
        published=ROOT / "src" / "vmm" / "paper" / "published.csv",
    output:
        shown_table("comparison", "comparison", "comparison with the paper"),
    log:
        f"{RUN}/logs/comparison.log",
    benchmark:
        f"{RUN}/benchmarks/comparison.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        grids=grids_of(TABLES),
        labels=labels_of_tables(TABLES),
        code=code("comparison.py"),
    script:
        "../scripts/comparison.py"


rule stability:
    input:
        models=lambda w: files_of(
            [job for job in grid.clustering_jobs(config) if job.dataset == w.dataset], LATENT
        ),
    output:
        f"{RUN}/tables/stability_{{dataset}}.csv",
    log:
        f"{RUN}/logs/stability/{{dataset}}.log",
    benchmark:
        f"{RUN}/benchmarks/stability/{{dataset}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        code=code("stability.py"),
    script:
        "../scripts/stability.py"


rule recommendation:
    input:
        rows=parts_of(CELL_TABLES),
        descriptions=descriptions_of(CELL_TABLES),
        stability=stability_of(CELL_TABLES),
    output:
        [f"{RUN}/tables/recommendation.{suffix}" for suffix in ("json", "html")],
    log:
        f"{RUN}/logs/recommendation.log",
    benchmark:
        f"{RUN}/benchmarks/recommendation.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        grids=grids_of(CELL_TABLES),
        labels=labels_of_tables(CELL_TABLES),
        cells=config["evaluation_cells"],
        code=code("recommendation.py"),
    script:
        "../scripts/recommendation.py"


rule partial:
    log:
        f"{RUN}/logs/partial.log",
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        run=RUN,
        grids=grids_of(TABLES),
        newer=NEWER,
    script:
        "../scripts/partial.py"
