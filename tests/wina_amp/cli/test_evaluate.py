"""`wina-amp eval`: lm-eval's scores of a model with a profile set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.cli import evaluate as module
from wina_amp.cli.app import app
from wina_amp.cli.evaluate import evaluate
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel


@pytest.fixture(scope="module")
def folder(tiny_loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    profile_set(tiny_loaded).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def own_tasks_only(monkeypatch: pytest.MonkeyPatch):
    """Listing lm-eval's thousands of tasks takes many seconds."""
    from lm_eval import tasks

    own = tasks.TaskManager
    monkeypatch.setattr(tasks, "TaskManager", lambda **options: own(**options, include_defaults=False))


def test_scores_sparsity_and_groups_are_shown_and_written_as_json(
    tiny_llama: Path, tiny_tasks: Path, folder: Path, tmp_path: Path
):
    command = ["eval", str(tiny_llama), "--set", str(folder), "--tasks", "pick", "--limit", "3"]
    command += ["--include-path", str(tiny_tasks)]
    written = CliRunner().invoke(app, [*command, "--json", "--output", str(tmp_path / "result.json")]).stdout
    assert written == (tmp_path / "result.json").read_text()
    result = json.loads(written)
    assert result["sparsity"] == 0.5 and sum(result["groups"].values()) == 3
    realised = result["realised_sparsity"]
    assert 0 < realised["loglikelihood"] == realised["all"] < 1
    [score] = [row for row in result["scores"] if row["metric"] == "acc"]
    assert score["task"] == "pick" and 0 <= score["value"] <= 1 and score["stderr"] is not None
    shown = CliRunner().invoke(app, command).stdout
    assert "pick" in shown and "acc" in shown and "Realised sparsity" in shown and "Prompts by group" in shown


def test_a_task_that_nobody_knows_and_a_missing_package_are_refused(
    tiny_llama: Path, tiny_tasks: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    options = {
        "sparsity": 0.5,
        "group": None,
        "limit": 1,
        "include_path": tiny_tasks,
        "device": "cpu",
        "dtype": "float32",
    }
    with pytest.raises(UserError, match=r"must be one of lm-eval.*Found: pikc"):
        evaluate(str(tiny_llama), str(folder), ["pick", "pikc"], **options)
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"needs the package lm_eval.*wina-amp\[lm-eval\]"):
        evaluate(str(tiny_llama), str(folder), ["pick"], **options)
