"""Every preset applies cleanly to params.yaml and gives sound settings; mistakes with presets are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from commands import preset as stage
from commands import preset_files
from pipeline.config import params
from tests.settings import full_text
from wina_amp.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = (ROOT / params.PARAMS).read_text()
NAMES = preset_files.names(ROOT / preset_files.FOLDER)
ON_FULL = ("controls", "refit-variance", "learned-uniform")
"""What is applied on top of `full`."""
PAPER = ("llama-2-7b", "llama-3-8b", "phi-4-14b", "qwen-2.5-7b")
MODELS = (*PAPER, "gemma-3-270m", "gemma-3-270m-study", "qwen-2.5-0.5b", "qwen-2.5-coder-0.5b-study")
JOINED = 2
"""Lines of `benchmark.tasks` in params.yaml, which become one."""
COMMIT = "62bd457b6fe961a42a631306577e622c83876cb6"
"""Any commit; tests do not ask the hub."""


def _load(name: str) -> dict[str, object]:
    return preset_files.load(name, COMMIT if name in MODELS else None, folder=ROOT / preset_files.FOLDER)


def _settings(text: str, tmp_path: Path) -> params.Settings:
    (tmp_path / params.PARAMS).write_text(text)
    return params.load(tmp_path / params.PARAMS)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the presets and the committed params.yaml is the current one; returns the latter."""
    (tmp_path / "presets").symlink_to(ROOT / preset_files.FOLDER)
    (tmp_path / params.PARAMS).write_text(COMMITTED)
    monkeypatch.chdir(tmp_path)
    return tmp_path / params.PARAMS


def test_the_full_run_its_controls_the_models_other_calibrations_and_published_settings_are_there():
    published, embedded = {"teal-released", "wina-released"}, {"full", "confirmation", "held-out-task", "alpaca"}
    assert set(NAMES) == {
        *MODELS,
        *published,
        *embedded,
        *ON_FULL,
        "smoke",
        "local-tasks",
        "table",
        "kl-clusters",
        "uniform-clusters",
    }


def test_the_controls_combine(tmp_path: Path):
    text, _ = preset_files.apply(_load("controls"), full_text())
    text, _ = preset_files.apply(_load("refit-variance"), text)
    settings = _settings(preset_files.apply(_load("learned-uniform"), text)[0], tmp_path)
    controls = {"random", "kl_clustered", "kl_length", "kl_computation", "kl_template", "kl_task"}
    draws, scores = {"kl_random1", "kl_random2"}, {"learned"}
    assert settings.methods.keys() >= controls | draws | scores


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_gives_sound_settings_keeps_the_comments_and_changes_nothing_twice(name: str, tmp_path: Path):
    base = full_text() if name in ON_FULL else COMMITTED
    text, changes = preset_files.apply(_load(name), base)
    settings = _settings(text, tmp_path)
    assert changes and "# groups (hdbscan: ignored)" in text
    assert preset_files.apply(_load(name), text) == (text, [])
    assert "revision: null" in text or name in MODELS
    lost = [line for line in base.splitlines() if line not in text.splitlines()]
    assert len(lost) <= len(changes) + JOINED, "lines without a change are as they were"
    before, left_out = _settings(base, tmp_path), {change.name for change in changes if change.after is None}
    assert before.methods.keys() - settings.methods.keys() == {
        name.removeprefix("methods.") for name in left_out if name.startswith("methods.")
    }


@pytest.mark.parametrize("model", PAPER)
@pytest.mark.parametrize("published", ["teal-released", "wina-released"])
def test_a_model_and_a_published_setting_combine(model: str, published: str, tmp_path: Path):
    text, _ = preset_files.apply(_load(model), COMMITTED)
    settings = _settings(preset_files.apply(_load(published), text)[0], tmp_path)
    assert settings.model.revision == COMMIT and settings.model.dtype == "bfloat16"
    assert settings.benchmark.tasks == ("piqa", "arc_challenge", "winogrande", "hellaswag", "mmlu", "gsm8k")
    assert settings.evaluate.targets == (0.25, 0.4, 0.5, 0.65)
    assert settings.tokens.dense_prefix == (0.5 if published == "teal-released" else 0.01)
    criterion = {"teal-released": ("teal", "teal"), "wina-released": ("wina_released", "wina_released")}[published]
    assert settings.profiles[criterion[0]].criterion == criterion[1]


