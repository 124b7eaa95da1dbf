# `make repro` builds everything, `make help` lists the rest. Needs Python >= 3.11, git and make; offline once installed.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

# `-m`, because the scripts beside it name the folder in which the environment was made, and break when it moves.
RUN := $(VENV)/bin/python -m
AUDIT := .scratch/audit

# The stages run as `python -m stages X`, which is the environment's Python for whoever it runs, too: for
# `.venv/bin/python -m dvc repro` without make.
FIRST := import os, sys; os.environ["PATH"] = os.pathsep.join([sys.prefix + "/bin", os.environ.get("PATH", os.defpath)])
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH :=
export PYTHONHASHSEED := 0
# Numbers must not depend on the number of cores; one thread is also the fastest for a model this small.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM := false
export DVC_NO_ANALYTICS := 1

# Commands take them from the environment, where a shell does not run what they say.
export COUNTS ?= 2,4,8
export STUDIES ?=
export PRESET ?=
export REVISION ?=
export MODEL ?=
export GIT ?= origin

APPLY = $(RUN) commands.preset $$PRESET $(if $(REVISION),--revision "$$REVISION") $(if $(MODEL),--model "$$MODEL")
# A model or a commit without a preset is refused.
GIVEN = $(PRESET)$(MODEL)$(REVISION)

.PHONY: help install repro preset estimate check-model unchanged compare push pull plots reference test browser kernels ray sharing faults lint format types docs audit check clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED)  ## create the environment in .venv with the pinned requirements

# An environment whose Python has gone, or is another one now, is made anew.
WORKS := $(shell $(VENV)/bin/python -c 'import importlib.util as u; u.find_spec("pip").name' 2>/dev/null && echo yes)
ifneq ($(WORKS),yes)
.PHONY: $(INSTALLED)
endif

$(INSTALLED): requirements.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	$(if $(WORKS),,$(PYTHON) -m venv --clear $(VENV))
	$(RUN) pip install --disable-pip-version-check --quiet --requirement requirements.txt
	@echo '$(FIRST)' > "$$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/first_in_path.pth"
	@touch $@

repro: $(INSTALLED)  ## run what is out of date, from benchmark to report; PRESET=... applies it and, after prepare, estimates first
	@$(if $(GIVEN),$(APPLY))
	@$(RUN) commands.check
	$(if $(GIVEN),$(RUN) dvc repro prepare)
	@$(if $(GIVEN),$(RUN) commands.estimate)
	$(RUN) dvc repro
	@echo
	@echo "The report: $(CURDIR)/data/report/report.html"

preset: $(INSTALLED)  ## put a preset into params.yaml: make preset PRESET=llama-3-8b REVISION=<commit>, or MODEL=<folder>
	@$(APPLY)

estimate: $(INSTALLED)  ## which stages would run, and roughly how long, with how much disk and memory; runs none
	@$(RUN) commands.estimate

check-model: $(INSTALLED)  ## read every byte of the checkpoint and compare it with data/model.json
	@$(RUN) commands.check_model

unchanged: $(INSTALLED)  ## fail if a second run would run anything
	@log=$$($(RUN) dvc repro 2>&1) || { echo "$$log"; exit 1; }; \
	if echo "$$log" | grep -q 'Running stage'; then echo "$$log"; echo "A second run ran stages again."; exit 1; fi; \
	echo "A second run ran nothing."

compare: $(INSTALLED)  ## studies side by side: make compare COUNTS=2,4,8 runs cluster counts, STUDIES="a=folder b=folder" runs none
ifeq ($(STUDIES),)
	@$(RUN) commands.check --experiments
	$(RUN) dvc exp run --queue -S "cluster.count=$$COUNTS"
	$(RUN) dvc exp run --run-all --jobs 1
endif
	$(RUN) commands.compare $$STUDIES

push: $(INSTALLED)  ## share results, finished stages and experiments (docs/dvc.md); experiments go to the Git remote GIT=origin
	$(RUN) dvc push --run-cache
	$(RUN) dvc exp push --all-commits "$$GIT"

