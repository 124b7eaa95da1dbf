"""`stages.inputs.fingerprint`: everything that dvc.yaml lists for a stage decides which parts it picks up."""

from __future__ import annotations

import ast
import pickle
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from pipeline.config import params
from stages.inputs import environment, fingerprint, snapshot
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.snapshot import ABSENT
from tests.dvc import deps
from tests.settings import full, full_text
from wina_amp.errors import UserError

SETTINGS = full()


def _keeps_parts(module: str) -> bool:
    """Whether a stage's module, or a file of its own beside it, opens a scratch folder."""
    folder, stem = deps.ROOT / "stages", module.partition(".")[2]
    text = "".join(file.read_text() for file in (folder / f"{stem}.py", *folder.glob(f"{stem}_*.py")))
    return "Fingerprint(" in text or "allocation_scratch(" in text


STAGES = deps.stages((deps.ROOT / deps.MAIN).read_text())
WITH_PARTS = [name for name, stage in STAGES.items() if _keeps_parts(deps.module_of(stage))]


def test_the_stages_that_keep_parts():
    assert {*WITH_PARTS} == {
        "transform", "weights", "capture", "allocate", "gradient_clusters", "benefit_router", "dense", "evaluate",
        "latency", "profile",
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
    assert [file for file in files if " scratch(" in file.read_text()] == []


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one stage with one dependency of each kind."""
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  wait:\n    foreach: ${methods}\n    do:\n      cmd: python -m stages wait\n"
        '      params: [seed, tokens, "profiles.${item.profile}"]\n'
        '      deps: [requirements.txt, pipeline/wait, "data/profiles/${item.profile}.parquet"]\n'
        '      outs: ["data/${key}.txt"]\n'
    )
    (tmp_path / "pipeline" / "wait").mkdir(parents=True)
    (tmp_path / "pipeline" / "wait" / "wait.py").write_text("x = 1\n")
    monkeypatch.setattr(snapshot, "ROOT", tmp_path)
    monkeypatch.setattr(fingerprint, "PIPELINES", ("dvc.yaml",))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _folder(settings: params.Settings = SETTINGS, stage: str = "wait", name: str | None = "wina") -> Path:
    with Fingerprint(settings, stage, name).scratch() as parts:
        return parts.folder


@pytest.mark.tried("keys", "recomputed")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda patch: _install(patch, "torch", "2.14.0"), id="torch"),
        pytest.param(lambda patch: _install(patch, "torch", "2.13.0+cu130"), id="a build of torch"),
        pytest.param(lambda patch: _install(patch, "transformers", "5.24.0"), id="transformers"),
        pytest.param(lambda patch: _install(patch, "numpy", "2.5.0"), id="numpy"),
        pytest.param(lambda patch: _install(patch, "scikit-learn", "1.10.0"), id="scikit-learn"),
        pytest.param(lambda patch: _install(patch, "lm_eval", "0.4.14"), id="lm-eval"),
        pytest.param(lambda patch: _install(patch, "tokenizers", None), id="no tokenizers"),
        pytest.param(lambda patch: patch.setenv("OMP_NUM_THREADS", "3"), id="threads"),
        pytest.param(lambda patch: _gpus(patch, "NVIDIA H200"), id="a GPU"),
        pytest.param(lambda patch: Path("requirements.txt").write_text("torch==2.14.0\n"), id="requirements.txt"),
        pytest.param(lambda patch: Path("pipeline/wait/wait.py").write_text("x = 2\n"), id="code"),
        pytest.param(lambda patch: Path("pipeline/wait/data.json").write_text("{}"), id="a data file in a package"),
        pytest.param(lambda patch: Path(_made("data/profiles"), "wina.parquet").write_text("1"), id="data"),
    ],
)
def test_parts_are_not_picked_up_after_a_change_of(
    change: Callable[[pytest.MonkeyPatch], object], repository: Path, monkeypatch: pytest.MonkeyPatch
):
    automatic = replace(SETTINGS, model=replace(SETTINGS.model, device="auto"))
    _gpus(monkeypatch)
    before = _folder(automatic)
    assert _folder(automatic) == before
    change(monkeypatch)
    assert _folder(automatic) != before


@pytest.mark.tried("keys", "recomputed")
@pytest.mark.parametrize(
    ("device", "before", "after"),
    [
        pytest.param("auto", ["NVIDIA A100"], ["NVIDIA H200"], id="another GPU"),
        pytest.param("cuda", ["NVIDIA A100", "NVIDIA H200"], ["NVIDIA H200", "NVIDIA A100"], id="another first GPU"),
        pytest.param("spread", ["NVIDIA H200"], ["NVIDIA H200"] * 2, id="more GPUs to spread over"),
        pytest.param("auto", ["NVIDIA H200"], [], id="no GPU any more"),
    ],
)
def test_parts_of_another_device_are_not_picked_up(
    device: str, before: list[str], after: list[str], repository: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = replace(SETTINGS, model=replace(SETTINGS.model, device=device))
    _gpus(monkeypatch, *before)
    first = _folder(settings)
    _gpus(monkeypatch, *after)
    assert _folder(settings) != first


@pytest.mark.parametrize(
    ("device", "after"),
    [
        pytest.param("cpu", ["NVIDIA H200"], id="a GPU that is not used"),
        pytest.param("auto", ["NVIDIA A100", "NVIDIA H200"], id="a second GPU that is not used"),
    ],
)
def test_parts_are_picked_up_beside(device: str, after: list[str], repository: Path, monkeypatch: pytest.MonkeyPatch):
    settings = replace(SETTINGS, model=replace(SETTINGS.model, device=device))
    _gpus(monkeypatch, "NVIDIA A100")
    first = _folder(settings)
    _gpus(monkeypatch, *after)
    assert _folder(settings) == first


@pytest.mark.tried("keys", "recomputed")
@pytest.mark.parametrize(
    "change",
    [{"dtype": "bfloat16"}, {"path": "elsewhere"}, {"revision": "1234"}, {"transform": "orthogonal"}],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("stage", WITH_PARTS)
def test_parts_of_another_model_are_not_picked_up(stage: str, change: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(snapshot.Snapshot, "digest", lambda _self, path: path)
    name = {
        "allocate": "kl",
        "profile": "kl",
        "gradient_clusters": "kl_learned",
        "benefit_router": "benefit",
        "evaluate": "kl",
    }.get(stage)
    plain = replace(SETTINGS.model, device="cpu")
    first, second = (
        Fingerprint(replace(SETTINGS, model=model), stage, name).values for model in (plain, replace(plain, **change))
    )
    assert first != second


def _install(patch: pytest.MonkeyPatch, library: str, version: str | None) -> None:
    """Make it look installed in this version, or not installed."""
    real = environment.version

    def pretended(name: str) -> str:
        if name == library and version is None:
            raise environment.PackageNotFoundError(name)
        return str(version) if name == library else real(name)

    patch.setattr(environment, "version", pretended)


def _gpus(patch: pytest.MonkeyPatch, *names: str) -> None:
    """Make PyTorch see these."""
    patch.setattr("stages.inputs.environment.has_gpu", lambda: bool(names))
    patch.setattr("torch.cuda.device_count", lambda: len(names))
    patch.setattr("torch.cuda.get_device_name", lambda number: names[number])


def _made(folder: str) -> Path:
    Path(folder).mkdir(parents=True)
    return Path(folder)


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


FAMILIES = ("aggregate", "allocate", "gradient_clusters", "profile", "route", "benefit_router", "evaluate", "export")


@pytest.mark.tried("names", "refused")
@pytest.mark.parametrize("stage", FAMILIES)
def test_a_stage_of_a_family_refuses_a_name_that_the_settings_do_not_have(stage: str):
    with pytest.raises(UserError, match=r"must be one of .* Found: '../../docs/x'"):
        Fingerprint(SETTINGS, stage, "../../docs/x")


@pytest.mark.tried("changed-inputs", "refused")
def test_no_part_is_finished_once_the_code_has_changed(repository: Path):
    with Fingerprint(SETTINGS, "wait", "wina").scratch() as parts:
        with parts.writing("first") as path:
            path.write_text("made by the code of the fingerprint")
        (repository / "pipeline" / "wait" / "wait.py").write_text("x = 2\n")
        passed_on = pickle.loads(pickle.dumps(parts))  # to a worker process
        with pytest.raises(UserError, match="changed meanwhile: pipeline/wait"), passed_on.writing("second") as path:
            path.write_text("made by who knows what")
        assert parts.has("first") and not parts.has("second")


def test_an_unlisted_dependency_cannot_be_narrowed(repository: Path):
    with pytest.raises(ValueError, match=r"wait@wina cannot narrow \['sed'\]"):
        Fingerprint(SETTINGS, "wait", "wina").scratch({"sed": None})


def test_a_fingerprint_takes_well_under_a_third_of_a_second():
    began = time.process_time()
    Fingerprint(SETTINGS, "evaluate", "kl")
    assert time.process_time() - began < 0.3
