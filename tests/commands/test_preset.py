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
MODELS = ("llama-2-7b", "llama-3-8b", "phi-4-14b", "qwen-2.5-7b")
JOINED = 2
"""Lines of `benchmark.tasks` in params.yaml, which become one."""
COMMIT = "62bd457b6fe961a42a631306577e622c83876cb6"
"""Any commit; tests do not ask the hub."""


def _load(name: str) -> dict[str, object]:
    return preset_files.load(name, COMMIT if name in MODELS else None, ROOT / preset_files.FOLDER)


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
    assert set(NAMES) == {*MODELS, "teal-released", "wina-released", "full", "held-out-task", "alpaca", *ON_FULL}


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
    before = _settings(base, tmp_path)
    assert before.methods.keys() <= settings.methods.keys() and before.profiles.keys() <= settings.profiles.keys()


@pytest.mark.parametrize("model", MODELS)
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
    with pytest.raises(UserError, match=r"needs the commit.*no REVISION.*huggingface\.co/.*/commits/main.*REVISION="):
        preset_files.load(name)


def test_a_commit_for_a_preset_without_model_is_refused(workspace: Path):
    with pytest.raises(UserError, match=r"sets `model\.path`.*REVISION=abc.*leave REVISION out"):
        preset_files.load("teal-released", "abc")


def test_an_unknown_preset_lists_the_known_ones(workspace: Path):
    with pytest.raises(UserError, match=r"preset must be one of .*llama-2-7b.*did you mean 'llama-3-8b'"):
        preset_files.load("llama3-8b")


def test_a_preset_that_does_not_fit_leaves_the_file_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preset_files, "load", lambda _name, _revision: {"cluster": {"cuont": 3}})
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
