#!/bin/sh
# Snakemake runs this in the environment that it has made of vmm.yaml. It remakes that when this
# file changes, so here is, written by `make lock`, what the locks are:
# LOCKS 630ccfd3f5fe3a08c1185f2c482323e694bda6a8e4107f0b86e6c8714bd3f8a1
set -eu
# The Snakefile says where it stands: a run may have any working directory.
sh "$VMM_PROJECT/envs/install.sh" python
