"""dvc.yaml tells the truth: code deps are the imports, params are the settings read, light stages stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.dvc import deps

TEXT = (deps.ROOT / deps.MAIN).read_text()
STAGES = deps.stages(TEXT)
ALL_STAGES = deps.all_stages()
HEAVY = {"torch", "transformers", "lm_eval"}
# The stage `dense` runs the code of `evaluate`, but has neither profile set nor targets.
NOT_READ = {"dense": {"methods", "profiles", "evaluate.targets"}}
LIGHT = ("transform", "cluster", "aggregate", "allocate", "profile", "report")


@pytest.mark.parametrize("name", ALL_STAGES)
def test_a_stage_lists_every_package_it_imports_and_none_that_it_does_not(name: str):
    listed, needed = deps.listed_code(ALL_STAGES[name]), deps.needed_code(ALL_STAGES[name])
    missing = {unit: modules for unit, modules in needed.items() if not any(deps.covers(dep, unit) for dep in listed)}
    assert not missing, f"{name} imports, and does not list, {missing}"
    unused = [dep for dep in listed if not any(deps.covers(dep, unit) for unit in needed)]
    assert not unused, f"{name} lists {unused}, which it does not import"


@pytest.mark.parametrize("name", ALL_STAGES)
def test_what_a_stage_lists_is_there_and_nothing_is_listed_twice(name: str):
    listed = deps.listed_code(ALL_STAGES[name])
    assert [dep for dep in listed if not (deps.ROOT / dep).exists()] == []
    assert [dep for dep in listed if any(dep != other and deps.covers(other, dep) for other in listed)] == []
    assert len(listed) == len(set(listed))


def test_every_stage_runs_again_when_a_library_is_another_version():
    assert [name for name, stage in ALL_STAGES.items() if "requirements.txt" not in stage["deps"]] == []


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_every_setting_it_reads_and_none_that_it_does_not(name: str):
    # `profiles.${key}` stands for what a stage reads of `profiles`.
    # `- params.yaml:`, all of them, is the stage `settings`, which only has them checked.
    params = [param for param in STAGES[name].get("params", []) if isinstance(param, str)]
    listed = {param.partition(".${")[0] for param in params}
    used = deps.settings_used(deps.module_of(STAGES[name])) - NOT_READ.get(name, set())
    missing = {use for use in used if use not in listed and _section(use) not in listed and name != "settings"}
    assert not missing, f"{name} reads {sorted(missing)} but does not list it under params"
    idle = {param for param in listed if not used & {param, _section(param)} and param not in map(_section, used)}
    assert not idle, f"{name} lists {sorted(idle)} under params but does not read it"


def test_stages_that_need_no_model_import_no_model_library():
    code = (
        "import importlib, sys\nfor stage in sys.argv[1:]:\n"
        f"    importlib.import_module(f'stages.{{stage}}')\n    assert not {HEAVY} & sys.modules.keys(), stage"
    )
    subprocess.run([sys.executable, "-c", code, *LIGHT], cwd=deps.ROOT, check=True)


def test_every_module_in_stages_is_run_by_a_stage():
    modules = {f"stages.{path.stem}" for path in Path(deps.ROOT, "stages").glob("*.py")}
    allocators = {"stages.allocate_greedy", "stages.allocate_kl", "stages.allocate_shrunk"}
    shared = {"stages.__init__", "stages.__main__", "stages.run", "stages.latency_inputs"} | allocators
    assert {deps.module_of(stage) for stage in ALL_STAGES.values()} == modules - shared


def _section(setting: str) -> str:
    return setting.partition(".")[0]
