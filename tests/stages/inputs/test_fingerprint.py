"""`stages.inputs.fingerprint`: everything that dvc.yaml lists for a stage decides which parts it picks up."""

from __future__ import annotations

import ast
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from pipeline.config import params
from stages.inputs import fingerprint
from stages.inputs.fingerprint import ABSENT, Fingerprint
from tests.dvc import deps
from tests.settings import full, full_text

SETTINGS = full()


def _keeps_parts(module: str) -> bool:
    """Whether a stage's module, or one of stages that it imports, opens a scratch folder."""
    text = Path(deps.ROOT, *module.split(".")).with_suffix(".py").read_text()
    return "Fingerprint(" in text or "allocation_scratch(" in text


STAGES = deps.stages((deps.ROOT / deps.MAIN).read_text())
WITH_PARTS = [name for name, stage in STAGES.items() if _keeps_parts(deps.module_of(stage))]


def test_the_stages_that_keep_parts():
    assert {*WITH_PARTS} == {
        "transform", "weights", "capture", "allocate", "gradient_clusters", "benefit_router", "dense", "evaluate",
        "latency",
    }  # fmt: skip


@pytest.fixture(scope="module")
def dvc_stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All stages of the preset `full` as DVC resolves them: families have a stage for every item."""
    folder = tmp_path_factory.mktemp("pipeline")
    shutil.copy(deps.ROOT / deps.MAIN, folder)
    (folder / "params.yaml").write_text(full_text())
    with Repo.init(str(folder), no_scm=True) as repo:
        return {stage.name: stage for stage in repo.stage.load_file(str(folder / deps.MAIN))}


def test_a_fingerprint_holds_exactly_what_dvc_says_that_the_stage_depends_on(dvc_stages: dict[str, Any]):
    checked: set[str] = set()
    for title, stage in dvc_stages.items():
        family, _, name = title.partition("@")
        if family in WITH_PARTS:
            made = Fingerprint(SETTINGS, family, name or None)
            files = {dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)}
            settings = {key for dep in stage.deps if isinstance(dep, ParamsDependency) for key in dep.params}
            assert {*made.resolved.values()} == files | settings, title
            assert made.values.keys() == made.resolved.keys()
            checked.add(family)
    assert checked == {*WITH_PARTS}


@pytest.mark.parametrize("module", sorted({*(deps.module_of(STAGES[name]) for name in WITH_PARTS)}))
def test_parts_are_narrowed_by_dependencies_of_the_stage_alone(module: str):
    listed = {
        key
        for stage in STAGES.values()
        if deps.module_of(stage) == module
        for key in (*stage["deps"], *stage["params"])
    }
    assert _narrowed(module) <= listed


def _narrowed(module: str) -> set[str]:
    """The keys of the literals that the file calls `scratch` with."""
    tree = ast.parse(Path(deps.ROOT, *module.split(".")).with_suffix(".py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    literals = [call.args[0] for call in calls if getattr(call.func, "attr", "") == "scratch" and call.args]
    return {key.value for node in literals if isinstance(node, ast.Dict) for key in node.keys if _is_text(key)}  # pyright: ignore


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_no_stage_opens_a_scratch_folder_without_a_fingerprint():
    files = [file for file in deps.ROOT.glob("stages/**/*.py") if file != Path(fingerprint.__file__)]
    assert [file for file in files if " Scratch(" in file.read_text()] == []


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one stage with one dependency of each kind."""
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  wait:\n    foreach: ${methods}\n    do:\n      cmd: python -m stages.wait --name ${key}\n"
        '      params: [seed, tokens, "profiles.${item.profile}"]\n'
        '      deps: [pipeline/wait, "data/profiles/${item.profile}.parquet"]\n'
    )
    (tmp_path / "pipeline" / "wait").mkdir(parents=True)
    (tmp_path / "pipeline" / "wait" / "wait.py").write_text("x = 1\n")
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return tmp_path


KEY, DATA = "profiles.${item.profile}", "data/profiles/${item.profile}.parquet"


def test_parts_depend_on_code_data_and_params_but_on_no_more(repository: Path):
    def folder(settings: params.Settings = SETTINGS, **narrowed: object) -> Path:
        with Fingerprint(settings, "wait", "wina").scratch(narrowed) as parts:
            return parts.folder

    first = folder()
    assert folder() == first and first.parent == repository / ".scratch" / "wait@wina"
    assert folder(replace(SETTINGS, schemes=("global",))) == first
    assert folder(replace(SETTINGS, seed=7)) != first
    assert folder(replace(SETTINGS, seed=7), seed=None) == folder(seed=None)
    code = repository / "pipeline" / "wait" / "wait.py"
    code.write_text("x = 2\n")
    second = folder()
    code.with_name("more.py").write_text("")
    third = folder()
    (repository / "data" / "profiles").mkdir(parents=True)
    (repository / "data" / "profiles" / "wina.parquet").write_text("1")
    fourth = folder()
    assert len({first, second, third, fourth}) == 4


def test_names_are_filled_in_and_absent_data_is_a_value_of_its_own(repository: Path):
    made = Fingerprint(SETTINGS, "wait", "clustered_routed")
    assert made.resolved[KEY] == "profiles.clustered" and made.resolved[DATA] == "data/profiles/clustered.parquet"
    assert made.values[DATA] == ABSENT
    assert made.values[KEY] != Fingerprint(SETTINGS, "wait", "wina").values[KEY]


def test_an_unlisted_dependency_cannot_be_narrowed(repository: Path):
    with pytest.raises(ValueError, match=r"wait@wina cannot narrow \['sed'\]"):
        Fingerprint(SETTINGS, "wait", "wina").scratch({"sed": None})


def test_a_fingerprint_takes_well_under_a_third_of_a_second():
    began = time.process_time()
    Fingerprint(SETTINGS, "evaluate", "kl")
    assert time.process_time() - began < 0.3
