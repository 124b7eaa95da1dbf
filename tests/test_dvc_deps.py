"""dvc.yaml tells the truth: code deps are the imports, params are the settings read, light stages stay light."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import dvc_deps

TEXT = (dvc_deps.ROOT / dvc_deps.MAIN).read_text()
STAGES = dvc_deps.stages(TEXT)
ALL_STAGES = dvc_deps.all_stages()
HEAVY = {"torch", "transformers", "lm_eval"}
# The stage `dense` runs the code of `evaluate`, but has neither profile set nor targets.
NOT_READ = {"dense": {"methods", "profiles", "evaluate.targets"}}
LIGHT = ("transform", "cluster", "aggregate", "allocate", "profile", "report")


@pytest.mark.parametrize("name", ALL_STAGES)
def test_a_stage_lists_exactly_the_code_it_imports(name: str):
    stage = ALL_STAGES[name]
    listed, used = set(dvc_deps.listed_code(stage)), set(dvc_deps.code_of(stage))
    remedy = "run `python -m tests.dvc_deps --write`"
    assert not used - listed, f"{name} does not list {sorted(used - listed)}: {remedy}"
    assert not listed - used, f"{name} lists {sorted(listed - used)}, which it does not import: {remedy}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_every_setting_it_reads_and_none_that_it_does_not(name: str):
    # `profiles.${key}` stands for what a stage reads of `profiles`.
    listed = {param.partition(".${")[0] for param in STAGES[name].get("params", [])}
    used = dvc_deps.settings_used(dvc_deps.module_of(STAGES[name])) - NOT_READ.get(name, set())
    missing = {use for use in used if use not in listed and _section(use) not in listed}
    assert not missing, f"{name} reads {sorted(missing)} but does not list it under params"
    idle = {param for param in listed if not used & {param, _section(param)} and param not in map(_section, used)}
    assert not idle, f"{name} lists {sorted(idle)} under params but does not read it"


@pytest.mark.parametrize("stage", LIGHT)
def test_a_stage_that_needs_no_model_imports_no_model_library(stage: str):
    code = f"import json, sys; import stages.{stage}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=dvc_deps.ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout))


def test_refreshing_replaces_superfluous_and_missing_code_and_nothing_else():
    gone, tables = "      - pipeline/gone.py\n", "      - pipeline/tables.py\n"
    spoilt = TEXT.replace(tables, gone, 1)
    assert spoilt != TEXT
    assert dvc_deps.refreshed(spoilt) == TEXT


def test_every_module_in_stages_is_run_by_a_stage():
    modules = {f"stages.{path.stem}" for path in Path(dvc_deps.ROOT, "stages").glob("*.py")}
    assert {dvc_deps.module_of(stage) for stage in ALL_STAGES.values()} == modules - {
        "stages.__init__",
        "stages.benchmark",
        "stages.model",
        "stages.allocate_kl",
        "stages.allocation_inputs",
        "stages.latency_inputs",
        "stages.run",
        "stages.check",
        "stages.plan",
        "stages.preset",
    }


def _section(setting: str) -> str:
    return setting.partition(".")[0]
