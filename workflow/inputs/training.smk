"""Which models are trained, from what, by which job."""

PLACE = model_folder("{dataset}", "{method}", "{setting}", "{trial}")
MODEL = f"{RUN}/{PLACE}"
BASELINE = MODEL.replace("{setting}", str(CHOSEN))
BASELINES = [
    name for key in ("baselines", "controls") for name in EXPERIMENTS.get("cells", {}).get(key, [])
] or names("cells", trains=False)

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


def environment(wildcards):
    """Return the environment of a training job, which few methods have one of their own for."""
    return str(ROOT / "envs" / f"{job(wildcards, 0).record.environment or 'vmm'}.yaml")


def made_by(methods):
    """Return the modules that make methods of cells that do not train."""
    return [module for name in methods for module in METHODS["cells"][name].depends_on]


def choice(wildcards):
    """Return the file with the tuned settings, if the data set's were tuned."""
    chosen = getattr(wildcards, "setting", str(CHOSEN)) == str(CHOSEN)
    tuned = chosen and wildcards.dataset in TUNED
    return f"{RUN}/tuning/{wildcards.dataset}.json" if tuned else []
