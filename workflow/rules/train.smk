"""Models, each in a folder of its own, and embeddings without a model."""


rule train_cells:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
        splits=of_job(f"{RUN}/splits/{{dataset}}/trial_{{trial}}.npz"),
        choice=choice,
    output:
        [f"{folder}/{name}" for folder in of_job(MODEL) for name in TRAINED],
    log:
        f"{RUN}/logs/train/{{dataset}}/{{method}}/{{setting}}/{TRIAL}.log",
    benchmark:
        f"{RUN}/benchmarks/train/{{dataset}}/{{method}}/{{setting}}/{TRIAL}.tsv"
    wildcard_constraints:
        setting=str(CHOSEN),
        method="|".join(names("cells", trains=True)),
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=memory("train", of_images=6000),
        runtime=runtime("train", of_images=1440),
        gpu=gpus(),
    params:
        specs=specs,
        code=code("train.py", lambda w: job(w, 0).record.depends_on),
    script:
        "../scripts/train.py"


use rule train_cells as train_images with:
    wildcard_constraints:
        setting=OF_IMAGES,
    conda:
        environment


rule baselines:
    input:
        data=f"{RUN}/data/{{dataset}}.npz",
    output:
        [
            f"{BASELINE}/{name}".format(dataset="{dataset}", method=method, trial=trial)
            for method in BASELINES
            for trial in TRIALS
            for name in LATENT
        ],
    log:
        f"{RUN}/logs/baselines/{{dataset}}.log",
    benchmark:
        f"{RUN}/benchmarks/baselines/{{dataset}}.tsv"
    priority: 50
    conda:
        "../../envs/vmm.yaml"
    threads: 1
    resources:
        mem_mb=memory("baselines"),
        runtime=runtime("baselines", of_images=240),
    params:
        methods=BASELINES,
        trials=config["trials"],
        seed=config["seed"],
        folder=lambda w: BASELINE.replace("{dataset}", w.dataset),
        code=code("baselines.py", lambda w: made_by(BASELINES)),
    script:
        "../scripts/baselines.py"
