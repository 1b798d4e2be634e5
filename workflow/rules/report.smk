"""The page of a run, and the training curves that only it shows."""


rule training_curves:
    input:
        lambda w: files_of(curve_jobs(w), ("run.json", "history.csv")),
    output:
        shown("training_{dataset}", "training_curves", "training", "{dataset}"),
    log:
        f"{RUN}/logs/training_curves/{{dataset}}.log",
    benchmark:
        f"{RUN}/benchmarks/training_curves/{{dataset}}.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        shown=lambda w: [(job.record.label, job.record.colour) for job in curve_jobs(w)],
        title=lambda w: dataset_label(w.dataset),
        code=code("training_curves.py"),
    script:
        "../scripts/training_curves.py"


rule report:
    input:
        report_inputs(),
    output:
        report(
            REPORT,
            caption=PAGE / "captions" / "report.rst",
            category="Report",
            labels={"what": "the whole run on one page"},
        ),
    log:
        f"{RUN}/logs/report.log",
    benchmark:
        f"{RUN}/benchmarks/report.tsv"
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        snakemake=snakemake_version,
        partial=False,
        labels=labels_of(report_jobs()),
        code=code("report.py", files=CAPTIONS),
    script:
        "../scripts/report.py"