pull: $(INSTALLED)  ## fetch what others have shared; `make repro` computes what is missing
	$(RUN) dvc exp pull --all-commits "$$GIT"
	@$(RUN) dvc fetch --run-cache || echo 'What could not be fetched stands above; `make repro` computes it again.'
	$(RUN) dvc checkout --allow-missing

plots: $(INSTALLED)  ## the figures of `dvc plots` in one page that needs no network: dvc_plots/index.html (installs vl-convert, 34 MB)
	$(RUN) pip install --disable-pip-version-check --quiet --requirement requirements-plots.txt
	$(RUN) commands.plots

reference: $(INSTALLED)  ## train the reference model anew (over an hour on a CPU core) and publish it in data/reference
	$(RUN) dvc repro --single-item data/reference/dvc.yaml:reference_train
	$(RUN) dvc repro --single-item data/reference/dvc.yaml:reference_card
	rm -rf data/reference/model
	cp -r data/reference/build/. data/reference/

test: $(INSTALLED)  ## all tests, on all cores
	$(RUN) pytest -q -n auto --dist loadscope --no-loadscope-reorder

browser: $(INSTALLED)  ## test the report's page in headless Chromium (installs playwright and axe-core, 170 MB; needs a Chromium)
	$(RUN) pip install --disable-pip-version-check --quiet --requirement requirements-browser.txt
	$(RUN) pytest -q tests/pipeline/report/page/test_browser.py

kernels: $(INSTALLED)  ## test the Triton kernels in Triton's interpreter (installs Triton, 0.7 GB)
	$(RUN) pip install --disable-pip-version-check --quiet --requirement requirements-kernels.txt
	$(RUN) pytest -q -n auto --dist loadscope tests/wina_amp/decode tests/wina_amp/masks tests/wina_amp/profile_set/test_profile_set.py tests/wina_amp/capture/test_accumulate.py tests/wina_amp/capture/test_triton_accumulate.py

ray: $(INSTALLED)  ## test the stages on a Ray cluster of two nodes on this machine (installs Ray, 0.2 GB)
	$(RUN) pip install --disable-pip-version-check --quiet --requirement requirements-ray.txt
	$(RUN) pytest -q tests/pipeline/executors tests/stages/test_on_ray.py

sharing: $(INSTALLED)  ## test `make push` and `make pull` with a folder and with S3 on this machine (installs moto, 0.2 GB)
	$(RUN) pip install --disable-pip-version-check --quiet --requirement requirements-remotes.txt --requirement requirements-sharing.txt
	$(RUN) pytest -q tests/dvc/test_sharing.py

faults: $(INSTALLED)  ## every named fault: each must end in the tables of an undisturbed run
	$(RUN) pytest -q -m "fault or not fault" tests/stages/test_faults.py

lint: $(INSTALLED)  ## ruff, including the format
	$(RUN) ruff check .
	$(RUN) ruff format --check .

format: $(INSTALLED)  ## let ruff format and sort imports
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

types: $(INSTALLED)  ## pyright, strict
	$(RUN) pyright

docs: $(INSTALLED)  ## write the generated pages docs/tables.md, docs/params.md, docs/api.md and docs/reliability.md
	$(RUN) docs.generate
	$(RUN) docs.reliability

audit: $(INSTALLED)  ## known vulnerabilities of the pinned packages, by pip-audit; asks pypi.org, cannot run offline
	@test -x $(AUDIT)/bin/pip-audit || { $(RUN) venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --quiet pip-audit==2.10.1; }
	@$(AUDIT)/bin/python -m pip_audit --requirement requirements.txt --no-deps --disable-pip --strict --progress-spinner off || { \
	echo "Not passed: a package above has a known vulnerability, or pypi.org could not be asked about it (see docs/audit.md)."; exit 1; }

check: repro test lint types unchanged kernels  ## everything that CI runs

clean:  ## remove scratch files and tool caches; the environment and all results stay
	rm -rf .scratch .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
