"""Tuning of batch size and prior learning ratio, by the VMM: by labels (the paper's Appendix C),
or without."""


rule tune:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
        description=f"{RUN}/data/{{dataset}}.json",
        splits=of_job(f"{RUN}/splits/{{dataset}}/trial_{{trial}}.npz", TUNING_TRIALS),
    output:
        of_job(f"{LADDER}.json", TUNING_TRIALS),
    log:
        f"{RUN}/logs/tune/{{dataset}}/b{{batch}}_{TRIAL}.log",
    benchmark:
        f"{RUN}/benchmarks/tune/{{dataset}}/b{{batch}}_{TRIAL}.tsv"
    priority: 10
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=memory("train"),
        runtime=runtime("tune", of_images=1440),
        gpu=gpus(),
    params:
        ratios=lambda w: ladders_of_job(w)[0].ratios,
        unsupervised=UNSUPERVISED,
        specs=lambda w: [spec.plain() for spec in ladder_specs(w)],
        models=lambda w: tuned_models(w.dataset),
        code=code("tune.py", lambda w: ladder_specs(w)[0].job.record.depends_on),
    script:
        "../scripts/tune.py"


rule evaluate_tuning:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
        ladders=ladders,
    output:
        f"{RUN}/tuning/{{dataset}}/scores_trial_{{trial}}.csv",
    log:
        f"{RUN}/logs/evaluate_tuning/{{dataset}}/trial_{{trial}}.log",
    benchmark:
        f"{RUN}/benchmarks/evaluate_tuning/{{dataset}}/trial_{{trial}}.tsv"
    priority: 10
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=memory("evaluate_integration"),
        runtime=runtime("evaluate_tuning", of_images=720),
    params:
        bras=config["silhouette_batch"] == "bras",
        cells=config["evaluation_cells"],
        metrics=scoring_of("tuning"),
        code=code("evaluate_tuning.py", lambda w: modules_of("tuning")),
    script:
        "../scripts/evaluate_tuning.py"


rule choose:
    input:
        description=f"{RUN}/data/{{dataset}}.json",
        tuned=tuned,
    output:
        choice=f"{RUN}/tuning/{{dataset}}.json",
        scores=f"{RUN}/tuning/{{dataset}}.csv",
    log:
        f"{RUN}/logs/choose/{{dataset}}.log",
    benchmark:
        f"{RUN}/benchmarks/choose/{{dataset}}.tsv"
    priority: 10
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(10),
    params:
        unsupervised=UNSUPERVISED,
        code=code("choose.py"),
    script:
        "../scripts/choose.py"