def test_null_leaves_a_method_and_its_profile_set_out_whether_there_or_not():
    """Other sections take null as a value."""
    gone = {"profiles": {"kl": None, "none": None}, "methods": {"kl": None}, "evaluate": {"primary": None}}
    text, changes = preset_files.apply(gone, COMMITTED)
    assert [change.name for change in changes] == ["profiles.kl", "methods.kl", "evaluate.primary"]
    assert "kl: {" not in text and "primary: null" in text
    assert preset_files.apply(gone, text) == (text, [])


def test_changes_are_named_with_what_was_there_before():
    _, changes = preset_files.apply(
        {"tokens": {"dense_prefix": 1.0}, "profiles": {"new": {"scheme": "task"}}}, COMMITTED
    )
    assert changes == [
        preset_files.Change("tokens.dense_prefix", 1, 1.0),  # a fraction, not a number of tokens
        preset_files.Change("profiles.new", None, {"scheme": "task"}),
    ]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_a_commit_is_refused_and_the_page_that_lists_them_named(workspace: Path, name: str):
    with pytest.raises(UserError, match=r"with the commit.*no REVISION.*REVISION=<.*huggingface\.co/.*/commits/main"):
        preset_files.load(name)


def test_a_commit_for_a_preset_without_model_is_refused(workspace: Path):
    with pytest.raises(UserError, match=r"sets `model\.path`.*REVISION=abc.*add MODEL=<hub id>"):
        preset_files.load("teal-released", "abc")


@pytest.mark.parametrize("name", ["smoke", "gemma-3-270m"])
def test_a_folder_takes_the_place_of_the_model_and_needs_no_commit(workspace: Path, name: str):
    stage.main([name], None, str(workspace.parent))
    model = params.load(workspace).model
    assert (model.path, model.revision) == (str(workspace.parent), None)


def test_smoke_takes_a_model_of_the_hub(workspace: Path):
    stage.main(["smoke", "local-tasks"], COMMIT, "owner/model")
    settings = params.load(workspace)
    assert (settings.model.path, settings.model.revision) == ("owner/model", COMMIT)
    assert settings.benchmark.include == "data/tasks"


@pytest.mark.parametrize("name", ["smoke", "gemma-3-270m"])
def test_a_model_that_is_no_folder_needs_a_commit(workspace: Path, name: str):
    with pytest.raises(UserError, match=r"'owner/model', which is no folder.*REVISION=<.*owner/model/commits/main"):
        stage.main([name], None, "owner/model")
    assert workspace.read_text() == COMMITTED


def test_smoke_runs_every_stage_of_the_pipeline(tmp_path: Path):
    """Families of stages are empty where the settings name none of their kind."""
    settings = _settings(preset_files.apply(_load("smoke"), COMMITTED)[0], tmp_path)
    allocations = {(profile.allocation, profile.parent is not None) for profile in settings.profiles.values()}
    assert allocations >= {("uniform", False), ("greedy", False), ("kl", False), ("kl", True)}
    assert settings.gradient.pooled and "gradient" in settings.schemes and "learned" in settings.capture.criteria
    assert {router.reads for router in settings.route.routers.values()} == {"embedding", "neighbours", "scores"}
    assert settings.route.benefit_routers and settings.export.methods and settings.evaluate.primary is not None


def test_an_unknown_preset_lists_the_known_ones(workspace: Path):
    with pytest.raises(UserError, match=r"preset must be one of .*llama-2-7b.*did you mean 'llama-3-8b'"):
        preset_files.load("llama3-8b")


def test_a_preset_that_does_not_fit_leaves_the_file_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preset_files, "load", lambda _name, _revision, _model: {"cluster": {"cuont": 3}})
    with pytest.raises(UserError, match="did you mean 'count'"):
        stage.main(["broken"], None)
    assert workspace.read_text() == COMMITTED


def test_the_command_says_what_it_changes_and_how_to_undo_it(workspace: Path):
    command = [sys.executable, "-m", "commands.preset", "llama-3-8b", "--revision", COMMIT]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=workspace.parent, env=environment, capture_output=True, text=True, check=True)
    assert "git checkout params.yaml" in done.stderr
    assert "data/reference/model -> meta-llama/Meta-Llama-3-8B" in " ".join(done.stderr.split())
    assert params.load(workspace).model.revision == COMMIT
    again = subprocess.run(command, cwd=workspace.parent, env=environment, capture_output=True, text=True, check=True)
    assert "has these settings already" in again.stderr
