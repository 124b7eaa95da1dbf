"""Tests mirror the code: `a/b/c.py` is tested by `tests/a/b/test_c.py`, or stands in the table below."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.dvc import deps

TESTED_BESIDE = {
    # Stages of one small run of groups and profiles, which is made once.
    "tests/stages/test_group_stages.py": (
        "stages/manifest.py", "stages/cluster.py", "stages/aggregate.py", "stages/allocate.py", "stages/allocate_kl.py",
        "stages/allocate_greedy.py", "stages/allocate_shrunk.py", "stages/inputs/loss_worker.py",
        "stages/gradient_clusters.py", "stages/profile.py", "stages/route.py", "stages/inputs/allocation.py",
    ),
    "tests/stages/test_reference_train.py": ("stages/reference_card.py",),
    "tests/stages/test_transform.py": ("stages/inputs/model.py",),
    "tests/stages/test_calibration_parity.py": ("wina_amp/allocation/shrinking_group.py",),
    "tests/stages/test_prepare.py": ("stages/inputs/tasks.py",),
    "tests/stages/test_latency.py": ("stages/latency_inputs.py",),
    "tests/stages/test_evaluate.py": ("stages/inputs/groups.py",),
    # Proven by running DVC.
    "tests/dvc/test_damage.py": ("stages/inputs/recorded.py",),
    "tests/pipeline/evaluate/test_method.py": ("pipeline/evaluate/asked.py", "pipeline/evaluate/model.py"),
    "tests/commands/test_preset.py": ("commands/preset_files.py",),
    "tests/commands/test_confirm.py": ("pipeline/protocol/answers.py",),
    # Parts of one algorithm, which only together have a result to compare.
    "tests/wina_amp/allocation/loss/test_gradients.py": (
        "wina_amp/allocation/loss/limits.py", "wina_amp/allocation/loss/loss_inputs.py",
    ),
    "tests/wina_amp/calibration/test_calibrate.py": (
        "wina_amp/calibration/allocations.py", "wina_amp/calibration/arguments.py",
        "wina_amp/calibration/described.py", "wina_amp/calibration/observing.py",
    ),
    "tests/wina_amp/cli/test_generate.py": ("wina_amp/cli/loading.py",),
    "tests/pipeline/estimate/test_work.py": ("pipeline/estimate/workload.py",),
    "tests/pipeline/evaluate/test_choices.py": ("pipeline/evaluate/tally.py",),
    "tests/pipeline/tasks/test_samples.py": ("pipeline/tasks/task_view.py", "pipeline/tasks/text.py"),
    "tests/wina_amp/models/test_integrity.py": ("wina_amp/models/advice.py", "wina_amp/models/weight_files.py"),
    # Settings, declared section by section and read as one file.
    "tests/pipeline/config/test_params.py": (
        "pipeline/config/consistency.py", "pipeline/config/inputs.py",
        "pipeline/config/methods.py", "pipeline/config/profiles.py",
    ),
    # Declarations of tables, which every test that writes one checks.
    "tests/pipeline/histograms/test_aggregate.py": ("pipeline/storage/schemas.py",),
    # The twelve computations have their properties in common.
    "tests/pipeline/tasks/embedded/test_computations.py": (
        "pipeline/tasks/embedded/problem.py", "pipeline/tasks/embedded/world.py",
        "pipeline/tasks/embedded/computations/arithmetic.py", "pipeline/tasks/embedded/computations/knowledge.py",
        "pipeline/tasks/embedded/computations/language.py", "pipeline/tasks/embedded/computations/lists.py",
        "pipeline/tasks/embedded/computations/state.py",
    ),
    "tests/pipeline/tasks/embedded/test_documents.py": ("pipeline/tasks/embedded/templates.py",),
    # What the numbers of a report are taken from, and its prose.
    "tests/pipeline/report/analysis/test_configurations.py": (
        "pipeline/report/analysis/plan.py",
    ),
    "tests/pipeline/report/analysis/test_agreement.py": ("pipeline/report/analysis/labels.py",),
    "tests/pipeline/report/analysis/test_matched_compute.py": ("pipeline/report/analysis/resampling.py",),
    "tests/pipeline/report/analysis/test_specialisation.py": ("pipeline/report/page/profile_tables.py",),
    "tests/pipeline/report/text/test_cards.py": ("pipeline/report/text/rules.py",),
    # Sections of the page: a rendered page has their tags, and the golden page their order.
    "tests/pipeline/report/page/test_page.py": (
        "pipeline/report/analysis/findings.py", "pipeline/report/analysis/tasks.py",
        "pipeline/report/page/cells.py", "pipeline/report/page/parts.py", "pipeline/report/page/table.py",
        "pipeline/report/page/figures.py",
        "pipeline/report/page/accuracy_figure.py", "pipeline/report/page/sample_map.py",
        "pipeline/report/page/group_tables.py", "pipeline/report/page/latency_figure.py",
        "pipeline/report/page/latency_tables.py",
    ),
}  # fmt: skip
"""Test file -> modules without a test file of their own name that it tests."""

MODULES = {
    str(file.relative_to(deps.ROOT))
    for package in deps.PACKAGES
    for file in (deps.ROOT / package).rglob("*.py")
    if file.name not in ("__init__.py", "__main__.py")  # the second is started, by tests/stages/test_run.py
}


def test_every_module_has_a_test_of_its_name_or_stands_in_the_table_once():
    named = {module for module in MODULES if (deps.ROOT / "tests" / module).with_name(_test_name(module)).is_file()}
    listed = [module for modules in TESTED_BESIDE.values() for module in modules]
    assert len(listed) == len(set(listed))
    assert MODULES - named - set(listed) == set(), "these modules need a test file, or a line in the table"
    assert set(listed) & named == set(), "these modules have a test file of their own name now"
    assert set(listed) - MODULES == set(), "these modules are gone"


@pytest.mark.parametrize("test", TESTED_BESIDE)
def test_what_tests_a_module_imports_it_directly_or_through_others(test: str):
    imported = _imports(deps.ROOT / test) & deps.graph().modules
    reached = imported.union(*(deps.graph().find_upstream_modules(module) for module in imported))
    assert {_dotted(module) for module in TESTED_BESIDE[test]} <= reached


def _test_name(module: str) -> str:
    return f"test_{Path(module).name}"


def _dotted(module: str) -> str:
    return module.removesuffix(".py").replace("/", ".")


def _imports(file: Path) -> set[str]:
    froms = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom) and node.module]
    return {name for node in froms for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))}
