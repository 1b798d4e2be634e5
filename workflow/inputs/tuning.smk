"""Ladders of tuning, and their files."""

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


def ladder_specs(wildcards):
    """Return what a tuning job needs to know, for each of its ladders."""
    return [grid.ladder_spec(ladder, config) for ladder in ladders_of_job(wildcards)]


def ladders(wildcards):
    """Return the ladders of one data set, a file for each batch size and trial, or of one trial."""
    return [
        LADDER.format(dataset=step.dataset, batch=step.batch_size, trial=step.trial) + ".json"
        for step in grid.ladders(config, wildcards.dataset)
        if step.trial == int(getattr(wildcards, "trial", step.trial))
    ]


def tuned(wildcards):
    """Return what a choice is made from: scores, which look at labels, or the models themselves."""
    if UNSUPERVISED:
        return ladders(wildcards)
    return [f"{RUN}/tuning/{wildcards.dataset}/scores_trial_{t}.csv" for t in TUNING_TRIALS]
