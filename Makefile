# `make repro` builds everything, `make help` lists the rest. Needs Python >= 3.11, git and make; offline once installed.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

# The stages run as `python -m stages X` in the environment below.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH :=
export PYTHONHASHSEED := 0
# Numbers must not depend on the number of cores; one thread is also the fastest for a model this small.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM := false
# The default run needs no network. For checkpoints and tasks of the Hugging Face hub: `make repro HF_HUB_OFFLINE=0 HF_DATASETS_OFFLINE=0`.
export HF_HUB_OFFLINE ?= 1
export HF_DATASETS_OFFLINE ?= 1
export DVC_NO_ANALYTICS := 1

COUNTS ?= 2,4,8
PRESET ?=
REVISION ?=

APPLY = python -m commands.preset $(PRESET) $(if $(REVISION),--revision $(REVISION))

.PHONY: help install repro preset estimate check-model unchanged exp reference test kernels lint format types docs check clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED)  ## create the environment in .venv with the pinned requirements

$(INSTALLED): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --requirement requirements.txt
	@touch $@

repro: $(INSTALLED)  ## run what is out of date, from benchmark to report; PRESET=... applies it and, after prepare, estimates first
	@$(if $(PRESET),$(APPLY))
	@python -m commands.check
	$(if $(PRESET),dvc repro prepare)
	@$(if $(PRESET),python -m commands.estimate)
	dvc repro
	@echo
	@echo "The report: $(CURDIR)/data/report/report.html"

preset: $(INSTALLED)  ## put a preset into params.yaml: make preset PRESET=llama-3-8b REVISION=<commit>
	@$(APPLY)

estimate: $(INSTALLED)  ## which stages would run, and roughly how long, with how much disk and memory; runs none
	@python -m commands.estimate

check-model: $(INSTALLED)  ## read every byte of the checkpoint and compare it with data/model.json
	@python -m commands.check_model

unchanged: $(INSTALLED)  ## fail if a second run would run anything
	@log=$$(dvc repro 2>&1) || { echo "$$log"; exit 1; }; \
	if echo "$$log" | grep -q 'Running stage'; then echo "$$log"; echo "A second run ran stages again."; exit 1; fi; \
	echo "A second run ran nothing."

exp: $(INSTALLED)  ## compare cluster counts: make exp COUNTS=2,4,8
	@python -m commands.check
	dvc exp run --queue -S 'cluster.count=$(COUNTS)'
	dvc exp run --run-all --jobs 1
	dvc exp show --only-changed --drop '.*\.py|data/.*'

reference: $(INSTALLED)  ## train the reference model anew (over an hour on a CPU core) and publish it in data/reference
	dvc repro data/reference/dvc.yaml
	rm -rf data/reference/model
	cp -r data/reference/build/. data/reference/

test: $(INSTALLED)  ## all tests, on all cores
	python -m pytest -q -n auto --dist loadscope --no-loadscope-reorder

kernels: $(INSTALLED)  ## test the Triton kernels in Triton's interpreter (installs Triton, 0.7 GB)
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --requirement requirements-kernels.txt
	python -m pytest -q -n auto --dist loadscope tests/wina_amp/decode tests/wina_amp/masks tests/wina_amp/profile_set/test_profile_set.py tests/pipeline/capture/test_accumulate.py tests/pipeline/capture/test_triton_accumulate.py

lint: $(INSTALLED)  ## ruff, including the format
	ruff check .
	ruff format --check .

format: $(INSTALLED)  ## let ruff format and sort imports
	ruff check --fix .
	ruff format .

types: $(INSTALLED)  ## pyright, strict
	pyright

docs: $(INSTALLED)  ## write the generated pages docs/tables.md, docs/params.md and docs/reliability.md
	python -m docs.generate
	python -m docs.reliability

check: repro test lint types unchanged kernels  ## everything that CI runs

clean:  ## remove scratch files and tool caches; the environment and all results stay
	rm -rf .scratch .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
