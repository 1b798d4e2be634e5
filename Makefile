# Everything runs in a virtual environment inside the project, made from requirements.lock and
# requirements-torch.lock.
VENV   ?= .venv
PYTHON ?=
CORES  ?= all

BIN   = $(VENV)/bin
READY = $(VENV)/.ready
LOCKS = requirements.lock requirements-torch.lock
UV    = build/uv/bin/uv
SMK   := Snakefile $(wildcard workflow/*/*.smk)

.DEFAULT_GOAL := help
.PHONY: help setup lock demo paper evidence bench docs test test-conda test-fast test-faults \
  test-gpu test-latest test-slurm lint format clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY)  ## make the environment (.venv); again when a lock or pyproject.toml changes

$(READY): $(LOCKS) pyproject.toml
	@sh envs/setup.sh $(VENV) $(PYTHON)
	@touch $@

$(UV): $(READY)
	@$(BIN)/python -m venv build/uv && build/uv/bin/python -m pip --quiet install uv

# One lock for every Python from 3.11 on: where versions part, each says by a marker for which.
lock: $(UV)  ## find today's versions of all packages, and the hashes of their files
	@{ sed '/^[^#]/,$$d' requirements.lock; $(UV) pip compile --quiet --universal --python-version 3.11 \
	  --all-extras --generate-hashes --no-annotate --no-header \
	  --no-emit-package torch --no-emit-package torchvision pyproject.toml requirements.in; } \
	  > build/requirements.lock
	@mv build/requirements.lock requirements.lock
	@$(BIN)/python envs/stamp.py

demo: $(READY)  ## every kind of table and figure from embedded data, in about a quarter of an hour
	@$(BIN)/snakemake --cores $(CORES) --configfile config/demo.yaml

paper: $(READY)  ## the whole paper (config/config.yaml): wants a GPU, see README.md
	@$(BIN)/snakemake --cores $(CORES) --configfile config/config.yaml

evidence: $(READY)  ## measure again what docs/fidelity.md reports (ONLY=name: a part; ONLY=--list)
	@CORES=$(CORES) $(BIN)/python docs/evidence $(ONLY)

bench: $(READY)  ## measure speed and rewrite docs/benchmarks.md (ONLY=name: one benchmark)
	@$(BIN)/python -m benchmarks $(ONLY)

docs: $(READY)  ## make the pages of docs/ in docs/_build/html, the tutorial executed; warnings are errors
	@$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

# Of the method: what a change of a prior, a model or the training can break.
FAST = $(addprefix tests/,numerics priors models training data)
test-fast: $(READY)  ## unit tests of the method, in a minute or so
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(FAST)

test: $(READY)  ## run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-faults: $(READY)  ## kill runs at random moments, fill up disks, turn back the clock
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m faults tests/faults

test-conda: $(READY)  ## a run in an environment made for it from the lock (2.5 GB from the package index)
	@$(BIN)/python -m pytest -m conda tests/workflow/test_conda.py

test-gpu: $(READY)  ## what must be right on an NVIDIA GPU, in minutes; speed: docs/gpu.md
	@$(BIN)/python -m pytest -m gpu tests/gpu

test-latest:  ## the tests with the newest libraries that the metadata allow, in build/latest
	@$(MAKE) --no-print-directory $(READY)
	@sh envs/latest.sh $(BIN)/python

test-slurm: $(READY)  ## a pipeline through a real Slurm: as root on Debian, installed and started for it
	@tests/slurm/install.sh && $(BIN)/python -m pytest -m slurm tests/slurm || test $$? -eq 77

lint: $(READY)  ## ruff, mypy, import-linter, snakefmt and snakemake --lint
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/snakefmt --check $(SMK)
	@$(BIN)/snakemake --lint --configfile config/demo.yaml

format: $(READY)  ## put the code into the form that `make lint` wants; print what is made from it
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format . && $(BIN)/snakefmt $(SMK)
	@mkdir -p build
	@$(BIN)/python -m vmm.benchmark.config --docs > build/printed && mv build/printed config/README.md
	@$(BIN)/python -m vmm.benchmark.config --schema > build/printed && mv build/printed config/schema.json
	@$(BIN)/python docs/pictures/floors.py

clean:  ## remove caches and build products (results and the environment stay)
	@find src tests workflow -name __pycache__ -type d -exec rm -rf {} +
	@rm -rf .pytest_cache .ruff_cache .mypy_cache build dist docs/_build src/*.egg-info
