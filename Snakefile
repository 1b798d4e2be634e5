"""The VampPrior Mixture Model: every table and figure of the paper, and yours."""

import os

from snakemake.utils import min_version

min_version("9.0")

# For envs/vmm.post-deploy.sh, which runs in whatever working directory the run has.
os.environ.update(VMM_PROJECT=str(workflow.basedir))


if not workflow.configfiles:

    configfile: f"{workflow.basedir}/config/config.yaml"


include: "workflow/rules/common.smk"
# What rules take as input and give as output: functions of wildcards and the configuration.
include: "workflow/inputs/data.smk"
include: "workflow/inputs/training.smk"
include: "workflow/inputs/tuning.smk"
include: "workflow/inputs/metrics.smk"
include: "workflow/inputs/figures.smk"
include: "workflow/inputs/tables.smk"
include: "workflow/inputs/report.smk"
include: "workflow/inputs/results.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


report: PAGE / "captions" / "workflow.rst"


if workflow.is_main_process and {"-n", "--dry-run", "--dryrun"} & set(sys.argv):
    show_largest()


localrules:
    all,
    partial,
    split,
    choose,
    gather,


rule all:
    default_target: True
    input:
        results(),
        REPORT,


onstart:
    check_writable()
    check_device()


onsuccess:
    show_results()


onerror:
    show_problems(log)
