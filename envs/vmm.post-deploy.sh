#!/bin/sh
# Snakemake runs this in the environment that it has made of vmm.yaml. It remakes that when this
# file changes, so here is, written by `make lock`, what the locks are:
# LOCKS 1cbbf923c123496f3d72926aa2d04f4b8f78eb022576cf1031d620571fde5474
set -eu
# The Snakefile says where it stands: a run may have any working directory.
sh "$VMM_PROJECT/envs/install.sh" python
